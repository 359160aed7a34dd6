"""Verbs of recipes: list and show them; job, a recipe's run as a file for a cluster or a cloud."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.cli.common import known_recipes
from trm_repro.cli.parse import add_json, print_json
from trm_repro.errors import MissingPrerequisite

if TYPE_CHECKING:
    from trm_repro.cli.common import Verbs


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    recipe = verbs.add_parser("recipe", help="list and show recipes").add_subparsers(metavar="VERB", required=True)
    every = recipe.add_parser("list", help="every recipe: machine, hours, the number to expect, what it reproduces")
    add_json(every)
    every.set_defaults(handler=_list)
    show = recipe.add_parser("show", help="a recipe as it is after merging, as JSON")
    default = os.environ.get("RECIPE", "arc2-paper")
    show.add_argument("name", nargs="?", metavar="RECIPE", default=default, help="default: %(default)s")
    add_json(show)
    show.set_defaults(handler=_show)
    job = verbs.add_parser("job", help="print the job file of a recipe for Slurm or SkyPilot")
    job.add_argument("kind", choices=["slurm", "sky"])
    job.add_argument(
        "--recipe", metavar="RECIPE", default=os.environ.get("RECIPE", "arc2-paper"), help="default: %(default)s"
    )
    job.add_argument("--run-name", default=os.environ.get("RUN_NAME", ""), help="default: the recipe's")
    kept = job.add_mutually_exclusive_group()
    kept.add_argument(
        "--bucket", default="", help="sky: the bucket that outlives the machines; its name must be yours alone"
    )
    kept.add_argument(
        "--volume", default="", help="sky: on RunPod, the network volume that outlives them (sky volumes apply)"
    )
    job.set_defaults(handler=_job)


def _list(arguments: argparse.Namespace) -> None:
    from trm_repro.recipes.bases import list_recipes
    from trm_repro.recipes.catalogue import as_json, print_catalogue
    from trm_repro.recipes.read import read_recipe

    folder = known_recipes()
    recipes = [read_recipe(folder, name) for name in list_recipes(folder)]
    print_json({"recipes": list(map(as_json, recipes))}) if arguments.json else print_catalogue(recipes)


def _show(arguments: argparse.Namespace) -> None:
    from trm_repro.recipes.read import read_recipe

    print(read_recipe(known_recipes(), arguments.name).model_dump_json(indent=2))


def _job(arguments: argparse.Namespace) -> None:
    if not Path("machines").is_dir():
        raise MissingPrerequisite(
            "machines/ is not here: a job runs the steps of a clone", hint="run this in a clone of the repository"
        )
    from trm_repro.machine.jobs import job
    from trm_repro.recipes.read import read_recipe

    recipe = read_recipe(known_recipes(), arguments.recipe)
    run_name = arguments.run_name or recipe.run_name
    print(job(arguments.kind, recipe, run_name=run_name, bucket=arguments.bucket, volume=arguments.volume), end="")
