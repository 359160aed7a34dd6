"""Maze-Hard: 30 × 30 cells, row by row, '#' wall, ' ' way, 'S' start, 'G' goal, 'o' the shortest path; tokens 1 to 5.

Mazes may be squares of any other size, one for all. An answer is its question with 'o' on the way from S to G.

The variants of a maze are its eight symmetries. Upstream makes them only when asked with ``--aug``, which its documented
command does not.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from trm_repro.arc.grids import dihedral
from trm_repro.puzzles.boards import Kind, Options, Tokens, build

REPO = "sapientinc/maze-30x30-hard-1k"
_WALL, _WAY, _START, _GOAL, _PATH = range(1, 6)


def _wrong(questions: Tokens, answers: Tokens) -> tuple[int, str] | None:
    for i, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        if (question == _START).sum() != 1 or (question == _GOAL).sum() != 1 or (question == _PATH).any():
            return i, "the question must have one S, one G and no o"
        free = question == _WAY
        if (question != answer)[~free].any() or not np.isin(answer[free], (_WAY, _PATH)).all():
            return i, "the answer is not its question with a path"
        if not _leads(answer):
            return i, "the answer's path does not lead from S to G"
    return None


def _leads(answer: Tokens) -> bool:
    """Whether the path leads from the start to the goal."""
    side = math.isqrt(len(answer))
    board = np.zeros((side + 2, side + 2), np.uint8)
    board[1:-1, 1:-1] = answer.reshape(side, side)
    cells = board.ravel()
    at = [int((cells == _START).argmax())]
    goal = int((cells == _GOAL).argmax())
    seen = set(at)
    while at:
        here = at.pop()
        for step in (1, -1, side + 2, -side - 2):
            there = here + step
            if there == goal:
                return True
            if cells[there] == _PATH and there not in seen:
                seen.add(there)
                at.append(there)
    return False


MAZE = Kind("maze", None, {character: token for token, character in enumerate("# SGo", 1)}, _wrong)


def build_maze(options: Options, output: Path, aug: bool = False) -> dict[str, int]:
    """Builds a maze dataset, with all eight symmetries of each training maze if ``aug``; see :func:`boards.build`."""
    variants = 8 if aug else 1

    def turns(board: Tokens) -> Tokens:
        side = math.isqrt(len(board))
        return np.stack([dihedral(board.reshape(side, side), k).ravel() for k in range(variants)])

    return build(
        MAZE,
        options,
        output,
        variants=variants,
        expand=lambda _: lambda question, answer: (turns(question), turns(answer)),
    )
