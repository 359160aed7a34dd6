"""The curves of a training, from its metrics: of a full run some 700,000 lines and 240 MB, read in bounded pieces."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_repro.runs.metrics import is_evaluation, read_entry

Curves = dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]

_BLOCK = 1 << 20
_LONG = 8 << 20  # bytes from which on loading the compiled reader is worth its time


def read_curves(path: Path | None, names: Sequence[str]) -> tuple[Curves, list[dict[str, Any]]]:
    """(steps, values) of each metric that is asked for and there, in order, and the lines of evaluations.

    Where no row of a batch halted (``train/count`` is 0), a step's means say nothing, and its losses alone count.
    """
    if path is None or not path.exists():
        return {}, []
    wanted = (*names, "train/count")
    losses = np.array(["loss" in name for name in wanted])
    steps, columns = array("d"), [array("d") for _ in names]  # they grow in place: nothing is kept twice
    evaluations = []
    for block in _blocks(path):
        numbers, values, others = _scan(block, wanted, compiled=path.stat().st_size > _LONG)
        for line in np.flatnonzero(others[:, 0] >= 0).tolist():
            text = block[slice(*others[line])]
            if (entry := read_entry(text)) is None:
                continue
            if is_evaluation(text):
                evaluations.append(entry)
            numbers[line] = entry["step"]
            for column, name in enumerate(wanted):
                if isinstance(value := entry.get(name), (int, float)):
                    values[line, column] = value
        values[np.ix_(values[:, -1] == 0, ~losses)] = np.nan
        there = ~np.isnan(values[:, :-1]).all(1)
        steps.frombytes(numbers[there].astype(np.float64).tobytes())
        for kept, read in zip(columns, values[there].T, strict=False):
            kept.frombytes(read.tobytes())
    where = np.frombuffer(steps) if steps else np.zeros(0)
    curves: Curves = {}
    for name, kept in zip(names, columns, strict=True):
        found = np.frombuffer(kept) if kept else np.zeros(0)
        known = ~np.isnan(found)
        if known.any():
            curves[name] = (where, found) if known.all() else (where[known], found[known])
    return curves, evaluations


def _blocks(path: Path) -> Iterator[bytes]:
    """A file's lines, many at a time; each ends in a newline, the last of a run that goes on too."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            block += file.readline()
            yield block if block.endswith(b"\n") else block + b"\n"


def _scan(
    block: bytes, names: Sequence[str], *, compiled: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """As :func:`trm_repro.runs.scanning.scan`, which is loaded for long files only; else every line is to be read otherwise."""
    if compiled:
        from trm_repro.runs.scanning import scan

        return scan(block, names)
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    lines = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    return np.zeros(len(ends), np.int64), np.full((len(ends), len(names)), np.nan), lines
