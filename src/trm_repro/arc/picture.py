"""Pictures of grids: one, rows of them, and a task with some of its variants as a dataset's canvases show them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trm_repro.arc import augment
from trm_repro.arc.augment import SEPARATOR
from trm_repro.arc.grids import COLOURS, Grid, decode
from trm_repro.arc.layout import SplitFiles, read_split
from trm_repro.errors import InvariantBroken, UsageError
from trm_repro.files import read_json, staged

# The colours in which ARC is always drawn, in the order of augment.COLOUR_NAMES.
PALETTE = ("#000000", "#0074D9", "#FF4136", "#2ECC40", "#FFDC00", "#AAAAAA", "#F012BE", "#FF851B", "#7FDBFF", "#870C25")
LINES = "#666666"  # between cells

Pair = tuple[str, Grid, Grid]


def variants(folder: Path, task: str, count: int) -> dict[str, list[Pair]]:
    """A task's grids as the dataset ``folder`` holds them.

    Args:
        folder: the dataset.
        task: the task's name.
        count: how many variants beside the task itself, at most.

    Returns:
        {name of the variant: [(split, input, output), …]}.

    Raises:
        UsageError: the dataset has no such task.
    """
    names = read_json(folder / "identifiers.json")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvariantBroken(f"{folder / 'identifiers.json'}: not a list of names")
    numbers = [i for i, name in enumerate(names) if name.partition(SEPARATOR)[0] == task][: count + 1]
    if not numbers:
        raise UsageError(f"{folder}: no task {task}", hint="identifiers.json lists them")
    splits = [read_split(folder, name) for name in ("train", "test") if (folder / name).exists()]
    return {names[number]: [pair for split in splits for pair in _pairs(split, number)] for number in numbers}


def titles(found: Mapping[str, Sequence[Pair]]) -> dict[str, str]:
    """By the names of variants, the task's and what the augmentation does, in words."""
    parsed = {name: augment.parse(name) for name in found}
    return {name: f"{task}, {augment.words(code)}" for name, (task, code) in parsed.items()}


def _pairs(split: SplitFiles, number: int) -> list[Pair]:
    examples = [
        example
        for puzzle in np.flatnonzero(split.puzzle_identifiers == number)
        for example in range(split.puzzle_indices[puzzle], split.puzzle_indices[puzzle + 1])
    ]
    return [(split.name, decode(split.inputs[example]), decode(split.labels[example])) for example in examples]


def draw(axes: Any, grid: Grid | Sequence[Sequence[int]], title: str = "") -> None:
    """Draws one grid on matplotlib axes as the report does: with lines between its cells; an empty grid is the word."""
    from matplotlib.colors import ListedColormap

    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8)
    if len(grid) == 0 or len(grid[0]) == 0:
        axes.text(0.5, 0.5, "empty", horizontalalignment="center", verticalalignment="center")
        return
    axes.imshow(grid, cmap=ListedColormap(PALETTE), vmin=0, vmax=COLOURS - 1, interpolation="nearest")
    axes.hlines(np.arange(1, len(grid)) - 0.5, -0.5, len(grid[0]) - 0.5, LINES, linewidth=0.5)
    axes.vlines(np.arange(1, len(grid[0])) - 0.5, -0.5, len(grid) - 0.5, LINES, linewidth=0.5)


def figure(rows: Sequence[Sequence[tuple[str, Any]]], picture: Any = None, drawn: Any = None) -> Any:
    """A figure of rows of titled grids, one task a row; or ``picture``, a part of another figure, filled with them."""
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    picture = picture or Figure(figsize=(1.6 * columns, 1.8 * len(rows)), layout="constrained")
    for row, axes in zip(rows, picture.subplots(len(rows), columns, squeeze=False), strict=True):
        for place in axes[len(row) :]:
            place.axis("off")
        for (title, grid), place in zip(row, axes, strict=False):
            (drawn or draw)(place, grid, title)
    return picture


def write_variants(found: Mapping[str, Sequence[Pair]], output: Path, drawn: Any = None) -> None:
    """Draws variants of a puzzle: for each, by its title, a row of inputs, above one of their outputs.

    Args:
        found: {title: [(split, input, output), …]}.
        output: the PNG.
        drawn: draws a grid on axes; :func:`draw` by default.
    """
    from matplotlib.figure import Figure

    columns = max(len(pairs) for pairs in found.values())
    picture = Figure(figsize=(max(4.5, 1.8 * columns), 4.6 * len(found)), layout="constrained")
    parts = picture.subfigures(len(found), 1, squeeze=False)[:, 0]
    for part, (name, pairs) in zip(parts, found.items(), strict=True):
        title = textwrap.fill(name, max(60, 28 * columns))
        part.suptitle(title, fontsize=8, x=0.01, horizontalalignment="left")
        inputs = [(f"{split} input", grid) for split, grid, _ in pairs]
        figure([inputs, [(f"{split} output", grid) for split, _, grid in pairs]], part, drawn)
    with staged(output) as temporary:
        picture.savefig(temporary, dpi=100, format="png")
