"""The layers of TRM: linear, embedding, SwiGLU, attention with rotary positions, and the block made of them.

Parameters are float32 and are cast to the activations' dtype where they are used. Module and parameter names are the
keys of published checkpoints. Shapes: B batch, L positions, D hidden size, H heads.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trm_repro.engine import onednn
from trm_repro.runs.schedule import swiglu_width

RMS_NORM_EPS = 1e-5
ROPE_BASE = 10000.0
CUT = 2.0  # truncated normals are cut at this many standard deviations
# the standard deviation of a unit normal that was cut at ±2: sqrt(1 − 2·2·φ(2) / (Φ(2) − Φ(−2))) = 0.8796
CUT_STD = math.sqrt(1 - 2 * CUT * math.exp(-CUT * CUT / 2) / math.sqrt(2 * math.pi) / math.erf(CUT / math.sqrt(2)))


def truncated_normal(shape: tuple[int, ...], std: float) -> Tensor:
    """A float32 sample of a normal cut at ±2 and rescaled so that the standard deviation of the result is ``std``."""
    return nn.init.trunc_normal_(torch.empty(shape), std=1.0, a=-CUT, b=CUT).mul_(std / CUT_STD)


def rms_norm(x: Tensor) -> Tensor:
    """``x`` divided by the root of its mean square over the last axis, in float32, without a learned scale."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + RMS_NORM_EPS)).to(x.dtype)


class Linear(nn.Module):
    """``x W^T (+ b)``: weight (outputs, inputs)."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal((outputs, inputs), std=inputs**-0.5))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) to (…, outputs), in the dtype of ``x``."""
        weight = self.weight.to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if bias is None and onednn.suits_linear(x):
            return onednn.linear(x, weight)
        return F.linear(x, weight, bias)


class Embedding(nn.Module):
    """A table of vectors (entries, width), read in ``dtype``."""

    def __init__(self, entries: int, width: int, *, std: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.embedding_weight = nn.Parameter(truncated_normal((entries, width), std=std))
        self.dtype = dtype

    def forward(self, index: Tensor) -> Tensor:
        """(…) to (…, width)."""
        return F.embedding(index, self.embedding_weight.to(self.dtype))


class SwiGLU(nn.Module):
    """``down(silu(gate) · up)``; the inner width is :func:`swiglu_width`'s."""

    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        inner = swiglu_width(width, expansion)
        self.gate_up_proj = Linear(width, 2 * inner)
        self.down_proj = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) to (…, width)."""
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)  # type: ignore[no-any-return]


def rotary_table(positions: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (positions, head_dim), float32: channel i and i + head_dim/2 turn by position · base^(−2i/head_dim)."""
    frequencies = 1.0 / ROPE_BASE ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Rotates heads (B, H, L, head_dim) by their positions, in float32; each head of the result is contiguous."""
    cos, sin = rotary
    wide = x.float()
    first, second = wide.chunk(2, dim=-1)
    turned = wide * cos + torch.cat((-second, first), dim=-1) * sin
    # attention on a CPU reads the keys of a head faster from one place than from every H-th row; the cast writes anyway
    return turned.to(x.dtype, memory_format=torch.contiguous_format)


class Attention(nn.Module):
    """Full (non-causal) self-attention with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj = Linear(width, 3 * width)
        self.o_proj = Linear(width, width)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        batch, positions, width = x.shape
        heads = self.qkv_proj(x).view(batch, positions, 3 * self.heads, -1).transpose(1, 2)
        q, k, v = heads.split(self.heads, dim=1)
        if rotary is not None:
            q, k = rotate(q, rotary), rotate(k, rotary)
        attend = onednn.attention if onednn.suits_attention(x) else F.scaled_dot_product_attention
        mixed = attend(q, k, v)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, positions, width))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Mix positions, then channels; the norm comes after each sum. ``positions`` makes the mixer an MLP over positions."""

    def __init__(self, width: int, heads: int, expansion: float, *, mlp_positions: int | None) -> None:
        super().__init__()
        if mlp_positions is None:
            self.self_attn = Attention(width, heads)
        else:
            self.mlp_t = SwiGLU(mlp_positions, expansion)
        self.mixes_by_mlp = mlp_positions is not None
        self.mlp = SwiGLU(width, expansion)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        if self.mixes_by_mlp:
            columns = x.transpose(1, 2)
            x = rms_norm(columns + self.mlp_t(columns)).transpose(1, 2)
        else:
            x = rms_norm(x + self.self_attn(x, rotary))
        return rms_norm(x + self.mlp(x))


class Network(nn.Module):
    """The one small network f(h, injection): all blocks applied to h + injection."""

    def __init__(self, layers: int, width: int, heads: int, expansion: float, *, mlp_positions: int | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(width, heads, expansion, mlp_positions=mlp_positions) for _ in range(layers))

    def forward(self, hidden: Tensor, injection: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, L, D) and (B, L, D) to (B, L, D)."""
        hidden = hidden + injection
        for layer in self.layers:
            hidden = layer(hidden, rotary)
        return hidden
