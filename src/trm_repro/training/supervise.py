"""Runs a training and stays beside it.

The training gets a process group of its own, so that Ctrl-C reaches the supervisor alone: the first one asks the training to
end (SIGTERM to its launcher, which ends its workers), the second kills it. The supervisor also ends it when its own parent,
the step, is gone. Whatever way it ends, no process of it is left: all of them carry a mark in their environment.

Its output passes through, whole lines at a time. Of lines that a program draws over each other (progress bars), one in
``REDRAW`` seconds passes. Lines that upstream prints and ignores (:data:`~trm_repro.training.causes.ALARMS`) end the run
at once.
"""

from __future__ import annotations

import collections
import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from trm_repro.training.causes import Alarm
from trm_repro.training.diagnosis import Diagnosis, alarmed, diagnose

MARK = "TRM_REPRO_TRAINING"
GRACE = 60.0  # seconds to end by itself; torchrun gives its workers 30
REDRAW = 10.0  # seconds between two lines of a progress bar that are passed on
KEPT = 8_000  # lines of output that a diagnosis is made from: eight processes, each with a long traceback
LONGEST = 4000  # characters of each
TRACEBACK = b"Traceback (most recent call last):"
NOTICE = b"torch.distributed.elastic.multiprocessing.api.SignalException: "
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Ending:
    """How a training ended.

    Attributes:
        exit_code: as a shell reports it, 128 + n for signal n; of a training that was stopped, that of the stopping signal;
            of one that an alarm ended, 1.
        stopped: the signal that asked for it, if any.
        diagnosis: what went wrong, if something did.
    """

    exit_code: int
    stopped: signal.Signals | None = None
    diagnosis: Diagnosis | None = None


@dataclass
class Supervisor:
    """Runs one command.

    Args:
        argv: its words.
        alarms: lines that end it.
        every_second: called about once a second while it runs.
        hear: called with each line of its output.
        environment: all of its variables; ours, if that is not said.
    """

    argv: Sequence[str]
    alarms: Sequence[Alarm] = ()
    every_second: Callable[[], None] = lambda: None
    hear: Callable[[str], None] = lambda line: None
    environment: Mapping[str, str] | None = None
    _tail: collections.deque[str] = field(default_factory=lambda: collections.deque(maxlen=KEPT))
    _alarm: tuple[Alarm, str] | None = None
    _asked: list[signal.Signals] = field(default_factory=list)

    def run(self) -> Ending:
        """Runs the command to its end."""
        mark, parent = f"{os.getpid()}-{time.time_ns()}", os.getppid()
        with self._signals():
            process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**(os.environ if self.environment is None else self.environment), MARK: mark},
                process_group=0,
            )
            reader = threading.Thread(target=self._listen, args=(process,))
            reader.start()
            try:
                self._stay_beside(process, parent)
            finally:
                end_marked(mark)
            code = process.wait()
            reader.join()
        return self._ending(128 - code if code < 0 else code)

    def _stay_beside(self, process: subprocess.Popen[bytes], parent: int) -> None:
        """Returns when the launcher has ended, or was asked to and has not."""
        deadline = None
        while not _ended(process):
            if os.getppid() != parent and not self._asked:
                self._asked.append(signal.SIGHUP)
            if (self._asked or self._alarm) and deadline is None:
                process.terminate()
                deadline = time.monotonic() + GRACE
            if deadline and (len(self._asked) > 1 or time.monotonic() > deadline):
                return
            self.every_second()

    def _ending(self, code: int) -> Ending:
        if self._asked:
            return Ending(128 + self._asked[0], self._asked[0])
        if self._alarm:
            return Ending(1, diagnosis=alarmed(*self._alarm))
        return Ending(code, diagnosis=diagnose(self._tail, code) if code else None)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Notes the signals that ask to stop; one that is ignored (nohup) stays so."""

        def note(number: int, frame: FrameType | None) -> None:
            self._asked.append(signal.Signals(number))

        before: dict[signal.Signals, Any] = {number: signal.getsignal(number) for number in STOPPING}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Passes both streams on until they end.

        What was printed before an exception must be heard before it: of two streams with news, stdout comes first.
        """
        assert process.stdout
        assert process.stderr
        with selectors.DefaultSelector() as selector:
            for pipe, out in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
                selector.register(pipe, selectors.EVENT_READ, (pipe is process.stderr, _Passage(pipe, out.buffer)))
            while selector.get_map():
                for key, _ in sorted(selector.select(), key=lambda ready: ready[0].data[0]):
                    passage: _Passage = key.data[1]
                    for line in passage.lines():
                        self._pass_on(line, passage)
                    if passage.ended:
                        self._write(passage, passage.held)
                        selector.unregister(passage.pipe)
                        passage.pipe.close()

    def _pass_on(self, line: bytes, passage: _Passage) -> None:
        """Passes a line on; listens for alarms."""
        text = line.decode(errors="replace")
        if text.strip():
            self._keep(text[:LONGEST])
            self.hear(text)
        if not self._alarm:
            self._alarm = next(((alarm, text) for alarm in self.alarms if alarm.pattern.search(text)), None)
        if line.endswith(b"\r"):
            if not text.strip() or time.monotonic() - passage.drawn < REDRAW:
                return
            passage.drawn = time.monotonic()
            line = line[:-1] + b"\n"
        if self._asked:
            line = passage.without_notice(line)
        self._write(passage, line)

    @staticmethod
    def _write(passage: _Passage, text: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more: the training goes on until it is stopped
            passage.out.write(text)
            passage.out.flush()

    def _keep(self, text: str) -> None:
        """Keeps a line for a diagnosis; of a bar that is drawn again and again, the last."""
        if text.endswith("\r") and self._tail and self._tail[-1].endswith("\r"):
            self._tail[-1] = text
        else:
            self._tail.append(text)


@dataclass
class _Passage:
    """A stream, where it goes, what has no end yet, and when a progress bar was last passed on."""

    pipe: IO[bytes]
    out: IO[bytes]
    rest: bytes = b""
    drawn: float = -REDRAW
    ended: bool = False
    held: bytes = b""

    def lines(self) -> list[bytes]:
        """The lines that are whole by now, each with its end: a newline or a carriage return. There must be news."""
        chunk = os.read(self.pipe.fileno(), 1 << 16)
        if not chunk:
            self.ended = True
            return [self.rest + b"\n"] if self.rest else []
        lines = (self.rest + chunk).splitlines(keepends=True)
        self.rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        return lines

    def without_notice(self, line: bytes) -> bytes:
        """What to pass on now, of a training that was asked to end: not the traceback in which torchrun says that it was."""
        if not self.held and not line.startswith(TRACEBACK):
            return line
        self.held += line
        if line.startswith((b" ", TRACEBACK)):
            return b""
        held, self.held = self.held, b""
        return b"" if line.startswith(NOTICE) else held


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Waits for the end of a process, a second at most."""
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        return False
    return True


def end_marked(mark: str) -> None:
    """Kills every process that carries a mark in its environment, and waits until they are gone (10 seconds at most)."""
    needle = f"{MARK}={mark}".encode()
    for _ in range(200):
        found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if needle in _environment(path)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
