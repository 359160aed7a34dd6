"""Metrics of a run: JSON lines, one object a line, as the engine and the tap on upstream write them.

Each line has ``step`` (int), ``time`` (UTC) and metric names as upstream logs them: ``train/lm_loss`` after every step,
``all.exact_accuracy`` and ``ARC/pass@2`` after every evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trm_repro.records import read

FILE = "metrics.jsonl"


def series(entries: list[dict[str, Any]], name: str) -> Iterator[tuple[int, float]]:
    """(step, value) of one metric, in order."""
    for entry in entries:
        if name in entry:
            yield int(entry["step"]), float(entry[name])


def evaluations(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines that an evaluation wrote, in order: those with a metric that no training step has."""
    return [entry for entry in entries if any(key.startswith(("all.", "ARC/")) for key in entry)]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines of a metrics file; none where there is no such file."""
    return read(path)
