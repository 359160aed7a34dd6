"""Published numbers to hold a run against, with where each one stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One number somebody published.

    Attributes:
        target: the puzzles, as in ``target_dataset``.
        who: whose number it is.
        value: a share between 0 and 1.
        hardware: what it took, as far as is known.
        source: where it stands.
    """

    target: str
    who: str
    value: float
    hardware: str
    source: str


# The number that counts for each kind of puzzle, and how many tasks or puzzles it is a share of.
METRICS = {"arc": "ARC/pass@2", "sudoku": "all.exact_accuracy", "maze": "all.exact_accuracy"}
TASKS = {"arc1": 400, "arc2": 120}

NUMBERS = (
    Published("arc2", "TRM paper", 0.078, "4 × H100, about 3 days", "arXiv 2510.04871, upstream's README"),
    Published("arc2", "ARC Prize, retrained", 0.062, "8 × H100, $2.10 a task", "ARC Prize verification"),
    Published("arc2", "Trelis", 0.10, "4 × H100 or H200, 48 h", "their paper and model card"),
    Published("arc2", "NVARC", 0.1014, "8 × H100, 24 h, batch 3072", "their README"),
    Published("arc2", "gaoxin492", 0.0333, "8 × H200, batch 4608", "model card"),
    Published("arc1", "TRM paper", 0.446, "4 × H100, about 3 days", "arXiv 2510.04871, upstream's README"),
    Published("arc1", "ARC Prize, retrained", 0.40, "8 × H100, $1.76 a task", "ARC Prize verification"),
    Published("arc1", "alphaXiv, H3 L4", 0.43, "8 × A100, batch 1536", "their REPORT"),
    Published("arc1", "alphaXiv, H3 L6", 0.5275, "8 × A100, batch 1536", "their REPORT"),
    Published("arc1", "gaoxin492", 0.41, "8 × H200, batch 4608", "model card"),
    Published("sudoku", "TRM paper, MLP", 0.874, "1 × L40S, under 36 h", "arXiv 2510.04871, upstream's README"),
    Published("sudoku", "TRM paper, attention", 0.747, "1 × L40S, under 36 h", "arXiv 2510.04871"),
    Published("sudoku", "alphaXiv, MLP", 0.7937, "8 × A100, batch 1536", "their REPORT, 50,000 epochs"),
    Published("sudoku", "alphaXiv, attention", 0.7366, "8 × A100, batch 1536", "their REPORT, 60,000 epochs"),
    Published("maze", "TRM paper", 0.853, "4 × L40S, under 24 h", "arXiv 2510.04871, upstream's README"),
    Published("maze", "alphaXiv", 0.8367, "8 × A100, batch 1536", "their REPORT"),
)


def published(target: str) -> list[Published]:
    """The numbers of one kind of puzzle, the authors' first."""
    return [number for number in NUMBERS if target.startswith(number.target)]
