"""A picture of a task as a dataset holds it: the task itself and some of its variants, as the canvases show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trm_repro.arc.augment import SEPARATOR
from trm_repro.arc.grids import COLOURS, Grid, decode
from trm_repro.arc.layout import Split, read_split
from trm_repro.errors import UsageError
from trm_repro.files import read_json, staged

# The colours in which ARC is always drawn: black, blue, red, green, yellow, grey, pink, orange, light blue, brown.
PALETTE = ("#000000", "#0074D9", "#FF4136", "#2ECC40", "#FFDC00", "#AAAAAA", "#F012BE", "#FF851B", "#7FDBFF", "#870C25")

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
    names: list[str] = read_json(folder / "identifiers.json")
    numbers = [i for i, name in enumerate(names) if name.partition(SEPARATOR)[0] == task][: count + 1]
    if not numbers:
        raise UsageError(f"{folder}: no task {task}", hint="identifiers.json lists them")
    splits = [read_split(folder, name) for name in ("train", "test") if (folder / name).exists()]
    return {names[number]: [pair for split in splits for pair in _pairs(split, number)] for number in numbers}


def _pairs(split: Split, number: int) -> list[Pair]:
    examples = [
        example
        for puzzle in np.flatnonzero(split.puzzle_identifiers == number)
        for example in range(split.puzzle_indices[puzzle], split.puzzle_indices[puzzle + 1])
    ]
    return [(split.name, decode(split.inputs[example]), decode(split.labels[example])) for example in examples]


def draw(found: dict[str, list[Pair]], output: Path) -> None:
    """Draws what :func:`variants` found: a row for each variant, an input above its output for each example."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.colors import ListedColormap

    columns = max(len(pairs) for pairs in found.values())
    figure = pyplot.figure(figsize=(1.8 * columns, 4.4 * len(found)), layout="constrained")
    parts = figure.subfigures(len(found), 1, squeeze=False)[:, 0]
    for part, (name, pairs) in zip(parts, found.items(), strict=True):
        part.suptitle(name, fontsize=9, x=0.01, horizontalalignment="left")
        axes = part.subplots(2, columns, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for column, (split, *grids) in enumerate(pairs):
            for side, axis, grid in zip(("input", "output"), axes[:, column], grids, strict=True):
                axis.set_axis_on()
                axis.set_title(f"{split} {side}", fontsize=7)
                axis.imshow(grid, cmap=ListedColormap(PALETTE), vmin=0, vmax=COLOURS - 1)
                axis.set_xticks(np.arange(-0.5, grid.shape[1]), [])
                axis.set_yticks(np.arange(-0.5, grid.shape[0]), [])
                axis.grid(color="#555555", linewidth=0.5)
                axis.tick_params(length=0)
    with staged(output) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
    pyplot.close(figure)
