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
from trm_repro.files import read_yaml
from trm_repro.recipes.bases import recipe_files
from trm_repro.recipes.schema import Recipe

REFERENCE = re.compile(r"\$\{([^}]*)\}")


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error, not the last one's victory."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key) for key in names]  # type: ignore[no-untyped-call]
        seen: set[Any] = set()
        if twice := [key for key in keys if key in seen or seen.add(key)]:  # type: ignore[func-returns-value]
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


# A run may be named after a day: 2026-01-31 is a word.
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: node.value)


def read_recipe(folder: Path, name: str) -> Recipe:
    """Reads and validates a recipe.

    Raises:
        UsageError: there is no such recipe.
        InvariantBroken: it is not a valid one; the message names each wrong key.
    """
    merged: dict[str, Any] = {}
    files = recipe_files(folder, name)
    for path in files:
        layer = read_yaml(path, _Loader)
        if not isinstance(layer, dict):
            raise InvariantBroken(f"{path}: a recipe is a mapping")
        layer.pop("base", None)
        merged = merge(merged, layer)
    try:
        return Recipe.model_validate({"name": name, **_filled(merged, merged)})
    except KeyError as error:
        problem = f"${{{error.args[0]}}} refers to nothing, to no text, or to itself"
        raise InvariantBroken(f"{files[-1]}: {problem}") from None
    except UnicodeEncodeError as error:  # YAML's escapes can name what is no character
        raise InvariantBroken(f"{files[-1]}: {error.object[error.start : error.end]!r} is no character") from None
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


def _text(place: str, recipe: Mapping[str, Any], inside: tuple[str, ...] = ()) -> str:
    """The text at a place, references in it filled in; ``inside`` are the places that are being filled in with it."""
    found: Any = recipe
    for key in place.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, str) or place in inside:
        raise KeyError(place)
    return REFERENCE.sub(lambda match: _text(match[1], recipe, (*inside, place)), found)
