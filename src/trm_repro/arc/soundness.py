"""Whether a dataset is what it should be.

A folder is verified against digests (every byte is the expected one) and against itself: the invariants that hold for any
dataset (see :mod:`trm_repro.arc.layout`), so that one nobody has digests for can be judged too. Index arrays ascend and
are complete, identifiers exist, every row has tokens of the vocabulary alone. For ARC, every row is exactly one grid on its
canvas, and the un-augmented test puzzles are those of ``test_puzzles.json``, all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_repro import progress
from trm_repro.arc.augment import SEPARATOR
from trm_repro.arc.compiled import compiled
from trm_repro.arc.grids import CELLS, END, FIRST_COLOUR, SIDE, VOCABULARY, Grid, encode, parse_grid
from trm_repro.arc.layout import BLANK, SPLITS, SplitFiles, digests, read_split
from trm_repro.digests import Cache, Digest, difference
from trm_repro.errors import MissingPrerequisite, ReproError
from trm_repro.files import read_json

_CHUNK = 1 << 16  # examples checked at a time


def verify(
    folder: Path, expected: Mapping[str, Mapping[str, Any]] | None = None, cache: Cache | None = None
) -> list[str]:
    """All that is wrong with a dataset, one line each; empty if nothing is.

    Args:
        folder: the dataset.
        expected: the digests it must have, as :func:`digests` gives them. Where they agree, nothing else is looked at.
        cache: of digests.

    Raises:
        MissingPrerequisite: there is no such folder.
    """
    lines: list[str] = []
    if expected is not None:
        found = digests(folder, cache)
        lines = difference(_plain(expected), _plain(found))
        for path in sorted(expected.keys() & found.keys()):
            rows = expected[path].get("rows")
            if rows is not None and rows != found[path].get("rows"):
                lines.append(f"different: {path}: expected {rows} rows, found {found[path].get('rows')}")
        if not lines:
            return []
    elif not folder.is_dir():
        raise MissingPrerequisite(f"{folder}: no such folder")
    try:
        for line in _invalid(folder):
            lines.append(f"invalid: {line}")
    except ReproError as error:  # a file that cannot be read at all
        lines.append(f"invalid: {error}")
    return lines


def _plain(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Digest]:
    return {path: Digest(file["sha256"], file["bytes"]) for path, file in files.items()}


def _invalid(folder: Path) -> Iterator[str]:
    """What cannot be true of the dataset."""
    splits = []
    for name in SPLITS:
        if name == "test" and not (folder / name).exists():
            continue  # a dataset without a test set is legal
        try:
            splits.append(read_split(folder, name))
        except ReproError as error:
            yield str(error)
    try:
        identifiers = read_json(folder / "identifiers.json")
    except ReproError as error:
        yield str(error)
        return
    if not isinstance(identifiers, list) or not all(isinstance(name, str) for name in identifiers):
        yield "identifiers.json: not a list of names"
        return
    named = [name for name in identifiers if name != BLANK]
    if identifiers[:1] != [BLANK]:
        yield f'identifiers.json: the first is not "{BLANK}"'
    if len(set(named)) != len(named):
        yield f"identifiers.json: {len(named) - len(set(named))} names occur twice"
    sound = []
    for split in splits:
        wrong = list(_invalid_indices(split, len(identifiers)))
        yield from wrong
        if not wrong:
            sound.append(split)
    for split in sound:
        yield from _invalid_tokens(split)
    for split in sound:
        if split.name == "test" and (folder / "test_puzzles.json").exists():
            yield from _invalid_tests(split, identifiers, read_json(folder / "test_puzzles.json"))
        elif split.name == "test" and _is_arc(split):
            yield "test_puzzles.json: missing"


def _is_arc(split: SplitFiles) -> bool:
    return split.metadata.get("vocab_size") == VOCABULARY and split.metadata.get("seq_len") == CELLS


def _invalid_indices(split: SplitFiles, identifiers: int) -> Iterator[str]:
    """Whether the arrays belong together and to the metadata."""
    where, facts = split.name, split.metadata
    if split.inputs.ndim != 2 or split.inputs.shape != split.labels.shape:
        yield f"{where}: inputs {split.inputs.shape} and labels {split.labels.shape} are not two arrays of one shape"
        return
    examples, puzzles = len(split.inputs), len(split.puzzle_identifiers)
    for name, indices, end, of in (
        ("puzzle_indices", split.puzzle_indices, examples, "examples"),
        ("group_indices", split.group_indices, puzzles, "puzzles"),
    ):
        if len(indices) == 0 or indices[0] != 0:
            yield f"{where}/all__{name}.npy: does not begin with 0"
        elif (np.diff(indices) <= 0).any():
            place = int((np.diff(indices) <= 0).argmax())
            yield f"{where}/all__{name}.npy: not ascending after {place}: {indices[place]}, {indices[place + 1]}"
        elif indices[-1] != end:
            yield f"{where}/all__{name}.npy: ends at {indices[-1]}, but there are {end} {of}"
    if len(split.puzzle_indices) != puzzles + 1:
        yield f"{where}: {puzzles} puzzle identifiers for {len(split.puzzle_indices) - 1} puzzles"
    numbers = split.puzzle_identifiers
    if puzzles and not 0 <= numbers.min() <= numbers.max() < identifiers:
        yield f"{where}/all__puzzle_identifiers.npy: {numbers.min()}..{numbers.max()}, outside 0..{identifiers - 1}"
    for key, value in (
        ("num_puzzle_identifiers", identifiers),
        ("seq_len", split.inputs.shape[1]),
        ("total_groups", len(split.group_indices) - 1),
        ("total_puzzles", puzzles if _is_arc(split) else len(split.group_indices) - 1),  # boards, for Sudoku and Maze
        ("mean_puzzle_examples", examples / max(1, puzzles)),
        ("sets", ["all"]),
    ):
        if facts.get(key) != value:
            yield f"{where}/dataset.json: {key} is {facts.get(key)}, but the files say {value}"


def _invalid_tokens(split: SplitFiles) -> Iterator[str]:
    """The first example of each array that is out of the vocabulary, or for ARC not one grid on its canvas."""
    check, vocabulary, arc = _first_bad_canvas, int(split.metadata.get("vocab_size", 0)), _is_arc(split)
    for name, array in (("inputs", split.inputs), ("labels", split.labels)):

        def first_bad(start: int, array: npt.NDArray[Any] = array) -> int:
            rows = array[start : start + _CHUNK]
            place = check(rows) if arc else int(np.append((rows >= vocabulary).any(axis=1), True).argmax())
            return start + place if place < len(rows) else -1

        starts = range(0, len(array), _CHUNK)
        title = f"checking {split.name}/all__{name}.npy"
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            progress.track(title, total=len(array), unit="examples") as bar,
        ):
            for start, bad in zip(starts, pool.map(first_bad, starts), strict=True):
                bar.advance(min(_CHUNK, len(array) - start))
                if bad >= 0:
                    what = "not a grid on a canvas" if arc else f"a token outside 0..{vocabulary - 1}"
                    yield f"{split.name}/all__{name}.npy: example {bad}: {what}"
                    pool.shutdown(cancel_futures=True)
                    break


@compiled
def _first_bad_canvas(canvases: Grid) -> int:
    """The first of (n, 900) canvases that is not exactly one grid with its end marks, or n."""
    for i in range(len(canvases)):
        canvas = canvases[i]
        corner, written = CELLS, 0
        for place in range(CELLS):
            written += canvas[place] != 0
        for place in range(CELLS):
            if canvas[place] >= FIRST_COLOUR:
                corner = place
                break
        if corner == CELLS:
            return i
        top, left = divmod(corner, SIDE)
        width, height = 0, 0
        while left + width < SIDE and canvas[corner + width] >= FIRST_COLOUR:
            width += 1
        while top + height < SIDE and canvas[corner + height * SIDE] >= FIRST_COLOUR:
            height += 1
        good = True
        for row in range(height):
            for column in range(width):
                good &= FIRST_COLOUR <= canvas[corner + row * SIDE + column] < VOCABULARY
        expected = height * width
        if top + height < SIDE:
            expected += width
            for column in range(width):
                good &= canvas[corner + height * SIDE + column] == END
        if left + width < SIDE:
            expected += height
            for row in range(height):
                good &= canvas[corner + row * SIDE + width] == END
        if not good or written != expected:
            return i
    return len(canvases)


def _invalid_tests(split: SplitFiles, identifiers: list[str], puzzles: Any) -> Iterator[str]:
    """Whether the test split's un-augmented puzzles are those of test_puzzles.json, all of them."""
    if not isinstance(puzzles, dict) or not all(isinstance(puzzle, dict) for puzzle in puzzles.values()):
        yield "test_puzzles.json: not a JSON object of tasks"
        return
    firsts = split.group_indices[:-1]
    found = {identifiers[split.puzzle_identifiers[first]]: int(first) for first in firsts}
    for task in sorted(puzzles.keys() - found.keys()):
        yield f"test_puzzles.json: task {task} is not in the test split"
    for task in sorted(found.keys() - puzzles.keys()):
        yield f"test: task {task} is not in test_puzzles.json"
    for task in puzzles.keys() & found.keys():
        start, end = split.puzzle_indices[found[task] : found[task] + 2].tolist()
        pairs = puzzles[task].get("test", [])
        if end - start != len(pairs):
            yield f"test: task {task} has {end - start} examples, test_puzzles.json has {len(pairs)}"
            continue
        for array, side in ((split.inputs, "input"), (split.labels, "output")):
            for i, pair in enumerate(pairs):
                if not np.array_equal(
                    array[start + i], encode(parse_grid(pair.get(side), f"test_puzzles.json: {task}", whole=True))
                ):
                    yield f"test: task {task}: {side} {i} is not that of test_puzzles.json"
    for group, first in enumerate(firsts.tolist()):
        task = identifiers[split.puzzle_identifiers[first]]
        for puzzle in range(first + 1, int(split.group_indices[group + 1])):
            name = identifiers[split.puzzle_identifiers[puzzle]]
            if not name.startswith(task + SEPARATOR):
                yield f"test: puzzle {puzzle}, {name}, is not a variant of its group's task {task}"
                break
