"""Metrics: a file of lines as :mod:`trm_repro.runs.metrics` reads them, always; and Weights & Biases, when asked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trm_repro.errors import CommandFailed, InvariantBroken
from trm_repro.files import utc_now


class MetricsLog:
    """Where rank 0 writes metrics.

    Args:
        path: the file; it is created with its folder, and appended to.
        wandb_run: a Weights & Biases run, or None.
    """

    def __init__(self, path: Path, wandb_run: Any = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("ab")
        self._wandb = wandb_run

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Logs metrics at a step."""
        line = json.dumps({"step": step, "time": utc_now(), **metrics}, allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        if self._wandb is not None:
            self._wandb.log(dict(metrics), step=step)

    def position(self) -> int:
        """The length of the file so far, all of it on the disk."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def rewind(self, position: int) -> None:
        """Forgets what was logged after ``position``: the steps that a resumed run does again.

        Raises:
            InvariantBroken: the file is shorter.
        """
        if position > self._file.tell():
            raise InvariantBroken(
                f"{self.path}: {self._file.tell()} bytes; the training state was written when it had {position}",
                hint="put the run's metrics back at this place (TRM_REPRO_METRICS names it)",
            )
        self._file.truncate(position)

    def close(self) -> None:
        """Ends the log."""
        self._file.close()
        if self._wandb is not None:
            self._wandb.finish()


def wandb_run(asked: bool | None, *, project: str, name: str, entity: str | None, config: Mapping[str, Any]) -> Any:
    """A Weights & Biases run, or None.

    It is wanted when ``asked``, or when not forbidden and WANDB_API_KEY is set. Without a key it is kept offline, so that
    nothing is ever asked at a prompt. WANDB_MODE overrides.

    Raises:
        CommandFailed: the service refuses the key, or cannot be reached.
    """
    key = os.environ.get("WANDB_API_KEY")
    if asked is False or (asked is None and not key):
        return None
    import wandb

    mode: Any = (os.environ.get("WANDB_MODE") or "online") if key else "offline"
    try:
        return wandb.init(project=project, name=name, entity=entity, config=dict(config), mode=mode)
    except wandb.Error as error:
        raise CommandFailed(
            f"Weights & Biases: {str(error).splitlines()[0]}",
            hint="WANDB_MODE=offline logs on this machine, wandb=False not at all",
        ) from None
