"""Reading a recipe: its layers merged, its references filled in, validated.

``base: NAME`` puts a recipe on top of ``recipes/base/NAME.yaml``; mappings are merged, lists and plain values replaced.
``${a.b}`` in a text is the text at another place of the merged recipe. OmegaConf does the same and more, and is not used:
every step reads a recipe before it knows whether it has anything to do, and OmegaConf takes a quarter of a second to load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from trm_repro.errors import InvariantBroken
from trm_repro.recipes.bases import recipe_files
from trm_repro.recipes.schema import Recipe

REFERENCE = re.compile(r"\$\{([^}]*)\}")


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]  # type: ignore[no-untyped-call]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_recipe(folder: Path, name: str) -> Recipe:
    """Reads and validates a recipe.

    Raises:
        UsageError: there is no such recipe.
        InvariantBroken: it is not a valid one; the message names each wrong key.
    """
    merged: dict[str, Any] = {}
    files = recipe_files(folder, name)
    for path in files:
        try:
            layer = yaml.load(path.read_text(), _Loader)
        except yaml.YAMLError as error:
            raise InvariantBroken(f"{path}: {error}") from None
        if not isinstance(layer, dict):
            raise InvariantBroken(f"{path}: a recipe is a mapping")
        layer.pop("base", None)
        merged = merge(merged, layer)
    try:
        return Recipe.model_validate({"name": name, **_filled(merged, merged)})
    except KeyError as error:
        raise InvariantBroken(f"{files[-1]}: ${{{error.args[0]}}} refers to nothing, or to no plain text") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors())
        raise InvariantBroken(f"{files[-1]}: {problems}", hint="docs/adding-a-recipe.md lists the keys") from None


def merge(below: Any, above: Any) -> Any:
    """``above`` on top of ``below``: mappings key by key, anything else as a whole."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: merge(below.get(key), value) for key, value in above.items()}}


def _filled(value: Any, recipe: Mapping[str, Any]) -> Any:
    """``value`` with its references filled in."""
    if isinstance(value, dict):
        return {key: _filled(item, recipe) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, recipe) for item in value]
    return REFERENCE.sub(lambda match: _text(match[1], recipe), value) if isinstance(value, str) else value


def _text(place: str, recipe: Any) -> str:
    for key in place.split("."):
        recipe = recipe.get(key) if isinstance(recipe, dict) else None
    if not isinstance(recipe, str) or "${" in recipe:
        raise KeyError(place)
    return recipe
