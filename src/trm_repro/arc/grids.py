"""ARC grids, the eight symmetries of a rectangle, and the canvas that turns a grid into 900 tokens.

A *grid* is a (height, width) uint8 array of colours 0..9, each side 1..30. A *canvas* is 30 × 30 tokens, stored flat,
row by row: token 0 is padding, token 1 ends the grid (written along the row just below it and the column just right of
it, where these still lie on the canvas), tokens 2..11 are the colours 0..9.

Invariants: ``dihedral(dihedral(g, k), INVERSE[k])`` is g; ``decode(encode(g))`` is g.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_repro.errors import InvariantBroken

Grid = npt.NDArray[np.uint8]

SIDE = 30
CELLS = SIDE * SIDE
COLOURS = 10
PAD, END, FIRST_COLOUR = 0, 1, 2
VOCABULARY = FIRST_COLOUR + COLOURS  # 12 tokens

SYMMETRIES = (
    (False, False, False),
    (True, True, False),
    (False, True, True),
    (True, False, True),
    (False, False, True),
    (False, True, False),
    (True, False, False),
    (True, True, True),
)
"""What each of the eight symmetries is: whether it transposes, then turns the rows' order round, then the columns'.

In words: 0 identity, 1..3 that many quarter turns counter-clockwise, 4 left-right flip, 5 up-down flip, 6 transpose, 7
left-right flip of the quarter turn.
"""

INVERSE = (0, 3, 2, 1, 4, 5, 6, 7)
"""``INVERSE[k]`` undoes ``dihedral(…, k)``: only the two quarter turns are not their own inverse."""


def dihedral(grid: Grid, k: int) -> Grid:
    """``grid`` under symmetry ``k`` of ``SYMMETRIES``.

    Args:
        grid: (height, width).
        k: 0..7.

    Returns:
        (height, width), or (width, height) where it transposes; a view.
    """
    transposes, *turns_round = SYMMETRIES[k]
    rows, columns = (slice(None, None, -1 if turned else 1) for turned in turns_round)
    return (grid.T if transposes else grid)[rows, columns]


def parse_grid(value: Any, where: str, *, whole: bool = False) -> Grid:
    """A grid from the nested lists of a JSON file.

    Args:
        value: what the file holds.
        where: file, task and example, for the error.
        whole: take a cell such as 1.0 or true for the whole number that it is.

    Raises:
        InvariantBroken: it is not a rectangle of whole numbers 0..9 with sides 1..30.
    """
    if not (isinstance(value, list) and value and all(isinstance(row, list) and row for row in value)):
        raise InvariantBroken(f"{where}: a grid must be a non-empty list of non-empty rows")
    if len({len(row) for row in value}) > 1:
        raise InvariantBroken(f"{where}: ragged grid, with rows of {sorted({len(row) for row in value})} cells")
    height, width = len(value), len(value[0])
    if height > SIDE or width > SIDE:
        raise InvariantBroken(f"{where}: a grid of {height} × {width}, larger than {SIDE} × {SIDE}")
    if whole and (found := _colours(value)) is not None:
        return found.reshape(height, width)
    if any(isinstance(cell, list) for row in value for cell in row):  # of unequal lengths NumPy makes no array at all
        raise InvariantBroken(f"{where}: a cell that is not a whole number")
    cells = np.array(value)
    if cells.shape != (height, width) or not (cells.dtype.kind == "i" or _is_whole(cells)):
        raise InvariantBroken(f"{where}: a cell that is not a whole number")
    if cells.dtype.kind != "i" and not whole:
        raise InvariantBroken(f"{where}: whole numbers that are not written as such, like 1.0")
    if cells.min() < 0 or cells.max() >= COLOURS:
        bad = cells[(cells < 0) | (cells >= COLOURS)][0]
        raise InvariantBroken(f"{where}: colour {bad}, outside 0..{COLOURS - 1}")
    return cells.astype(np.uint8)


def _colours(rows: list[list[Any]]) -> Grid | None:
    """The cells one after the other, or None if they are not all colours: several times faster than to say why not."""
    try:
        cells = bytearray().join(map(bytes, rows))  # takes whole numbers of 0..255, and true for 1
    except (TypeError, ValueError):
        return None
    others = cells.translate(None, delete=bytes(range(COLOURS)))
    return None if others else np.frombuffer(cells, np.uint8)


def _is_whole(cells: npt.NDArray[Any]) -> bool:
    """Whether numbers that JSON does not write as whole ones are."""
    return cells.dtype.kind == "b" or (cells.dtype.kind == "f" and bool((cells == np.floor(cells)).all()))


def encode(grid: Grid, row: int = 0, column: int = 0) -> Grid:
    """The canvas with ``grid`` at (``row``, ``column``).

    Args:
        grid: (height, width), which must fit.
        row: canvas row of the grid's first row.
        column: canvas column of the grid's first column.

    Returns:
        (900,) tokens.
    """
    height, width = grid.shape
    canvas = np.full((SIDE, SIDE), PAD, np.uint8)
    canvas[row : row + height, column : column + width] = grid + FIRST_COLOUR
    canvas[row + height : row + height + 1, column : column + width] = END
    canvas[row : row + height, column + width : column + width + 1] = END
    return canvas.reshape(CELLS)


def decode(tokens: Grid) -> Grid:
    """The grid that a canvas shows, wherever it lies on it.

    Args:
        tokens: (900,), as :func:`encode` makes them.

    Returns:
        (height, width).

    Raises:
        InvariantBroken: the canvas is not exactly one grid with its end marks.
    """
    canvas = tokens.reshape(SIDE, SIDE)
    rows, columns = np.nonzero(canvas >= FIRST_COLOUR)
    if len(rows):
        row, column = int(rows.min()), int(columns.min())
        grid = canvas[row : rows.max() + 1, column : columns.max() + 1] - FIRST_COLOUR
        if grid.max() < COLOURS and np.array_equal(encode(grid, row, column), tokens):
            return grid
    raise InvariantBroken("not a grid on a canvas")


@functools.cache
def hash_weights() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Random numbers for hashing grids.

    The hash of a grid is the sum, modulo 2^64, of weight[30 · row + column] · (colour + 1) over its cells, plus the
    weight of its shape. A sum can be taken in any order of the cells, and colour by colour. Two different grids have the
    same hash with a probability of at most 2^-61 (the difference of two colours has at most three factors of 2).

    Returns:
        (900,) weights of the places; (31, 31) weights of the shapes.
    """
    random = np.random.Generator(np.random.PCG64(900))
    places = random.integers(0, 2**64, CELLS, np.uint64)
    return places, random.integers(0, 2**64, (SIDE + 1, SIDE + 1), np.uint64)
