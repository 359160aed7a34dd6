"""Sudoku-Extreme: 81 cells, row by row, '.' or a digit; the token is the digit + 1, 1 for an empty cell, which is '.' or '0'.

An answer has each digit once in every row, column and box, and the question's digits where they are. Boards of 4 × 4 and
6 × 6 cells have the digits 1 to 4 and 1 to 6, boxes of 2 × 2 and 2 × 3, and the tokens of the large ones.

A variant of a board relabels the digits, transposes the board with probability ½ (where boxes are square), and permutes the
bands, the rows within each band, the stacks and the columns within each stack. All of these turn a valid board into a valid
board.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trm_repro.errors import UsageError
from trm_repro.puzzles.boards import Expand, Kind, Options, Tokens, build

REPO = "sapientinc/sudoku-extreme"
BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # by the side of a board, the rows and columns of a box
EMPTY = 1


def _wrong(questions: Tokens, answers: Tokens) -> tuple[int, str] | None:
    side = math.isqrt(answers.shape[1])
    rows, columns = BOXES[side]
    bits = np.left_shift(1, answers.reshape(-1, side, side), dtype=np.int16)
    boxes = bits.reshape(-1, side // rows, rows, side // columns, columns).transpose(0, 1, 3, 2, 4)
    parts = np.concatenate(
        [np.bitwise_or.reduce(group, axis) for group, axis in ((bits, 1), (bits, 2), (boxes.reshape(bits.shape), 2))], 1
    )
    unsolved = (parts != sum(1 << token for token in range(2, side + 2))).any(axis=1)
    another = ((questions != EMPTY) & (questions != answers)).any(axis=1)
    if not (unsolved | another).any():
        return None
    first = int((unsolved | another).argmax())
    return first, "the answer is no solved Sudoku" if unsolved[first] else "the answer is that of another question"


@cache
def sudoku(side: int) -> Kind:
    """Sudokus of ``side`` × ``side`` cells.

    Raises:
        UsageError: there are none.
    """
    if side not in BOXES:
        raise UsageError(f"a Sudoku of side {side}", hint=f"the sides are {', '.join(map(str, BOXES))}")
    return Kind("sudoku", side**2, {".": EMPTY, **{str(digit): digit + 1 for digit in range(10)}}, _wrong)


SUDOKU = sudoku(9)


def build_sudoku(options: Options, output: Path, num_aug: int = 0, side: int = 9) -> dict[str, int]:
    """Builds a Sudoku dataset with ``num_aug`` variants of each training board; see :func:`boards.build`."""
    if num_aug < 0:
        raise UsageError(f"{num_aug} augmentations: the number must not be negative")
    kind = sudoku(side)
    return build(
        kind, options, output, variants=num_aug + 1, expand=lambda generator: shuffles(generator, num_aug, side)
    )


def shuffles(generator: np.random.Generator, count: int, side: int = 9) -> Expand:
    """What makes ``count`` random variants of a board, after the board itself."""
    rows, columns = BOXES[side]

    def expand(question: Tokens, answer: Tokens) -> tuple[Tokens, Tokens]:
        labels = np.tile(np.arange(11, dtype=np.uint8), (count + 1, 1))
        labels[1:, 2 : side + 2] = generator.permuted(labels[1:, 2 : side + 2], axis=1)
        downwards, across = _lines(generator, count, side, rows), _lines(generator, count, side, columns)
        cells = side * downwards[:, :, None] + across[:, None, :]
        if rows == columns:
            transposed = generator.random(count) < 0.5
            cells[transposed] = cells[transposed].transpose(0, 2, 1)
        cells = np.concatenate([np.arange(side**2).reshape(1, -1), cells.reshape(count, side**2)])
        variant = np.arange(count + 1)[:, None]
        return labels[variant, question[cells]], labels[variant, answer[cells]]

    return expand


def _lines(generator: np.random.Generator, count: int, side: int = 9, band: int = 3) -> npt.NDArray[np.int64]:
    """(count, side) orders of the rows: bands of ``band`` rows in random order, their rows in random order."""
    bands = generator.permuted(np.tile(np.arange(side // band), (count, 1)), axis=1)
    rows = generator.permuted(np.tile(np.arange(band), (count, side // band, 1)), axis=2)
    lines: npt.NDArray[np.int64] = (band * bands[:, :, None] + rows).reshape(count, side)
    return lines
