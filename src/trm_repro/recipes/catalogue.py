"""``make recipes``: what can be reproduced, with what, and what should come out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from trm_repro.recipes.schema import Recipe

WIDTH = 80  # columns of a terminal
FORM = "{:36}{:15}{:>5}  {}"


def print_catalogue(recipes: Iterable[Recipe]) -> None:
    """Prints for each recipe its name, machine, hours and expected number; below these what it reproduces."""
    print(FORM.format("recipe", "machine", "hours", "expected"))
    for recipe in recipes:
        hours = f"{recipe.needs.hours:g}" if recipe.needs.hours else "?"
        print(FORM.format(recipe.name, machine(recipe), hours, expectation(recipe)))
        print(textwrap.fill(recipe.title, WIDTH, initial_indent="    ", subsequent_indent="    "))


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The same of one recipe, for programs, and its source."""
    expected = {"metric": recipe.expected.metric, "value": recipe.expected.value}
    needs = {"machine": machine(recipe), "hours": recipe.needs.hours, "expected": expected}
    return {"name": recipe.name, "title": recipe.title, "source": recipe.source, "run": recipe.run_name, **needs}


def machine(recipe: Recipe) -> str:
    """The machine that the documented run used."""
    return f"{recipe.gpu_count} × {recipe.needs.gpu}" if recipe.gpu_count else "CPU"


def expectation(recipe: Recipe) -> str:
    """The number to expect, with its metric; words where there is none."""
    expected = recipe.expected
    if expected.value is None:
        return "no number known"
    metric = expected.metric.removeprefix("ARC/").removeprefix("all.").replace("_", " ")
    return f"{metric} {100 * expected.value:.2f} %"
