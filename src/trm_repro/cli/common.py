"""What the verbs share: the run that the knobs in the environment name, and its files."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.errors import InvariantBroken

if TYPE_CHECKING:
    from trm_repro.recipes.schema import Recipe
    from trm_repro.runs.layout import Run

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]  # argparse has no public name for it

RECIPES = Path("recipes")


def knob(name: str, default: str = "") -> str:
    """A knob's value in the environment; a placeholder such as ``<your_kaggle_username>`` is no value."""
    value = os.environ.get(name, "")
    return default if not value or value.startswith("<") else value


def this_run() -> Run:
    """The run that the knobs in the environment name, in the repository that is the working folder."""
    from trm_repro.runs.layout import Run

    try:
        return Run(Path.cwd(), os.environ["RUN_NAME"], os.environ["RECIPE"], os.environ)
    except KeyError as error:
        raise InvariantBroken(f"{error.args[0]} is not set", hint="run this through make or a step") from None


def this_recipe() -> Recipe:
    """The recipe in force."""
    from trm_repro.recipes.read import read_recipe

    return read_recipe(RECIPES, this_run().recipe)


def locate(path: str) -> Path:
    """The file that a path of a manifest means, from the root of the repository."""
    from trm_repro.provenance import scrub

    return scrub.locate(path, Path.cwd(), Path(os.environ["TRM_DIR"]))


def knobs_and_defaults() -> dict[str, tuple[str, str]]:
    """Each knob's value and its default, which env.sh prints to stdin."""
    defaults = {} if sys.stdin.isatty() else dict(line.split("=", 1) for line in sys.stdin.read().splitlines())
    return {name: (os.environ.get(name, ""), default) for name, default in defaults.items()}
