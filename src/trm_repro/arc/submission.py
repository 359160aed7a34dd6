"""Submissions: ``{task: [{"attempt_1": grid, "attempt_2": grid}, …]}``, one entry a test input.

A submission is *checked* (is it what the competition accepts?), *scored* (which of its grids are right?) and *looked at*
(does it look like what a model answers?) from the file alone, independently of the votes it came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trm_repro.arc.grids import parse_grid
from trm_repro.arc.score import Score, counted, tally
from trm_repro.arc.versions import NO_ANSWER, listed
from trm_repro.errors import InvariantBroken

ATTEMPTS = 2  # at each test input, in the competition
PASS_KS = (1, 2, 5, 10, 100, 1000)  # of which upstream's evaluator gives pass@K
Submission = dict[str, list[dict[str, list[list[int]]]]]


def problems(submission: Any, puzzles: Mapping[str, Any], attempts: int = ATTEMPTS) -> list[str]:
    """All that is wrong with a submission, one line each; empty if nothing is.

    Args:
        submission: what its file holds.
        puzzles: {task: {"test": [{"input": grid}, …]}} that it must answer.
        attempts: how many times each test input must be answered; the competition takes two.
    """
    if not isinstance(submission, dict):
        return ["not a JSON object of tasks"]
    lines = [f"task {task}: missing" for task in puzzles if task not in submission]
    lines += [f"task {task}: unknown" for task in submission if task not in puzzles]
    for task, puzzle in puzzles.items():
        if task not in submission:
            continue
        entries = submission[task]
        if not isinstance(entries, list) or len(entries) != len(puzzle["test"]):
            count = f"{len(entries)} entries" if isinstance(entries, list) else "no list of entries"
            lines.append(f"task {task}: {count} for {len(puzzle['test'])} test inputs")
            continue
        for i, entry in enumerate(entries):
            lines += _entry_problems(entry, attempts, f"task {task}: test input {i}")
    return lines


def _entry_problems(entry: Any, attempts: int, where: str) -> list[str]:
    if not isinstance(entry, dict):
        return [f"{where}: not an object of attempts"]
    expected = [f"attempt_{i}" for i in range(1, attempts + 1)]
    lines = [f"{where}: {key} missing" for key in expected if key not in entry]
    lines += [f"{where}: {key} unknown" for key in entry if key not in expected]
    for key in expected:
        if entry.get(key, []) != []:  # a 0 × 0 grid is a legal, if hopeless, prediction
            try:
                parse_grid(entry[key], f"{where}: {key}")
            except InvariantBroken as error:
                lines.append(str(error))
    return lines


def answers(submission: Any, task: str, attempts: int) -> list[list[Any]]:
    """The first answers to each test input of a task, as far as they can be read: None for what is no grid."""
    entries = submission.get(task) if isinstance(submission, dict) else None
    return [
        [_grid(entry.get(f"attempt_{i}")) if isinstance(entry, dict) else None for i in range(1, attempts + 1)]
        for entry in (entries if isinstance(entries, list) else [])
    ]


def _grid(value: Any) -> Any:
    """A grid as whole numbers, 5.0 being 5, or None for what is none."""
    try:
        return value if value == [] else parse_grid(value, "", whole=True).tolist()
    except InvariantBroken:
        return None


def with_solutions(puzzles: Mapping[str, Any], solutions: Mapping[str, Any]) -> dict[str, Any]:
    """Tasks with the outputs that a solutions file has, {task: [grid or None, …]}, where it has one for each test input."""

    def test(task: str, pairs: Sequence[Mapping[str, Any]]) -> list[Any]:
        known = solutions.get(task)
        if not isinstance(known, list) or len(known) != len(pairs):
            return list(pairs)
        return [{**pair, "output": grid} for pair, grid in zip(pairs, known, strict=True)]

    return {task: {**puzzle, "test": test(task, puzzle["test"])} for task, puzzle in puzzles.items()}


def score_submission(submission: Any, puzzles: Mapping[str, Any], ks: Iterable[int] = (1, 2)) -> Score:
    """Scores a submission against the true outputs; what is missing, or is no grid, is wrong.

    An entry belongs to the test input at its place. Where upstream's evaluator has left out inputs without predictions,
    later entries move up; :func:`problems` reports that as a wrong count.

    Args:
        submission: {task: [{"attempt_1": grid, …}, …]}.
        puzzles: {task: {"test": [{"input": grid, "output": grid or None where it is not known}, …]}}.
        ks: how many attempts count.
    """
    ks = tuple(ks)
    marks: dict[int, dict[str, list[bool | None]]] = {k: {} for k in ks}
    for task, puzzle in puzzles.items():
        found = answers(submission, task, max(ks))
        for k in ks:
            marks[k][task] = [
                None if pair.get("output") is None else i < len(found) and pair["output"] in found[i][:k]
                for i, pair in enumerate(puzzle["test"])
            ]
    return tally(marks)


def findings(submission: Any, puzzles: Mapping[str, Any], attempts: int = ATTEMPTS) -> list[str]:
    """What is strange about the answers, a line each with how many; it changes no score.

    Each is what a known mistake leaves: one variant that voted alone, a model that copies, a canvas that was cropped to
    nothing, test inputs that were written down in another order.
    """
    told = list(_answered(submission, puzzles, attempts))
    given = [(task, pair, grid) for task, pair, grids in told for grid in grids if grid is not None]
    lines = []
    equal = sum(len(grids) > 1 and all(grid == grids[0] for grid in grids) for _, _, grids in told)
    if told and equal == len(told) and attempts > 1:
        lines.append(
            f"the attempts are equal at all of the {equal} test inputs, as where one variant of each task voted; then "
            "pass@1 is pass@1000"
        )
    sizes = {task: {_size(pair["output"]) for pair in puzzle.get("train", [])} for task, puzzle in puzzles.items()}
    counts = {
        "are [[0]], which stands for no answer": sum(grid == NO_ANSWER for _, _, grid in given),
        "are empty": sum(grid == [] for _, _, grid in given),
        "are of one colour throughout": sum(grid != NO_ANSWER and _constant(grid) for _, _, grid in given),
        "are the test input again": sum(grid == pair["input"] for _, pair, grid in given),
        "have a size that no training output has, nor the test input": sum(
            bool(sizes[task]) and grid != [] and _size(grid) not in {*sizes[task], _size(pair["input"])}
            for task, pair, grid in given
        ),
    }
    lines += [f"{count} of {len(given)} answers {what}" for what, count in counts.items() if count]
    moved = {task: gain for task, puzzle in puzzles.items() if (gain := _gain(submission, task, puzzle, attempts))}
    if moved:
        lines.append(
            f"{counted(len(moved), 'task')} answered in another order of the test inputs ({listed(moved)}): in theirs, "
            f"{sum(moved.values())} more would be right"
        )
    return lines


def flat(shares: Mapping[int, float]) -> list[str]:
    """That more answers solve no more tasks, by K; nothing where that is no wonder."""
    ks = sorted(shares)
    if len(ks) < 2 or shares[ks[0]] in (0, 1) or shares[ks[0]] != shares[ks[-1]]:
        return []
    return [
        f"pass@{ks[0]} is pass@{ks[-1]}: no candidate but the first ever helped, as where one variant of each task voted"
    ]


def _answered(
    submission: Any, puzzles: Mapping[str, Any], attempts: int
) -> Iterator[tuple[str, Mapping[str, Any], list[Any]]]:
    """Task, test pair and answers of each test input that has any."""
    for task, puzzle in puzzles.items():
        for pair, grids in zip(puzzle["test"], answers(submission, task, attempts), strict=False):
            yield task, pair, grids


def _size(grid: Sequence[Sequence[int]]) -> tuple[int, int]:
    return len(grid), len(grid[0]) if grid else 0


def _constant(grid: Sequence[Sequence[int]]) -> bool:
    return len({cell for row in grid for cell in row}) == 1


def _gain(submission: Any, task: str, puzzle: Mapping[str, Any], attempts: int) -> int:
    """How many more test inputs of a task its entries would solve in their best order."""
    found = answers(submission, task, attempts)
    truths = [pair.get("output") for pair in puzzle["test"]]
    solves = [[truth is not None and truth in grids for truth in truths] for grids in found]
    now = sum(row[i] for i, row in enumerate(solves) if i < len(truths))
    owner: dict[int, int] = {}  # of each test input, the entry that solves it

    def place(entry: int, seen: set[int]) -> bool:
        for test_input, does in enumerate(solves[entry]):
            if does and test_input not in seen:
                seen.add(test_input)
                if test_input not in owner or place(owner[test_input], seen):
                    owner[test_input] = entry
                    return True
        return False

    return sum(place(entry, set()) for entry in range(len(found))) - now
