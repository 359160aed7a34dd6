"""Whether test answers stand among training examples, as they are or under an augmentation.

The augmentations are those of :mod:`trm_repro.arc.augment`: eight symmetries, and permutations of the colours 1 to 9. Two pairs
of grids are the same up to augmentation if they have the same *canonical hash*. Under one symmetry, a colour is known by where
its cells are in both grids, whatever it is called; so the hash of a pair is made of the hashes of these places, for colour 0 by
itself and for the others summed, and the canonical one is the least of the eight. Where an answer is not known, its input is
looked for alone.

A *task* is the same as one that is trained on if one augmentation turns each of its training pairs into one of the other's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_repro.arc import canvas
from trm_repro.arc.grids import COLOURS, parse_grid
from trm_repro.arc.reader import TaskSet
from trm_repro.arc.tasks import Example, Task

Hashes = npt.NDArray[np.uint64]
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BLACK = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Leaks:
    """What of a test set stands among the training examples.

    Attributes:
        tests: how many test inputs there are.
        tasks: how many tasks.
        examples: how many training examples they were looked for in.
        pairs: by (task, test input), the training example that it is, in words.
        exact: those of them that stand there as they are, without any augmentation.
        same: by task, the training task that it is, in words.
    """

    tests: int
    tasks: int
    examples: int
    pairs: dict[tuple[str, int], str]
    exact: set[tuple[str, int]]
    same: dict[str, str]

    @property
    def summary(self) -> str:
        """One line."""
        some = f" ({len(self.exact)} as they are)" if self.pairs else ""
        return (
            f"{len(self.pairs)} of {self.tests} test pairs{some} and {len(self.same)} of {self.tasks} tasks stand, in any "
            f"augmentation, among {self.examples:,} training examples"
        )

    @property
    def lines(self) -> list[str]:
        """One line for each that does."""
        found = [
            f"task {task}: test input {i} {'is' if (task, i) in self.exact else 'is, augmented,'} {what}"
            for (task, i), what in self.pairs.items()
        ]
        return found + [f"task {task}: its training pairs are those of {what}" for task, what in self.same.items()]


@dataclass(frozen=True)
class _Trained:
    """A task that is trained on, with the pairs that are: (role, place) each, and their canonical hashes."""

    name: str
    task: Task
    places: list[tuple[str, int]]
    hashes: list[int]


def find_leaks(training: Sequence[TaskSet], test: TaskSet) -> Leaks:
    """Looks for a test set's answers, and for its tasks, in what is trained on.

    Args:
        training: what is trained on, all pairs of it. Where it has the test set itself, from the same source, only the
            training pairs count; these count in any case.
        test: the test set.
    """
    trained = list(_trained([*(each for each in training if not _same_source(each, test)), test], test))
    where: dict[int, list[tuple[_Trained, int]]] = {}
    for one in trained:
        for i, value in enumerate(one.hashes):
            where.setdefault(value, []).append((one, i))
    inputs: dict[int, list[tuple[_Trained, int]]] | None = None
    pairs: dict[tuple[str, int], str] = {}
    exact: set[tuple[str, int]] = set()
    same: dict[str, str] = {}
    for name, puzzle in test.puzzles.items():
        asked = [pair for pair in puzzle["test"] if pair["output"] is None]
        if asked and inputs is None:
            inputs = _by_input(trained)
        for i, pair in enumerate(puzzle["test"]):
            known = pair["output"] is not None
            example = _example(pair, "test")
            (value,) = canonical(_task(name, [example]))
            if found := (where if known else inputs or {}).get(value):
                equals = [at for at in found if _equal(example, at[0].task.examples[at[1]], known)]
                one, place = (equals or found)[0]
                role, number = one.places[place]
                pairs[name, i] = f"{role} example {number} of {one.name}"
                if equals:
                    exact.add((name, i))
        if (other := _same_task(name, puzzle["train"], where, test)) is not None:
            same[name] = other.name
    examples = sum(len(one.hashes) for one in trained)
    return Leaks(test.tests, len(test.puzzles), examples, pairs, exact, same)


def _same_source(one: TaskSet, other: TaskSet) -> bool:
    """Whether two sets are the same file, or set of it, however it was named."""
    return Path(one.source).resolve() == Path(other.source).resolve()


def _trained(sets: Sequence[TaskSet], test: TaskSet) -> Iterator[_Trained]:
    for each in sets:
        for name, puzzle in each.puzzles.items():
            roles = ("train",) if each is test else ("train", "test")
            pairs = [
                (role, i, pair) for role in roles for i, pair in enumerate(puzzle[role]) if pair["output"] is not None
            ]
            if pairs:
                task = _task(name, [_example(pair, role) for role, _, pair in pairs])
                places = [(role, i) for role, i, _ in pairs]
                yield _Trained(f"{name} in {each.source}", task, places, canonical(task))


def _by_input(trained: Sequence[_Trained]) -> dict[int, list[tuple[_Trained, int]]]:
    """The training examples by the canonical hash of their inputs alone."""
    found: dict[int, list[tuple[_Trained, int]]] = {}
    for one in trained:
        alone = [Example(example.role, example.input, example.input) for example in one.task.examples]
        for i, value in enumerate(canonical(_task(one.name, alone))):
            found.setdefault(value, []).append((one, i))
    return found


def _same_task(
    name: str, pairs: Sequence[Mapping[str, Any]], where: Mapping[int, list[tuple[_Trained, int]]], test: TaskSet
) -> _Trained | None:
    """The task trained on, of another source, that has all these pairs under one augmentation."""
    if not pairs:
        return None
    task = _task(name, [_example(pair, "train") for pair in pairs])
    own = f"{name} in {test.source}"
    candidates: dict[str, _Trained] | None = None
    for value in canonical(task):
        having = {one.name: one for one, _ in where.get(value, ()) if one.name != own}
        candidates = having if candidates is None else {key: one for key, one in candidates.items() if key in having}
    return next((one for one in (candidates or {}).values() if _turns_into(task, one.task)), None)


def canonical(task: Task) -> list[int]:
    """The canonical hash of each example of a task: what no augmentation changes."""
    colours, shapes = _colours(task)
    total = shapes + _mix(colours[..., 0] ^ _BLACK) + _mix(colours[..., 1:]).sum(-1, dtype=np.uint64)
    return [int(value) for value in _mix(total).min(axis=0)]


def _colours(task: Task) -> tuple[Hashes, Hashes]:
    """(8, examples, 10) hashes of where each colour is, by symmetry; (8, examples) hashes of the two shapes."""
    sums, shapes = canvas.hashes(canvas.pack(task))
    return _mix(_mix(sums[:, ::2]) + sums[:, 1::2]), _mix(_mix(shapes[:, ::2]) + shapes[:, 1::2])


def _turns_into(task: Task, other: Task) -> bool:
    """Whether one augmentation turns each example of ``task`` into one of ``other``."""
    (colours, shapes), (others, other_shapes) = _colours(task), _colours(other)

    def goes_on(k: int, i: int, mapping: dict[int, int]) -> bool:
        if i == len(task.examples):
            return True
        for j in range(len(other.examples)):
            if shapes[k, i] == other_shapes[0, j] and colours[k, i, 0] == others[0, j, 0]:
                more = _extended(mapping, colours[k, i].tolist(), others[0, j].tolist())
                if more is not None and goes_on(k, i + 1, more):
                    return True
        return False

    return any(goes_on(k, 0, {}) for k in range(8))


def _extended(mapping: dict[int, int], one: list[int], other: list[int]) -> dict[int, int] | None:
    """A mapping of colours, and what follows from where they are in two examples; None if that contradicts it."""
    absent = int(_ABSENT)
    mapping = dict(mapping)
    for colour in range(1, COLOURS):
        if one[colour] != absent:
            if one[colour] not in other[1:]:
                return None
            if mapping.setdefault(colour, other.index(one[colour], 1)) != other.index(one[colour], 1):
                return None
    present = sum(value != absent for value in other[1:])
    consistent = len(set(mapping.values())) == len(mapping) and present == sum(value != absent for value in one[1:])
    return mapping if consistent else None


def _mix(values: Hashes) -> Hashes:
    """A bijection of 64-bit numbers that looks random (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))


_ABSENT = _mix(_mix(np.zeros(1, np.uint64)))[0]  # of a colour that is in neither grid


def _task(name: str, examples: Sequence[Example]) -> Task:
    return Task(name, {}, tuple(examples))


def _example(pair: Mapping[str, Any], role: str) -> Example:
    """A pair; the input twice where there is no output."""
    grid = parse_grid(pair["input"], role)
    return Example(role, grid, grid if pair["output"] is None else parse_grid(pair["output"], role))


def _equal(one: Example, other: Example, known: bool) -> bool:
    return np.array_equal(one.input, other.input) and (not known or np.array_equal(one.output, other.output))
