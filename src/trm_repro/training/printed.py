"""Metrics that a program prints instead of logging them: a dictionary as Python writes it, alone on its line.

NVARC's script puts the step behind it; alphaXiv's evaluation has none, which is step 0. Scalars of numpy 2 print their type::

    {'all': {'accuracy': np.float32(0.5), 'exact_accuracy': 0.0436}, 'ARC/pass@2': 0.1014} 220708
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trm_repro.files import utc_now
from trm_repro.runs.records import append

DICTIONARY = re.compile(r"\s*(\{.*\})\s*([0-9]{1,18})?\s*")
SCALAR = re.compile(r"np\.float[0-9]+\(([^()]*)\)")


def printed_metrics(line: str) -> tuple[int, dict[str, float]] | None:
    """(step, metrics) of a line of output; None if it holds no evaluation."""
    match = DICTIONARY.fullmatch(line)
    if not match:
        return None
    try:
        value = ast.literal_eval(SCALAR.sub(r"\1", match[1]))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    metrics = dict(_numbers(value)) if isinstance(value, dict) else {}
    evaluated = any(name.startswith(("all.", "ARC/")) for name in metrics)
    return (int(match[2] or 0), metrics) if evaluated else None


def listener(path: Path) -> Callable[[str], None]:
    """A function that writes each evaluation among the lines it hears to a metrics file."""

    def hear(line: str) -> None:
        if found := printed_metrics(line):
            with contextlib.suppress(OSError):  # a full disk is said elsewhere, and must not stop the listening
                append(path, {"step": found[0], "time": utc_now(), **found[1]})

    return hear


def _numbers(value: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _numbers(item, f"{prefix}{key}.")
        elif isinstance(item, int | float):
            yield f"{prefix}{key}", float(item)
