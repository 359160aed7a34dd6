"""What a training comes to, as arithmetic: the steps of its schedule, and the size of its checkpoints.

Upstream plans ``epochs · groups · mean puzzle examples / batch`` steps, which set the learning rate and end the updates. It
fills a batch with puzzles and cuts off the last one, so that the true number, which names the checkpoints, differs by a few
in a thousand (:mod:`trm_repro.runs.packing` tells it): for the paper's ARC-AGI-2 data 722,098 steps are planned, and the last
checkpoint is step_723914; the batches beyond the plan train nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CONTAINER = 6_100  # bytes of a checkpoint file beyond its tensors: the zip, and the tensors' names


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


def planned_steps(epochs: int, groups: int, mean_examples: float, batch: int) -> int:
    """The steps of upstream's schedule: the learning rate's length, and the last one that trains.

    Args:
        epochs: of the training; each takes one puzzle of every group.
        groups: tasks with their variants.
        mean_examples: training examples of a puzzle, on average.
        batch: examples a step, of all processes together.
    """
    return int(epochs * groups * mean_examples / batch)


def swiglu_width(hidden: int, expansion: float) -> int:
    """The inner width of a SwiGLU: ⅔ · expansion · hidden, rounded up to a multiple of 256."""
    return -(-round(expansion * hidden * 2 / 3) // 256) * 256


def checkpoint_bytes(identifiers: int, vocabulary: int, settings: Settings) -> int:
    """The bytes of the tensors in a checkpoint (arch=trm, attention); the file has :data:`CONTAINER` more.

    Float32, four bytes each: the puzzle table (identifiers × hidden), embedding and output head (vocabulary × hidden
    each), the halting head (2 × hidden + 2), and per layer qkv (3 · hidden²), attention output (hidden²) and SwiGLU (3 ·
    inner · hidden, :func:`swiglu_width`). Two start vectors in forward_dtype.
    """
    hidden = settings.hidden_size
    inner = swiglu_width(hidden, settings.expansion)
    floats = identifiers * hidden + 2 * vocabulary * hidden + 2 * hidden + 2
    floats += settings.L_layers * (4 * hidden * hidden + 3 * inner * hidden)
    return 4 * floats + 2 * hidden * (4 if settings.forward_dtype == "float32" else 2)
