"""Whether the disk lasts until a training ends, told hours before it does not.

Two things fill it: the checkpoints still to come, whose number and size are known beforehand, and everything else on the
same disk (logs, other programs), whose rate is measured. What the training has already written is not counted twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trm_repro.runs.checkpoints import checkpoints

SPARE = 1 << 30  # bytes; a disk with less left than this is as good as full
WINDOW = 6 * 3600.0  # seconds over which the rate is measured


@dataclass(frozen=True)
class CheckpointPlan:
    """What a training will write: ``checkpoints`` files of ``bytes`` each."""

    checkpoints: int
    bytes: int


@dataclass(frozen=True)
class Sample:
    """The disk at a moment: seconds, bytes free, and how many checkpoints there were with how many bytes."""

    time: float
    free: int
    checkpoints: int
    written: int


def sample(folder: Path, time: float) -> Sample:
    """The disk that ``folder`` is on, now."""
    files = checkpoints(folder)
    return Sample(time, free(folder), len(files), sum(path.stat().st_size for path in files))


def free(folder: Path) -> int:
    """The bytes that are free where a folder lies, or will lie once it is made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def shortage(samples: Sequence[Sample], plan: CheckpointPlan, left: float | None) -> str:
    """What to warn of, in a sentence; empty while the disk will do.

    Args:
        samples: in order of time; the last is now.
        plan: what will be written.
        left: seconds until the end; None while that is unknown.
    """
    now = samples[-1]
    missing = max(0, plan.checkpoints - now.checkpoints)
    spare = now.free - missing * plan.bytes - SPARE
    if spare < 0:
        fits = max(0, (now.free - SPARE) // plan.bytes)
        return (
            f"the disk has {gigabytes(now.free)} left, and {missing} checkpoints of {gigabytes(plan.bytes)} are still to "
            f"come: there is room for {fits}; free at least {gigabytes(-spare)}"
        )
    first = next(entry for entry in samples if now.time - entry.time <= WINDOW)
    taken = (first.free + first.written) - (now.free + now.written)  # by everything but checkpoints
    if left is None or taken <= 0 or now.time - first.time < 600:
        return ""
    rate = taken / (now.time - first.time)
    if rate * left <= spare:
        return ""
    return (
        f"the disk fills by {gigabytes(round(rate * 3600))} an hour beside the checkpoints and will be full in "
        f"{spare / rate / 3600:.1f} hours, the training takes {left / 3600:.1f}: free at least "
        f"{gigabytes(round(rate * left - spare))}"
    )


def gigabytes(count: int) -> str:
    """Bytes for people to read, such as ``2.5 GB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
