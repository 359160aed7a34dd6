"""Verbs of ``provenance/``: manifest, checklist."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this room's verbs to the parser."""
    checkpoint = verbs.add_parser("checkpoint", help="the checkpoint with the highest step in a folder")
    checkpoint.add_argument("folder", type=Path)
    checkpoint.set_defaults(handler=_checkpoint)
    commands = verbs.add_parser("commands", help="the commands of the run in force, as they were run")
    commands.set_defaults(handler=_commands)
    manifest = verbs.add_parser("manifest", help="write the manifest of the run in force; the knobs' defaults on stdin")
    manifest.add_argument("output", type=Path)
    manifest.set_defaults(handler=_manifest)
    checklist = verbs.add_parser("checklist", help="the seed's checklist, from a run's manifest")
    checklist.add_argument("manifest", type=Path)
    checklist.set_defaults(handler=_checklist)
    summary = verbs.add_parser("summary", help="what a finished run did, its scores, and what to do next")
    summary.set_defaults(handler=_summary)


def _checkpoint(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance.checkpoints import final_checkpoint

    print(final_checkpoint(arguments.folder))


def _manifest(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.run import RECIPES, this_run
    from trm_repro.files import write_json
    from trm_repro.provenance.manifest import build_manifest
    from trm_repro.recipe import read_recipe

    run = this_run()
    defaults = dict(line.split("=", 1) for line in sys.stdin.read().splitlines())
    knobs = {name: (os.environ.get(name, ""), default) for name, default in defaults.items()}
    work = Path(os.environ["TRM_DIR"])
    write_json(arguments.output, build_manifest(run, read_recipe(RECIPES, run.recipe), work=work, knobs=knobs))


def _checklist(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.run import this_run
    from trm_repro.files import read_json
    from trm_repro.provenance.checklist import checklist
    from trm_repro.stamps import read_stamp

    run = this_run()
    published = read_stamp(run.path("07-publish"))
    for box in checklist(read_json(arguments.manifest), run.repository, published.said if published else ""):
        print(box)


def _commands(arguments: argparse.Namespace) -> None:
    import shlex

    from trm_repro.cli.run import this_run
    from trm_repro.stamps import last_attempts

    for entry in last_attempts(this_run(), "commands.jsonl"):
        print(f"# {entry['step']}, in {entry['cwd']}, exit {entry['exit_code']}\n{shlex.join(entry['argv'])}")


def _summary(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.run import this_run
    from trm_repro.provenance.summary import summary

    print(summary(this_run()))
