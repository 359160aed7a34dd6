"""Metrics of a run: JSON lines, one object a line, as the engine and the tap on upstream write them.

Each line has ``step`` (int), ``time`` (UTC) and metric names as upstream logs them: ``train/lm_loss`` after every step,
``all.exact_accuracy`` and ``ARC/pass@2`` after every evaluation. A long run has some 700,000 lines and 200 MB, so that what
is wanted while it goes on (the last lines, the evaluations) is found without reading all of them as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from trm_repro.arc.score import LOGGED

FILE = "metrics.jsonl"
MOST = 1 << 63  # of a number in it
PASS = re.compile(f"{LOGGED}[0-9]{{1,9}}")
_BLOCK = 1 << 20  # bytes looked through at once


def series(entries: list[dict[str, Any]], name: str) -> Iterator[tuple[int, float]]:
    """(step, value) of one metric, in order."""
    for entry in entries:
        try:
            value = float(entry[name])  # "nan" is a number here
        except (KeyError, TypeError, ValueError):
            continue
        yield int(entry["step"]), value


def evaluations(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that an evaluation wrote, in order: those with a metric that no training step has."""
    return [entry for entry in entries if any(key.startswith(("all.", "ARC/")) for key in entry)]


def credible(entry: Mapping[str, Any], unknown: tuple[int, int], *, engine: str) -> dict[str, Any]:
    """A line without what it says of answers that nobody knows.

    Accuracies and losses are against the labels, which a dataset without solutions fills with ``[[0]]``. So is upstream's
    pass@K; the reference engine's leaves such test inputs out.

    Args:
        entry: the line.
        unknown: how many test inputs have no known answer, of how many.
        engine: which one wrote it.
    """
    missing, inputs = unknown
    if not missing:
        return dict(entry)
    says_nothing = ("all.", LOGGED) if engine == "upstream" or missing == inputs else ("all.",)
    return {name: value for name, value in entry.items() if name == "all.steps" or not name.startswith(says_nothing)}


def read_tail(path: Path, count: int = 2000) -> list[dict[str, Any]]:
    """The last lines of a metrics file, ``count`` at most, in order; none where there is no such file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 400 * count))  # a line has some 250 bytes
        return _parsed(file.read().splitlines()[-count:])


def read_all(path: Path) -> list[dict[str, Any]]:
    """All lines of a metrics file, in order; none where there is no such file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        return _parsed(file)


def read_evaluations(path: Path) -> list[dict[str, Any]]:
    """The lines that an evaluation wrote, in order, as :func:`evaluations` finds them; none where there is no such file."""
    if not path.exists():
        return []
    lines: list[bytes] = []
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            block += file.readline()
            if is_evaluation(block):  # few blocks hold one
                lines += filter(is_evaluation, block.split(b"\n"))
    return evaluations(_parsed(lines))


def is_evaluation(line: bytes) -> bool:
    """Whether a line may be one that an evaluation wrote, or lines hold one that may be."""
    return b'"all.' in line or b'"ARC/' in line


def read_entry(line: bytes) -> dict[str, Any] | None:
    """A line as JSON; None where it is none (cut off at one end, or without a step)."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if is_entry(entry) else None


def _parsed(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    return [entry for line in lines if (entry := read_entry(line)) is not None]


def is_entry(entry: Any) -> bool:
    """Whether a line's value is an entry: a step, a time that is one if any, pass@K of a number K, none that no float holds."""
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), int) or not 0 <= entry["step"] < MOST:
        return False
    try:
        datetime.fromisoformat(entry.get("time", "2026-01-31T12:00:00Z"))
    except (TypeError, ValueError):
        return False
    if any(name.startswith(LOGGED) and not PASS.fullmatch(name) for name in entry):
        return False
    return all(not isinstance(value, int) or abs(value) < MOST for value in entry.values())
