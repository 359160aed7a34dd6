"""Verbs the steps call: recipe, stamp, record, status."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.errors import InvariantBroken

if TYPE_CHECKING:
    from trm_repro.runs.stamps import Run

RECIPES = Path("recipes")


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this room's verbs to the parser."""
    recipe = verbs.add_parser("recipe", help="list, show, render and check recipes").add_subparsers(required=True)
    recipe.add_parser("list", help="every recipe, a line each").set_defaults(handler=_recipe_list)
    show = recipe.add_parser("show", help="a recipe as it is after merging, as JSON")
    show.add_argument("name", nargs="?", default=os.environ.get("RECIPE"))
    show.set_defaults(handler=_recipe_show)
    render = recipe.add_parser("render", help="the recipe in force as shell assignments (for the steps)")
    render.add_argument("--processes", type=int, required=True, help="how many GPUs may be used")
    render.set_defaults(handler=_recipe_render)
    check = recipe.add_parser("check-command", help="compare a command with the recipe's, token by token")
    check.add_argument("which", choices=["builder", "train"])
    check.add_argument("--processes", type=int, required=True)
    check.add_argument("words", nargs="+")
    check.set_defaults(handler=_recipe_check_command)
    selection = recipe.add_parser("selection", help="the tasks that the recipe in force keeps, as JSON")
    selection.set_defaults(handler=_recipe_selection)
    tasks = recipe.add_parser("check-tasks", help="compare task files with the digests of the recipe in force")
    tasks.add_argument("--folder", type=Path, required=True)
    tasks.set_defaults(handler=_recipe_check_tasks)
    weights = recipe.add_parser("check-weights", help="check the checkpoint that the recipe in force starts from")
    weights.add_argument("--trm-dir", type=Path, required=True)
    weights.set_defaults(handler=_recipe_check_weights)

    stamp = verbs.add_parser("stamp", help="which steps are done (for the steps)").add_subparsers(required=True)
    fresh = stamp.add_parser("fresh", help="exit 0 if a step is fresh, 1 if it has to run")
    fresh.add_argument("step")
    fresh.set_defaults(handler=_stamp_fresh)
    write = stamp.add_parser("write", help="stamp a step as done")
    write.add_argument("step")
    write.add_argument("--started", required=True)
    write.add_argument("--said", required=True)
    write.add_argument("--log", required=True)
    write.add_argument("--outputs", nargs="*", type=Path, required=True, help="files and folders")
    write.set_defaults(handler=_stamp_write)

    record = verbs.add_parser("record", help="note what a step did (for the steps)").add_subparsers(required=True)
    command = record.add_parser("command", help="a command that ran")
    command.add_argument("--step", required=True)
    command.add_argument("--cwd", required=True)
    command.add_argument("--started", required=True)
    command.add_argument("--exit-code", type=int, required=True)
    command.add_argument("words", nargs="+")
    command.set_defaults(handler=_record_command)
    guards = record.add_parser("guards", help="outcomes of guards, tab-separated on stdin: name, outcome, detail")
    guards.add_argument("--step", required=True)
    guards.set_defaults(handler=_record_guards)

    status = verbs.add_parser("status", help="a table of the run's steps")
    status.set_defaults(handler=_status)


def this_run() -> Run:
    """The run that the knobs in the environment name, in the repository that is the working folder."""
    from trm_repro.runs.stamps import Run

    try:
        return Run(Path.cwd(), os.environ["RUN_NAME"], os.environ["RECIPE"], os.environ)
    except KeyError as error:
        raise InvariantBroken(f"{error.args[0]} is not set", hint="run this through make or a step") from None


def _recipe_list(arguments: argparse.Namespace) -> None:
    from trm_repro.recipes.bases import list_recipes
    from trm_repro.recipes.catalogue import print_catalogue
    from trm_repro.recipes.read import read_recipe

    print_catalogue(read_recipe(RECIPES, name) for name in list_recipes(RECIPES))


def _recipe_show(arguments: argparse.Namespace) -> None:
    from trm_repro.recipes.read import read_recipe

    print(read_recipe(RECIPES, arguments.name).model_dump_json(indent=2))


def _recipe_render(arguments: argparse.Namespace) -> None:
    from trm_repro.recipes.read import read_recipe
    from trm_repro.recipes.shell import render_shell

    run = this_run()
    recipe = read_recipe(RECIPES, run.recipe)
    sys.stdout.write(render_shell(recipe, available=arguments.processes, run_name=run.name, environ=os.environ))


def _recipe_check_command(arguments: argparse.Namespace) -> int:
    from trm_repro.provenance.faithful import command_difference
    from trm_repro.recipes.read import read_recipe

    run = this_run()
    recipe = read_recipe(RECIPES, run.recipe)
    if arguments.which == "builder":
        expected = recipe.builder_for(os.environ.get("DATASET_BUILDER", "exact"))
    else:
        processes = recipe.process_count(arguments.processes)
        expected = recipe.train_command(processes=processes, run_name=run.name)
    lines = command_difference(expected, arguments.words)
    print("\n".join(lines))
    return int(bool(lines))


def _recipe_selection(arguments: argparse.Namespace) -> None:
    import json

    from trm_repro.recipes.read import read_recipe

    print(json.dumps(read_recipe(RECIPES, this_run().recipe).tasks.select))


def _recipe_check_tasks(arguments: argparse.Namespace) -> None:
    from trm_repro.digests import digest_file
    from trm_repro.recipes.read import read_recipe

    expected = read_recipe(RECIPES, this_run().recipe).task_files
    found = {name: digest_file(arguments.folder / name).sha256 for name in expected}
    wrong = [
        f"{name}: expected {expected[name]}, found {found[name]}" for name in expected if expected[name] != found[name]
    ]
    if wrong:
        raise InvariantBroken(
            f"task files in {arguments.folder} are not upstream's: " + "; ".join(wrong),
            hint="take them from upstream's own tree; do not substitute others",
        )
    if expected:
        print(f"{len(expected)} task files are upstream's, byte for byte", file=sys.stderr)


def _recipe_check_weights(arguments: argparse.Namespace) -> None:
    from zipfile import is_zipfile

    from trm_repro.recipes.read import read_recipe

    weights = read_recipe(RECIPES, this_run().recipe).weights
    assert weights is not None
    path = arguments.trm_dir / weights.path
    if not path.is_file():
        raise InvariantBroken(
            f"{weights.path}: expected the checkpoint that the training starts from, found no such file",
            hint="its download stands above; run the step again, or put the file there",
        )
    bytes = path.stat().st_size
    wrong = None
    if bytes != (weights.bytes or bytes):
        wrong = f"expected {weights.bytes} bytes, found {bytes}"
    elif not is_zipfile(path):
        wrong = f"expected a whole file as torch.save writes it, found {bytes} bytes of something else"
    if wrong:
        raise InvariantBroken(f"{weights.path}: {wrong}", hint="remove it and run the step again")
    print(f"starts from {weights.path}, {bytes} bytes", file=sys.stderr)


def _stamp_fresh(arguments: argparse.Namespace) -> int:
    run = this_run()
    why = run.why_stale(arguments.step)
    if why:
        print(f"==> {arguments.step}: {why}", file=sys.stderr)
        return 1
    print(f"{arguments.step}: fresh")
    return 0


def _stamp_write(arguments: argparse.Namespace) -> None:
    this_run().write(
        arguments.step,
        started=arguments.started,
        log=arguments.log,
        said=arguments.said,
        outputs=arguments.outputs,
    )


def _record_command(arguments: argparse.Namespace) -> None:
    from trm_repro.files import utc_now
    from trm_repro.provenance.host import host
    from trm_repro.runs.records import append, environment_of_interest

    append(
        this_run().folder / "commands.jsonl",
        {
            "step": arguments.step,
            "argv": arguments.words,
            "cwd": arguments.cwd,
            "env": environment_of_interest(os.environ),
            "started": arguments.started,
            "finished": utc_now(),
            "exit_code": arguments.exit_code,
            "host": host(),
        },
    )


def _record_guards(arguments: argparse.Namespace) -> None:
    from trm_repro.files import utc_now
    from trm_repro.runs.records import append

    for line in sys.stdin.read().splitlines():
        guard, outcome, detail = line.split("\t")
        append(
            this_run().folder / "guards.jsonl",
            {"step": arguments.step, "guard": guard, "outcome": outcome, "detail": detail, "started": utc_now()},
        )


def _status(arguments: argparse.Namespace) -> None:
    from trm_repro.runs.status import print_status

    print_status(this_run())
