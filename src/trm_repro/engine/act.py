"""Adaptive computation: which rows of the batch go on thinking, and which take a new example.

A carry lives from batch to batch. Rows that were halted take the row of the new batch at their place and start afresh;
the others keep theirs, and the new batch's rows at their places are never seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trm_repro.engine.model import TRM, State


@dataclass(frozen=True)
class Batch:
    """Examples: inputs and labels (B, S), puzzle identifiers (B,), all int32; labels to ignore are −100."""

    inputs: Tensor
    labels: Tensor
    puzzle_identifiers: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch, which is in host memory, on ``device``; a GPU gets it from pinned pages, and nobody waits."""
        parts = [self.inputs, self.labels, self.puzzle_identifiers]
        if device.type == "cuda":
            parts = [part.pin_memory() for part in parts]
        return Batch(*(part.to(device, non_blocking=device.type == "cuda") for part in parts))


@dataclass(frozen=True)
class Carry:
    """A row's state, its number of supervision steps (int32), whether it is halted (bool), and its example."""

    state: State
    steps: Tensor
    halted: Tensor
    batch: Batch


def fresh_carry(model: TRM, batch: Batch) -> Carry:
    """A carry in which every row is halted, so that the next call loads the whole batch."""
    rows, device = len(batch.inputs), batch.inputs.device
    shape = (rows, model.config.positions, model.config.hidden_size)
    state = State(*(torch.zeros(shape, dtype=model.config.dtype, device=device) for _ in range(2)))
    steps = torch.zeros(rows, dtype=torch.int32, device=device)
    return Carry(state, steps, torch.ones_like(steps, dtype=torch.bool), batch)


def load_rows(model: TRM, carry: Carry, batch: Batch) -> Carry:
    """Gives the halted rows a new example, the initial state and a count of 0."""
    halted = carry.halted
    grid = halted.view(-1, 1)
    state = State(
        torch.where(grid.unsqueeze(-1), model.H_init, carry.state.z_H),
        torch.where(grid.unsqueeze(-1), model.L_init, carry.state.z_L),
    )
    current = Batch(
        torch.where(grid, batch.inputs, carry.batch.inputs),
        torch.where(grid, batch.labels, carry.batch.labels),
        torch.where(halted, batch.puzzle_identifiers, carry.batch.puzzle_identifiers),
    )
    return Carry(state, torch.where(halted, 0, carry.steps), halted, current)


def draw_minimum_steps(rows: int, maximum: int, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Exploration: how many steps each row (int32) must at least take; mostly 0, sometimes 2..maximum, uniformly."""
    explores = torch.rand(rows, generator=generator) < probability
    return explores * torch.randint(2, maximum + 1, (rows,), dtype=torch.int32, generator=generator)


def halts(steps: Tensor, q_halt: Tensor, maximum: int, minimum_steps: Tensor | None) -> Tensor:
    """Which rows halt (bool) after ``steps`` steps.

    Args:
        steps: supervision steps done, this one included (B,).
        q_halt: the logit of "the answer is right" (B,).
        maximum: halt_max_steps.
        minimum_steps: training: steps a row must take before q_halt may stop it (B,). None in evaluation, where a row
            never stops early.
    """
    last = steps >= maximum
    if minimum_steps is None or maximum <= 1:
        return last
    return (last | (q_halt > 0)) & (steps >= minimum_steps)
