"""``identifiers.json``: the names of the rows of a puzzle table, in their order, read without a list of a million texts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trm_repro.errors import InvariantBroken
from trm_repro.files import parse_json

MOST = 256 << 20  # bytes of identifiers.json, at most; arc2-paper's have 90 MB
NAMES = 5_000_000  # of them, at most; arc2-paper has 1,191,730
SEPARATOR = b"|||"  # between a task's name and what a variant does to it
_TEXT = re.compile(rb'\s*("(?:[^"\\\x00-\x1f]|\\.)*")\s*([,\]])', re.DOTALL)


def texts(data: bytes) -> Iterator[bytes]:
    """The texts of a JSON list of texts, as they stand there in quotation marks, in the memory of its bytes.

    Raises:
        InvariantBroken: it is no such list.
    """
    place = re.match(rb"\s*\[\s*", data)
    at = place.end() if place else len(data)
    if place and data[at:].strip() == b"]":
        return
    while at < len(data) and (found := _TEXT.match(data, at)):
        at = found.end()
        yield found[1]
        if found[2] == b"]":
            if not data[at:].strip():
                return
            break
    raise InvariantBroken("identifiers.json: not a JSON list of texts")


def count(data: bytes) -> int:
    """How many texts a JSON list of texts has."""
    return sum(1 for _ in texts(data))


def variants(data: bytes) -> dict[str, int]:
    """How many variants each task has, the first row's name aside, which no puzzle has; by the task's name.

    Raises:
        InvariantBroken: it is no list of texts, or a name stands twice.
    """
    found: dict[bytes, int] = {}
    seen: set[int] = set()
    for number, text in enumerate(texts(data)):
        mark = hash(text)
        if mark in seen:
            raise InvariantBroken(f"identifiers.json: the name at {number} stands twice: {text[:80]!r}")
        seen.add(mark)
        if number > NAMES:
            raise InvariantBroken(f"identifiers.json: more than {NAMES:,} names")
        if number:
            task = text[1:-1].partition(SEPARATOR)[0]
            found[task] = found.get(task, 0) + 1
    return {parse_json(b'"%s"' % task, "identifiers.json"): many for task, many in found.items()}
