"""Processes and files of a run that is to be killed: which there are, what was just written, and the end of them.

Linux only, standard library only: /proc and inotify.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import time
from pathlib import Path

HOW = ("group", "session", "everything")
NOTED = 0x8 | 0x40 | 0x80 | 0x100 | 0x200  # closed after writing, moved from, moved to, created, deleted
FOLDER = 0x40000000


def started_for(token: str) -> list[int]:
    """The living processes of a run: their environment says STARTED_FOR=token, or is that of a step of its runbook."""
    step = b"TRM_REPRO_STEP=" + bytes(Path(token).with_name("runbook")) + b"/"
    wanted, found = b"STARTED_FOR=" + token.encode() + b"\0", []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            variables = (place / "environ").read_bytes()
            alive = (place / "stat").read_text().rpartition(") ")[2][0] not in "ZX"
            if alive and (wanted in variables or step in variables):
                found.append(int(place.name))
        except OSError:
            continue
    return found


def kill(leader: int, how: str, token: str, number: int = signal.SIGKILL) -> int:
    """Sends a signal, SIGKILL if no other, to a process group, a session, or all that a run has started.

    Args:
        leader: the process that leads the group and the session.
        how: one of HOW.
        token: what STARTED_FOR is in the environment of everything.
        number: the signal.

    Returns:
        how many processes there were.
    """
    pids = started_for(token)
    if how == "group":
        pids = [pid for pid in pids if _of(os.getpgid, pid) == leader]
    elif how == "session":
        pids = [pid for pid in pids if _of(os.getsid, pid) == leader]
    if how == "group":
        os.killpg(leader, number)
    else:
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
    return len(pids)


def _of(what: object, pid: int) -> int:
    try:
        return what(pid)  # type: ignore[operator]
    except OSError:
        return -1


class Watch:
    """Counts what is created, written, renamed and removed below a folder, as it happens."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK)
        self._folders: dict[int, Path] = {}
        self.count = 0
        self.last = ""
        self._add(folder)

    def _add(self, folder: Path) -> None:
        for place, folders, _ in os.walk(folder):
            folders[:] = [name for name in folders if name not in (".git", ".venv")]
            number = self._libc.inotify_add_watch(self._fd, os.fsencode(place), NOTED)
            if number >= 0:
                self._folders[number] = Path(place)

    def look(self) -> int:
        """How many there have been until now; ``last`` names the last one."""
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return self.count
            while data:
                number, mask, _, length = struct.unpack_from("iIII", data)
                name = data[16 : 16 + length].rstrip(b"\0").decode(errors="replace")
                data = data[16 + length :]
                place = self._folders.get(number)
                if place is None or not mask & NOTED:
                    continue
                self.count += 1
                self.last = str(place / name)
                if mask & FOLDER and mask & (0x100 | 0x80):
                    self._add(place / name)

    def close(self) -> None:
        """Ends it."""
        os.close(self._fd)


def wait_until_gone(token: str, seconds: float) -> list[int]:
    """Waits for all that a run has started to end; what is left after so long."""
    end = time.monotonic() + seconds
    while (left := started_for(token)) and time.monotonic() < end:
        time.sleep(0.1)
    return left
