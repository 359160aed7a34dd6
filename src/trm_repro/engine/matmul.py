"""The matrix product of the linear layers: PyTorch's own, except where a faster equal one is at hand.

For float32 on a CPU, PyTorch multiplies with MKL, which uses half of the vector width or less on processors that are not
Intel's; oneDNN, which PyTorch carries too, uses all of it. The three products of a linear layer (forward, gradient of
the input, gradient of the weight) are then oneDNN's. ``bench/engine.py`` measures both.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@functools.cache
def onednn_available() -> bool:
    """Whether this PyTorch has oneDNN's fused linear; ``TRM_REPRO_MATMUL=torch`` turns it off."""
    return os.environ.get("TRM_REPRO_MATMUL") != "torch" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """``a b^T + bias`` for 2-D float32 matrices on the CPU."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")  # type: ignore[no-any-return]


class _OneDnnLinear(torch.autograd.Function):
    """``x W^T + b`` with all three products done by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted_x, wanted_weight, wanted_bias = ctx.needs_input_grad
        grad = grads[0].contiguous()
        return (
            _product(grad, weight.t().contiguous()) if wanted_x else None,
            _product(grad.t().contiguous(), x.t().contiguous()) if wanted_weight else None,
            grad.sum(0) if wanted_bias else None,
        )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W^T + b`` over the last axis of ``x``."""
    if x.device.type == "cpu" and x.dtype == torch.float32 and onednn_available() and not torch.compiler.is_compiling():
        flat = _OneDnnLinear.apply(x.reshape(-1, x.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
        return flat.view(*x.shape[:-1], weight.shape[0])  # type: ignore[no-any-return]
    return F.linear(x, weight, bias)
