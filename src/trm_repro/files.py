"""Reading and writing small files: atomically, and in one form.

Invariants: a file appears under its name complete or not at all (written beside it, flushed to disk, renamed); JSON is
written in one way only (UTF-8, two spaces, keys in the order given, newline at the end); times are UTC and end in Z.
Whatever is read may come from a stranger: reading it ends in a value or in one of our errors, and how much of it there may be
has a limit where the caller says so.
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

YAML_BYTES, YAML_NODES = 1 << 16, 100_000  # of one file, at most; a recipe has 5 kB and some 100 values


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


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """A file's bytes, if they are no more than ``most``.

    Raises:
        MissingPrerequisite: the file is not there.
        InvariantBroken: it is larger, or no file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(-1 if most is None else most + 1)
    except FileNotFoundError:
        raise MissingPrerequisite(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InvariantBroken(f"{path}: a folder, not a file") from None
    except OSError as error:
        raise MissingPrerequisite(f"{path}: cannot be read: {error.strerror}") from None
    if most is not None and len(data) > most:
        raise InvariantBroken(f"{path}: larger than {most:,} bytes, the most that such a file may have")
    return data


def read_json(path: Path, *, most: int | None = None, strict: bool = False) -> Any:
    """The value in a JSON file.

    Args:
        path: the file.
        most: bytes that it may have; any number unless given.
        strict: as for :func:`parse_json`.

    Raises:
        MissingPrerequisite: the file is not there.
        InvariantBroken: it is not JSON, or too large.
    """
    data = read_bytes(path, most)
    return parse_json(data, str(path), strict=strict)


def parse_json(data: bytes, where: str, *, strict: bool = False) -> Any:
    """The value in a JSON text.

    Args:
        data: the text.
        where: its name, for the error.
        strict: one reading only: no key twice in an object, no NaN and no Infinity.

    Raises:
        InvariantBroken: it is not JSON.
    """
    try:
        if strict:
            return json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
        return json.loads(data)
    except RecursionError:
        raise InvariantBroken(f"{where}: not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise InvariantBroken(f"{where}: not valid JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def parse_yaml(data: bytes, where: str, loader: Any = None) -> Any:
    """The value in a YAML text, of plain data only.

    Args:
        data: the text.
        where: its name, for the error.
        loader: the class that reads it; PyYAML's safe one unless given.

    Raises:
        InvariantBroken: it is not YAML, or more than a configuration can be: too long, too deep, an anchor that holds itself
            or stands for too much.
    """
    import yaml

    if len(data) > YAML_BYTES:
        raise InvariantBroken(f"{where}: larger than {YAML_BYTES:,} bytes, the most that such a file may have")
    try:
        reader = (loader or yaml.SafeLoader)(data)
        node = reader.get_single_node()
        if node is None:
            return None
        if _nodes(node, {}) > YAML_NODES:
            raise InvariantBroken(f"{where}: its anchors stand for more than {YAML_NODES:,} values")
        return reader.construct_document(node)
    except InvariantBroken as error:
        raise InvariantBroken(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    except RecursionError:
        raise InvariantBroken(f"{where}: nested too deeply") from None
    except yaml.YAMLError as error:
        raise InvariantBroken(f"{where}: {error}") from None
    except Exception as error:  # a value that is not of the type its tag names makes PyYAML raise nearly anything
        raise InvariantBroken(f"{where}: not valid YAML: {type(error).__name__}: {error}") from None


def _nodes(node: Any, known: dict[int, int]) -> int:
    """How many values a node of YAML stands for, those behind its anchors counted each time."""
    count = known.get(id(node))
    if count == 0:
        raise InvariantBroken("an anchor that holds itself")
    if count is None:
        known[id(node)] = 0
        parts = node.value if isinstance(node.value, list) else ()
        inner = (part for entry in parts for part in (entry if isinstance(entry, tuple) else (entry,)))
        count = known[id(node)] = 1 + sum(_nodes(part, known) for part in inner)
    return count


def read_yaml(path: Path, loader: Any = None) -> Any:
    """The value in a YAML file; as :func:`parse_yaml`.

    Raises:
        MissingPrerequisite: the file is not there.
        InvariantBroken: it is not YAML, or more than a configuration can be.
    """
    return parse_yaml(read_bytes(path, YAML_BYTES), str(path), loader)


def utc_now() -> str:
    """The time now, such as ``2026-01-31T12:00:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
