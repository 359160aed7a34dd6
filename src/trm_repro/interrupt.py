"""Ctrl-C where the engine is a program: what was interrupted, how to go on, and exit code 130, as a shell has it.

torchrun sends its processes another one when it gets one itself; only the first counts. As a library the engine leaves
Ctrl-C to its caller.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from trm_repro.errors import Interrupted

SWALLOWED = 10.0  # seconds after a Ctrl-C in which its process should have ended


class CtrlC(KeyboardInterrupt):
    """What Ctrl-C raises in a program of ours.

    Where a plain KeyboardInterrupt leaves a string that is being executed, as imports execute their namedtuples and
    dataclasses, CPython takes it for one that nobody handles (``PyErr_Occurred() == PyExc_KeyboardInterrupt``), and kills
    itself with SIGINT at its end, whatever the exit code.
    """


def raise_ours() -> None:
    """From here on Ctrl-C raises :class:`CtrlC`."""

    def ours(number: int, frame: FrameType | None) -> None:
        raise CtrlC

    _set(ours)


def leave_at_once() -> None:
    """From here on Ctrl-C ends the process where it stands: nothing has begun, PyTorch is still being loaded."""

    def leave(number: int, frame: FrameType | None) -> None:
        if leads():
            os.write(2, b"error: interrupted before it began: the same command starts it again\n")
        os._exit(Interrupted.exit_code)

    _set(leave)


@contextlib.contextmanager
def explained(how_to_go_on: Callable[[], tuple[str, str]]) -> Iterator[None]:
    """Within, Ctrl-C raises :class:`Interrupted`, whatever a library makes of it on the way; the process is about to end.

    Another one is ignored, unless the first was swallowed, as an import or a destructor may, and the work goes on.

    Args:
        how_to_go_on: what was interrupted, and what to do next; asked when it was.
    """
    last: float | None = None

    def ours(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if before is None or last - before > SWALLOWED:
            raise CtrlC

    before = _set(ours)
    try:
        yield
    except BaseException as error:
        heard = last is not None and time.monotonic() - last <= SWALLOWED
        if not heard and not isinstance(error, KeyboardInterrupt):
            raise
        _set(signal.SIG_IGN)
        what, hint = how_to_go_on()
        raise Interrupted(what, hint=hint) from None
    finally:
        _set(before)


def leads() -> bool:
    """Whether this process, perhaps one of torchrun's, is the one that speaks: all of them are interrupted alike."""
    return os.environ.get("RANK", "0") == "0"


def _set(handler: Any) -> Any:
    """Sets what Ctrl-C does, unless it is ignored: by who started the process (nohup), or since the first; returns the old."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread() and before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
    return before
