"""The verb ``submission check``: is it whole, is it right, and does it look like answers?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trm_repro.cli.parse import add_json, print_json
from trm_repro.errors import InvariantBroken, ReproError, UsageError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trm_repro.arc.versions import Found
    from trm_repro.cli.common import Verbs

SHAPE = 'a submission is one JSON object: {"task": [{"attempt_1": grid, "attempt_2": grid}, … one for each test input]}'


def register(verbs: Verbs) -> None:
    """Adds the verb to the parser."""
    submission = verbs.add_parser("submission", help="check and score submissions")
    check = submission.add_subparsers(metavar="VERB", required=True).add_parser(
        "check",
        help="is it whole, is it right?",
        description="Says which benchmark a submission answers and everything that is wrong with it, scores it where answers "
        "are known, and counts what is strange about it.",
    )
    check.add_argument("file", type=Path)
    check.add_argument(
        "--tasks",
        metavar="official|upstream|FILE",
        help="a version of the benchmark that it answers (kaggle2024 and kaggle2019 too, for ARC-AGI-1), or a file or "
        "folder of tasks in any layout, such as a dataset's test_puzzles.json (default: the version that it was made for; "
        "a file that is called official is ./official)",
    )
    check.add_argument("--solutions", type=Path, metavar="FILE", help="the answers, where the tasks do not hold them")
    add_json(check)
    check.set_defaults(handler=_check)


def _check(arguments: argparse.Namespace) -> None:
    from trm_repro.arc import score, sources, versions
    from trm_repro.arc.submission import answers, findings, problems, score_submission

    path: Path = arguments.file
    try:
        loaded = sources.load(path)
    except InvariantBroken as error:
        raise InvariantBroken(str(error), hint=SHAPE) from None
    held = loaded.value
    if not isinstance(held, dict):
        raise ReproError(f"{path}: not a JSON object of tasks", hint=SHAPE)
    counts = {task: len(answers(held, task, 1)) for task in held}
    made = versions.which_answered(counts)
    puzzles, asked, read = _tasks(arguments, made)
    if _another(made, asked) or (counts and not counts.keys() & puzzles.keys()):
        raise ReproError(f"{path}: answers none of these tasks: it answers {made}; they are {asked}")
    lines = problems(held, puzzles)
    explained = _other_version(made, asked)
    if explained:
        counted = [f"task {task}: {counts[task]} entries for " for task in explained]
        lines = [line for line in lines if not line.startswith(tuple(counted))]
    found = score_submission(held, puzzles)
    notes = [*loaded.notes, *read, *findings(held, puzzles)]
    others = _others(made, asked)
    if arguments.json:
        answered = {"tasks": len(counts), "answers": sum(counts.values()), "made_for": str(made), "differ": explained}
        scored = {"scored_on": str(asked), "scores": found.as_json(), "unknown": found.unknown}
        print_json({"file": path, **answered, **scored, "others": others, "problems": lines, "notes": notes})
    else:
        for line in lines:
            print(printable(line))
        _print(path, counts, made, asked, explained)
        for name, differing in others.items():
            print(f"another version of the same tasks: {name} (--tasks); different there: {', '.join(differing)}")
        for line in score.lines(found.shares, found.unknown):
            print(line)
        for line in notes:
            print(f"note: {printable(line)}")
    if lines:
        raise ReproError(f"{path}: {len(lines)} findings; what is missing or no grid counts as wrong", hint=SHAPE)


def _print(path: Path, counts: Mapping[str, int], made: Found, asked: Found, explained: list[str]) -> None:
    """Says what is answered, of which version."""
    from trm_repro.arc import score

    print(f"{path}: {score.counted(len(counts), 'task')}, {score.counted(sum(counts.values()), 'test input')} answered")
    if explained:
        print(f"made for: {made}")
        print(f"the two differ in {score.counted(len(explained), 'task')}: {', '.join(explained)}")
        print("an answer stands for the test input at its place; what is missing is wrong")
    print(f"scored on: {asked}")


def _tasks(arguments: argparse.Namespace, made: Found) -> tuple[Mapping[str, Any], Found, Sequence[str]]:
    """The tasks that a submission is held against, what they are, and what is to be said of reading them."""
    from trm_repro.arc import versions
    from trm_repro.arc.reader import read

    if arguments.tasks is None and not made.versions:
        raise UsageError(f"{arguments.file}: it answers {made}", hint="name the tasks: --tasks official|upstream|FILE")
    if arguments.tasks is None or arguments.tasks in versions.NAMES:
        if arguments.solutions:
            raise UsageError("--solutions goes with a file of tasks", hint="a version has its own answers")
        version = versions.named(arguments.tasks, made) if arguments.tasks else made.versions[0]
        return versions.tasks_of(version), versions.Found((version,), len(version.fingerprints)), ()
    tasks = read(arguments.tasks, arguments.solutions)
    return tasks.puzzles, versions.which(tasks.puzzles), tasks.notes


def _another(made: Found, asked: Found) -> bool:
    """Whether a submission answers another benchmark than the tasks are of."""
    return bool(made.versions and asked.versions) and not {v.what for v in made.versions} & {
        v.what for v in asked.versions
    }


def _other_version(made: Found, asked: Found) -> list[str]:
    """The tasks in which the version that a submission was made for differs from that of the tasks, if it is another."""
    from trm_repro.arc import versions

    one, other = made.versions[:1], asked.whole
    if not one or not other or set(made.versions) & set(other) or one[0].what != other[0].what:
        return []
    return versions.differing(one[0], other[0])


def _others(made: Found, asked: Found) -> dict[str, list[str]]:
    """The other versions that a submission may have been made for, which has names and counts only, and where they differ."""
    from trm_repro.arc import versions

    one = asked.version
    if one is None or one not in made.whole:
        return {}
    return {other.names[0]: versions.differing(one, other) for other in made.whole if other != one}
