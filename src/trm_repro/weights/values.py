"""The numbers in a tensor, looked at piece by piece with NumPy: in constant memory, without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_repro.errors import InvariantBroken
from trm_repro.weights.stored import Tensor

PIECE = 8 << 20  # bytes read at a time
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
ROWS = 20_000_000  # of a table, at most; the largest that is known has 1.2 million
WORDS = {8: np.uint64, 4: np.uint32, 2: np.uint16}


def pieces(path: Path, tensor: Tensor, width: int = 1) -> Iterator[npt.NDArray[Any]]:
    """The values of a tensor of floats in order, flat, so many at a time that they are a multiple of ``width``.

    Raises:
        InvariantBroken: the file ends before the tensor does.
    """
    kind = np.dtype(FLOATS[tensor.dtype])
    count = tensor.bytes // kind.itemsize
    each = max(width, PIECE // kind.itemsize // width * width)
    with path.open("rb") as file:
        file.seek(tensor.begin)
        for start in range(0, count, each):
            data = np.fromfile(file, kind, min(each, count - start))
            if len(data) < min(each, count - start):
                raise InvariantBroken(f"{path.name}: ends before its tensors do")
            if tensor.dtype == "BF16":  # the upper half of a float32
                data = (data.astype(np.uint32) << 16).view(np.float32)
            yield data


def count_not_finite(path: Path, tensor: Tensor) -> int:
    """How many values of a tensor are no numbers, or infinite; 0 of whole numbers."""
    if tensor.dtype not in FLOATS:
        return 0
    return sum(int(len(data) - np.isfinite(data).sum()) for data in pieces(path, tensor))


@dataclass(frozen=True)
class Table:
    """What the rows of a puzzle table are like.

    Attributes:
        rows: how many there are.
        width: values in a row.
        zero: how many rows are all zeros, as a table is before its first training.
        alike: how many rows are one and the same, other than zero, as where a table was filled with one vector; 0 or ≥ 2.
        first_untrained: whether row 0, which no puzzle has, is one of those.
        norms: the Euclidean norms of the other rows, least, 5 %, median, 95 % and most; none where there are no others.
        drawn: whether those rows look like independent random draws: norms as alike as a Gaussian's, and nothing in common.
        common: share of their squared length that lies in their common mean.
    """

    rows: int
    width: int
    zero: int
    alike: int
    first_untrained: bool
    norms: tuple[float, ...]
    drawn: bool
    common: float

    @property
    def untrained(self) -> int:
        """Rows that no training has touched, as far as that shows."""
        return self.zero + self.alike


def look_at_table(path: Path, tensor: Tensor) -> Table:
    """What the rows of a table are like, in one pass; 16 bytes a row are kept.

    Raises:
        InvariantBroken: it is no table of floats, or larger than any.
    """
    if len(tensor.shape) != 2 or tensor.dtype not in FLOATS or not 0 < tensor.shape[0] <= ROWS or not tensor.shape[1]:
        raise InvariantBroken(f"{path.name}: its puzzle table is {tensor.dtype} {list(tensor.shape)}, which is none")
    rows, width = tensor.shape
    norms, marks = np.empty(rows), np.empty(rows, np.uint64)
    odd = (
        np.random.default_rng(0).integers(1 << 63, size=width, dtype=np.uint64) * 2 + 1
    )  # rows of one mark are one row
    total, at = np.zeros(width), 0
    for data in pieces(path, tensor, width):
        block = np.nan_to_num(data.reshape(-1, width).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        here = slice(at, at + len(block))
        norms[here] = np.sqrt(np.einsum("ij,ij->i", block, block))
        words = data.view(WORDS[data.itemsize]).reshape(-1, width)
        marks[here] = np.einsum("ij,j->i", words.astype(np.uint64), odd)
        total += block.sum(0)
        at += len(block)
    zero = norms == 0
    same = np.zeros(rows, bool)
    if not zero.all():
        values, counts = np.unique(marks[~zero], return_counts=True)
        if counts.max() > 1:
            same = ~zero & (marks == values[counts.argmax()])
    others = norms[~zero & ~same]
    square = float(np.square(others).sum())
    mean = total if not same.any() else total - _row(path, tensor, int(same.argmax())) * int(same.sum())
    common = float(np.square(mean).sum() / len(others) / square) if square else 0.0
    quantiles = tuple(float(q) for q in np.quantile(others, (0, 0.05, 0.5, 0.95, 1))) if len(others) else ()
    return Table(
        rows, width, int(zero.sum()), int(same.sum()), bool(zero[0] or same[0]), quantiles,
        _drawn(others, width, common), common,
    )  # fmt: skip


def _row(path: Path, tensor: Tensor, number: int) -> npt.NDArray[np.float64]:
    size = tensor.bytes // tensor.shape[0]
    one = Tensor(tensor.dtype, tensor.shape[1:], tensor.begin + number * size, size)
    return np.concatenate([data.astype(np.float64) for data in pieces(path, one)])


def _drawn(norms: npt.NDArray[np.float64], width: int, common: float) -> bool:
    """Whether rows of these norms look like draws of one Gaussian: their norms then spread by 1 / √(2 · width)."""
    if len(norms) < 100 or not norms.mean():
        return False
    spread = float(norms.std() / norms.mean()) * (2 * width) ** 0.5
    return abs(spread - 1) < 5 / len(norms) ** 0.5 + 0.1 and common < 10 / len(norms)
