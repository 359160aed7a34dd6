"""Upstream's own model, from a checkout, for the benches that put it beside ours.

Its classes are called by their names and never looked into; its packages (einops, pydantic) must be importable.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from bench.turns import require

from trm_repro.engine.act import Batch
from trm_repro.engine.checkpoint import PREFIX
from trm_repro.engine.model import ModelConfig

LOSS = "stablemax_cross_entropy"


def use(checkout: Path) -> None:
    """Makes the checkout's modules importable."""
    require(checkout)
    sys.path.insert(0, str(checkout))


def build(config: ModelConfig, batch: int, device: torch.device) -> Any:
    """Upstream's loss head around its model, freshly initialised, for batches of ``batch`` rows."""
    from models.losses import ACTLossHead  # type: ignore[import-not-found]
    from models.recursive_reasoning.trm import (  # type: ignore[import-not-found]
        TinyRecursiveReasoningModel_ACTV1,
    )

    values = {**config.__dict__, "batch_size": batch, "causal": False, "H_layers": 0, "no_ACT_continue": True}
    with device:
        return ACTLossHead(TinyRecursiveReasoningModel_ACTV1(values), loss_type=LOSS)


def by_our_names(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Upstream's tensors under the keys of our state dict."""
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors}


def batch_of(batch: Batch) -> dict[str, torch.Tensor]:
    """A batch as upstream takes it."""
    return {"inputs": batch.inputs, "labels": batch.labels, "puzzle_identifiers": batch.puzzle_identifiers}
