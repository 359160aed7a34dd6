"""Grids as pictures: the bundle's cover, and the predictions a notebook shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trm_repro.arc.picture import PALETTE
from trm_repro.files import staged

Grid = Sequence[Sequence[int]]

COVER_SIZE = (560, 280)  # width and height in pixels; Kaggle crops its header to exactly this


def draw(axes: Any, grid: Grid, title: str = "") -> None:
    """Draws one grid on matplotlib axes; an empty grid is a cross."""
    from matplotlib.colors import ListedColormap

    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=8)
    if len(grid) == 0 or len(grid[0]) == 0:
        axes.plot([0, 1], [0, 1], "0.6", [0, 1], [1, 0], "0.6")
        return
    axes.imshow(grid, cmap=ListedColormap(PALETTE), vmin=0, vmax=9, interpolation="nearest")


def figure(rows: Sequence[Sequence[tuple[str, Grid]]]) -> Any:
    """A figure of rows of titled grids, one task a row."""
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    picture = Figure(figsize=(1.6 * columns, 1.8 * len(rows)), layout="constrained")
    axes = picture.subplots(len(rows), columns, squeeze=False)
    for row, places in zip(rows, axes, strict=True):
        for place in places[len(row) :]:
            place.axis("off")
        for (title, grid), place in zip(row, places, strict=False):
            draw(place, grid, title)
    return picture


def write_cover(path: Path, title: str, grids: Sequence[Grid]) -> None:
    """Writes a cover picture of :data:`COVER_SIZE` with the title and up to ten grids."""
    from matplotlib.figure import Figure

    width, height = COVER_SIZE
    picture = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="#101418")
    picture.text(0.5, 0.9, title, color="white", ha="center", va="center", fontsize=13)
    for place, grid in enumerate(grids[:10]):
        row, column = divmod(place, 5)
        axes = picture.add_axes((0.03 + 0.19 * column, 0.44 - 0.40 * row, 0.18, 0.36))
        draw(axes, grid)
    with staged(path) as temporary:
        picture.savefig(temporary, format="png", metadata={"Software": None})
