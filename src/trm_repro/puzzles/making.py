"""Sudokus made here: solved boards drawn at random, and questions of which each has that one answer.

A question is minimal: without any one of its digits it would have several answers. So no two boards share a question, and
a test board that no training question comes from is a board that was never seen.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from trm_repro import progress
from trm_repro.errors import UsageError
from trm_repro.puzzles.boards import COLUMNS
from trm_repro.puzzles.sudoku import BOXES

BOARDS = {4: 288, 6: 28_200_960}  # how many solved boards there are, by their side
_TRIES = 50  # draws for each board that is wanted, at most: of 288, all are met in some 2,500


def write_boards(folder: Path, side: int, *, train: int, test: int, puzzles: int, seed: int = 0) -> dict[str, int]:
    """Writes train.csv and test.csv, as :mod:`trm_repro.puzzles.boards` reads them; a question's rating is its empty cells.

    Args:
        folder: where; it must exist.
        side: of a board: 4 or 6.
        train: how many boards to learn from.
        test: how many others to keep for the test.
        puzzles: how many questions to draw for each board; of equal ones, one is kept.
        seed: of all that is drawn.

    Returns:
        The number of questions by split.

    Raises:
        UsageError: there are not so many boards, or a number is none.
    """
    if side not in BOARDS:
        raise UsageError(f"boards of side {side} are not made here", hint=f"{', '.join(map(str, BOARDS))} are")
    if min(train, test, puzzles) < 1 or train + test > BOARDS[side]:
        raise UsageError(
            f"{train} boards to learn from, {test} for the test, {puzzles} puzzles each",
            hint=f"at least one of each; there are {BOARDS[side]:,} boards of side {side}",
        )
    generator = np.random.default_rng(seed)
    boards = draw_boards(generator, side, train + test)
    written = {}
    with progress.track("making boards", total=len(boards), unit="boards") as bar:
        for split, part in (("train", boards[:train]), ("test", boards[train:])):
            questions: dict[str, str] = {}
            for board in part:
                questions |= {_text(_question(generator, board, side)): _text(board) for _ in range(puzzles)}
                bar.advance()
            with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                rows = (
                    (f"made, seed {seed}", question, answer, question.count("."))
                    for question, answer in questions.items()
                )
                csv.writer(file).writerows([COLUMNS, *rows])
            written[split] = len(questions)
    return written


def draw_boards(generator: np.random.Generator, side: int, count: int) -> list[tuple[int, ...]]:
    """``count`` different solved boards, as their digits row by row, in the order in which they were drawn.

    Raises:
        UsageError: so many were not met.
    """
    found: dict[tuple[int, ...], None] = {}
    for _ in range(_TRIES * count):
        order = generator.permuted(np.tile(np.arange(1, side + 1), (side**2, 1)), axis=1).tolist()
        found[next(solutions([0] * side**2, side, order))] = None
        if len(found) == count:
            return list(found)
    raise UsageError(f"only {len(found)} boards of side {side} were met, {count} are wanted")


def solutions(
    board: Sequence[int], side: int, order: Sequence[Sequence[int]] | None = None
) -> Iterator[tuple[int, ...]]:
    """All solved boards that agree with a board, one after the other.

    Args:
        board: its digits row by row, 0 for an empty cell.
        side: of the board.
        order: of each cell, the digits in the order in which they are tried.
    """
    cells, parts = list(board), _parts(side)
    used = [0] * (3 * side)  # by row, column and box, the digits in it as bits
    for cell, digit in enumerate(cells):
        for part in parts[cell]:
            used[part] |= 1 << digit >> 1
    tried = [[1 << digit >> 1 for digit in digits] for digits in order or [range(1, side + 1)] * side**2]
    yield from _solve(cells, used, parts, tried, (1 << side) - 1)


def _solve(
    cells: list[int], used: list[int], parts: Sequence[tuple[int, int, int]], tried: list[list[int]], whole: int
) -> Iterator[tuple[int, ...]]:
    best, free = -1, 0
    for cell, digit in enumerate(cells):
        if not digit:
            row, column, box = parts[cell]
            left = whole & ~(used[row] | used[column] | used[box])
            if best < 0 or left.bit_count() < free.bit_count():
                best, free = cell, left
                if left.bit_count() <= 1:
                    break
    if best < 0:
        yield tuple(cells)
        return
    for bit in tried[best]:
        if free & bit:
            cells[best] = bit.bit_length()
            for part in parts[best]:
                used[part] |= bit
            yield from _solve(cells, used, parts, tried, whole)
            for part in parts[best]:
                used[part] &= ~bit
    cells[best] = 0


def _question(generator: np.random.Generator, board: Sequence[int], side: int) -> list[int]:
    """The board with cells emptied in random order, as long as it is the only answer."""
    question = list(board)
    for cell in generator.permutation(side**2).tolist():
        question[cell] = 0
        found = solutions(question, side)
        if next(found) != tuple(board) or next(found, None) is not None:
            question[cell] = board[cell]
    return question


@cache
def _parts(side: int) -> tuple[tuple[int, int, int], ...]:
    """Of each cell its row, column and box, numbered through."""
    rows, columns = BOXES[side]
    return tuple(
        (row, side + column, 2 * side + row // rows * rows + column // columns)
        for row in range(side)
        for column in range(side)
    )


def _text(board: Sequence[int]) -> str:
    return "".join(str(digit or ".") for digit in board)
