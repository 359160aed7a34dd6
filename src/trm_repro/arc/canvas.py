"""Tasks as the builder's inner loops want them, and the loops that hash and paint their grids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trm_repro.arc.augment import ORIGINAL, SYMMETRY
from trm_repro.arc.compiled import compiled
from trm_repro.arc.grids import COLOURS, END, FIRST_COLOUR, PAD, SIDE, Grid, dihedral, hash_weights
from trm_repro.arc.tasks import Task


@dataclass(frozen=True)
class Packed:
    """The grids of a task under all eight symmetries; grid 2e is the input of example e, grid 2e + 1 its output.

    Attributes:
        cells: (8, cells) all grids one after the other, by symmetry.
        starts: (grids,) where each grid starts, the same for every symmetry.
        sizes: (8, grids, 2) heights and widths.
    """

    cells: Grid
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]


def pack(task: Task) -> Packed:
    """The grids of ``task``, packed."""
    grids = [grid for example in task.examples for grid in (example.input, example.output)]
    turned = [[dihedral(grid, k) for grid in grids] for k in range(8)]
    return Packed(
        cells=np.stack([np.concatenate([grid.ravel() for grid in row]) for row in turned]),
        starts=np.cumsum([0, *(grid.size for grid in grids[:-1])]),
        sizes=np.array([[grid.shape for grid in row] for row in turned]),
    )


def hashes(packed: Packed) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """What the hashes of all augmentations of the grids are made of (see :func:`trm_repro.arc.grids.hash_weights`).

    Returns:
        (8, grids, 10) sums of the weights of the cells of each colour, by symmetry and grid; (8, grids) weights of the
        shapes.
    """
    weights, shape_weights = hash_weights()
    shapes = shape_weights[packed.sizes[..., 0], packed.sizes[..., 1]]
    return _sums(packed.cells, packed.starts, packed.sizes, weights), shapes


@compiled
def _sums(
    cells: Grid, starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], weights: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
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
    starts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int64],
    grids: npt.NDArray[np.int64],
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
    canvases[:] = PAD
    k, painted = 0, -1
    for i in range(first, first + len(canvases)):
        variant, example = divmod(i, len(grids))
        if variant != painted:
            k = _undigit(codes[variant], tokens)
            painted = variant
        canvas = canvases[i - first]
        cell = starts[grids[example]]
        height, width = sizes[k, grids[example]]
        corner = places[i, 0] * SIDE + places[i, 1]
        ends_right = places[i, 1] + width < SIDE
        for row in range(height):
            place = corner + row * SIDE
            for column in range(width):
                canvas[place + column] = tokens[cells[k, cell]]
                cell += 1
            if ends_right:
                canvas[place + width] = END
        if places[i, 0] + height < SIDE:
            place = corner + height * SIDE
            canvas[place : place + width] = END


@compiled
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
