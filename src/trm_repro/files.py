"""Reading and writing small files: atomically, and in one form.

Invariants: a file appears under its name complete or not at all (written beside it, flushed to disk, renamed); JSON is
written in one way only (UTF-8, two spaces, keys in the order given, newline at the end); times are UTC and end in Z.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trm_repro.errors import InvariantBroken, MissingPrerequisite


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yields a name beside ``path`` to write to; renames it to ``path`` on success, removes it on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_staged(folder: Path) -> None:
    """Removes from below ``folder`` what processes that were killed had begun to write there."""
    for leftover in sorted(folder.rglob(".*.part")):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)  # gone, if it lay in such a folder


def write_bytes(path: Path, data: bytes) -> None:
    """Writes ``data`` to ``path`` atomically."""
    with staged(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` to ``path`` atomically, as UTF-8."""
    write_bytes(path, text.encode())


def json_text(value: Any) -> str:
    """``value`` as the house's JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` to ``path`` atomically, as the house's JSON."""
    write_text(path, json_text(value))


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        MissingPrerequisite: the file is not there.
        InvariantBroken: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingPrerequisite(f"{path}: no such file") from None
    except OSError as error:
        raise MissingPrerequisite(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvariantBroken(f"{path}: not valid JSON: {error}") from None


def utc_now() -> str:
    """The time now, such as ``2026-01-31T12:00:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
