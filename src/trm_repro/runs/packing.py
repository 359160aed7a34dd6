"""The numbers of a training's checkpoints, told beforehand: how upstream packs a dataset's puzzles into batches.

An epoch is a seeded random order of all groups, each of which gives one of its puzzles; a batch takes puzzles until it is
full, and drops what does not fit of the last. The numbers follow from the order alone as long as all variants of a task
have the same number of examples. A module of its own, because it is compiled: what needs arithmetic alone loads no numba.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trm_repro.arc.compiled import compiled
from trm_repro.arc.layout import Split
from trm_repro.errors import InvariantBroken
from trm_repro.runs.schedule import Settings


def checkpoint_steps(split: Split, settings: Settings) -> list[int]:
    """The numbers of the checkpoints that training on ``split`` writes, one an evaluation interval.

    Raises:
        InvariantBroken: the variants of a group differ in size, so that the numbers depend on further draws.
    """
    sizes = np.diff(split.puzzle_indices)
    first = split.group_indices[:-1]
    per_group = np.asarray(sizes[first], np.int64)
    if not np.array_equal(np.repeat(per_group, np.diff(split.group_indices)), sizes):
        raise InvariantBroken(f"{split.name}: the puzzles of a group differ in size")
    steps: list[int] = []
    done = 0
    for iteration in range(1, settings.epochs // settings.eval_interval + 1):
        generator = np.random.Generator(np.random.Philox(seed=settings.seed + iteration))
        filled = 0
        batches = 0
        for _ in range(settings.eval_interval):
            order = generator.permutation(len(per_group))
            batches, filled = _pack(per_group, order, settings.global_batch_size, batches, filled)
        done += batches
        steps.append(done)
    return steps


@compiled
def _pack(
    sizes: npt.NDArray[np.int64], order: npt.NDArray[np.int64], batch: int, batches: int, filled: int
) -> tuple[int, int]:
    """Packs an epoch's puzzles; returns the batches completed so far, and how full the next one is."""
    for group in order:
        filled += sizes[group]
        if filled >= batch:  # what does not fit is dropped
            batches += 1
            filled = 0
    return batches, filled
