"""The bundle's cover: a pattern that is the run's own, its title, and some of its answers.

The pattern is made of the checkpoint's digest, as an ARC grid with two mirror lines: the same weights have the same cover,
others have another, and it is told from afar. It and the title stand in the middle square, which is what a thumbnail keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from trm_repro.arc.picture import draw
from trm_repro.files import staged

COVER_SIZE = (560, 280)  # width and height in pixels; Kaggle crops its header to exactly this
HALF = 4  # cells of the pattern's side up to the mirror
COLOURS = (1, 2, 3, 4, 6, 7, 8)  # of ARC's, those that are bright
BESIDE = 8  # grids at both sides of the pattern
LARGEST = 268  # pixels that a line of the title may be wide

Cells = Sequence[Sequence[int]]


def pattern(digest: str) -> list[list[int]]:
    """The pattern of a digest of 64 hexadecimal digits: 8 x 8 cells, in black and three of ARC's colours."""
    data = bytes.fromhex(digest)
    left = list(COLOURS)
    used = [left.pop(byte % len(left)) for byte in data[16:19]]
    corner = [[(0, *used)[data[HALF * row + column] % 4] for column in range(HALF)] for row in range(HALF)]
    upper = [[*row, *reversed(row)] for row in corner]
    return [*upper, *reversed(upper)]


def telling(grids: Sequence[Cells]) -> list[Cells]:
    """The grids that show something, those of more colours first: none of one colour."""
    colours = [len({cell for row in grid for cell in row}) for grid in grids]
    order = sorted(range(len(grids)), key=lambda place: -colours[place])
    return [grids[place] for place in order if colours[place] > 1]


def write_cover(path: Path, title: Sequence[str], digest: str, grids: Sequence[Cells]) -> None:
    """Writes a cover picture of :data:`COVER_SIZE`.

    Args:
        path: the PNG.
        title: its lines.
        digest: the SHA-256 of the checkpoint, in hexadecimal.
        grids: the run's answers; where none shows anything, the pattern in other colours stands in their place.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = COVER_SIZE
    picture = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="#101418")
    renderer = FigureCanvasAgg(picture).get_renderer()
    own = pattern(digest)
    axes = picture.add_axes((0.36, 0.34, 0.28, 0.60))
    axes.axis("off")
    draw(axes, own)
    for line, (text, size, colour) in enumerate(zip(title, (15, 12), ("white", "#c9d1d9"), strict=False)):
        label = picture.text(0.5, 0.235 - 0.115 * line, text, color=colour, ha="center", va="center", fontsize=size)
        wide = label.get_window_extent(renderer).width
        label.set_fontsize(size * min(1.0, LARGEST / wide))
    shown = telling(grids)[:BESIDE] or list(_variants(own))
    for place, grid in zip(_places(len(shown)), shown, strict=False):
        beside = picture.add_axes(place)
        beside.axis("off")
        draw(beside, grid)
    with staged(path) as temporary:
        picture.savefig(temporary, format="png", metadata={"Software": None})


def _variants(cells: Cells) -> Iterator[Cells]:
    """The pattern in other colours, as an augmentation permutes them."""
    for shift in range(1, BESIDE + 1):
        colours = {colour: COLOURS[(place + shift) % len(COLOURS)] for place, colour in enumerate(COLOURS)}
        yield [[colours.get(cell, cell) for cell in row] for row in cells]


def _places(count: int) -> Iterator[tuple[float, float, float, float]]:
    """Where grids stand, left and right in turn, beside the pattern: two rows of one or two at either side."""
    columns = 2 if count > 4 else 1
    side = 0.15
    for place in range(count):
        at, right = divmod(place, 2)
        column, row = at % columns, at // columns
        x = 0.01 + (0.35 - columns * (side + 0.01)) / 2 + column * (side + 0.01)
        yield 1 - x - side if right else x, 0.655 - 0.31 * row, side, 0.285
