"""Pictures of Sudoku and maze boards as a dataset holds them, with their variants."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from trm_repro.arc.augment import SYMMETRY_NAMES
from trm_repro.arc.grids import Grid
from trm_repro.arc.layout import read_split
from trm_repro.arc.picture import Pair
from trm_repro.errors import UsageError
from trm_repro.puzzles.boards import Kind
from trm_repro.puzzles.maze import MAZE
from trm_repro.puzzles.sudoku import BOXES, SUDOKU, sudoku

_MAZE_COLOURS = (
    "#FF00FF",
    "#222222",
    "#FFFFFF",
    "#2ECC40",
    "#FF4136",
    "#7FDBFF",
)  # padding, wall, way, start, goal, path


def kind_of(vocabulary: int, cells: int) -> Kind | None:
    """The kind of puzzle that a dataset with so many tokens and so long examples is of; None for another."""
    side = math.isqrt(cells)
    square = side**2 == cells
    if square and side in BOXES and vocabulary == SUDOKU.vocabulary:
        return sudoku(side)
    return MAZE if square and vocabulary == MAZE.vocabulary else None


def variants(folder: Path, board: str, count: int) -> dict[str, list[Pair]]:
    """A board of a dataset and its first variants.

    Args:
        folder: the dataset.
        board: its number, from 0; of the test split with ``test:`` before it.
        count: how many variants beside the board itself, at most.

    Returns:
        {what it is, in words: [(split, question, answer)]}, boards as (side, side) tokens.

    Raises:
        UsageError: there is no such board.
    """
    name, _, number = board.rpartition(":")
    split = read_split(folder, name or "train") if name in ("", "train", "test") else None
    boards = len(split.group_indices) - 1 if split else 0
    if not split or not number.isdecimal() or int(number) >= boards:
        raise UsageError(
            f"{folder}: no board {board}", hint="they are numbers from 0, of the test split test:0 and so on"
        )
    first, end = split.group_indices[int(number) : int(number) + 2].tolist()
    side = math.isqrt(split.inputs.shape[1])
    turned = kind_of(int(split.metadata.get("vocab_size", 0)), split.inputs.shape[1]) is MAZE
    found: dict[str, list[Pair]] = {}
    for variant, puzzle in enumerate(range(first, min(end, first + count + 1))):
        place = int(split.puzzle_indices[puzzle])
        question, answer = (np.asarray(part[place]).reshape(side, side) for part in (split.inputs, split.labels))
        said = SYMMETRY_NAMES[variant] if turned else f"shuffled, {variant} of {end - first - 1}"
        found[f"board {board}, {said if variant else 'as it is'}"] = [(split.name, question, answer)]
    return found


def draw_sudoku(axes: Any, board: Grid, title: str = "") -> None:
    """Draws a Sudoku's digits on matplotlib axes."""
    side = len(board)
    axes.set(xticks=[], yticks=[], xlim=(0, side), ylim=(side, 0), aspect="equal")
    axes.set_title(title, fontsize=8)
    for line, every in zip((axes.axhline, axes.axvline), BOXES[side], strict=True):
        for i in range(1, side):
            line(i, color="black", linewidth=0.4 if i % every else 1.5)
    for row, column in zip(*np.nonzero(board > 1), strict=True):
        axes.text(column + 0.5, row + 0.55, str(board[row, column] - 1), ha="center", va="center", fontsize=7)


def draw_maze(axes: Any, board: Grid, title: str = "") -> None:
    """Draws a maze on matplotlib axes: black walls, a green start, a red goal, a blue path."""
    from matplotlib.colors import ListedColormap

    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8)
    axes.imshow(board, cmap=ListedColormap(_MAZE_COLOURS), vmin=0, vmax=len(_MAZE_COLOURS) - 1, interpolation="nearest")
