"""What the verbs share: the run that the knobs in the environment name, and its files."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError

if TYPE_CHECKING:
    from trm_repro.recipes.schema import Recipe
    from trm_repro.runs.layout import Run

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]  # argparse has no public name for it

RECIPES = Path("recipes")


def known_recipes() -> Path:
    """The folder of recipes: the repository's where we are in one, else those that came with the package."""
    from trm_repro.recipes.bases import SHIPPED

    return RECIPES if RECIPES.is_dir() else SHIPPED


def knob(name: str, default: str = "") -> str:
    """A knob's value in the environment; a placeholder such as ``<your_kaggle_username>`` is no value."""
    value = os.environ.get(name, "")
    return default if not value or value.startswith("<") else value


def checked(name: str, default: str) -> str:
    """A knob's value, or the default, held against its rule: for a verb that may be called without a step."""
    from trm_repro.cli.knobs import RULES

    value = knob(name, default)
    if should := RULES[name](value):
        raise UsageError(f"{name} is {value!r}", hint=should)
    return value


def required(name: str) -> str:
    """A knob that env.sh always sets."""
    if not (value := os.environ.get(name, "")):
        raise InvariantBroken(
            f"{name} is not set", hint="call it in the repository's folder, or run it through make or a step"
        )
    return value


def take_knobs(arguments: argparse.Namespace) -> None:
    """A verb about a run, from a plain shell in the repository, begins again with the knobs that env.sh gives it.

    They are those of the last run, unless RUN_NAME or RECIPE names one. From make they are there already.

    Raises:
        MissingPrerequisite: this is not the repository's folder.
    """
    if {"RECIPE", "RUN_NAME", "TRM_DIR"} <= os.environ.keys():
        return
    prelude = Path("lib/prelude.bash")
    if not prelude.is_file():
        clone = next((above for above in Path.cwd().parents if (above / prelude).is_file()), None)
        raise MissingPrerequisite(
            f"trm-repro {arguments.verb} is about a run, and runs are in a clone of the repository; this folder is none",
            hint=f"cd {shlex.quote(str(clone or 'THE_CLONE'))}, and give the same command there",
        )
    last = "any" if arguments.verb == "doctor" else "1"
    script = f'LAST_RUN={last} source lib/prelude.bash && knob_defaults | "$@"'
    os.execvp("bash", ["bash", "-c", script, "trm-repro", sys.executable, "-m", "trm_repro", *arguments.argv])


def trm_dir() -> Path:
    """TRM_DIR: where the training runs."""
    return Path(required("TRM_DIR"))


def this_run(*, check: bool = True) -> Run:
    """The run that the knobs in the environment name, in the repository that is the working folder.

    Args:
        check: whether to check the knobs first; only once a run.

    Raises:
        UsageError: a knob is not what it can be.
        InvariantBroken: those that name the run are not there.
    """
    from trm_repro.cli.knobs import check_knobs
    from trm_repro.runs.layout import Run

    if check:
        check_knobs(os.environ, None if os.environ.get("KNOBS_WITHOUT_LOCAL") else Path("env.local.sh"))
    return Run(Path.cwd(), required("RUN_NAME"), required("RECIPE"), os.environ)


def this_recipe() -> Recipe:
    """The recipe in force."""
    from trm_repro.recipes.read import read_recipe

    return read_recipe(RECIPES, required("RECIPE"))


def locate(path: str) -> Path:
    """The file that a path of a manifest means, from the root of the repository."""
    from trm_repro.provenance import scrub

    return scrub.locate(path, Path.cwd(), trm_dir())


def knobs_and_defaults() -> dict[str, tuple[str, str]]:
    """Each knob's value and its default, which env.sh prints to stdin."""
    defaults = {} if sys.stdin.isatty() else dict(line.split("=", 1) for line in sys.stdin.read().splitlines())
    return {name: (os.environ.get(name, ""), default) for name, default in defaults.items()}
