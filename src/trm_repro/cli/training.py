"""Verbs of ``training/``: train, attempt, warm-start, tap, watch, verdict."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trm_repro.training.state import Place


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this room's verbs to the parser."""
    train = verbs.add_parser("train", help="run a training command and stay beside it (for the steps)")
    train.add_argument("--repository", type=Path, required=True, help="this repository; the command runs where we are")
    train.add_argument("words", nargs="+")
    train.set_defaults(handler=_train)
    attempt = verbs.add_parser("attempt", help="how the last training of the run ended, if it did not finish")
    attempt.set_defaults(handler=_attempt)
    warm = verbs.add_parser("warm-start", help="the last whole checkpoint of an unfinished training (for the steps)")
    warm.add_argument("folder", type=Path)
    warm.set_defaults(handler=_warm_start)
    tap = verbs.add_parser("tap", help="the folder that forwards wandb.log to a file, for PYTHONPATH (for the steps)")
    tap.set_defaults(handler=_tap)
    watch = verbs.add_parser("watch", help="how far the training is, and how it goes")
    watch.add_argument("--once", action="store_true", help="print it once (as without a terminal)")
    watch.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="(default: %(default)s)")
    watch.set_defaults(handler=_watch)
    verdict = verbs.add_parser("verdict", help="check what a training left, score it, and say what it is worth")
    verdict.add_argument("--manifest", type=Path, required=True, help="of the run: is it faithful?")
    verdict.add_argument("--output", type=Path, required=True, metavar="FILE.json")
    verdict.set_defaults(handler=_verdict)


def _place(repository: Path) -> Place:
    """Where the run that the knobs name trains."""
    from dataclasses import replace

    from trm_repro.cli.run import RECIPES, this_run
    from trm_repro.recipes.read import read_recipe
    from trm_repro.training.state import Place

    run = replace(this_run(), repository=repository)
    return Place.of(run, read_recipe(repository / RECIPES, run.recipe), repository / os.environ["TRM_DIR"])


def _train(arguments: argparse.Namespace) -> int:
    from trm_repro.training.run import train

    return train(_place(arguments.repository), arguments.words).exit_code


def _attempt(arguments: argparse.Namespace) -> None:
    from trm_repro.training.state import last_step, read_progress

    place = _place(Path.cwd())
    state = read_progress(place)
    if state.attempt and state.attempt.fate and place.folder.exists():
        print(f"==> the last attempt at training did not finish: {state.attempt.fate}", file=sys.stderr)
        print(f"    begun {state.attempt.started}, last seen at {last_step(state)}", file=sys.stderr)


def _warm_start(arguments: argparse.Namespace) -> None:
    from trm_repro.training.run import last_whole_checkpoint

    print(last_whole_checkpoint(arguments.folder))


def _tap(arguments: argparse.Namespace) -> None:
    import trm_repro

    print(Path(trm_repro.__file__).parent / "tap")


def _watch(arguments: argparse.Namespace) -> None:
    from trm_repro.training.watch import watch

    watch(_place(Path.cwd()), every=arguments.every, once=arguments.once)


def _verdict(arguments: argparse.Namespace) -> int:
    from trm_repro.files import read_json, write_json
    from trm_repro.training.verdict import as_text, judge

    verdict = judge(_place(Path.cwd()), read_json(arguments.manifest), os.environ["RUN_NAME"])
    write_json(arguments.output, verdict.as_json())
    print(as_text(verdict), file=sys.stderr)
    print(verdict.verdict)
    return 0 if verdict.sound else 4
