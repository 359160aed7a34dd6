"""Verbs about the machine: preflight, estimate, environment."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.errors import UsageError

if TYPE_CHECKING:
    from trm_repro.recipes.schema import Recipe


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this room's verbs to the parser."""
    preflight = verbs.add_parser("preflight", help="what the run needs of this machine, and what is there")
    preflight.set_defaults(handler=_preflight)

    estimate = verbs.add_parser("estimate", help="how long the run will take here, and what it will cost")
    estimate.set_defaults(handler=_estimate)
    measure = verbs.add_parser("measure", help="run a training command for some minutes and time its steps")
    measure.add_argument("--cwd", type=Path, default=Path(), help="where the command runs")
    measure.add_argument("--window", type=float, default=20, metavar="SECONDS", help="two of these must agree")
    measure.add_argument("--at-most", type=float, default=900, metavar="SECONDS")
    measure.add_argument("words", nargs="+")
    measure.set_defaults(handler=_measure)

    environment = verbs.add_parser("environment", help="the training environment (for step 3)").add_subparsers(
        required=True
    )
    choose = environment.add_parser("choose", help="the locks for this machine, as shell assignments")
    choose.set_defaults(handler=_environment_choose)
    check = environment.add_parser("check", help="compare `pip list --format=freeze` on stdin with locks")
    check.add_argument("locks", nargs="+", type=Path)
    check.set_defaults(handler=_environment_check)
    imports = environment.add_parser("imports", help="the modules that an upstream's checkout imports, a line each")
    imports.add_argument("checkout", type=Path)
    imports.set_defaults(handler=_environment_imports)
    inventory = environment.add_parser(
        "inventory", help="the program that lists an environment, for its own Python to run"
    )
    inventory.set_defaults(handler=_environment_inventory)


def _recipe() -> Recipe:
    from trm_repro.recipes.read import read_recipe

    return read_recipe(Path("recipes"), os.environ["RECIPE"])


def _environment_choose(arguments: argparse.Namespace) -> None:
    import shlex

    from trm_repro.machine.hardware import compilers, gpus
    from trm_repro.machine.locks import choose, lock_files

    recipe = _recipe()
    choice = choose(gpus(), compilers(), wanted=os.environ.get("CUDA_LOCK", "auto"), compiles=recipe.compiles)
    locks = lock_files(Path("locks"), choice.lock, recipe)
    print(f"LOCKS=({shlex.join(map(str, locks))})")
    print(f"LOCK_WHY={shlex.quote(choice.why)}")
    print(f"LOCK_CUDA_HOME={shlex.quote(choice.cuda_home)}")
    print(f"LOCK_ARCHITECTURES={shlex.quote(choice.architectures)}")
    print(f"LOCK_NVCC_FLAGS={shlex.quote(choice.nvcc_flags)}")


def _environment_check(arguments: argparse.Namespace) -> None:
    from trm_repro.machine.locks import check_installed, read_versions

    locked: dict[str, str] = {}
    for path in arguments.locks:
        locked |= read_versions(path.read_text().splitlines())
    check_installed(locked, read_versions(sys.stdin))
    print(f"{len(locked)} packages, all as locked", file=sys.stderr)


def _environment_imports(arguments: argparse.Namespace) -> None:
    from trm_repro.machine.locks import imported_modules

    listing = ["git", "-C", str(arguments.checkout), "ls-files", "-z", "*.py"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"{arguments.checkout}: {done.stderr.strip()}")
    print("\n".join(imported_modules(arguments.checkout, done.stdout.split("\0")[:-1])))


def _environment_inventory(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance import inventory

    print(inventory.__file__)


def _preflight(arguments: argparse.Namespace) -> int:
    from trm_repro.machine.preflight import lines, table
    from trm_repro.machine.survey import survey

    recipe = _recipe()
    found = lines(recipe, survey(recipe, os.environ))
    print(table(found))
    return 3 if any(line.state == "problem" for line in found) else 0


def _estimate(arguments: argparse.Namespace) -> None:
    from trm_repro.machine.estimate import estimate
    from trm_repro.machine.hardware import gpus

    most = int(os.environ.get("MAX_GPUS_TO_USE", "4"))
    print(estimate(_recipe(), gpus(), most=most, gpu_hour=float(os.environ.get("GPU_HOUR_USD", "0"))))


def _measure(arguments: argparse.Namespace) -> None:
    from trm_repro.machine.estimate import report
    from trm_repro.machine.measure import measure

    recipe = _recipe()
    seen = measure(arguments.words, cwd=arguments.cwd, at_most=arguments.at_most, window=arguments.window)
    print(report(recipe, seen, gpu_hour=float(os.environ.get("GPU_HOUR_USD", "0"))))
