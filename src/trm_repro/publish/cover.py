"""The bundle's cover: its title, and some grids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trm_repro.arc.picture import draw
from trm_repro.files import staged

COVER_SIZE = (560, 280)  # width and height in pixels; Kaggle crops its header to exactly this


def write_cover(path: Path, title: str, grids: Sequence[Sequence[Sequence[int]]]) -> None:
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
