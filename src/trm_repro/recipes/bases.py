"""Which files make up a recipe. Kept apart from :mod:`trm_repro.recipes.schema` so that stamps need no YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from trm_repro.errors import InvariantBroken, UsageError

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
BASE = re.compile(r"(\.\./)?[A-Za-z0-9._-]{1,100}")  # of base/, or ../ of the recipes themselves


def top_level(path: Path, key: str) -> str:
    """The plain value of a key that stands at the start of a line; empty if there is none."""
    prefix, lines = f"{key}:", path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.removeprefix(prefix).strip() for line in lines if line.startswith(prefix)), "")


# Those that this tool was installed with: in a clone a link to its recipes/, in a wheel a copy.
SHIPPED = Path(__file__).parent / "files"


def recipe_files(folder: Path, name: str) -> list[Path]:
    """The files that make up a recipe, the most basic first. Read without YAML: ``base:`` stands at the start of a line."""
    path = folder / f"{name}.yaml"
    if not NAME.fullmatch(name) or not path.is_file():
        raise UsageError(f"no recipe '{name[:100]}'", hint=offered(name, list_recipes(folder)))
    files = [path]
    while base := top_level(files[0], "base"):
        below = folder / "base" / f"{base}.yaml"
        if not BASE.fullmatch(base) or not below.is_file():
            raise InvariantBroken(f"{files[0]}: there is no base '{base[:100]}' in {folder / 'base'}")
        if any(below.samefile(known) for known in files):
            raise InvariantBroken(f"{files[0]}: its base '{base}' is based on it")
        files.insert(0, below)
    return files


def offered(name: str, known: Sequence[str]) -> str:
    """What there is in place of a recipe that is none: the one that was meant first, if that can be told."""
    from difflib import get_close_matches

    near = get_close_matches(name[:100], known, 1, 0.75)
    return f"{f'did you mean {near[0]}? ' if near else ''}choose one of: {' '.join(known)}"


def list_recipes(folder: Path) -> list[str]:
    """The names of all recipes, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))
