"""What a training leaves, by the numbers in its names.

A checkpoint is a file ``step_<N>``, N digits only: the weights after N steps. The final one has the highest N: not the
newest, because evaluators' folders and files of earlier attempts lie beside them. ``evaluator_ARC_step_<N>/`` holds what
the evaluation at step N put out. ``all_config.yaml`` beside them says what was trained.
"""

from __future__ import annotations

import re
from pathlib import Path

from trm_repro.errors import MissingPrerequisite

CONFIG = "all_config.yaml"


def checkpoint_name(step: int) -> str:
    """What the checkpoint of a step is called."""
    return f"step_{step}"


def evaluation_name(step: int) -> str:
    """What the folder of a step's evaluation is called."""
    return f"evaluator_ARC_{checkpoint_name(step)}"


def step_of(path: str | Path) -> int:
    """The step that a path names, the last one if it names several; −1 if it names none."""
    found = re.findall(r"(?:^|[/_])step_([0-9]{1,18})(?![0-9])", str(path))
    return int(found[-1]) if found else -1


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints of a training, by step."""
    found = [path for path in folder.glob("step_*") if path.name == checkpoint_name(step_of(path)) and path.is_file()]
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


def evaluated(folder: Path, name: str) -> list[Path]:
    """The files ``name`` of all evaluations of a training, by step."""
    return sorted(folder.glob(f"evaluator_ARC_step_*/{name}"), key=step_of)
