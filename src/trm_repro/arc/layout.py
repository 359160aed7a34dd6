"""Dataset folders: what is in them, and what identifies them.

``train/`` and ``test/`` hold ``dataset.json`` and five arrays each; beside them lie ``identifiers.json`` and, for ARC,
``test_puzzles.json``. An *example* is one row of ``all__inputs`` and ``all__labels``; examples ``puzzle_indices[p]`` up
to ``puzzle_indices[p + 1]`` belong to puzzle p, whose name is ``identifiers[puzzle_identifiers[p]]``; puzzles
``group_indices[g]`` up to ``group_indices[g + 1]`` are the variants of one task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_repro.digests import Cache, digest_tree
from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import read_json

SPLITS = ("train", "test")
BLANK = "<blank>"  # the name of the first identifier, which padding has, and the boards of Sudoku and Maze


@dataclass(frozen=True)
class Split:
    """One split, its large arrays memory-mapped.

    Attributes:
        name: "train" or "test".
        metadata: its dataset.json.
        inputs: (examples, tokens).
        labels: (examples, tokens).
        puzzle_identifiers: (puzzles,).
        puzzle_indices: (puzzles + 1,).
        group_indices: (groups + 1,).
    """

    name: str
    metadata: Mapping[str, Any]
    inputs: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    puzzle_identifiers: npt.NDArray[Any]
    puzzle_indices: npt.NDArray[Any]
    group_indices: npt.NDArray[Any]


def read_split(folder: Path, name: str) -> Split:
    """The split ``name`` of the dataset ``folder``.

    Raises:
        MissingPrerequisite: a file is missing.
        InvariantBroken: a file is not of its kind.
    """

    def array(which: str) -> npt.NDArray[Any]:
        path = folder / name / f"all__{which}.npy"
        try:
            return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]
        except FileNotFoundError:
            raise MissingPrerequisite(f"{path}: no such file") from None
        except (ValueError, OSError, EOFError) as error:
            raise InvariantBroken(f"{path}: not a complete array: {error}") from None

    metadata = read_json(folder / name / "dataset.json")
    if not isinstance(metadata, dict):
        raise InvariantBroken(f"{folder / name / 'dataset.json'}: not a JSON object")
    arrays = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
    return Split(name, metadata, *map(array, arrays))


def digests(folder: Path, cache: Cache | None = None) -> dict[str, dict[str, Any]]:
    """What identifies a dataset: {path: {"sha256", "bytes", and for arrays "rows"}}.

    Raises:
        MissingPrerequisite: there is no such folder.
    """
    found: dict[str, dict[str, Any]] = {}
    for path, digest in digest_tree(folder, cache).items():
        found[path] = {"sha256": digest.sha256, "bytes": digest.bytes}
        if path.endswith(".npy"):
            found[path]["rows"] = _rows(folder / path)
    return found


def _rows(path: Path) -> int | None:
    """The number of rows that an array's header announces; None if it cannot be read."""
    try:
        return len(np.load(path, mmap_mode="r"))
    except (ValueError, OSError, EOFError):
        return None
