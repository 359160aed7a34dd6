"""Why a training fails, and the legitimate next move: one table, for the diagnosis and for docs/troubleshooting.md.

A move is legitimate when the run stays the recipe's: more of the machine, a repaired environment, the same command again.
Never a changed flag. Fewer GPUs are no remedy for lack of memory: the batch is split by their number.

``ALARMS`` are lines of upstream after which it goes on as if nothing had happened, or crashes hours later: they end a run at
once.
"""

from __future__ import annotations

import re

from trm_repro.training.causes.gpu import GPU
from trm_repro.training.causes.kinds import DATASET, ENDED, ROOT, SYMPTOM, Alarm, Cause
from trm_repro.training.causes.program import PROGRAM
from trm_repro.training.causes.system import SYSTEM

__all__ = ["ALARMS", "CAUSES", "ENDED", "ROOT", "SYMPTOM", "Alarm", "Cause", "as_markdown"]

CAUSES = (*GPU, *SYSTEM, *PROGRAM)  # the first that fits counts: a special one stands before a general one

ALARMS = (
    Alarm(
        "no test split",
        re.compile("NO EVAL DATA FOUND"),
        "upstream cannot read the dataset's test split; it would train for hours and crash at its first evaluation",
        DATASET,
    ),
    Alarm(
        "no evaluator",
        re.compile("No evaluator found"),
        "upstream goes on without its evaluator: no pass@K, no submission, and exit code 0",
        "test_puzzles.json or identifiers.json is missing or broken. " + DATASET,
    ),
    Alarm(
        "missing predictions",
        re.compile("has no predictions"),
        "a test input was never predicted: its entry is left out, and later ones of the task move to its place",
        "The test split does not belong to test_puzzles.json. " + DATASET,
    ),
    Alarm(
        "puzzle table reset",
        re.compile("Resetting puzzle embedding"),
        "the loaded checkpoint belongs to a dataset with other puzzles; its table was replaced by its mean",
        "Load a checkpoint of this dataset, or start from the beginning: unset RESUME and run make all.",
    ),
)


def as_markdown() -> str:
    """The table of docs/troubleshooting.md."""
    rows: dict[str, str] = {}
    for cause in (*CAUSES, *ALARMS):
        rows.setdefault(
            cause.name, f"| {cause.name} | {cause.means} | {cause.remedy} |".replace(" | grep", " \\| grep")
        )
    return "\n".join(("| named | what it means | next |", "|---|---|---|", *rows.values()))
