"""Verbs beyond one run on this machine: job, a run as a file for a cluster or a cloud; sweep, several runs side by side."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this room's verbs to the parser."""
    job = verbs.add_parser("job", help="print the job file of a recipe for Slurm or SkyPilot")
    job.add_argument("kind", choices=["slurm", "sky"])
    job.add_argument("--recipe", default=os.environ.get("RECIPE", "arc2-paper"))
    job.add_argument("--run-name", default=os.environ.get("RUN_NAME", ""), help="default: the recipe's")
    kept = job.add_mutually_exclusive_group()
    kept.add_argument(
        "--bucket", default="", help="sky: the bucket that outlives the machines; its name must be yours alone"
    )
    kept.add_argument(
        "--volume", default="", help="sky: on RunPod, the network volume that outlives them (sky volumes apply)"
    )
    job.set_defaults(handler=_job)
    sweep = verbs.add_parser("sweep", help="recipes side by side (for make sweep)")
    sweep.add_argument("what", choices=["recipes", "evaluate", "table"])
    sweep.add_argument("name")
    sweep.set_defaults(handler=_sweep)


def _job(arguments: argparse.Namespace) -> None:
    from trm_repro.machine.jobs import job
    from trm_repro.recipes.read import read_recipe

    recipe = read_recipe(Path("recipes"), arguments.recipe)
    run_name = arguments.run_name or recipe.run_name
    print(job(arguments.kind, recipe, run_name=run_name, bucket=arguments.bucket, volume=arguments.volume), end="")


def _sweep(arguments: argparse.Namespace) -> None:
    from trm_repro.report.sweep import evaluate, markdown, read_sweep

    sweep = read_sweep(Path("recipes"), arguments.name)
    if arguments.what == "recipes":
        print("\n".join(sweep.recipes))
    elif arguments.what == "evaluate":
        evaluate(sweep, Path.cwd())
    else:
        print(markdown(sweep, Path.cwd()), end="")
