"""What a score is, and how it is said: everywhere in the same words.

ARC has two metrics, and numbers of both go round under one name. *pass@K per task* is the mean over tasks of the share of a
task's test inputs that one of the first K answers solves: upstream's (``ARC/pass@K`` in its log) and the paper's. *pass@K per
test input* is the share of all test inputs: ARC's official one. A test input whose answer nobody knows is counted apart, and a
task with no other stands in neither.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Marks = Mapping[str, Sequence[bool | None]]  # by task, whether each test input is solved; None: its answer is not known

PER_TASK, PER_INPUT = "per task", "per test input"
LOGGED = "ARC/pass@"  # what upstream's log calls pass@K per task
NOTHING = "no answers are known: nothing to score"


@dataclass(frozen=True)
class Share:
    """How many of some are right.

    Attributes:
        right: how many; a task half of whose test inputs are right is half a task.
        of: of how many.
        what: of what, such as "tasks".
    """

    right: float
    of: int
    what: str

    @property
    def share(self) -> float:
        """From 0 to 1; 0 of none."""
        return self.right / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the share."""
        return wilson(self.right, self.of)

    @property
    def percent(self) -> str:
        """The share as per cent."""
        return f"{100 * self.share:.3f} %"

    @property
    def count(self) -> str:
        """How many of how many."""
        return f"{f'{self.right:.3f}'.rstrip('0').rstrip('.')} of {self.of} {self.what}"

    @property
    def span(self) -> str:
        """The interval."""
        low, high = self.interval
        return f"95 % interval {100 * low:.2f} to {100 * high:.2f} %"

    def __str__(self) -> str:
        return f"{self.percent} ({self.count}; {self.span})"

    def as_json(self) -> dict[str, Any]:
        """As evaluation.json and verdict.json have it."""
        interval = list(self.interval)
        return {"share": self.share, "right": self.right, "of": self.of, "what": self.what, "interval_95": interval}

    @staticmethod
    def of_json(value: Mapping[str, Any]) -> Share:
        """What :meth:`as_json` gave."""
        return Share(value["right"], value["of"], value["what"])


@dataclass(frozen=True)
class Score:
    """Both metrics, by K, and how many test inputs they leave out as their answers are not known."""

    per_task: Mapping[int, Share]
    per_input: Mapping[int, Share]
    unknown: int = 0

    @property
    def shares(self) -> dict[str, Share]:
        """Both metrics of each K, by name; none where no answer is known."""
        named = {}
        for k in self.per_task if any(share.of for share in self.per_input.values()) else ():
            named[name(k)], named[name(k, PER_INPUT)] = self.per_task[k], self.per_input[k]
        return named

    def as_json(self) -> dict[str, Any]:
        """As evaluation.json and verdict.json have it."""
        return {called: share.as_json() for called, share in self.shares.items()}


def lines(shares: Mapping[str, Share], unknown: int = 0) -> list[str]:
    """Named shares in columns, a line each, and what they leave out."""
    if not shares:
        return [NOTHING]
    rows = [(called, share.percent, share.count, share.span) for called, share in shares.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = [f"{a:{widths[0]}}  {b:>{widths[1]}}  {c:{widths[2]}}  {d}" for a, b, c, d in rows]
    return [*table, left_out(unknown)] if unknown else table


def left_out(unknown: int) -> str:
    """What no metric counts, in a sentence."""
    return f"{counted(unknown, 'test input')} without a known answer: counted in no number"


def counted(count: int, what: str) -> str:
    """How many of something, in words."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def name(k: int, metric: str = PER_TASK) -> str:
    """A metric's name, everywhere."""
    return f"pass@{k} {metric}"


def title(metric: str) -> str:
    """The name of a metric that a log or a recipe calls ``ARC/pass@K``; others keep theirs."""
    k = metric.removeprefix(LOGGED)
    return name(int(k)) if k != metric and re.fullmatch("[0-9]{1,9}", k) else metric


def tally(marks: Mapping[int, Marks]) -> Score:
    """The score, from what is solved within K answers, by K."""
    per_task, per_input = {}, {}
    unknown = 0
    for k, tasks in marks.items():
        known = [[mark for mark in found if mark is not None] for found in tasks.values()]
        shares = [sum(found) / len(found) for found in known if found]
        per_task[k] = Share(sum(shares), len(shares), "tasks")
        per_input[k] = Share(sum(map(sum, known)), sum(map(len, known)), "test inputs")
        unknown = sum(map(len, tasks.values())) - per_input[k].of
    return Score(per_task, per_input, unknown)


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
