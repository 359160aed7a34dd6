"""What a dataset will hold, before anything of it is written: its tasks, their variants, and the variants' numbers.

Drawing the variants takes the first part of the random stream; a variant is kept as one integer, and no augmented grid is
made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_repro import progress
from trm_repro.arc import canvas, draws
from trm_repro.arc.canvas import Packed
from trm_repro.arc.layout import SPLITS
from trm_repro.arc.tasks import Task


@dataclass(frozen=True)
class Options:
    """What a dataset is made from; names and defaults are upstream's.

    Attributes:
        input_file_prefix: path and first part of the names of the task files.
        subsets: which task files, in this order.
        test_set_names: the subsets whose test examples go to the split "test".
        num_aug: how many augmented variants of each task, at most.
        seed: of the random stream.
        puzzle_identifiers_start: the first number given to a variant; lower ones are ``<blank>``.
        first_split: which split is written first if the first subset is a test set (else it is "train"). Upstream
            leaves that to Python's string hash: with PYTHONHASHSEED=0, "train" on Python 3.10 and "test" on 3.11.
    """

    input_file_prefix: str
    subsets: tuple[str, ...]
    test_set_names: tuple[str, ...]
    num_aug: int = 1000
    seed: int = 42
    puzzle_identifiers_start: int = 1
    first_split: str = "train"


@dataclass(frozen=True)
class Planned:
    """A task with its variants; ``examples`` says, by split, which of its examples are written there."""

    name: str
    packed: Packed
    codes: npt.NDArray[np.int64]
    examples: dict[str, npt.NDArray[np.int64]]


@dataclass
class Plan:
    """All that is known before the first canvas is painted.

    Attributes:
        tasks: in the order in which they are written.
        test_puzzles: the test sets' tasks as loaded, by name.
        splits: in the order in which they are written.
    """

    tasks: list[Planned] = field(default_factory=list)
    test_puzzles: dict[str, Any] = field(default_factory=dict)
    splits: list[str] = field(default_factory=list)

    def groups(self, split: str) -> list[Planned]:
        """The tasks that have examples in ``split``."""
        return [task for task in self.tasks if len(task.examples[split])]

    def rows(self, split: str) -> int:
        """The number of examples in ``split``."""
        return sum(len(task.codes) * len(task.examples[split]) for task in self.tasks)


def draw_plan(options: Options, sources: Sequence[tuple[str, list[Task]]], state: draws.Stream) -> Plan:
    """Draws the variants of all tasks."""
    plan = Plan()
    with progress.track("augmenting", total=sum(len(tasks) for _, tasks in sources), unit="tasks") as bar:
        for subset, tasks in sources:
            tests = subset in options.test_set_names
            used = (options.first_split, *SPLITS) if tests and not plan.splits else SPLITS[: 1 + tests]
            plan.splits += [split for split in dict.fromkeys(used) if tasks and split not in plan.splits]
            order = np.arange(len(tasks))
            draws.shuffle(state, order)
            for task in (tasks[i] for i in order):
                packed = canvas.pack(task)
                codes = draws.variants(state, *canvas.hashes(packed), options.num_aug)
                to_test = np.array([tests and example.role == "test" for example in task.examples])
                examples = {"train": np.flatnonzero(~to_test), "test": np.flatnonzero(to_test)}
                plan.tasks.append(Planned(task.name, packed, codes, examples))
                if tests:
                    plan.test_puzzles[task.name] = task.puzzle
                bar.advance()
    return plan


@dataclass(frozen=True)
class Numbering:
    """The numbers of the variants.

    Attributes:
        of: by split, for each group the (variants,) identifiers.
        new: (task, codes) of the variants numbered there, in the numbers' order.
        count: how many numbers there are, those of ``<blank>`` included.
    """

    of: dict[str, list[npt.NDArray[np.int32]]]
    new: list[tuple[str, npt.NDArray[np.int64]]]
    count: int


def number(plan: Plan, start: int) -> Numbering:
    """Numbers the variants from ``start``: split by split, group by group; a name seen again keeps its first number."""
    numbering = Numbering({split: [] for split in plan.splits}, [], start)
    known: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]] = {}
    count = start
    for split in plan.splits:
        for group in plan.groups(split):
            if group.name in known:
                codes, numbers = known[group.name]
                new = group.codes[~np.isin(group.codes, codes)]
                codes = np.append(codes, new)
                numbers = np.append(numbers, np.arange(count, count + len(new), dtype=np.int32))
                order = np.argsort(codes)
                found = numbers[order[np.searchsorted(codes, group.codes, sorter=order)]]
            else:
                codes = new = group.codes
                numbers = found = np.arange(count, count + len(new), dtype=np.int32)
            known[group.name] = codes, numbers
            numbering.of[split].append(found)
            numbering.new.append((group.name, new))
            count += len(new)
    return dataclasses.replace(numbering, count=count)
