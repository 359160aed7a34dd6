"""The folders that a run works in, tried and not only looked at: what a file system calls itself does not say whether locks,
renames and programs work on it. Sizes are bytes. A folder whose server is gone hangs nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from trm_repro.machine.ask import ask, output, within

PATIENCE = 20.0  # seconds that a file system has
DF = ("df", "-B1", "--output=avail,iavail,itotal")
SCRATCH = ".trm-repro-"  # how the folders begin in which things are tried
LONGEST = 300  # characters below VENV_DIR and TRM_DIR of what is put there


@dataclass(frozen=True)
class Space:
    """What is free where a folder lies: bytes and files; None where nobody says, or where files are not counted."""

    free: int | None
    files: int | None = None
    quota: str = ""  # the quota that sets it, if one does


@dataclass(frozen=True)
class Place:
    """A folder that is there, or will be.

    Attributes:
        name: the knob or the word for it.
        path: where.
        kind: the type of its file system, such as ``ext4`` or ``nfs4``; empty where nobody says.
        tried: what was tried there: ``""`` where it works, else how it does not. Empty if nothing was tried.
        silent: whether the file system did not answer.
    """

    name: str
    path: Path
    kind: str = ""
    tried: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there, be it closed to this user or a link that leads nowhere."""
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 (links are not followed: one may lead to a lost server)
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def device(folder: Path) -> int | None:
    """Which file system a folder lies on, or will; None where nobody says."""
    try:
        return within(PATIENCE, lambda: existing(folder).stat().st_dev)
    except TimeoutError:
        return None


def space(folder: Path) -> Space:
    """What is free where a folder lies, or will lie once it is made; what a quota leaves counts."""
    try:
        folder = within(PATIENCE, lambda: existing(folder))
    except TimeoutError:
        return Space(None)
    lines = output([*DF, str(folder)]).splitlines()
    words = [int(word) if word.isdigit() else None for word in (lines[-1].split() if lines[1:] else [])]
    free, files, counted = (*words, None, None, None)[:3]
    found = Space(free, files if counted else None)
    for blocks, inodes, program in _quotas(folder):
        if blocks is not None and (found.free is None or blocks < found.free):
            found = Space(blocks, found.files, program)
        if inodes is not None and (found.files is None or inodes < found.files):
            found = Space(found.free, inodes, program)
    return found


def _quotas(folder: Path) -> list[tuple[int | None, int | None, str]]:
    """What quotas leave of a folder's file system: (bytes, files, the program that says so)."""
    device, mount, kind = mounted(folder)
    commands = [["quota", "-v", "-w", "-p"]]
    if kind == "lustre":
        commands.append(["lfs", "quota", "-q", "-u", str(os.geteuid()), mount])
    found = []
    for command in commands:
        if not shutil.which(command[0]):
            continue
        for line in ask(
            command
        ).said.splitlines():  # quota itself fails where one is exceeded, and says it all the same
            words = line.split()
            if len(words) >= 8 and words[0] in (device, mount):
                numbers = [int(digits[0]) if (digits := re.match(r"\d+", word)) else 0 for word in words]
                used, soft, hard, _, files, most, limit = numbers[1:8]
                blocks = max(0, (hard or soft) - used) * 1024 if hard or soft else None
                inodes = max(0, (limit or most) - files) if limit or most else None
                found.append((blocks, inodes, command[0]))
    return found


def mounted(folder: Path) -> tuple[str, str, str]:
    """The (device, mount point, type) of the file system that a folder lies on; empty where nobody says."""
    path, best = Path(os.path.abspath(folder)), ("", "", "")  # noqa: PTH100
    with contextlib.suppress(OSError, RuntimeError):
        psutil.PROCFS_PATH = "/proc"
        for part in psutil.disk_partitions(all=True):
            inside = path == Path(part.mountpoint) or Path(part.mountpoint) in path.parents
            if inside and len(part.mountpoint) >= len(best[1]):
                best = (part.device, part.mountpoint, part.fstype)
    return best


def look(name: str, folder: Path, *, trying: bool) -> Place:
    """A folder, tried where ``trying`` says so: small files are made in it, or in the nearest above it, and removed again."""
    kind = mounted(folder)[2]
    try:
        there, tried = within(PATIENCE, lambda: _try_out(existing(folder)) if trying else (existing(folder), {}))
    except TimeoutError:
        return Place(name, folder, kind, silent=True)
    if trying and there == Path(os.path.abspath(folder)) and not tried["write"]:  # noqa: PTH100
        tried = {**tried, "git": _owner(there)}
    return Place(name, folder, mounted(Path(os.path.realpath(there)))[2] or kind, tried)


def _owner(folder: Path) -> str:
    """Why git does not work in a folder: it belongs to somebody else."""
    if folder.stat().st_uid == os.geteuid():
        return ""
    said = ask(["git", "-C", str(folder), "rev-parse"]).complaint
    return "it belongs to another user, and git refuses it" if "dubious ownership" in said else ""


def _try_out(folder: Path) -> tuple[Path, dict[str, str]]:
    owner = f"{SCRATCH}{socket.gethostname()}-"
    _remove_leftovers(folder, owner)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f"{owner}{os.getpid()}-", dir=folder))
    except OSError as error:
        return folder, {"write": error.strerror or str(error)}
    try:
        return folder, {"write": "", **{name: _how(trial, scratch) for name, trial in TRIALS.items()}}
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_leftovers(folder: Path, owner: str) -> None:
    """Removes what a killed process of this machine had begun to try there: a clone wants an empty folder, and no strays."""
    for leftover in folder.glob(f"{owner}*"):
        pid = leftover.name.removeprefix(owner).partition("-")[0]
        with contextlib.suppress(psutil.Error, OSError):
            if not pid.isdigit() or (
                psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
            ):
                continue
            shutil.rmtree(leftover, ignore_errors=True)


def _how(trial: Callable[[Path], str | None], scratch: Path) -> str:
    try:
        return trial(scratch) or ""
    except OSError as error:
        return error.strerror or str(error)


def _file(scratch: Path) -> str | None:
    path = scratch / "file"
    path.write_bytes(b"some bytes")
    return "what was written is not what is read" if path.read_bytes() != b"some bytes" else None


def _execute(scratch: Path) -> str | None:
    program = scratch / "program"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o700)
    code = subprocess.run([str(program)], stdin=subprocess.DEVNULL, timeout=10, check=False).returncode
    return f"a program ends with code {code} and not 7" if code != 7 else None


def _flock(scratch: Path) -> str | None:
    with (scratch / "lock").open("w") as one, (scratch / "lock").open("w") as two:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return "two can hold one lock"
    return None


def _rename(scratch: Path) -> str | None:
    for name in ("new", "old"):
        (scratch / name).write_text(name)
    (scratch / "new").replace(scratch / "old")
    (scratch / "a folder").mkdir()
    (scratch / "a folder" / "file").write_text("")
    (scratch / "a folder").rename(scratch / "renamed")
    whole = (scratch / "old").read_text() == "new" and (scratch / "renamed" / "file").exists()
    return None if whole else "a renamed file is not there"


def _link(scratch: Path) -> str | None:
    (scratch / "link").symlink_to("target")
    return None


def _case(scratch: Path) -> str | None:
    (scratch / "Case").write_text("")
    return "'Case' and 'case' are one file" if (scratch / "case").exists() else None


def _owned(scratch: Path) -> str | None:
    return "new files belong to another user" if scratch.stat().st_uid != os.geteuid() else None


def _map(scratch: Path) -> str | None:
    (scratch / "map").write_bytes(b"some bytes")
    with (scratch / "map").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return None if mapped[:4] == b"some" else "a mapped file is not what was written"


def _name(scratch: Path) -> str | None:
    (scratch / ("n" * 200)).write_text("")
    return None


def _socket(scratch: Path) -> str | None:
    """A socket such as multiprocessing's, ``pymp-????????/listener-????????``."""
    path = scratch.parent / "pymp-12345678" / "listener-12345678"
    if len(os.fsencode(path)) > 107:
        return f"the path of a socket in it would have {len(os.fsencode(path))} bytes, and 107 is the most"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(scratch / "s"))
    return None


TRIALS: Mapping[str, Callable[[Path], str | None]] = {
    "read": _file,
    "run programs": _execute,
    "lock": _flock,
    "rename": _rename,
    "link": _link,
    "tell names apart by case": _case,
    "own new files": _owned,
    "map": _map,
    "long names": _name,
    "sockets": _socket,
}
