"""How the answers form: puzzles after each supervision step, in a terminal, as a picture, and as one that moves.

A digit that was given is black on grey, a right one green, a wrong one red; in pictures the paler, the less sure the model is
of it. Where there are no colours, ``!`` stands behind a wrong digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from trm_repro.files import staged
from trm_repro.puzzles.sudoku import BOXES, EMPTY

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.text import Text

    from trm_repro.demo.outcome import Outcome, Shown

WIDTH = 80  # columns of a terminal
LARGEST = 300_000  # bytes of the moving picture
_HOLD, _FRAME = 2600, 900  # milliseconds of the last frame, and of the others


def steps_shown(puzzles: Sequence[Shown], most: int) -> list[int]:
    """The steps, from 0, after which an answer to any of the puzzles is another; ``most`` at most, the last of them always."""
    changed = [
        step
        for step in range(len(puzzles[0].steps))
        if step == 0 or any((puzzle.steps[step] != puzzle.steps[step - 1]).any() for puzzle in puzzles)
    ]
    return changed if len(changed) <= most else [*changed[: most - 1], changed[-1]]


def print_outcome(outcome: Outcome, file: TextIO, *, puzzles: int = 3) -> None:
    """Prints what the model answered to some puzzles after each step, and how many of all are right after it."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=file, highlight=False, width=None if file.isatty() else WIDTH)
    some = outcome.hardest[:puzzles]
    if some:
        wide = len(_board(some[0], None).plain.partition("\n")[0]) + 2
        steps = steps_shown(some, max(2, (min(console.width, WIDTH) - wide) // wide))
        table = Table(box=None, padding=(0, 2, 1, 0), pad_edge=False)
        for title in ("puzzle", *(f"step {step + 1}" for step in steps)):
            table.add_column(title, no_wrap=True)
        for puzzle in some:
            table.add_row(_board(puzzle, None), *(_board(puzzle, step) for step in steps))
        coloured = "right green, wrong red" if console.is_terminal else "a wrong digit has a ! behind it"
        console.print(f"The test puzzles that took it longest, after each supervision step ({coloured}):\n")
        console.print(table)
    shares = ", ".join(f"{step}: {100 * right / outcome.puzzles:.1f} %" for step, right in enumerate(outcome.right, 1))
    console.print(f"Right after step {shares}")
    console.print(outcome.sentence, style="bold")


def _board(puzzle: Shown, step: int | None) -> Text:
    """A board as text: the question, or the answer after a step."""
    from rich.text import Text

    rows, columns = BOXES[len(puzzle.question)]
    tokens = puzzle.question if step is None else puzzle.steps[step]
    text = Text()
    for i, row in enumerate(tokens):
        if i:
            text.append("\n")
        if i and i % rows == 0:
            rule = "┼".join(["─" * 2 * columns] * (len(row) // columns))
            text.append(f"{rule}\n", style="dim")
        for j, token in enumerate(row):
            if j and j % columns == 0:
                text.append("│", style="dim")
            kind = _kind(puzzle, step, i, j)
            style = {"given": "bold", "empty": "dim", "right": "green", "wrong": "bold red"}[kind]
            digit = "." if kind == "empty" else str(int(token) - 1) if token > EMPTY else "?"
            text.append(digit + ("!" if kind == "wrong" else " "), style=style)
    return text


def _kind(puzzle: Shown, step: int | None, i: int, j: int) -> str:
    """What a cell holds: a digit that was given, none yet, a right one or a wrong one."""
    given = puzzle.question[i, j] != EMPTY
    if step is None:
        return "given" if given else "empty"
    if puzzle.steps[step][i, j] != puzzle.answer[i, j]:
        return "wrong"
    return "given" if given else "right"


def write_picture(outcome: Outcome, path: Path, colours: Mapping[str, str], *, puzzles: int = 3) -> None:
    """Writes a PNG: a row a puzzle, the question and the answer after each step in which one of them changed."""
    from matplotlib.figure import Figure

    some = outcome.hardest[:puzzles]
    steps = steps_shown(some, 5)
    columns = len(steps) + 1
    picture = Figure(figsize=(1.7 * columns, 1.75 * len(some) + 0.75), facecolor=colours["paper"], layout="constrained")
    picture.suptitle(_title(outcome), fontsize=10, color=colours["ink"])
    for row, (puzzle, places) in enumerate(zip(some, picture.subplots(len(some), columns, squeeze=False), strict=True)):
        for place, step in zip(places, (None, *steps), strict=True):
            _draw(place, puzzle, step, colours)
            if row == 0:
                said = "the puzzle" if step is None else f"after step {step + 1}"
                place.set_title(said, fontsize=9, color=colours["quiet"])
    with staged(path) as temporary:
        picture.savefig(temporary, dpi=110, format="png", metadata={"Software": None})


def write_animation(outcome: Outcome, path: Path, colours: Mapping[str, str], *, puzzles: int = 6) -> None:
    """Writes a GIF of at most :data:`LARGEST` bytes: the puzzles side by side, a frame a step, again and again."""
    some = outcome.hardest[:puzzles]
    frames = [_frame(outcome, some, step, colours) for step in (None, *steps_shown(some, 8))]
    from PIL import Image

    images = [Image.fromarray(frame).quantize(64, dither=Image.Dither.NONE) for frame in frames]
    with staged(path) as temporary:
        images[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=images[1:],
            duration=[_FRAME] * (len(images) - 1) + [_HOLD],
            loop=0,
            optimize=True,
        )


def _frame(outcome: Outcome, some: Sequence[Shown], step: int | None, colours: Mapping[str, str]) -> NDArray[np.uint8]:
    """One frame (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(some))
    rows = -(-len(some) // columns)
    picture = Figure(
        figsize=(1.9 * columns, 1.9 * rows + 0.7), dpi=90, facecolor=colours["paper"], layout="constrained"
    )
    said = "the puzzles" if step is None else f"after supervision step {step + 1}"
    picture.suptitle(f"{_title(outcome)}\n{said}", fontsize=9, color=colours["ink"])
    places = picture.subplots(rows, columns, squeeze=False).ravel()
    for place in places[len(some) :]:
        place.axis("off")
    for place, puzzle in zip(places, some, strict=False):
        _draw(place, puzzle, step, colours)
    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _title(outcome: Outcome) -> str:
    return (
        f"TRM, {outcome.parameters:,} parameters, {outcome.cpu_seconds:.0f} s of one CPU core:\n"
        f"{outcome.right[-1]:,} of {outcome.puzzles:,} unseen {outcome.side} × {outcome.side} Sudokus solved"
    )


def _draw(axes: Any, puzzle: Shown, step: int | None, colours: Mapping[str, str]) -> None:
    """Draws a board on matplotlib axes: the question, or the answer after a step."""
    from matplotlib.patches import Rectangle

    side = len(puzzle.question)
    axes.set(xticks=[], yticks=[], xlim=(0, side), ylim=(side, 0), aspect="equal", facecolor=colours["paper"])
    tokens = puzzle.question if step is None else puzzle.steps[step]
    for (i, j), token in np.ndenumerate(tokens):
        kind = _kind(puzzle, step, i, j)
        if puzzle.question[i, j] != EMPTY:
            axes.add_patch(Rectangle((j, i), 1, 1, facecolor=colours["card"], zorder=0))
        if kind == "wrong":
            axes.add_patch(Rectangle((j, i), 1, 1, facecolor=colours["bad"], alpha=0.15, zorder=0))
        if token <= EMPTY:
            continue
        colour = colours[{"given": "ink", "right": "good", "wrong": "bad"}[kind]]
        alpha = 1.0 if kind == "given" or step is None else max(0.3, float(puzzle.sure[step][i, j]))
        size, weight = 54 / side, "bold" if kind == "given" else "normal"
        place = (j + 0.5, i + 0.54)
        axes.text(
            *place, str(token - 1), ha="center", va="center", fontsize=size, weight=weight, color=colour, alpha=alpha
        )
    for line, every in zip((axes.axhline, axes.axvline), BOXES[side], strict=True):
        for i in range(1, side):
            line(i, color=colours["quiet"], linewidth=0.4 if i % every else 1.4)
    for spine in axes.spines.values():
        spine.set(color=colours["quiet"], linewidth=1.4)
