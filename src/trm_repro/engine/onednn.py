"""Linear layers and attention on a CPU by oneDNN's float32 matrix products.

PyTorch multiplies float32 matrices on a CPU with MKL, which uses half of the vector width or less on processors that are
not Intel's, and its attention multiplies small tiles. oneDNN, which PyTorch carries for other uses, is faster at both.
On a processor with AVX2 and no more, PyTorch's bfloat16 product is several times slower still: there the factors are
widened, multiplied in float32, and the product is rounded, which is what bfloat16 instructions do. (Its bfloat16
attention multiplies in float32 by itself.) On one with bfloat16 instructions it is PyTorch's attention that is slow: there the
attention without gradient is computed in float32 and its result is rounded; PyTorch's rounds the probabilities as well. With
gradient ours is no faster, and PyTorch's is taken.
``bench/engine.py`` measures all of it; otherwise the results differ in the order of sums only.

``TRM_REPRO_MATMUL=torch`` turns this off; other devices and dtypes never come here. The operators are opaque to
torch.compile, which fuses what lies between them.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

# Constants, so that torch.compile need not look into them.
AVAILABLE: bool = (
    os.environ.get("TRM_REPRO_MATMUL") != "torch"
    and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)


# AVX2 has no bfloat16 instruction, and oneDNN no bfloat16 product for it.
LINEAR_DTYPES = {torch.float32, *([torch.bfloat16] if torch.backends.cpu.get_cpu_capability() == "AVX2" else [])}


# Attention in bfloat16: where the processor has instructions for it, and on few cores (a head at a time leaves many idle).
BFLOAT16: bool = (
    AVAILABLE
    and (os.cpu_count() or 1) <= 16
    and any(getattr(torch.cpu, f"_is_{name}_supported", bool)() for name in ("avx512_bf16", "amx_tile"))
)
ROWS = 308  # of 916 scores each, in float32, are 1.1 MB
LONG = 512  # positions; of smaller grids, such as Sudoku's, there are many heads, each with little to do


def suits_linear(x: Tensor) -> bool:
    """Whether a linear layer of ``x`` is faster here."""
    return x.device.type == "cpu" and x.dtype in LINEAR_DTYPES and AVAILABLE


def suits_attention(x: Tensor) -> bool:
    """Whether attention over the positions of ``x`` (…, L, D) is faster here."""
    if x.dtype == torch.bfloat16 and (not BFLOAT16 or x.shape[-2] < LONG or torch.is_grad_enabled()):
        return False
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and AVAILABLE


def _product(a: Tensor, b: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")  # type: ignore[no-any-return]


@torch.library.custom_op("trm_repro::product", mutates_args=())
def product(a: Tensor, b: Tensor) -> Tensor:
    """``a b^T`` of two matrices, (m, k) and (n, k) to (m, n)."""
    return _product(a, b)


@product.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[0])


def _keep_factors(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _product_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    a, b = ctx.saved_tensors
    wanted_a, wanted_b = ctx.needs_input_grad
    return (
        product(grad, b.t()) if wanted_a else None,
        product(grad.t(), a.t()) if wanted_b else None,
    )


product.register_autograd(_product_backward, setup_context=_keep_factors)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x W^T`` over the last axis of ``x``, in the dtype of both."""
    flat: Tensor = product(x.reshape(-1, x.shape[-1]).float(), weight.float())
    return flat.to(x.dtype).view(*x.shape[:-1], weight.shape[0])


def _probabilities(q: Tensor, k: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) of one head, (rows, head_dim) and (L, head_dim) to (rows, L), float32."""
    return torch.softmax(_product(q * q.shape[-1] ** -0.5, k), dim=-1)


def _pieces(q: Tensor) -> list[slice]:
    """The rows of a head's scores that are computed at a time: all in float32; of bfloat16 what stays in a core's cache."""
    size = ROWS if q.dtype == torch.bfloat16 else q.shape[-2]
    return [slice(start, start + size) for start in range(0, q.shape[-2], size)]


@torch.library.custom_op("trm_repro::attention", mutates_args=())
def attention_of_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of q, k, v (heads, L, head_dim), one head at a time."""
    out = torch.empty_like(q)
    for head in range(len(q)):
        keys, values = k[head].float(), v[head].float().t()
        for rows in _pieces(q):
            out[head, rows] = _product(_probabilities(q[head, rows].float(), keys), values)
    return out


@attention_of_heads.register_fake
def _(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.empty_like(q)


@torch.library.custom_op("trm_repro::attention_backward", mutates_args=())
def attention_of_heads_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v; computes the (L, L) probabilities again, so that they are never kept."""
    grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    for head in range(len(q)):
        p = _probabilities(q[head], k[head])
        # softmax: dS = P ∘ (dP − rowsum(P ∘ dP)), and rowsum(P ∘ dP) = rowsum(dO ∘ O)
        inner = (grad[head] * out[head]).sum(-1, keepdim=True)
        grad_s = _product(grad[head], v[head]).sub_(inner).mul_(p).mul_(q.shape[-1] ** -0.5)
        grad_v[head] = _product(p.t(), grad[head].t())
        grad_q[head] = _product(grad_s, k[head].t())
        grad_k[head] = _product(grad_s.t(), q[head].t())
    return grad_q, grad_k, grad_v


@attention_of_heads_backward.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _keep_all(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _attention_backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = attention_of_heads_backward(grad.contiguous(), *ctx.saved_tensors)
    return gradients


attention_of_heads.register_autograd(_attention_backward, setup_context=_keep_all)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Full softmax attention of q, k, v (B, H, L, head_dim)."""
    heads = (tensor.reshape(-1, *q.shape[2:]).contiguous() for tensor in (q, k, v))
    return attention_of_heads(*heads).view(q.shape)  # type: ignore[no-any-return]
