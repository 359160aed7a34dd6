"""``make recipes``: what can be reproduced, with what, and what should come out."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from trm_repro.recipes.schema import Recipe


def print_catalogue(recipes: Iterable[Recipe]) -> None:
    """Prints a table: recipe, what it reproduces, where that stands, machine, hours, expected number."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("recipe", "what it reproduces", "source", "machine", "hours", "expected"):
        table.add_column(column, overflow="fold", no_wrap=column == "recipe")
    for recipe in recipes:
        hours = f"{recipe.needs.hours:g}" if recipe.needs.hours else "?"
        table.add_row(recipe.name, recipe.title, recipe.source, machine(recipe), hours, expectation(recipe))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def machine(recipe: Recipe) -> str:
    """The machine that the documented run used."""
    return f"{recipe.gpu_count} × {recipe.needs.gpu}" if recipe.gpu_count else "CPU"


def expectation(recipe: Recipe) -> str:
    """The number to expect, with its metric; words where there is none."""
    expected = recipe.expected
    if expected.value is None:
        return "no published number"
    return f"{expected.metric} {100 * expected.value:.2f} %"
