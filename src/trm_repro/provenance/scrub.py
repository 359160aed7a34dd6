"""Takes out of a record what is nobody's business: secrets, home folders, absolute paths of this machine.

Invariant: every string of a manifest has passed through :meth:`Scrubber.value`, so a new key cannot leak what the old
ones do not. Numbers that JSON cannot hold (not a number, infinite) become null on the same way.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.errors import UsageError
from trm_repro.runs.records import MASK, is_secret, masked

PRIVATE = ("KAGGLE_USERNAME", "HF_REPO_ID")  # knobs that name a person
USERS = ("USER", "LOGNAME")  # variables that do
SHORTEST = (
    6  # characters; a shorter value of a secret variable is a switch or a placeholder, and stands in other words too
)
TRM_DIR = "$TRM_DIR"  # what a record writes for a TRM_DIR outside of the repository
ABSOLUTE = re.compile(r"(?<![\w.~$/-])/(?!/)[^\s,:;'\"]+")  # a path from the root, wherever it stands in a text


def is_private(name: str) -> bool:
    """Whether a variable's value must not be written down."""
    return name in PRIVATE or is_secret(name)


@dataclass(frozen=True)
class Scrubber:
    """How a record writes paths and texts of one machine.

    Args:
        repository: root of this repository; paths in it are written relative to it.
        work: TRM_DIR, where the training ran; outside of the repository it is written ``$TRM_DIR``.
        environ: the environment, for the values of secrets, the home folder and the user's name, which is taken out of
            what is left of absolute paths.
    """

    repository: Path
    work: Path
    environ: Mapping[str, str]

    def path(self, path: Path | str) -> str:
        """A path as a record writes it."""
        return self.text(os.path.normpath(self.repository / path))

    def text(self, text: str) -> str:
        """A text without what is private."""
        for name, value in self.environ.items():
            if is_secret(name) and len(value) >= SHORTEST:
                text = text.replace(value, MASK)
        text = _without(text, str(self.repository), "")
        text = _without(text, str(self.work), TRM_DIR)
        if home := self.environ.get("HOME", "").rstrip("/"):
            text = _without(text, home, "~")
        if users := "|".join({re.escape(self.environ[name]) for name in USERS if self.environ.get(name)}):
            text = ABSOLUTE.sub(lambda path: re.sub(f"/({users})(?=/|$)", "/USER", path[0]), text)
        return masked(text)

    def value(self, value: Any) -> Any:
        """A JSON value whose every string is clean, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(inner) for inner in value]
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value


def locate(path: str, repository: Path, trm_dir: Path | None) -> Path:
    """The file that a path of a record means: the way back from :meth:`Scrubber.path`.

    Raises:
        UsageError: it is in TRM_DIR, and nobody said where that is.
    """
    inside = path.removeprefix(f"{TRM_DIR}/")
    if inside == path:
        return repository / path
    if trm_dir is None:
        raise UsageError(f"{path} is in TRM_DIR, which is not known", hint="say --trm-dir DIR")
    return trm_dir / inside


def _without(text: str, folder: str, name: str) -> str:
    """A text in which a folder is called ``name``; with an empty name, what is in it is written relative to it."""
    pattern = r"(?<![A-Za-z0-9._-])" + re.escape(folder) + r"(/|(?![A-Za-z0-9._-]))"

    def replacement(match: re.Match[str]) -> str:
        if name:
            return name + match[1]
        return "" if match[1] else "."

    return re.sub(pattern, replacement, text)
