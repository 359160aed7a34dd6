"""Submissions: ``{task: [{"attempt_1": grid, "attempt_2": grid}, …]}``, one entry a test input.

A submission is *checked* (is it what the competition accepts?) and *scored* (which of its grids are right?) from the
file alone, independently of the votes it came from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trm_repro.arc.grids import parse_grid
from trm_repro.errors import InvariantBroken

ATTEMPTS = 2  # at each test input, in the competition
PASS_KS = (1, 2, 5, 10, 100, 1000)  # of which upstream's evaluator gives pass@K
Submission = dict[str, list[dict[str, list[list[int]]]]]


@dataclass(frozen=True)
class Score:
    """How many of a submission's grids are right.

    Attributes:
        tasks: number of tasks.
        inputs: number of test inputs.
        pass_at: by K, the mean over tasks of the share of test inputs that one of the first K attempts solves.
        inputs_solved: by K, how many test inputs that are.
    """

    tasks: int
    inputs: int
    pass_at: dict[int, float]
    inputs_solved: dict[int, int]

    def interval(self, k: int) -> tuple[float, float]:
        """The 95 % Wilson interval of pass@K over tasks."""
        return wilson(self.pass_at[k] * self.tasks, self.tasks)


def wilson(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a proportion.

    Args:
        successes: how many of the trials succeeded; a fraction counts in part (a task half of whose inputs are right).
        n: the number of trials.
        z: normal quantile; 1.96 gives 95 %.

    Returns:
        Lower and upper bound; (0, 1) for no trials.
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


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


def score_submission(
    submission: Mapping[str, Sequence[Mapping[str, Any]]], test_puzzles: Mapping[str, Any], ks: Iterable[int] = (1, 2)
) -> Score:
    """Scores a submission against the true outputs; an input without an entry is wrong.

    An entry belongs to the test input at its place. Where upstream's evaluator has left out inputs without predictions,
    later entries move up; :func:`problems` reports that as a wrong count.

    Args:
        submission: {task: [{"attempt_1": grid, …}, …]}.
        test_puzzles: {task: {"test": [{"input": grid, "output": grid}, …]}}.
        ks: how many attempts count.
    """
    ks = tuple(ks)
    shares = dict.fromkeys(ks, 0.0)
    solved = dict.fromkeys(ks, 0)
    for task, puzzle in test_puzzles.items():
        entries = submission.get(task, [])
        for k in ks:
            right = sum(
                any(entry.get(f"attempt_{i}") == pair["output"] for i in range(1, k + 1))
                for entry, pair in zip(entries, puzzle["test"], strict=False)
            )
            solved[k] += right
            shares[k] += right / len(puzzle["test"])
    tasks = len(test_puzzles)
    return Score(
        tasks=tasks,
        inputs=sum(len(puzzle["test"]) for puzzle in test_puzzles.values()),
        pass_at={k: share / tasks for k, share in shares.items()},
        inputs_solved=solved,
    )
