"""Asking a program, or the kernel, within a limit of time: a broken driver or a lost file server must hang nobody.

What a program says is read in English whatever the user's language is, and as text whatever its bytes are.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
# seconds that a program has: nvidia-smi takes up to 20 where the driver has to be loaded for it
_given = os.environ.get("TRM_REPRO_PATIENCE", "")
PATIENCE = float(_given) if _given.isdigit() else 30.0
NOTICE = 3.0  # seconds after which the user is told what is waited for
HUNG: set[str] = set()  # programs that did not answer this process, or (SILENT) the one that started it
SILENT = "TRM_REPRO_SILENT"  # a variable: programs that are not to be asked again


@dataclass(frozen=True)
class Answer:
    """What came of asking a program.

    Attributes:
        said: its standard output.
        complaint: why there is none to go by, in one line: its own words where it had any.
        code: its exit code, negative for a signal; None where it did not run, or did not end in time.
        why: ``""`` where it succeeded, else ``missing``, ``silent`` or ``failed``.
    """

    said: str = ""
    complaint: str = ""
    code: int | None = None
    why: str = ""


def ask(command: Sequence[str], **environ: str) -> Answer:
    """Runs a program with no input, :data:`PATIENCE` seconds at most. One that was silent is not asked again.

    Args:
        command: its words.
        environ: variables to set for it.
    """
    name = os.path.basename(command[0])  # noqa: PTH119
    if name in HUNG or name in os.environ.get(SILENT, "").split():
        return Answer(complaint=f"{name} did not answer in {PATIENCE:.0f} s", why="silent")
    if not shutil.which(command[0]):
        return Answer(complaint=f"there is no {name}", why="missing")
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "", **environ},
            start_new_session=True,  # so that what it starts ends with it
        )
    except OSError as error:  # found, and not what this machine can run
        return Answer(complaint=f"{name} cannot be run: {error.strerror}", why="failed")
    try:
        output, errors = _communicate(process, name)
    except subprocess.TimeoutExpired:
        HUNG.add(name)
        _kill(process)
        return Answer(complaint=f"{name} did not answer in {PATIENCE:.0f} s", why="silent")
    except BaseException:
        _kill(process)
        raise
    said = output.decode(errors="replace")
    if not process.returncode:
        return Answer(said, code=0)
    own = one_line(f"{said}\n{errors.decode(errors='replace')}")
    if process.returncode < 0:
        ended = f"{name} was ended by {signal.Signals(-process.returncode).name}"
        return Answer(said, f"{ended}: {own}" if own else ended, process.returncode, "failed")
    return Answer(said, own or f"{name} failed with exit code {process.returncode}", process.returncode, "failed")


def _communicate(process: subprocess.Popen[bytes], name: str) -> tuple[bytes, bytes]:
    try:
        return process.communicate(timeout=min(NOTICE, PATIENCE))
    except subprocess.TimeoutExpired:
        if PATIENCE <= NOTICE:
            raise
        print(f"==> {name} has not answered yet; it has {PATIENCE:.0f} s", file=sys.stderr, flush=True)
        return process.communicate(timeout=PATIENCE - NOTICE)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # what hangs in a driver does not die of it
        process.wait(1)
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def output(command: Sequence[str]) -> str:
    """What a program prints; empty where it is missing, fails or does not answer in time."""
    answer = ask(command)
    return "" if answer.why else answer.said


def one_line(text: str, most: int = 300) -> str:
    """A program's words as one line without control characters, cut where they are long."""
    words = " ".join("".join(letter if letter.isprintable() and letter != "\ufffd" else " " for letter in text).split())
    return words if len(words) <= most else f"{words[:most]} …"


def within(seconds: float, function: Callable[[], T]) -> T:
    """What a function returns, computed in a child process, which is left behind when it hangs in the kernel.

    Raises:
        TimeoutError: it did not return in time, or its process died.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.close(reader)
            os.write(writer, pickle.dumps(function()))  # smaller than a pipe's buffer
        os._exit(0)
    os.close(writer)
    try:
        deadline, data = time.monotonic() + seconds, b""
        while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
            if not (part := os.read(reader, 65536)):
                break
            data += part
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _reap(child)
    try:
        found: T = pickle.loads(data)
    except (EOFError, pickle.UnpicklingError):
        raise TimeoutError(f"no answer in {seconds:.0f} s") from None
    return found


def _reap(child: int) -> None:
    for _ in range(50):
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.02)
