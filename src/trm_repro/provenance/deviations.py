"""Where a run departs from the seed document it follows, and why.

``docs/deviations.md`` is the one list: each entry starts with ``## D-NN title`` and has a line ``Applies to: …`` naming
the engines, upstreams (samsung, trelis, nvarc, alphaxiv) or recipes it concerns. The manifest repeats those that apply.
"""

from __future__ import annotations

import re
from pathlib import Path

from trm_repro.recipes.schema import Recipe

LIST = Path("docs/deviations.md")
ENTRY = re.compile(r"^## (D-\d+) (.+?)\n+Applies to: (.+?)\.?$", re.MULTILINE)


def applying(recipe: Recipe, path: Path = LIST) -> list[dict[str, str]]:
    """The deviations that apply to a recipe's runs: ``[{id, title}]``, in the order of the list."""
    names = {recipe.engine, recipe.upstream.name if recipe.upstream else "", recipe.name}
    return [
        {"id": number, "title": title}
        for number, title, concerned in ENTRY.findall(path.read_text())
        if names & set(re.split(r"[,\s]+", concerned))
    ]
