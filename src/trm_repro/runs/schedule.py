"""What training on a dataset will come to: the steps it takes, and the size of its checkpoints.

Upstream plans ``total_steps = epochs · groups · mean puzzle examples / batch``, but fills its batches with whole puzzles
in a seeded random order and cuts off the last one of each batch, so that the true number, which names the checkpoints,
differs by a few in a thousand. It follows from the order alone as long as all variants of a task have the same number of
examples, so it can be told beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trm_repro.arc.compiled import compiled
from trm_repro.arc.layout import Split
from trm_repro.errors import InvariantBroken


@dataclass(frozen=True)
class Settings:
    """What of a training's configuration matters here; names and defaults are upstream's."""

    epochs: int = 100_000
    eval_interval: int = 10_000
    global_batch_size: int = 768
    seed: int = 0
    hidden_size: int = 512
    expansion: float = 4.0
    L_layers: int = 2
    forward_dtype: str = "bfloat16"

    @staticmethod
    def from_overrides(words: Sequence[str]) -> Settings:
        """The settings that Hydra's command line ``words`` make: ``epochs=20 arch.hidden_size=64 …``."""
        pairs = (word.lstrip("+").removeprefix("arch.").partition("=") for word in words)
        given = {key: value for key, _, value in pairs}
        known = {key: given[key] for key in Settings.__dataclass_fields__.keys() & given.keys()}
        kinds = {key: type(getattr(Settings, key)) for key in known}
        return Settings(**{key: kinds[key](float(text) if kinds[key] is int else text) for key, text in known.items()})


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


def planned_steps(metadata: Mapping[str, float], settings: Settings) -> int:
    """Upstream's estimate of the steps, which sets the learning rate's schedule and ends the updates."""
    examples = metadata["total_groups"] * metadata["mean_puzzle_examples"]
    return int(settings.epochs * examples / settings.global_batch_size)


def checkpoint_bytes(identifiers: int, vocabulary: int, settings: Settings) -> int:
    """The bytes of the tensors in a checkpoint (arch=trm, attention); the file has some 6 kB more.

    Float32, four bytes each: the puzzle table (identifiers × hidden), embedding and output head (vocabulary × hidden
    each), the halting head (2 × hidden + 2), and per layer qkv (3 · hidden²), attention output (hidden²) and SwiGLU (3 ·
    inner · hidden). Two start vectors in forward_dtype. inner is ⅔ · expansion · hidden, rounded up to 256.
    """
    hidden = settings.hidden_size
    inner = -(-round(settings.expansion * hidden * 2 / 3) // 256) * 256
    floats = identifiers * hidden + 2 * vocabulary * hidden + 2 * hidden + 2
    floats += settings.L_layers * (4 * hidden * hidden + 3 * inner * hidden)
    return 4 * floats + 2 * hidden * (4 if settings.forward_dtype == "float32" else 2)
