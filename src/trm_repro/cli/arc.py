"""Verbs of ``arc/`` and ``puzzles/`` about datasets."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from trm_repro.cli.parse import add_json, print_json
from trm_repro.errors import InvariantBroken, MissingPrerequisite, ReproError, UsageError

if TYPE_CHECKING:
    from trm_repro.arc.layout import SplitFiles
    from trm_repro.cli.common import Verbs
    from trm_repro.digests import Cache
    from trm_repro.puzzles.boards import Kind
    from trm_repro.recipes.schema import Recipe


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    dataset = verbs.add_parser("dataset", help="build, check and show datasets")
    kinds = dataset.add_subparsers(metavar="VERB", required=True)
    _register_builders(kinds)
    _register_readers(kinds)


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
            kind.add_argument("--side", type=int, default=9, help="cells of a row: 9, 6 or 4 (default: %(default)s)")
            kind.add_argument(
                "--make",
                type=int,
                nargs=3,
                metavar=("TRAIN", "TEST", "PUZZLES"),
                help="draw boards instead: so many to learn from, so many others for the test, so many puzzles of each",
            )
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
    add_json(verify)
    verify.set_defaults(handler=_verify)
    digests = kinds.add_parser("digests", help="print sha256, bytes and rows of each file, as JSON")
    add_json(digests)
    digests.add_argument("folder", type=Path)
    digests.add_argument("--cache", type=Path, metavar="FILE", help="remember digests of unchanged files here")
    digests.set_defaults(handler=_digests)
    info = kinds.add_parser("info", help="print counts, sizes, and what training on it comes to")
    info.add_argument("folder", type=Path)
    info.add_argument("--recipe", help="whose training settings (default: upstream's for ARC)")
    add_json(info)
    info.set_defaults(handler=_info)
    show = kinds.add_parser("show", help="draw a task, or a board, and some of its augmentations; say what these are")
    show.add_argument("folder", type=Path)
    show.add_argument(
        "task",
        help="the task's name; of Sudoku and Maze the board's number, from 0 (test:0: of the test split)",
    )
    show.add_argument("--output", type=Path, metavar="PNG", help="(default: TASK.png)")
    show.add_argument("--augmentations", type=int, default=3, help="how many, at most (default: %(default)s)")
    show.set_defaults(handler=_show)


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
    for subset, count in built.filled.items():
        if count:
            print(f"{subset}: {count} test outputs are given nowhere and are [[0]]: no answers", file=sys.stderr)
    rows = ", ".join(f"{count} in {split}" for split, count in built.rows.items())
    short = f" ({built.short} tasks have fewer variants than asked for)" if built.short else ""
    print(f"{arguments.output_dir}: {built.puzzles} puzzles{short}, {built.identifiers} identifiers, examples: {rows}")


def _build_puzzles(arguments: argparse.Namespace) -> None:
    from trm_repro.puzzles import making, maze, sudoku
    from trm_repro.puzzles.boards import Options, Source

    repo = arguments.source_repo or (sudoku.REPO if arguments.kind == "sudoku" else maze.REPO)
    source = Source(folder=arguments.source) if arguments.source else Source(repo=repo, revision=arguments.revision)
    options = Options(source, arguments.subsample_size, getattr(arguments, "min_difficulty", None), arguments.seed)
    if arguments.kind == "maze":
        rows = maze.build_maze(options, arguments.output_dir, arguments.aug)
    elif arguments.make:
        if arguments.source or arguments.source_repo:
            raise UsageError("--make draws boards, and --source names some: give one of them")
        train, test, puzzles = arguments.make
        with tempfile.TemporaryDirectory() as folder:
            making.write_boards(
                Path(folder), arguments.side, train=train, test=test, puzzles=puzzles, seed=arguments.seed
            )
            options = replace(options, source=Source(folder=Path(folder)))
            rows = sudoku.build_sudoku(options, arguments.output_dir, arguments.num_aug, arguments.side)
    else:
        rows = sudoku.build_sudoku(options, arguments.output_dir, arguments.num_aug, arguments.side)
    print(f"{arguments.output_dir}: examples: {', '.join(f'{count} in {split}' for split, count in rows.items())}")


def _cache(arguments: argparse.Namespace) -> Cache | None:
    from trm_repro.digests import Cache

    return Cache(arguments.cache) if arguments.cache else None


def _verify(arguments: argparse.Namespace) -> None:
    verify_dataset(arguments.folder, arguments.digests, _cache(arguments), sys.stdout, as_json=arguments.json)


def verify_dataset(
    folder: Path, digests: Path | None, cache: Cache | None, out: TextIO, *, as_json: bool = False
) -> None:
    """Checks a dataset, against digests where they are given, and prints each finding, or what it was found to be.

    Raises:
        ReproError: there are findings.
    """
    from trm_repro.arc.layout import read_digests
    from trm_repro.arc.soundness import verify

    expected = read_digests(digests) if digests else None
    lines = verify(folder, expected, cache)
    if cache:
        cache.save()
    what = f"the {len(expected)} files of {digests}, byte for byte" if expected else "a sound dataset"
    if as_json:
        print_json({"folder": folder, "found_to_be": None if lines else what, "findings": lines})
    else:
        print("\n".join(lines or [f"{folder}: {what}"]), file=out)
    if lines:
        raise ReproError(f"{folder}: {len(lines)} findings", hint="build the dataset again, beside this one")


def _digests(arguments: argparse.Namespace) -> None:
    import json

    from trm_repro.arc.layout import digests

    cache = _cache(arguments)
    print(json.dumps(digests(arguments.folder, cache), indent=2))
    if cache:
        cache.save()


def _info(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.common import known_recipes
    from trm_repro.recipes.read import read_recipe

    recipe = read_recipe(known_recipes(), arguments.recipe) if arguments.recipe else None
    print_facts(arguments.folder, recipe, as_json=arguments.json)


def print_facts(folder: Path, recipe: Recipe | None, *, as_json: bool = False) -> None:
    """Prints what a dataset holds, and what a recipe's training on it, or upstream's for ARC, will leave."""
    from trm_repro.arc.layout import read_split
    from trm_repro.provenance import promises
    from trm_repro.runs.schedule import Settings

    splits = [read_split(folder, name) for name in ("train", "test") if (folder / name).exists()]
    if not splits:
        raise MissingPrerequisite(f"{folder}: no dataset: it has no train and no test in it", hint="name its folder")
    settings: Settings | None = Settings() if _puzzles(splits[0]) is None else None
    if recipe and not recipe.expected.checkpoints:
        settings = None
    elif recipe:
        train = recipe.train
        settings = promises.settings(train.config, [*train.arguments, *train.scale, *train.variation])
    try:
        facts = _facts(folder, splits, settings)
    except (KeyError, TypeError) as error:
        where = folder / splits[0].name / "dataset.json"
        raise InvariantBroken(f"{where}: not a dataset's: {error!r}", hint="trm-repro dataset verify") from None
    if as_json:
        print_json({"folder": folder, "facts": {label or "more": value for label, value in facts}})
        return
    for label, value in facts:
        print(f"{label:<22}{value}")


def _puzzles(split: SplitFiles) -> Kind | None:
    """The kind of puzzle of a dataset; None for ARC."""
    from trm_repro.puzzles.picture import kind_of

    return kind_of(split.metadata.get("vocab_size", 0), split.inputs.shape[-1] if split.inputs.ndim else 0)


def _known_answers(folder: Path) -> str:
    """How many answers of a dataset's test puzzles are known."""
    from trm_repro.arc.reader import read

    try:
        found = read(folder)
    except ReproError as error:
        return f"cannot be told: {error}"
    return f"{found.known:,} of {found.tests:,} test inputs" + ("" if found.known else ": nothing to score")


def _facts(folder: Path, splits: list[SplitFiles], settings: Any) -> list[tuple[str, str]]:
    """What a dataset holds, and what a training on it with these settings, if any, will leave."""
    from trm_repro.runs.checkpoints import checkpoint_name
    from trm_repro.runs.packing import checkpoint_steps
    from trm_repro.runs.schedule import checkpoint_bytes, planned_steps

    facts = []
    if kind := _puzzles(splits[0]):
        side = math.isqrt(splits[0].inputs.shape[1])
        facts.append(
            ("boards", f"{kind.name}, {side} × {side}; tokens 1 to {kind.vocabulary - 1} are {_alphabet(kind)}")
        )
    for split in splits:
        counts = f"{len(split.group_indices) - 1:,} groups, {len(split.puzzle_identifiers):,} puzzles"
        facts.append((split.name, f"{counts}, {len(split.inputs):,} examples of {split.inputs.shape[1]} tokens"))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    train = splits[0].metadata
    identifiers, vocabulary = train["num_puzzle_identifiers"], train["vocab_size"]
    facts += [("identifiers", f"{identifiers:,}, with <blank>"), ("on disk", f"{size:,} bytes")]
    if (folder / "test_puzzles.json").is_file():
        facts.append(("known answers", _known_answers(folder)))
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


def _alphabet(kind: Kind) -> str:
    """The characters of a kind of puzzle, in the order of their tokens."""
    by_token: dict[int, str] = {}
    for character, token in kind.tokens.items():
        by_token[token] = by_token.get(token, "") + character
    return " ".join(f"'{characters}'" for _, characters in sorted(by_token.items()))


def _show(arguments: argparse.Namespace) -> None:
    from trm_repro.arc import picture
    from trm_repro.arc.layout import read_split
    from trm_repro.puzzles import picture as boards

    name = next((name for name in ("train", "test") if (arguments.folder / name).is_dir()), "train")
    kind = _puzzles(read_split(arguments.folder, name))
    shown = arguments.task
    if arguments.augmentations < 0:
        raise UsageError(f"{arguments.augmentations} augmentations: the number must not be negative")
    if kind:
        found = boards.variants(arguments.folder, shown, arguments.augmentations)
        drawn: Any = boards.draw_sudoku if kind.name == "sudoku" else boards.draw_maze
    else:
        named = picture.variants(arguments.folder, shown, arguments.augmentations)
        said = picture.titles(named)
        found = {said[name]: pairs for name, pairs in named.items()}
        drawn = picture.draw
    output = arguments.output or Path(f"{shown.replace('/', '_').replace(':', '-')}.png")
    picture.write_variants(found, output, drawn)
    print(output)
    for title in found:
        print(f"  {title}")
