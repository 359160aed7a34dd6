"""Maze-Hard: 30 × 30 cells, '#' wall, ' ' way, 'S' start, 'G' goal, 'o' the shortest path; tokens 1 to 5.

The variants of a maze are its eight symmetries. Upstream makes them only when asked with ``--aug``, which its documented
command does not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trm_repro.arc.grids import CELLS, SIDE, dihedral
from trm_repro.puzzles.boards import Kind, Options, Tokens, build

REPO = "sapientinc/maze-30x30-hard-1k"
MAZE = Kind("maze", CELLS, {character: token for token, character in enumerate("# SGo", 1)})


def build_maze(options: Options, output: Path, aug: bool = False) -> dict[str, int]:
    """Builds a maze dataset, with all eight symmetries of each training maze if ``aug``; see :func:`boards.build`."""
    variants = 8 if aug else 1

    def turns(board: Tokens) -> Tokens:
        return np.stack([dihedral(board.reshape(SIDE, SIDE), k).reshape(CELLS) for k in range(variants)])

    return build(
        MAZE,
        options,
        output,
        variants=variants,
        expand=lambda _: lambda question, answer: (turns(question), turns(answer)),
    )
