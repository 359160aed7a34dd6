"""Making a folder so that it appears under its name complete or not at all.

The folder is filled as ``.<name>.unfinished`` beside its final place and renamed at the end. A lock held on it tells a
build at work from one that was killed: the lock dies with its process, and the next build of that name starts over.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from trm_repro.errors import MissingPrerequisite, UsageError

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EFBIG: "a file is too big"}


@contextlib.contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder to fill; renames it to ``path`` on success, removes it on failure.

    Raises:
        UsageError: ``path`` exists, or another process is making it.
        MissingPrerequisite: the disk filled up.
    """
    if path.exists():
        raise UsageError(f"{path}: exists already", hint="move it away, or name another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileExistsError):
            unfinished.mkdir()
        lock = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{path}: another process is making it") from None
        stack.callback(shutil.rmtree, unfinished, ignore_errors=True)
        if leftovers := list(unfinished.iterdir()):
            print(f"{path}: starting over, removing what a killed build left", file=sys.stderr)
            for leftover in leftovers:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        try:
            yield unfinished
            for file in unfinished.rglob("*"):
                flush(file)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise MissingPrerequisite(
                f"{path}: {_FULL[error.errno]}; nothing is kept", hint="free some space, or name a folder elsewhere"
            ) from None
        unfinished.rename(path)
        flush(path.parent)


def require_space(folder: Path, needed: int) -> None:
    """Fails before the work if ``folder``'s disk has fewer than ``needed`` bytes free.

    Raises:
        MissingPrerequisite: it has.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MissingPrerequisite(
            f"{folder.parent}: {needed:,} bytes are needed, {free:,} are free",
            hint="free some space, or name a folder elsewhere",
        )


def flush(path: Path) -> None:
    """Makes a file's content, or a folder's names, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
