"""Progress of long work: a bar with an ETA on a terminal, plain lines in a log.

Everything goes to stderr. On a terminal the bar is redrawn in place; elsewhere one line is written at the start, every
``EVERY`` seconds, and at the end::

    building: 512/1280 puzzles, 40 %, 00:00:08 gone, 00:00:12 left, loss 3.21
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

EVERY = 10.0  # seconds between two plain lines


class Tracker(Protocol):
    """What the work tells its progress."""

    def advance(self, amount: int = 1) -> None:
        """``amount`` more units are done."""

    def note(self, text: str) -> None:
        """Something to show beside the count, such as the loss."""


def clock(seconds: float) -> str:
    """Seconds as ``HH:MM:SS``."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class _Lines:
    """Progress as plain lines."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done, self._note = 0, ""
        self._began = time.monotonic()
        self._last = self._began

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            self.write()

    def note(self, text: str) -> None:
        self._note = text

    def write(self) -> None:
        gone = time.monotonic() - self._began
        left = clock(gone / self._done * (self._total - self._done)) if self._done else "--:--:--"
        share = 100 * self._done // max(1, self._total)
        note = f", {self._note}" if self._note else ""
        print(
            f"{self._title}: {self._done}/{self._total} {self._unit}, {share} %, {clock(gone)} gone, {left} left{note}",
            file=sys.stderr,
            flush=True,
        )


@contextlib.contextmanager
def track(title: str, *, total: int, unit: str = "steps", quiet: bool = False) -> Iterator[Tracker]:
    """Tracks work of ``total`` units.

    Args:
        title: what is being done.
        total: how many units there will be.
        unit: what they are called.
        quiet: show nothing (for ranks other than the first).
    """
    if quiet:
        yield _Silent()
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Left

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeElapsedColumn(),
            Left(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total, note="")

            class Bar:
                def advance(self, amount: int = 1) -> None:
                    bar.advance(task, amount)

                def note(self, text: str) -> None:
                    bar.update(task, note=text)

            yield Bar()
    else:
        lines = _Lines(title, total, unit)
        lines.write()
        try:
            yield lines
        finally:
            lines.write()


class _Silent:
    """Progress that nobody watches."""

    def advance(self, amount: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass
