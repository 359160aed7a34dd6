"""What others published: their numbers, the machines and hours they took, and where each one stands.

The one place for it: a recipe names its result (``expected.published``), an estimate takes the runs whose work is known, a
report shows them all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One number somebody published.

    Attributes:
        who: whose number it is.
        value: a share between 0 and 1.
        source: where it stands, and what it says there.
        gpus: how many of them it took.
        gpu: of which kind.
        hours: how long it took; None where that is not known.
        note: what else is known of it.
        steps: the batches that were drawn; 0 where that is not known.
        batch: examples a batch.
        evaluations: how many there were on the way.
    """

    who: str
    value: float
    source: str
    gpus: int
    gpu: str
    hours: float | None = None
    note: str = ""
    steps: int = 0
    batch: int = 0
    evaluations: int = 0

    @property
    def hardware(self) -> str:
        """What it took, for people."""
        took = f"{self.hours:g} h" if self.hours else ""
        return ", ".join(filter(None, (f"{self.gpus} × {self.gpu}", took, self.note)))


# The number that counts for each kind of puzzle, and how many tasks or puzzles it is a share of.
METRICS = {"arc": "ARC/pass@2", "sudoku": "all.exact_accuracy", "maze": "all.exact_accuracy"}
TASKS = {"arc1": 400, "arc2": 120}

_PAPER, _PRIZE, _GAO = "arXiv 2510.04871", "ARC Prize's verification", "gaoxin492's model card"


def _alphaxiv(who: str, value: float, said: str) -> Result:
    return Result(f"alphaXiv{who}", value, f"alphaXiv's REPORT.md: {said}", 8, "A100", note="batch 1536")


# A name begins with the puzzles, as in target_dataset. The authors' come first.
RESULTS = {
    "arc2-paper": Result(
        "TRM paper", 0.078, f"{_PAPER}: 7.8 % on ARC-AGI-2's 120 public evaluation tasks",
        4, "H100", 72, steps=723_914, batch=768, evaluations=10,
    ),
    "arc2-prize": Result("ARC Prize, retrained", 0.062, f"{_PRIZE}: 6.2 %", 8, "H100", note="$2.10 a task"),
    "arc2-trelis": Result(
        "Trelis", 0.10, "Trelis' paper and model card: about 10 % on ARC-AGI-2's public evaluation tasks",
        4, "H100 or H200", 48, steps=723_914, batch=768, evaluations=10,
    ),
    "arc2-nvarc": Result(
        "NVARC", 0.1013888888888889,
        "seed 002, NVARC's README: 10.14 % pass@2 on the local evaluation; 10.0 on Kaggle's public leaderboard",
        8, "H100", 24, "batch 3072, on puzzles of its own", steps=220_708, batch=3072,
    ),
    "arc2-gaoxin492": Result("gaoxin492", 0.0333, f"{_GAO}: 3.33 %", 8, "H200", note="batch 4608"),
    "arc1-paper": Result(
        "TRM paper", 0.446, f"{_PAPER}: 44.6 % on ARC-AGI-1's 400 public evaluation tasks", 4, "H100", 72
    ),
    "arc1-prize": Result("ARC Prize, retrained", 0.40, f"{_PRIZE}: 40 %", 8, "H100", note="$1.76 a task"),
    "arc1-alphaxiv-h3l4": _alphaxiv(", H3 L4", 0.43, "43.00 ± 0.16 % pass@2 with H3 L4"),
    "arc1-alphaxiv-h3l6": _alphaxiv(", H3 L6", 0.5275, "52.75 ± 3.09 % pass@2 with H3 L6"),
    "arc1-gaoxin492": Result("gaoxin492", 0.41, f"{_GAO}: 41 %", 8, "H200", note="batch 4608"),
    "sudoku-paper-mlp": Result(
        "TRM paper, MLP", 0.874, f"{_PAPER}: 87.4 % of Sudoku-Extreme's test puzzles, MLP", 1, "L40S", note="under 36 h"
    ),
    "sudoku-paper-att": Result(
        "TRM paper, attention", 0.747, f"{_PAPER}: 74.7 % of Sudoku-Extreme's test puzzles, attention",
        1, "L40S", note="under 36 h",
    ),
    "sudoku-alphaxiv-mlp": _alphaxiv(", MLP", 0.7937, "79.37 % after 50,000 epochs"),
    "sudoku-alphaxiv-att": _alphaxiv(", attention", 0.6969, "69.69 % after 50,000 epochs"),
    "sudoku-alphaxiv-att-60k": _alphaxiv(", attention, longer", 0.7366, "73.66 % after 60,000 epochs"),
    "maze-paper": Result(
        "TRM paper", 0.853, f"{_PAPER}: 85.3 % of Maze-Hard's test puzzles", 4, "L40S", note="under 24 h"
    ),
    "maze-alphaxiv": _alphaxiv("", 0.8367, "83.67 ± 2.28 %"),
    "manual-trelis": Result("Trelis", 0.065, "seed 001: 6.5 % pass@2 on the 23 manual tasks", 1, "H100"),
}  # fmt: skip


def published(target: str) -> list[Result]:
    """The results of one kind of puzzle, the authors' first."""
    return [result for name, result in RESULTS.items() if target.startswith(name.partition("-")[0])]
