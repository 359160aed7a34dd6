"""The loops over cells: turning, hashing and painting the grids of a task, and reading a prediction.

A prediction is read in one pass: its grid is cropped from the 900 tokens, and the hash of the grid that remains when the
augmentation is undone is summed up in whatever order the cells come (see :func:`trm_repro.arc.grids.hash_weights`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trm_repro.arc.augment import ORIGINAL, SYMMETRY
from trm_repro.arc.compiled import compiled, inlined
from trm_repro.arc.grids import (
    CELLS,
    COLOURS,
    END,
    FIRST_COLOUR,
    PAD,
    SIDE,
    SYMMETRIES,
    VOCABULARY,
    Grid,
    hash_weights,
)
from trm_repro.arc.tasks import Task

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_TRANSPOSES, _TURNS_ROWS, _TURNS_COLUMNS = map(np.array, zip(*SYMMETRIES, strict=True))
_ONE = np.uint64(1)


@dataclass(frozen=True)
class Packed:
    """The grids of a task under all eight symmetries; grid 2e is the input of example e, grid 2e + 1 its output.

    Attributes:
        cells: (8, cells) all grids one after the other, by symmetry.
        starts: (grids,) where each grid starts, the same for every symmetry.
        sizes: (8, grids, 2) heights and widths.
    """

    cells: Grid
    starts: Integers
    sizes: Integers


def pack(task: Task) -> Packed:
    """The grids of ``task``, packed."""
    grids = [grid for example in task.examples for grid in (example.input, example.output)]
    shapes = np.array([grid.shape for grid in grids])
    starts = np.concatenate([[0], shapes.prod(axis=1).cumsum()[:-1]])
    return Packed(*_turn(np.concatenate([grid.ravel() for grid in grids]), starts, shapes))


@inlined
def _walk(k: int, height: int, width: int, stride: int) -> tuple[int, int, int]:
    """Where the cells of a grid that symmetry ``k`` has turned lie in the grid itself, whose rows are ``stride`` apart.

    Args:
        k: the symmetry.
        height: of the turned grid.
        width: of the turned grid.
        stride: from a row to the next.

    Returns:
        The place of the turned grid's cell (0, 0), what its next row adds, what its next column adds.
    """
    by_row, by_column = (1, stride) if _TRANSPOSES[k] else (stride, 1)
    place = 0
    if _TURNS_ROWS[k]:
        place += (height - 1) * by_row
        by_row = -by_row
    if _TURNS_COLUMNS[k]:
        place += (width - 1) * by_column
        by_column = -by_column
    return place, by_row, by_column


@compiled
def _turn(cells: Grid, starts: Integers, shapes: Integers) -> tuple[Grid, Integers, Integers]:
    """What :class:`Packed` has, of (cells,) all grids one after the other, as they are."""
    turned, sizes = np.empty((8, len(cells)), np.uint8), np.empty((8, len(starts), 2), np.int64)
    for k in range(8):
        cell = 0
        for grid in range(len(starts)):
            height, width = shapes[grid]
            if _TRANSPOSES[k]:
                height, width = width, height
            sizes[k, grid, 0], sizes[k, grid, 1] = height, width
            origin, by_row, by_column = _walk(k, height, width, shapes[grid, 1])
            for row in range(height):
                place = starts[grid] + origin + row * by_row
                for _ in range(width):
                    turned[k, cell] = cells[place]
                    place += by_column
                    cell += 1
    return turned, starts, sizes


def hashes(packed: Packed) -> tuple[Hashes, Hashes]:
    """What the hashes of all augmentations of the grids are made of (see :func:`trm_repro.arc.grids.hash_weights`).

    Returns:
        (8, grids, 10) sums of the weights of the cells of each colour, by symmetry and grid; (8, grids) weights of the
        shapes.
    """
    weights, shape_weights = hash_weights()
    shapes = shape_weights[packed.sizes[..., 0], packed.sizes[..., 1]]
    return _sums(packed.cells, packed.starts, packed.sizes, weights), shapes


@compiled
def _sums(cells: Grid, starts: Integers, sizes: Integers, weights: Hashes) -> Hashes:
    sums = np.zeros((8, len(starts), COLOURS), np.uint64)
    for k in range(8):
        for grid in range(len(starts)):
            height, width = sizes[k, grid]
            for row in range(height):
                for column in range(width):
                    colour = cells[k, starts[grid] + row * width + column]
                    sums[k, grid, colour] += weights[row * SIDE + column]
    return sums


@compiled
def paint(
    canvases: Grid,
    cells: Grid,
    starts: Integers,
    sizes: Integers,
    codes: Integers,
    grids: Integers,
    places: npt.NDArray[np.uint8],
    first: int,
) -> None:
    """Paints one grid of each example of each variant of a task, or of some of these rows.

    Args:
        canvases: (rows, 900) tokens, overwritten.
        cells: as in :class:`Packed`, likewise ``starts`` and ``sizes``.
        starts: see there.
        sizes: see there.
        codes: (variants,).
        grids: (examples,) which grids to paint.
        places: (variants · examples, 2) row and column of each on its canvas.
        first: which of the variants · examples rows is the first to paint.
    """
    tokens = np.empty(COLOURS, np.uint8)
    flat = canvases.ravel()
    k, painted = 0, -1
    for i in range(first, first + len(canvases)):
        variant, example = divmod(i, len(grids))
        if variant != painted:
            k = _undigit(codes[variant], tokens)
            painted = variant
        grid = grids[example]
        height, width = np.uint64(sizes[k, grid, 0]), np.uint64(sizes[k, grid, 1])
        cell = np.uint64(
            starts[grid]
        )  # unsigned, as all places are: a signed one would be looked at for being negative
        start = np.uint64((i - first) * CELLS)
        for place in range(start, start + np.uint64(CELLS)):
            flat[place] = PAD
        start += np.uint64(places[i, 0] * SIDE + places[i, 1])
        ends_right = places[i, 1] + width < SIDE
        for _ in range(height):
            for place in range(start, start + width):
                flat[place] = tokens[cells[k, cell]]
                cell += _ONE
            if ends_right:
                flat[start + width] = END
            start += np.uint64(SIDE)
        if places[i, 0] + height < SIDE:
            for place in range(start, start + width):
                flat[place] = END


@inlined
def _undigit(code: int, tokens: npt.NDArray[np.uint8]) -> int:
    """Fills ``tokens`` with the token that each colour becomes; returns the symmetry."""
    tokens[:] = np.arange(FIRST_COLOUR, FIRST_COLOUR + COLOURS)
    if code == ORIGINAL:
        return 0
    k, digits = divmod(code, SYMMETRY)
    for colour in range(COLOURS - 1, -1, -1):
        tokens[colour] = digits % 10 + FIRST_COLOUR
        digits //= 10
    return k


@inlined
def _crop(tokens: Grid) -> tuple[int, int]:
    """Height and width of the largest rectangle of colours at the top left corner of a canvas; on ties the first."""
    best_height, best_width = 0, 0
    width = SIDE
    for row in range(SIDE):
        holes = 0
        for column in range(width):  # nearly always none: a loop without a branch is several times faster
            token = tokens[row * SIDE + column]
            holes |= (token < FIRST_COLOUR) | (token >= VOCABULARY)
        if holes:
            width = 0
            while FIRST_COLOUR <= tokens[row * SIDE + width] < VOCABULARY:
                width += 1
            if width == 0:
                break
        if (row + 1) * width > best_height * best_width:
            best_height, best_width = row + 1, width
    return best_height, best_width


@inlined
def _undo_colours(code: int, colours: Integers) -> int:
    """Fills ``colours`` with the colour that each token stood for; returns the symmetry."""
    colours[:] = np.arange(-FIRST_COLOUR, COLOURS)
    if code == ORIGINAL:
        return 0
    k, digits = divmod(code, SYMMETRY)
    for colour in range(COLOURS - 1, 0, -1):
        colours[FIRST_COLOUR + digits % 10] = colour
        digits //= 10
    return k


@compiled
def read(
    tokens: Grid,
    rows: Integers,
    codes: Integers,
    weights: Hashes,
    shape_weights: Hashes,
    hashes: Hashes,
    sizes: Integers,
) -> None:
    """Crops grids, undoes their augmentation and hashes what remains.

    Args:
        tokens: (…, 900).
        rows: (n,) which of them.
        codes: (n,) their augmentations.
        weights: see :func:`trm_repro.arc.grids.hash_weights`, likewise ``shape_weights``.
        shape_weights: see there.
        hashes: (n,) filled.
        sizes: (n, 2) filled with the height and width of the original; 0 × 0 where there is no grid.
    """
    colours, values = np.empty(VOCABULARY, np.int64), np.empty(VOCABULARY, np.uint64)
    for i in range(len(rows)):
        canvas = tokens[rows[i]]
        k = _undo_colours(codes[i], colours)
        for token in range(FIRST_COLOUR, VOCABULARY):
            values[token] = colours[token] + 1
        height, width = _crop(canvas)
        sizes[i, 0], sizes[i, 1] = (width, height) if _TRANSPOSES[k] else (height, width)
        total = shape_weights[sizes[i, 0], sizes[i, 1]]
        origin, by_row, by_column = _walk(k, height, width, SIDE)
        for row in range(height):
            place = origin + row * by_row
            for column in range(width):
                total += weights[np.uint64(place)] * values[canvas[row * SIDE + column]]
                place += by_column
        hashes[i] = total


@compiled
def restore(tokens: Grid, rows: Integers, codes: Integers, sizes: Integers, starts: Integers, cells: Grid) -> None:
    """Writes the original grids out, one after the other.

    Args:
        tokens: (…, 900).
        rows: (n,) which of them.
        codes: (n,) their augmentations.
        sizes: (n, 2) as :func:`read` found them.
        starts: (n,) where each grid's cells start.
        cells: all cells, filled.
    """
    colours = np.empty(VOCABULARY, np.int64)
    for i in range(len(rows)):
        k = _undo_colours(codes[i], colours)
        height, width = (sizes[i, 1], sizes[i, 0]) if _TRANSPOSES[k] else (sizes[i, 0], sizes[i, 1])
        origin, by_row, by_column = _walk(k, height, width, sizes[i, 1])
        for row in range(height):
            for column in range(width):
                colour = colours[tokens[rows[i], row * SIDE + column]]
                cells[starts[i] + origin + row * by_row + column * by_column] = colour
