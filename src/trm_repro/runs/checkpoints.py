"""Which checkpoints a training left.

A checkpoint is a file ``step_<N>``, N digits only. The final one has the highest N: not the newest, because evaluators'
folders and files of earlier attempts lie beside them.
"""

from __future__ import annotations

import re
from pathlib import Path

from trm_repro.errors import MissingPrerequisite

NAME = re.compile(r"step_([0-9]+)")


def step_of(path: Path) -> int:
    """The step number in a checkpoint's name."""
    match = NAME.fullmatch(path.name)
    assert match, path
    return int(match[1])


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a training, by step."""
    found = [path for path in folder.glob("step_*") if path.is_file() and NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


def final_checkpoint(folder: Path) -> Path:
    """The checkpoint with the highest step.

    Raises:
        MissingPrerequisite: there is none.
    """
    found = checkpoints(folder)
    if not found:
        raise MissingPrerequisite(f"{folder}: no checkpoint (step_<N>) found", hint="look at the log of step 5")
    return found[-1]
