"""Scoring ARC predictions by vote, as upstream's evaluator does.

Each prediction is a vote for a grid: the canvas is cropped, the augmentation undone, and the grid counted for the test
input that the (equally restored) input grid belongs to. The candidates of a test input are ranked by votes, then by mean
confidence sigmoid(q_halt), then by who was seen first. Votes add up over calls: scoring one checkpoint alone and scoring
the vote of all checkpoints so far are two :class:`Votes`. A test input whose answer is not known stands in no score.

Memory: 40 bytes and the cells of each *distinct* candidate; predictions are not kept.
"""

from __future__ import annotations

import bisect
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from trm_repro.arc import augment, ballot, canvas
from trm_repro.arc.grids import CELLS, Grid, encode, hash_weights, parse_grid
from trm_repro.arc.score import Score, tally
from trm_repro.arc.submission import ATTEMPTS, PASS_KS, Submission
from trm_repro.arc.versions import NO_ANSWER, with_answers_known
from trm_repro.errors import InvariantBroken

T = TypeVar("T")

_ROWS_A_THREAD = 4096  # fewer are not worth a thread


class Votes:
    """The votes for the test inputs of a dataset.

    Args:
        test_puzzles: {task: {"train": […], "test": [{"input", "output"}, …]}}, as in a dataset's test_puzzles.json;
            an output that is None, missing, or the ``[[0]]`` of a dataset without solutions is not known.
        identifiers: the names of the puzzle identifiers, as in its identifiers.json.
        blank_identifier_id: the identifier of padding rows, which are dropped.
    """

    def __init__(
        self, test_puzzles: Mapping[str, Any], identifiers: Sequence[str], blank_identifier_id: int = 0
    ) -> None:
        self._identifiers = identifiers
        self._blank = blank_identifier_id
        self._tasks = {name: i for i, name in enumerate(test_puzzles)}
        told = with_answers_known(test_puzzles)
        pairs = [(task, pair) for task, puzzle in told.items() for pair in puzzle["test"]]
        self._known = np.array([pair["output"] is not None for _, pair in pairs], np.bool_)
        self._task = np.array([self._tasks[task] for task, _ in pairs], np.int64)
        self._first = np.searchsorted(self._task, np.arange(len(self._tasks) + 1))  # test input, by task
        self._input_hash = hash_grids(parse_grid(pair["input"], f"task {task}: test input") for task, pair in pairs)
        truths = [(task, NO_ANSWER if pair["output"] is None else pair["output"]) for task, pair in pairs]
        self._truth = hash_grids(parse_grid(truth, f"task {task}: test output") for task, truth in truths)

        # What is known of an identifier, once it was seen: whether, its task (−1: not a test task), its code.
        self._parsed = np.zeros(len(identifiers), np.bool_)
        self._task_of = np.full(len(identifiers), -1, np.int32)
        self._code_of = np.full(len(identifiers), augment.ORIGINAL, np.int64)

        # The candidates, in the order in which they were first seen, with room for more.
        self._count = 0
        self._slots = np.full(1024, -1, np.int64)
        self._inputs = np.empty(0, np.int64)
        self._hashes = np.empty(0, np.uint64)
        self._votes = np.empty(0, np.int64)
        self._confidence = np.empty(0, np.float64)
        self._grids: list[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64], Grid]] = []
        self._ranking: list[npt.NDArray[np.int64]] | None = None

    def add(
        self,
        puzzle_identifiers: npt.NDArray[np.integer[Any]],
        inputs: npt.NDArray[np.uint8],
        preds: npt.NDArray[np.uint8],
        q_halt_logits: npt.NDArray[np.floating[Any]],
    ) -> None:
        """Counts predictions; the order of the calls and rows decides ties.

        Args:
            puzzle_identifiers: (n,).
            inputs: (n, 900) tokens.
            preds: (n, 900) tokens.
            q_halt_logits: (n,).

        Raises:
            InvariantBroken: the shapes disagree, a logit is not a number, or an identifier is out of range or unreadable.
        """
        n = len(puzzle_identifiers)
        if inputs.shape != (n, CELLS) or preds.shape != (n, CELLS) or q_halt_logits.shape != (n,):
            raise InvariantBroken(
                f"predictions of unequal shape: {n} identifiers, inputs {inputs.shape}, predictions {preds.shape}, "
                f"logits {q_halt_logits.shape}"
            )
        if np.isnan(q_halt_logits).any():
            raise InvariantBroken(f"{int(np.isnan(q_halt_logits).sum())} of {n} q_halt logits are not numbers")
        inputs, preds = np.ascontiguousarray(inputs, np.uint8), np.ascontiguousarray(preds, np.uint8)
        numbers = np.asarray(puzzle_identifiers, np.int64)
        self._parse(numbers)
        rows = np.flatnonzero((numbers != self._blank) & (self._task_of[numbers] >= 0))
        tasks, codes = self._task_of[numbers[rows]].astype(np.int64), self._code_of[numbers[rows]]
        input_hashes, _ = _read(inputs, rows, codes)
        hashes, sizes = _read(preds, rows, codes)
        confidences = 1 / (1 + np.exp(-q_halt_logits[rows].astype(np.float64)))

        self._reserve(len(rows))
        fresh = ballot.count(
            self._test_inputs(tasks, input_hashes),
            hashes,
            confidences,
            self._slots,
            self._count,
            self._inputs,
            self._hashes,
            self._votes,
            self._confidence,
        )
        sizes = sizes[fresh]
        ends = np.cumsum(sizes[:, 0] * sizes[:, 1])
        starts = np.append(0, ends[:-1])
        cells = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
        _in_threads(
            lambda part: canvas.restore(preds, rows[fresh][part], codes[fresh][part], sizes[part], starts[part], cells),
            len(fresh),
        )
        self._grids.append((self._count, starts, sizes, cells))
        self._count += len(fresh)
        self._ranking = None

    def pass_at_k(self, ks: Iterable[int] = PASS_KS) -> dict[int, float]:
        """pass@K per task by K: the mean over tasks of the share of test inputs whose true grid is among the first K.

        The numbers are upstream's, to the last digit. Test inputs without a known answer are left out; where none is known
        there is no score.
        """
        ranks = np.array([self._rank(test_input) for test_input in range(len(self._task))])
        tests = np.bincount(self._task[self._known], minlength=len(self._tasks))
        scores = {}
        for k in ks if tests.any() else ():
            right = np.bincount(self._task, self._known & (ranks < k), minlength=len(self._tasks))
            shares = right[tests > 0] / tests[tests > 0]
            scores[k] = float(sum(shares.tolist()) / len(shares))
        return scores

    def score(self, ks: Iterable[int] = PASS_KS) -> Score:
        """Both metrics by K, with what no answer is known of."""
        return tally({k: self.right(k) for k in ks})

    def right(self, k: int) -> dict[str, list[bool | None]]:
        """By task, for each test input, whether its true grid is among the first K; None where it is not known."""
        return self._by_task(lambda test_input: self._rank(test_input) < k if self._known[test_input] else None)

    def answered(self) -> dict[str, list[bool]]:
        """By task, for each test input, whether it has a prediction."""
        return self._by_task(lambda test_input: len(self._ranked(test_input)) > 0)

    def _by_task(self, holds: Callable[[int], T]) -> dict[str, list[T]]:
        return {
            name: [holds(test_input) for test_input in range(*self._first[task : task + 2])]
            for name, task in self._tasks.items()
        }

    def submission(self, k: int = ATTEMPTS) -> Submission:
        """The best K grids of each test input that has a prediction, the best one again where there are fewer."""
        submission: Submission = {name: [] for name in self._tasks}
        for task, best in self._best(k):
            attempts = {f"attempt_{i}": self._grid(candidate).tolist() for i, candidate in enumerate(best, 1)}
            submission[task].append(attempts)
        return submission

    def tally(self, k: int = ATTEMPTS) -> dict[str, list[list[dict[str, float]]]]:
        """Behind each attempt of :meth:`submission`: how many votes it has, and their mean confidence."""
        tally: dict[str, list[list[dict[str, float]]]] = {name: [] for name in self._tasks}
        for task, best in self._best(k):
            votes = [(int(self._votes[candidate]), float(self._confidence[candidate])) for candidate in best]
            tally[task].append([{"votes": n, "confidence": total / n} for n, total in votes])
        return tally

    def _best(self, k: int) -> Iterator[tuple[str, list[int]]]:
        """Of each test input with a prediction: its task, and K candidates."""
        names = list(self._tasks)
        for test_input, task in enumerate(self._task.tolist()):
            ranked: list[int] = self._ranked(test_input)[:k].tolist()
            if ranked:
                yield names[task], ranked + ranked[:1] * (k - len(ranked))

    def _parse(self, numbers: npt.NDArray[np.int64]) -> None:
        """Reads the identifiers that were not seen before."""
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self._identifiers):
            bad = numbers[(numbers < 0) | (numbers >= len(self._identifiers))][0]
            raise InvariantBroken(f"puzzle identifier {bad}: there are {len(self._identifiers)} of them")
        wanted = np.zeros(len(self._identifiers), np.bool_)
        wanted[numbers] = True
        new = np.flatnonzero(wanted & ~self._parsed)
        if not len(new):
            return
        names = [self._identifiers[i] for i in new.tolist()]
        encoded = [name.encode() for name in names]
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        codes, fresh = ballot.parse(np.frombuffer(b"".join(encoded), np.uint8), ends)
        for i in np.flatnonzero(codes == ballot.INVALID).tolist():
            augment.parse(names[i])
        firsts = np.flatnonzero(fresh)
        tasks = [self._tasks.get(names[i].partition(augment.SEPARATOR)[0], -1) for i in firsts.tolist()]
        self._task_of[new] = np.array(tasks, np.int32)[np.cumsum(fresh) - 1]
        self._code_of[new] = codes
        self._parsed[new] = True

    def _test_inputs(self, tasks: npt.NDArray[np.int64], hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Which test input of its task each hash is, or −1; the first of equal ones."""
        found = np.full(len(tasks), -1, np.int64)
        most = int(np.diff(self._first).max(initial=0))
        for place in range(most - 1, -1, -1):
            test_input = self._first[tasks] + place
            inside = test_input < self._first[tasks + 1]
            match = inside & (self._input_hash[np.where(inside, test_input, 0)] == hashes)
            found[match] = test_input[match]
        return found

    def _reserve(self, more: int) -> None:
        """Makes room for ``more`` candidates."""
        needed = self._count + more
        if needed > len(self._inputs):
            grow = max(needed, 2 * len(self._inputs)) - len(self._inputs)
            self._inputs = np.append(self._inputs, np.empty(grow, np.int64))
            self._hashes = np.append(self._hashes, np.empty(grow, np.uint64))
            self._votes = np.append(self._votes, np.empty(grow, np.int64))
            self._confidence = np.append(self._confidence, np.empty(grow, np.float64))
        size = len(self._slots)
        while size < 2 * needed:
            size *= 2
        if size > len(self._slots):
            self._slots = np.full(size, -1, np.int64)
            ballot.rebuild(self._slots, self._count, self._inputs, self._hashes)

    def _ranked(self, test_input: int) -> npt.NDArray[np.int64]:
        """The candidates of a test input, the best first."""
        if self._ranking is None:
            votes, inputs = self._votes[: self._count], self._inputs[: self._count]
            mean = self._confidence[: self._count] / votes
            grouped = np.argsort(inputs.astype(np.int32), kind="stable")
            bounds = np.searchsorted(inputs[grouped], np.arange(len(self._task) + 1))
            self._ranking = []
            for start, end in itertools.pairwise(bounds):
                part = grouped[start:end]
                self._ranking.append(part[np.lexsort((-mean[part], -votes[part]))])
        twins = self._input_hash[self._first[self._task[test_input]] : test_input] == self._input_hash[test_input]
        if twins.any():  # equal inputs of one task share their votes
            test_input = int(self._first[self._task[test_input]]) + int(twins.argmax())
        return self._ranking[test_input]

    def _rank(self, test_input: int) -> float:
        """The place of the true grid among the candidates, from 0; infinite if it is not one."""
        places = np.flatnonzero(self._hashes[self._ranked(test_input)] == self._truth[test_input])
        return float(places[0]) if len(places) else np.inf

    def _grid(self, candidate: int) -> Grid:
        first, starts, sizes, cells = self._grids[
            bisect.bisect_right(self._grids, candidate, key=lambda part: part[0]) - 1
        ]
        height, width = sizes[candidate - first]
        start = starts[candidate - first]
        return cells[start : start + height * width].reshape(height, width)


def hash_grids(grids: Iterable[Grid]) -> npt.NDArray[np.uint64]:
    """The (n,) hashes of grids."""
    canvases = np.stack([np.empty(CELLS, np.uint8), *(encode(grid) for grid in grids)])[1:]
    return _read(canvases, np.arange(len(canvases)), np.full(len(canvases), augment.ORIGINAL))[0]


def _read(
    tokens: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], codes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The (n,) hashes and (n, 2) sizes of the original grids that canvases show, read in threads."""
    hashes, sizes = np.empty(len(rows), np.uint64), np.empty((len(rows), 2), np.int64)
    _in_threads(
        lambda part: canvas.read(tokens, rows[part], codes[part], *hash_weights(), hashes[part], sizes[part]), len(rows)
    )
    return hashes, sizes


def _in_threads(work: Callable[[slice], None], n: int) -> None:
    """Calls ``work`` with slices of range(n), in as many threads as pay off."""
    threads = max(1, min(os.cpu_count() or 1, n // _ROWS_A_THREAD))
    bounds = np.linspace(0, n, threads + 1).astype(int).tolist()
    parts = [slice(start, end) for start, end in itertools.pairwise(bounds)]
    if threads == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))
