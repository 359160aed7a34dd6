"""Dataset folders: what is in them, and what identifies them.

``train/`` and ``test/`` hold ``dataset.json`` and five arrays each; beside them lie ``identifiers.json`` and, for ARC,
``test_puzzles.json``. An *example* is one row of ``all__inputs`` and ``all__labels``; examples ``puzzle_indices[p]`` up
to ``puzzle_indices[p + 1]`` belong to puzzle p, whose name is ``identifiers[puzzle_identifiers[p]]``; puzzles
``group_indices[g]`` up to ``group_indices[g + 1]`` are the variants of one task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_repro.arc.grids import PAD
from trm_repro.digests import Cache, digest_tree
from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import read_json

SPLITS = ("train", "test")
BLANK = "<blank>"  # the name of the first identifier, which padding has, and the boards of Sudoku and Maze


@dataclass(frozen=True)
class SplitFiles:
    """One split as it lies on the disk, its arrays memory-mapped.

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


def read_split(folder: Path, name: str) -> SplitFiles:
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
            raise MissingPrerequisite(f"{path}: no such file", hint="build the dataset first") from None
        except (ValueError, OSError, EOFError) as error:
            raise InvariantBroken(f"{path}: not a complete array: {error}", hint="build the dataset again") from None

    metadata = read_json(folder / name / "dataset.json")
    if not isinstance(metadata, dict):
        raise InvariantBroken(f"{folder / name / 'dataset.json'}: not a JSON object")
    arrays = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
    return SplitFiles(name, metadata, *map(array, arrays))


def write_indices(
    folder: Path,
    numbers: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int32],
    variants: npt.NDArray[np.int32],
    *,
    total_puzzles: int,
    **kind: int,
) -> None:
    """Writes all of a split but its examples: which of them belong to which puzzle and group, and dataset.json.

    Each puzzle has an identifier (``numbers``) and a number of examples (``sizes``), each group a number of puzzles
    (``variants``); ``kind`` are vocab_size, seq_len and num_puzzle_identifiers, in this order.
    """
    np.save(folder / "all__puzzle_identifiers.npy", numbers)
    np.save(folder / "all__puzzle_indices.npy", _starts(sizes))
    np.save(folder / "all__group_indices.npy", _starts(variants))
    metadata = {
        "pad_id": PAD,
        "ignore_label_id": PAD,
        "blank_identifier_id": 0,
        **kind,
        "total_groups": len(variants),
        "mean_puzzle_examples": int(sizes.sum(dtype=np.int64)) / len(sizes),
        "total_puzzles": total_puzzles,
        "sets": ["all"],
    }
    (folder / "dataset.json").write_text(json.dumps(metadata))


def _starts(sizes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Where parts of the given sizes start, one after the other, and the end of the last."""
    starts = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=starts[1:])
    return starts


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


def read_digests(path: Path) -> dict[str, dict[str, Any]]:
    """What :func:`digests` gave, from a file.

    Raises:
        MissingPrerequisite: there is no such file.
        InvariantBroken: it holds something else.
    """
    value: dict[str, dict[str, Any]] = read_json(path)
    files = value.values() if isinstance(value, dict) else [None]
    if not all(isinstance(file, dict) and isinstance(file.get("sha256"), str) and "bytes" in file for file in files):
        raise InvariantBroken(f"{path}: not digests of a dataset", hint="trm-repro dataset digests DIR prints them")
    return value


def _rows(path: Path) -> int | None:
    """The number of rows that an array's header announces; None if it cannot be read."""
    try:
        return len(np.load(path, mmap_mode="r"))
    except (ValueError, OSError, EOFError):
        return None
