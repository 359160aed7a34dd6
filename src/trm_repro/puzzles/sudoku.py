"""Sudoku-Extreme: 81 cells, row by row, '.' or a digit; the token is the digit + 1, 1 for an empty cell, which is '.' or '0'.

An answer has each digit once in every row, column and box, and the question's digits where they are.

A variant of a board relabels the digits, transposes the board with probability ½, and permutes the bands, the rows
within each band, the stacks and the columns within each stack. All of these turn a valid board into a valid board.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from trm_repro.errors import UsageError
from trm_repro.puzzles.boards import Expand, Kind, Options, Tokens, build

REPO = "sapientinc/sudoku-extreme"
_EMPTY, _ALL = 1, sum(1 << token for token in range(2, 11))


def _wrong(questions: Tokens, answers: Tokens) -> tuple[int, str] | None:
    bits = np.left_shift(1, answers.reshape(-1, 9, 9), dtype=np.int16)
    boxes = bits.reshape(-1, 3, 3, 3, 3).transpose(0, 1, 3, 2, 4).reshape(-1, 9, 9)
    parts = np.concatenate(
        [np.bitwise_or.reduce(bits, 1), np.bitwise_or.reduce(bits, 2), np.bitwise_or.reduce(boxes, 2)], 1
    )
    unsolved = (parts != _ALL).any(axis=1)
    another = ((questions != _EMPTY) & (questions != answers)).any(axis=1)
    if not (unsolved | another).any():
        return None
    first = int((unsolved | another).argmax())
    return first, "the answer is no solved Sudoku" if unsolved[first] else "the answer is that of another question"


SUDOKU = Kind("sudoku", 81, {".": _EMPTY, **{str(digit): digit + 1 for digit in range(10)}}, _wrong)


def build_sudoku(options: Options, output: Path, num_aug: int = 0) -> dict[str, int]:
    """Builds a Sudoku dataset with ``num_aug`` variants of each training board; see :func:`boards.build`."""
    if num_aug < 0:
        raise UsageError(f"{num_aug} augmentations: the number must not be negative")
    return build(SUDOKU, options, output, variants=num_aug + 1, expand=lambda generator: shuffles(generator, num_aug))


def shuffles(generator: np.random.Generator, count: int) -> Expand:
    """What makes ``count`` random variants of a board, after the board itself."""

    def expand(question: Tokens, answer: Tokens) -> tuple[Tokens, Tokens]:
        labels = np.tile(np.arange(11, dtype=np.uint8), (count + 1, 1))
        labels[1:, 2:] = generator.permuted(labels[1:, 2:], axis=1)
        cells = 9 * _lines(generator, count)[:, :, None] + _lines(generator, count)[:, None, :]
        transposed = generator.random(count) < 0.5
        cells[transposed] = cells[transposed].transpose(0, 2, 1)
        cells = np.concatenate([np.arange(81).reshape(1, 81), cells.reshape(count, 81)])
        variant = np.arange(count + 1)[:, None]
        return labels[variant, question[cells]], labels[variant, answer[cells]]

    return expand


def _lines(generator: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    """(count, 9) orders of the rows: three bands in random order, their three rows in random order."""
    bands = generator.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
    rows = generator.permuted(np.tile(np.arange(3), (count, 3, 1)), axis=2)
    lines: npt.NDArray[np.int64] = (3 * bands[:, :, None] + rows).reshape(count, 9)
    return lines
