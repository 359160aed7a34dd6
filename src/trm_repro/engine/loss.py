"""The loss and the metrics of one supervision step.

``stablemax`` replaces the exponential of softmax by s(x) = x + 1 for x ≥ 0 and 1 / (1 − x) below. It is computed in float64,
as upstream does: the logits are 12 numbers a token, so this costs next to nothing, and float32 loses the gradient of a
nearly sure token (1 − p of p ≈ 1) to rounding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100  # the label of a token that does not count
METRICS = ("count", "accuracy", "exact_accuracy", "q_halt_accuracy", "steps", "lm_loss", "q_halt_loss")


def log_stablemax(logits: Tensor) -> Tensor:
    """Log-probabilities (…, V), float64."""
    x = logits.double()
    s = torch.where(x < 0, 1 / (1 - x + 1e-30), x + 1)
    return torch.log(s / s.sum(-1, keepdim=True))


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities (…, V), float32."""
    return F.log_softmax(logits.float(), dim=-1)


LOG_PROBABILITIES = {"stablemax_cross_entropy": log_stablemax, "softmax_cross_entropy": log_softmax}


def exact_device(device: torch.device) -> torch.device:
    """Where the loss of what a device computes is computed: MPS has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def loss_and_metrics(
    logits: Tensor, q_halt: Tensor, labels: Tensor, steps: Tensor, halted: Tensor, loss_type: str
) -> tuple[Tensor, Tensor]:
    """The loss to differentiate and the sums to log.

    Args:
        logits: (B, S, V).
        q_halt: (B,), float32.
        labels: (B, S), −100 where ignored.
        steps: supervision steps done (B,).
        halted: rows that halt now (B,).
        loss_type: a key of :data:`LOG_PROBABILITIES`.

    Returns:
        The loss, summed over rows (a scalar), and the sums named :data:`METRICS` (7,), float64. The losses are over all
        rows; the others over the rows that halt now and have at least one label.
    """
    place = exact_device(logits.device)
    logits, q_halt, labels, steps, halted = (tensor.to(place) for tensor in (logits, q_halt, labels, steps, halted))
    valid = labels != IGNORE
    tokens = valid.sum(-1)
    log_p = LOG_PROBABILITIES[loss_type](logits)
    chosen = log_p.gather(-1, torch.where(valid, labels, 0).long().unsqueeze(-1)).squeeze(-1)
    lm_loss = (-chosen.where(valid, 0.0) / tokens.clamp_min(1).unsqueeze(-1)).sum()

    with torch.no_grad():
        right = valid & (logits.argmax(-1) == labels)
        all_right = right.sum(-1) == tokens  # also true of padding, which has no label
    q_halt_loss = F.binary_cross_entropy_with_logits(q_halt, all_right.to(q_halt.dtype), reduction="sum")

    with torch.no_grad():
        counted = halted & (tokens > 0)
        accuracy = right.float().sum(-1) / tokens.clamp_min(1)
        sums = [
            counted.sum(),
            accuracy.where(counted, 0.0).sum(),
            (counted & all_right).sum(),
            (counted & ((q_halt >= 0) == all_right)).sum(),
            steps.where(counted, 0).sum(),
            lm_loss,
            q_halt_loss,
        ]
        metrics = torch.stack([value.detach().double() for value in sums])
    return lm_loss + 0.5 * q_halt_loss, metrics
