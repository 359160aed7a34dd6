"""The two optimisers, the learning rate, and the average of the weights.

All trainable parameters live in one flat float32 vector, and so do their gradients (:class:`FlatParameters`): an optimiser
step, the sum of gradients over processes and the average of the weights are each a handful of operations on one tensor.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

ALIGNMENT = 64  # every parameter starts at a multiple of so many elements: 256 bytes


def learning_rate(base: float, *, step: int, warmup: int, total: int, min_ratio: float) -> float:
    """The learning rate at ``step`` (counted from 1): linear warm-up, then a cosine down to ``min_ratio`` of ``base``."""
    if step < warmup:
        return base * step / max(1, warmup)
    progress = (step - warmup) / max(1, total - warmup)
    return base * (min_ratio + max(0.0, (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))))


class FlatParameters:
    """Parameters moved into one vector, as views; their gradients are views of another.

    Attributes:
        data: all parameters, with zeros between them for alignment.
        grad: their gradients.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        starts, size = [], 0
        for parameter in self.parameters:
            starts.append(size)
            size += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
        device = self.parameters[0].device if self.parameters else torch.device("cpu")
        self.data = torch.zeros(size, device=device)
        self.grad = torch.zeros(size, device=device)
        for parameter, start in zip(self.parameters, starts, strict=True):
            place = slice(start, start + parameter.numel())
            self.data[place].copy_(parameter.detach().reshape(-1))
            parameter.data = self.data[place].view(parameter.shape)
            parameter.grad = self.grad[place].view(parameter.shape)

    def train(self, mode: bool) -> None:
        """Whether the parameters ask for a gradient."""
        for parameter in self.parameters:
            parameter.requires_grad_(mode)


class AdamATan2:
    """Adam with atan2 in place of the division: no epsilon, and steps of at most π/2 · lr.

    m ← β1 m + (1 − β1) g; v ← β2 v + (1 − β2) g²; p ← p (1 − lr·decay) − lr / (1 − β1^t) · atan2(m, sqrt(v / (1 − β2^t))).
    """

    def __init__(self, flat: FlatParameters, *, betas: tuple[float, float], weight_decay: float) -> None:
        self.flat, self.betas, self.weight_decay = flat, betas, weight_decay
        self.m = torch.zeros_like(flat.data)
        self.v = torch.zeros_like(flat.data)
        self.t = 0

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """One update with the gradient in ``flat.grad``."""
        self.t += 1
        beta1, beta2 = self.betas
        p, g = self.flat.data, self.flat.grad
        self.m.lerp_(g, 1 - beta1)
        self.v.lerp_(g.square(), 1 - beta2)
        scale = self.v.sqrt().div_(math.sqrt(1 - beta2**self.t))
        p.mul_(1 - lr * self.weight_decay)
        p.sub_(torch.atan2(self.m, scale, out=scale), alpha=lr / (1 - beta1**self.t))

    def state_dict(self) -> dict[str, Any]:
        """Everything a step depends on besides parameters and gradient."""
        return {"m": self.m, "v": self.v, "t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`."""
        self.m.copy_(state["m"])
        self.v.copy_(state["v"])
        self.t = state["t"]


@torch.no_grad()
def sign_descent(table: Tensor, identifiers: Tensor, grads: Tensor, *, lr: float, weight_decay: float) -> None:
    """Moves the rows of ``table`` (N, E) that a batch used: w ← w (1 − lr·decay) − lr · sign(gradient).

    Args:
        table: changed in place.
        identifiers: the rows used, of all processes (B,); the gradients of equal ones are added up first.
        grads: the gradient of each use (B, E).
        lr: learning rate.
        weight_decay: decay, decoupled; only of the rows used.
    """
    rows, place = identifiers.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    total = grads.new_zeros(len(rows), grads.shape[1]).index_add_(0, place, grads)
    table[rows] = table[rows].mul_(1 - lr * weight_decay).sub_(total.sign_(), alpha=lr)


class WeightAverage:
    """The exponential moving average of the parameters: e ← rate·e + (1 − rate)·p. Buffers are not averaged."""

    def __init__(self, flat: FlatParameters, rate: float) -> None:
        self.flat, self.rate = flat, rate
        self.average = flat.data.clone()

    def update(self) -> None:
        """Takes in the parameters as they are now."""
        self.average.mul_(self.rate).add_(self.flat.data, alpha=1 - self.rate)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the model has the averaged weights; afterwards exactly its own again."""
        own = self.flat.data.clone()
        self.flat.data.copy_(self.average)
        try:
            yield
        finally:
            self.flat.data.copy_(own)
