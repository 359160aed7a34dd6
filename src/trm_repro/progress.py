"""Progress of long work: a bar with an ETA on a terminal, plain lines in a log.

On a terminal the bar is redrawn in place; elsewhere one line is written to stderr at the start, every ``EVERY`` seconds,
and at the end (``after``: nothing at all of what is done sooner)::

    building: 512/1280 puzzles, 40 %, 00:00:08 gone, 00:00:12 left, loss 3.21

A step's output goes through a pipe into its log. It names the terminal it was started on in ``TRM_REPRO_TERMINAL`` and
its log in ``TRM_REPRO_LOG``: then the bar is drawn on the one and the lines are written to the other.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

EVERY = 10.0  # seconds between two plain lines
WIDE = 130  # columns of a terminal on which everything fits
BESIDE = 106  # columns that everything but the title takes there
SOON = 2.0  # what is done so soon needs none
LOOK = 0.5  # seconds between two looks at a file that grows
MB = 10**6


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


@dataclass(frozen=True)
class _Work:
    """What is tracked, how many units of it were done before, and since when, on the monotonic clock, it goes on."""

    title: str
    total: int
    before: int
    unit: str
    began: float


class _Lines:
    """Progress as plain lines."""

    def __init__(self, work: _Work, done: int, file: TextIO) -> None:
        self._file, self._work = file, work
        self._done, self._note = done, ""
        self._last = time.monotonic()

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            self.write()

    def note(self, text: str) -> None:
        self._note = text

    def write(self) -> None:
        work, gone = self._work, time.monotonic() - self._work.began
        here = self._done - work.before
        left = clock(gone / here * (work.total - self._done)) if here else "--:--:--"
        share = 100 * self._done // max(1, work.total)
        note = f", {self._note}" if self._note else ""
        print(
            f"{work.title}: {self._done}/{work.total} {work.unit}, {share} %, {clock(gone)} gone, {left} left{note}",
            file=self._file,
            flush=True,
        )


@contextlib.contextmanager
def track(
    title: str, *, total: int, done: int = 0, unit: str = "steps", quiet: bool = False, after: float = 0.0
) -> Iterator[Tracker]:
    """Tracks work of ``total`` units.

    Args:
        title: what is being done.
        total: how many units there will be.
        done: how many were done before; the time left is reckoned from the others.
        unit: what they are called.
        quiet: show nothing (for ranks other than the first).
        after: show nothing either unless it lasts longer than so many seconds (:data:`SOON`, for what mostly does not).
    """
    work = _Work(title, total, done, unit, time.monotonic())
    with contextlib.ExitStack() as stack:
        if quiet:
            yield _Several([])
        elif after:
            yield _Late(lambda so_far: stack.enter_context(_shown(work, so_far)), done, after)
        else:
            yield stack.enter_context(_shown(work, done))


@contextlib.contextmanager
def _shown(work: _Work, done: int) -> Iterator[Tracker]:
    """Shows it, with ``done`` units of it done: on the terminal, in the log, or on stderr."""
    with contextlib.ExitStack() as stack:
        parts: list[Tracker] = []
        terminal, log = os.environ.get("TRM_REPRO_TERMINAL"), os.environ.get("TRM_REPRO_LOG")
        if sys.stderr.isatty():
            parts.append(stack.enter_context(_bar(work, done, sys.stderr)))
        elif terminal and log:
            parts.append(stack.enter_context(_bar(work, done, stack.enter_context(Path(terminal).open("w")))))
            parts.append(stack.enter_context(_lines(work, done, stack.enter_context(Path(log).open("a")))))
        else:
            parts.append(stack.enter_context(_lines(work, done, sys.stderr)))
        yield _Several(parts)


@contextlib.contextmanager
def _lines(work: _Work, done: int, file: TextIO) -> Iterator[Tracker]:
    lines = _Lines(work, done, file)
    lines.write()
    try:
        yield lines
    finally:
        lines.write()


@contextlib.contextmanager
def _bar(work: _Work, done: int, file: TextIO) -> Iterator[Tracker]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(file=file, force_terminal=True)
    narrow = console.width < WIDE
    longest = console.width // 5 if narrow else console.width - BESIDE
    title = work.title if len(work.title) <= longest else f"{work.title[: longest - 1]}…"
    columns = (
        TextColumn("{task.description}"),
        BarColumn(console.width // 10 if narrow else 40),
        MofNCompleteColumn(),
        TextColumn(work.unit),
        *(() if narrow else (TimeElapsedColumn(),)),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=work.total, completed=done, note="")
        progress.tasks[0].start_time = progress.get_time() - (time.monotonic() - work.began)

        class Bar:
            def advance(self, amount: int = 1) -> None:
                progress.advance(task, amount)

            def note(self, text: str) -> None:
                progress.update(task, note=text)

        yield Bar()


class _Late:
    """Progress that begins to be shown when the work has lasted some seconds. Several threads may tell it of theirs."""

    def __init__(self, show: Callable[[int], Tracker], done: int, after: float) -> None:
        self._show, self._done, self._from = show, done, time.monotonic() + after
        self._note, self._lock = "", threading.Lock()
        self._shown: Tracker | None = None

    def advance(self, amount: int = 1) -> None:
        with self._lock:
            if self._shown is None and time.monotonic() >= self._from:
                self._shown = self._show(self._done)
                self._shown.note(self._note)
            self._done += amount
            if self._shown is not None:
                self._shown.advance(amount)

    def note(self, text: str) -> None:
        with self._lock:
            self._note = text
            if self._shown is not None:
                self._shown.note(text)


class _Several:
    """The same progress in several places; in none, nobody watches."""

    def __init__(self, parts: list[Tracker]) -> None:
        self._parts = parts

    def advance(self, amount: int = 1) -> None:
        for part in self._parts:
            part.advance(amount)

    def note(self, text: str) -> None:
        for part in self._parts:
            part.note(text)


class Counted:
    """A file whose reads and writes advance a progress that is counted in MB; all else is the file's own."""

    def __init__(self, file: Any, bar: Tracker) -> None:
        self._file, self._bar, self._rest = file, bar, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        """As the file's."""
        data: bytes = self._file.read(size)
        self._count(len(data))
        return data

    def write(self, data: bytes) -> int:
        """As the file's."""
        self._count(len(data))
        return int(self._file.write(data))

    def _count(self, size: int) -> None:
        whole, self._rest = divmod(self._rest + size, MB)
        if whole:
            self._bar.advance(whole)


@contextlib.contextmanager
def growing(path: Path, size: int, bar: Tracker) -> Iterator[None]:
    """Within, somebody else's code writes a file: a progress that is counted in MB follows its growth.

    Args:
        path: the file; it need not be there yet.
        size: bytes that it will have, counted up to whole MB; when it is over, so much is done.
        bar: what follows.
    """
    over, seen, total = threading.Event(), 0, -(-size // MB)

    def look() -> None:
        nonlocal seen
        while not over.wait(LOOK):
            with contextlib.suppress(OSError):
                now = min(total, path.stat().st_size // MB)
                bar.advance(max(0, now - seen))
                seen = max(seen, now)

    looks = threading.Thread(target=look, daemon=True)
    looks.start()
    try:
        yield
    finally:
        over.set()
        looks.join()
    bar.advance(total - seen)
