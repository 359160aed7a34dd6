"""The record of a training attempt: ``training.json`` in the run's state folder.

It is written when a training starts and when it ends. One that says *running* while its process is gone was ended by
something that asked nobody: a reboot, a kill, a lack of memory.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from trm_repro.files import read_json, utc_now, write_json

FILE = "training.json"


@dataclass(frozen=True)
class Attempt:
    """One attempt at training.

    Attributes:
        state: ``running``, or how it ended; ``stopped`` is on request (Ctrl-C, a signal).
        started: UTC.
        finished: UTC, empty while it runs.
        pid: the supervising process.
        birth: when that process was born, in the kernel's ticks; a number that another process of the same pid lacks.
        boot: which boot of the machine it runs in.
        exit_code: of the training, as a shell reports it.
        said: how it ended, in a sentence.
    """

    state: Literal["running", "finished", "failed", "stopped"]
    started: str
    pid: int
    birth: int
    boot: str
    finished: str = ""
    exit_code: int | None = None
    said: str = ""

    @property
    def alive(self) -> bool:
        """Whether it is running now."""
        return self.state == "running" and self.boot == boot_id() and birth_of(self.pid) == self.birth

    @property
    def fate(self) -> str:
        """How it ended, in a sentence; empty for one that runs or has finished well."""
        if self.state == "finished" or self.alive:
            return ""
        if self.state != "running":
            return self.said
        if self.boot != boot_id():
            return "the machine was restarted while it ran"
        return "it was killed without a word (kill -9, lack of memory, or its container ended)"

    def ended(self, state: Literal["finished", "failed", "stopped"], exit_code: int, said: str) -> Attempt:
        """The record of its end, now."""
        return replace(self, state=state, finished=utc_now(), exit_code=exit_code, said=said)


def begin() -> Attempt:
    """The record of an attempt that this process starts now."""
    pid = os.getpid()
    return Attempt("running", utc_now(), pid, birth_of(pid) or 0, boot_id())


def read_attempt(folder: Path) -> Attempt | None:
    """The last attempt recorded in a run's state folder."""
    path = folder / FILE
    return Attempt(**read_json(path)) if path.exists() else None


def write_attempt(folder: Path, attempt: Attempt) -> None:
    """Records an attempt in a run's state folder."""
    write_json(folder / FILE, asdict(attempt))


def boot_id() -> str:
    """A name of this boot of the machine; empty where the kernel tells none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def birth_of(pid: int) -> int | None:
    """When a process was born, in the kernel's ticks since boot; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19])  # starttime is field 22; field 3 is the first after the name
