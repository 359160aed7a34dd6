"""Augmentations of a task: a symmetry of the grid and a permutation of the colours 1..9 (0, black, stays).

A *variant* of a task is written as one integer, its code: k · 10^9 + the images of the colours 1..9 as nine digits; the
task itself is ``ORIGINAL``. So the variant's name, ``<task>|||t<k>|||0<nine digits>``, is its code in decimal.

Invariant: ``undo(apply(grid, code), code)`` is grid, for every code.
"""

from __future__ import annotations

import json
import re

import numpy as np
import numpy.typing as npt

from trm_repro.arc.grids import COLOURS, INVERSE, Grid, dihedral
from trm_repro.errors import InvariantBroken

SEPARATOR = "|||"
ORIGINAL = -1
SYMMETRY = 10**9  # code // SYMMETRY is the symmetry k

COLOUR_NAMES = ("black", "blue", "red", "green", "yellow", "grey", "pink", "orange", "light blue", "brown")
SYMMETRY_NAMES = (
    "not turned",
    "turned a quarter to the left",
    "turned by half",
    "turned a quarter to the right",
    "mirrored left to right",
    "mirrored top to bottom",
    "transposed",
    "turned a quarter to the left, then mirrored left to right",
)

_NAME = re.compile(r"(?P<task>.*?)\|\|\|t(?P<k>[0-7])\|\|\|0(?P<digits>[1-9]{9})", re.DOTALL)


def code(k: int, colours: npt.ArrayLike) -> int:
    """The code of symmetry ``k`` and the mapping ``colours`` (ten numbers: where each colour goes)."""
    return k * SYMMETRY + int("".join(str(colour) for colour in np.asarray(colours)[1:]))


def decompose(variant: int) -> tuple[int, Grid]:
    """Symmetry k and the (10,) colour mapping of a code."""
    if variant == ORIGINAL:
        return 0, np.arange(COLOURS, dtype=np.uint8)
    k, digits = divmod(variant, SYMMETRY)
    return k, np.array([int(digit) for digit in f"{digits:010d}"], np.uint8)


def apply(grid: Grid, variant: int) -> Grid:
    """``grid`` as the variant shows it."""
    k, colours = decompose(variant)
    return dihedral(colours[grid], k)


def undo(grid: Grid, variant: int) -> Grid:
    """The grid of the task itself, from a ``grid`` that the variant shows."""
    k, colours = decompose(variant)
    return np.argsort(colours).astype(np.uint8)[dihedral(grid, INVERSE[k])]


def name(task: str, variant: int) -> str:
    """The identifier of a variant."""
    if variant == ORIGINAL:
        return task
    k, digits = divmod(variant, SYMMETRY)
    return f"{task}{SEPARATOR}t{k}{SEPARATOR}{digits:010d}"


def parse(identifier: str) -> tuple[str, int]:
    """Task and code of an identifier.

    Raises:
        InvariantBroken: it has a ``|||`` but is not an identifier of this kind.
    """
    if SEPARATOR not in identifier:
        return identifier, ORIGINAL
    match = _NAME.fullmatch(identifier)
    if not match or len(set(match["digits"])) != COLOURS - 1:
        raise InvariantBroken(f"not the identifier of an augmented task: {identifier!r}")
    return match["task"], int(match["k"]) * SYMMETRY + int(match["digits"])


def words(variant: int) -> str:
    """What a code does to a task, in words: ``transposed; blue → red, red → blue``."""
    if variant == ORIGINAL:
        return "as it is"
    k, colours = decompose(variant)
    moved = [f"{COLOUR_NAMES[i]} → {COLOUR_NAMES[colour]}" for i, colour in enumerate(colours) if i != colour]
    return f"{SYMMETRY_NAMES[k]}; {', '.join(moved) or 'colours as they are'}"


def json_names(task: str, variants: npt.NDArray[np.int64]) -> bytes:
    """The names of many variants as the elements of a JSON list, ``"…", "…"``.

    Args:
        task: the task's name.
        variants: (n,) codes.
    """
    start = json.dumps(task)[:-1].encode()
    originals = [b", ".join([start + b'"'] * int((variants == ORIGINAL).sum()))]
    codes = variants[variants != ORIGINAL]
    line = start + b'|||t0|||0000000000", '
    lines = np.tile(np.frombuffer(line, np.uint8), (len(codes), 1))
    lines[:, -17] = codes // SYMMETRY + ord("0")
    lines[:, -12:-3] = codes[:, None] // 10 ** np.arange(8, -1, -1) % 10 + ord("0")
    return b", ".join(part for part in [*originals, lines.tobytes()[:-2]] if part)
