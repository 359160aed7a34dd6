"""Timing a training's steps on this machine: start it, watch its progress bar until it is steady, stop it.

Upstream draws a tqdm bar, ``step/total [``, on stderr. The first steps compile; the speed counts as steady once two
successive windows of time agree within 3 %. The whole process group is ended afterwards, kindly and then not.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trm_repro import progress
from trm_repro.errors import CommandFailed
from trm_repro.machine.hardware import gpus

BAR = re.compile(r"\b(\d{1,12})/(\d{1,12}) \[")
AGREE = 0.03
PATIENCE = 30.0  # seconds between asking the processes to end and ending them


@dataclass(frozen=True)
class Measured:
    """What was seen: seconds a step over the last ``steps``, the schedule's ``total``, GPU memory in bytes."""

    step_seconds: float
    steps: int
    total: int
    steady: bool
    gpus: int
    peak_memory: int


class Speed:
    """Finds the steady speed in a sequence of (time, step)."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._points: list[tuple[float, int]] = []
        self._last: float | None = None
        self.seconds, self.steps, self.steady = 0.0, 0, False

    def add(self, when: float, step: int) -> bool:
        """Takes one point; whether the speed is steady now."""
        self._points.append((when, step))
        began, first = self._points[0]
        if when - began < self._window or step <= first:
            return False
        self.seconds, self.steps = (when - began) / (step - first), step - first
        self.steady = self._last is not None and abs(self.seconds - self._last) <= AGREE * self._last
        self._last = self.seconds
        self._points = [(when, step)]
        return self.steady


def measure(words: Sequence[str], *, cwd: Path, at_most: float, window: float) -> Measured:
    """Runs a training command until its speed is steady, and stops it.

    Args:
        words: the command; it runs in this environment.
        cwd: where it runs.
        at_most: seconds after which it is stopped, steady or not.
        window: seconds that one speed is taken over.

    Raises:
        CommandFailed: it ended by itself, or made no two steps in time.
    """
    began = time.monotonic()
    speed, total, peak, tail = Speed(window), 0, 0, ""
    count = len(gpus())
    process = subprocess.Popen(
        words, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    try:
        with (
            selectors.DefaultSelector() as ready,
            progress.track("timing steps", total=int(at_most), unit="s at most") as bar,
        ):
            ready.register(process.stderr, selectors.EVENT_READ)
            shown, polled = 0, began
            while not speed.steady and time.monotonic() - began < at_most and process.poll() is None:
                ready.select(timeout=1)
                text = (process.stderr.read() or b"").decode(errors="replace")
                tail = (tail + text)[-4000:]
                if found := BAR.findall(text):
                    step, total = int(found[-1][0]), int(found[-1][1])
                    speed.add(time.monotonic(), step)
                    bar.note(f"step {step}" + (f", {speed.seconds * 1000:.1f} ms each" if speed.steps else ""))
                if time.monotonic() - polled >= 1:
                    polled = time.monotonic()
                    peak = max([peak, *(gpu.used or 0 for gpu in gpus())])
                bar.advance(int(time.monotonic() - began) - shown)
                shown = int(time.monotonic() - began)
        if process.poll() is not None:
            tail += (process.stderr.read() or b"").decode(errors="replace")
            raise CommandFailed(f"the training ended by itself, code {process.returncode}: …{tail[-1500:]}")
        if not speed.steps:
            raise CommandFailed(
                f"no two steps were seen in {at_most:.0f} s: …{tail[-1500:]}", hint="allow more: --at-most"
            )
    finally:
        _end(process)
    return Measured(speed.seconds, speed.steps, total, speed.steady, count, peak)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all of its group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    if process.stderr:
        process.stderr.close()
