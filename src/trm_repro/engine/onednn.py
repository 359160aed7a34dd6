"""Float32 matrix products on a CPU by oneDNN, for linear layers and attention.

PyTorch multiplies float32 matrices on a CPU with MKL, which uses half of the vector width or less on processors that are
not Intel's. oneDNN, which PyTorch carries for other dtypes, uses all of it: 1.5 to 2.4 times faster for TRM's shapes on an
AMD EPYC with AVX-512 (``bench/engine.py`` measures both). The results differ in rounding only.

``TRM_REPRO_MATMUL=torch`` turns this off; other devices and dtypes never come here.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
from torch import Tensor


@functools.cache
def available() -> bool:
    """Whether this PyTorch has oneDNN's linear, and it is not turned off."""
    wanted = os.environ.get("TRM_REPRO_MATMUL") != "torch"
    has_it: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return wanted and has_it and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def suits(x: Tensor) -> bool:
    """Whether products of ``x`` are faster here."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and available()


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a b^T`` of two float32 matrices, (m, k) and (n, k) to (m, n)."""
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")  # type: ignore[no-any-return]


class _Linear(torch.autograd.Function):
    """``x W^T``, x (rows, inputs), W (outputs, inputs)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted_x, wanted_weight = ctx.needs_input_grad
        grad = grads[0].contiguous()
        return (
            product(grad, weight.t().contiguous()) if wanted_x else None,
            product(grad.t().contiguous(), x.t().contiguous()) if wanted_weight else None,
        )


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x W^T`` over the last axis of ``x``."""
    flat = _Linear.apply(x.reshape(-1, x.shape[-1]), weight)  # type: ignore[no-untyped-call]
    return flat.view(*x.shape[:-1], weight.shape[0])  # type: ignore[no-any-return]


def _probabilities(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """softmax(scale · q k^T) of one head, (L, head_dim) twice to (L, L)."""
    return torch.softmax(product(q * scale, k), dim=-1)


class _Attention(torch.autograd.Function):
    """Softmax attention of q, k, v (heads, L, head_dim), one head at a time; the backward pass computes the (L, L)
    probabilities again, so that they are never kept.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scale = q.shape[-1] ** -0.5
        out = torch.empty_like(q)
        for head in range(len(q)):
            out[head] = product(_probabilities(q[head], k[head], scale), v[head].t().contiguous())
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for head, grad in enumerate(grads[0].contiguous()):
            p = _probabilities(q[head], k[head], scale)
            # softmax: dS = P ∘ (dP − rowsum(P ∘ dP)), and rowsum(P ∘ dP) = rowsum(dO ∘ O)
            inner = (grad * out[head]).sum(-1, keepdim=True)
            grad_s = product(grad, v[head]).sub_(inner).mul_(p).mul_(scale)
            grad_v[head] = product(p.t().contiguous(), grad.t().contiguous())
            grad_q[head] = product(grad_s, k[head].t().contiguous())
            grad_k[head] = product(grad_s.t().contiguous(), q[head].t().contiguous())
        return grad_q, grad_k, grad_v


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Full softmax attention of q, k, v (B, H, L, head_dim)."""
    shape = q.shape
    heads = (tensor.reshape(-1, *shape[2:]).contiguous() for tensor in (q, k, v))
    return _Attention.apply(*heads).view(shape)  # type: ignore[no-any-return, no-untyped-call]
