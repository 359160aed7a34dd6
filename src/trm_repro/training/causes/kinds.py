"""What a cause is, and the words that several share."""

from __future__ import annotations

import re
from dataclasses import dataclass

ROOT, ENDED, SYMPTOM = 0, 1, 2


@dataclass(frozen=True)
class Cause:
    """A kind of failure.

    Attributes:
        name: how it is called.
        means: what it means, a clause that follows the name.
        remedy: what to do, sentences that hold.
        raised: how ``type: message`` of an exception begins (without the type's module).
        printed: how a line begins that no exception is behind, of a process that ended.
        signals: the signals that a process was ended by.
        beside: what must stand in some line of the output as well, from its beginning.
        frames: what the traceback must name.
        outside: what it must not name.
        rank: ROOT; ENDED: the system or somebody ended a process, and why may stand elsewhere; SYMPTOM: of what happened to
            another process. A root cause of any process comes before the others.
    """

    name: str
    means: str
    remedy: str
    raised: tuple[str, ...] = ()
    printed: tuple[str, ...] = ()
    signals: tuple[int, ...] = ()
    beside: str = ""
    frames: str = ""
    outside: str = ""
    rank: int = ROOT


@dataclass(frozen=True)
class Alarm:
    """A line that ends a run: its name and pattern, what it means, and what to do."""

    name: str
    pattern: re.Pattern[str]
    means: str
    remedy: str


def cuda(*words: str) -> tuple[str, ...]:
    """How an exception begins in which CUDA, its driver, triton or NCCL reports one of these errors."""
    said = f"(?:{'|'.join(words)})"
    return (
        rf"\w+: (?:CUDA (?:driver )?error: |Triton Error \[CUDA\]: |cuda runtime error \(\d+\) : ){said}",
        rf"RuntimeError: (?:Unexpected error from cudaGetDeviceCount|CUDA initialization)[^\n]*Error \d+: {said}",
        rf"DistBackendError: [^\n]*unhandled cuda error(?:[^\n]*\n)+?(?:[^\n]*: )?Cuda failure(?: \d+)? '{said}",
        rf"DistBackendError: [^\n]*watchdog thread terminated with exception: CUDA error: {said}",
    )


AGAIN = "Then run the same command again: make all."
REBUILD = "Build the environment again: make step-3 FORCE=1, then make all."
DATASET = "Build the dataset again: make step-4 FORCE=1, then make all."
ELSEWHERE = "Run the same command on another machine, or on this one once the fault is mended: make all."
FULL = r"(?:OSError|IOError): \[Errno 28\](?! inotify)"
UPSTREAM = "(?:models|puzzle_dataset|evaluators|utils|dataset)"  # its modules
DIVERGED = (
    "loss is not a number",
    "the training diverged or computed wrongly, and the program stopped at it",
    "Nothing in the recipe may be changed. Build the environment again (make step-3 FORCE=1) and run the same "
    "command: make all. If it comes again at about the same step, a GPU computes wrongly, or the recipe does not "
    "hold: report it.",
)
COMPILER = r"CalledProcessError: Command '\[?'?[\w./+-]*\b(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+)(?:-\d+)?[' ]"
