"""How others have fine-tuned TRM on the examples of a test's tasks: what learns, how fast, and how long the network thinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trm_repro.errors import UsageError

NONE = "none"
WHAT = ("embeddings", "lora", "full", NONE)  # what learns: the puzzle vectors; adapters too; all weights too; nothing


@dataclass(frozen=True)
class Preset:
    """One way of fine-tuning.

    Attributes:
        source: who measured it, and on what.
        what: one of :data:`WHAT`.
        batch: examples a step, of all GPUs together, that the rates belong to; they go with the batch size.
        lr: learning rate of weights and adapters.
        puzzle_emb_lr: learning rate of the puzzle vectors.
        warmup: steps.
        ema: whether the average of the weights answers, not the last ones.
        arch: keys of the architecture that differ from the trained one's; none of them changes a shape.
    """

    source: str
    what: str
    batch: int
    lr: float
    puzzle_emb_lr: float
    warmup: int = 200
    ema: bool = False
    arch: Mapping[str, int] = field(default_factory=dict)


PRESETS: Mapping[str, Preset] = {
    "trelis": Preset(
        source="Trelis' cfg_emb_posttrain (commit 37f9cfa)",
        what="embeddings",
        batch=96,
        lr=1.25e-5,
        puzzle_emb_lr=1.25e-3,
    ),
    "nvarc": Preset(
        source="NVARC's TRM/README.md, step 5 (commit 846d019): 10.14 % of the public ARC-AGI-2 tasks, 10.0 on Kaggle's "
        "public leaderboard, with their own weights on 4 GPUs",
        what="full",
        batch=128,
        lr=1e-4,
        puzzle_emb_lr=1e-2,  # not on their command line: the default
        ema=True,
        arch={"H_cycles": 4, "L_cycles": 4, "halt_max_steps": 10},
    ),
}


def preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset called {name!r}", hint=f"PRESET is one of {', '.join(PRESETS)}")
    return PRESETS[name]


def what_learns(name: str) -> str:
    """The name of what learns, if it is one.

    Raises:
        UsageError: it is none.
    """
    if name not in WHAT:
        raise UsageError(f"there is no fine-tuning called {name!r}", hint=f"FINE_TUNE is one of {', '.join(WHAT)}")
    return name
