"""The inner loops of scoring: reading identifiers and predictions, and counting votes.

A prediction is read in one pass: its grid is cropped from the 900 tokens, and the hash of the grid that remains when the
augmentation is undone is summed up in whatever order the cells come (see :func:`trm_repro.arc.grids.hash_weights`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trm_repro.arc.augment import ORIGINAL, SYMMETRY
from trm_repro.arc.compiled import compiled
from trm_repro.arc.grids import COLOURS, FIRST_COLOUR, SIDE, SWAPS_SIDES, VOCABULARY, Grid

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

INVALID = -2
_BAR = ord("|")
_SWAPS = np.array(SWAPS_SIDES)


@compiled
def parse(text: npt.NDArray[np.uint8], ends: Integers) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Reads many identifiers.

    Args:
        text: the identifiers' bytes, one after the other.
        ends: (n,) where each ends.

    Returns:
        (n,) codes, ``INVALID`` where the augmentation cannot be read; (n,) whether the task is another than that of the
        identifier before.
    """
    codes = np.full(len(ends), ORIGINAL, np.int64)
    fresh = np.ones(len(ends), np.bool_)
    last_start, last_length = 0, -1
    start = 0
    for i in range(len(ends)):
        end = ends[i]
        bar = start
        while bar + 2 < end and not (text[bar] == _BAR and text[bar + 1] == _BAR and text[bar + 2] == _BAR):
            bar += 1
        length = end - start
        if bar + 2 < end:
            length = bar - start
            codes[i] = _parse_augmentation(text[bar + 3 : end])
        if length == last_length:
            same = True
            for offset in range(length):
                same &= text[start + offset] == text[last_start + offset]
            fresh[i] = not same
        last_start, last_length = start, length
        start = end
    return codes, fresh


@compiled
def _parse_augmentation(text: npt.NDArray[np.uint8]) -> int:
    """The code of ``t<k>|||0<nine digits>``, or INVALID."""
    if len(text) != 15 or text[0] != ord("t") or text[5] != ord("0"):
        return INVALID
    if text[2] != _BAR or text[3] != _BAR or text[4] != _BAR or not ord("0") <= text[1] < ord("8"):
        return INVALID
    code = int(text[1]) - ord("0")
    used = 0
    for character in text[6:]:
        digit = int(character) - ord("0")
        if not 1 <= digit <= 9:
            return INVALID
        used |= 1 << digit
        code = code * 10 + digit
    return code if used == 0b1111111110 else INVALID


@compiled
def _crop(tokens: Grid) -> tuple[int, int]:
    """Height and width of the largest rectangle of colours at the top left corner of a canvas; on ties the first."""
    best_height, best_width = 0, 0
    width = SIDE
    for row in range(SIDE):
        holes = 0
        for column in range(width):  # nearly always none: a loop without a branch is several times faster
            token = tokens[row * SIDE + column]
            holes |= (token < FIRST_COLOUR) | (token >= VOCABULARY)
        if holes:
            width = 0
            while FIRST_COLOUR <= tokens[row * SIDE + width] < VOCABULARY:
                width += 1
            if width == 0:
                break
        if (row + 1) * width > best_height * best_width:
            best_height, best_width = row + 1, width
    return best_height, best_width


@compiled
def _walk(k: int, height: int, width: int, stride: int) -> tuple[int, int, int]:
    """How the places of a grid's cells in rows of ``stride`` move once symmetry ``k`` of it is undone.

    Returns:
        The place of the cell (0, 0) of the (height, width) grid, what the next row adds, what the next column adds.
    """
    last_row, last_column = height - 1, width - 1
    if k == 0:
        return 0, stride, 1
    if k == 1:
        return last_row, -1, stride
    if k == 2:
        return last_row * stride + last_column, -stride, -1
    if k == 3:
        return last_column * stride, 1, -stride
    if k == 4:
        return last_column, stride, -1
    if k == 5:
        return last_row * stride, -stride, 1
    if k == 6:
        return 0, 1, stride
    return last_column * stride + last_row, -1, -stride


@compiled
def _undo_colours(code: int, colours: Integers) -> int:
    """Fills ``colours`` with the colour that each token stood for; returns the symmetry."""
    colours[:] = np.arange(-FIRST_COLOUR, COLOURS)
    if code == ORIGINAL:
        return 0
    k, digits = divmod(code, SYMMETRY)
    for colour in range(COLOURS - 1, 0, -1):
        colours[FIRST_COLOUR + digits % 10] = colour
        digits //= 10
    return k


@compiled
def read(
    tokens: Grid,
    rows: Integers,
    codes: Integers,
    weights: Hashes,
    shape_weights: Hashes,
    hashes: Hashes,
    sizes: npt.NDArray[np.int64],
) -> None:
    """Crops grids, undoes their augmentation and hashes what remains.

    Args:
        tokens: (…, 900).
        rows: (n,) which of them.
        codes: (n,) their augmentations.
        weights: see :func:`trm_repro.arc.grids.hash_weights`, likewise ``shape_weights``.
        shape_weights: see there.
        hashes: (n,) filled.
        sizes: (n, 2) filled with the height and width of the original; 0 × 0 where there is no grid.
    """
    colours, values = np.empty(VOCABULARY, np.int64), np.empty(VOCABULARY, np.uint64)
    for i in range(len(rows)):
        canvas = tokens[rows[i]]
        k = _undo_colours(codes[i], colours)
        for token in range(FIRST_COLOUR, VOCABULARY):
            values[token] = colours[token] + 1
        height, width = _crop(canvas)
        sizes[i, 0], sizes[i, 1] = (width, height) if _SWAPS[k] else (height, width)
        total = shape_weights[sizes[i, 0], sizes[i, 1]]
        origin, by_row, by_column = _walk(k, height, width, SIDE)
        for row in range(height):
            place = origin + row * by_row
            for column in range(width):
                total += weights[np.uint64(place)] * values[canvas[row * SIDE + column]]
                place += by_column
        hashes[i] = total


@compiled
def restore(tokens: Grid, rows: Integers, codes: Integers, sizes: Integers, starts: Integers, cells: Grid) -> None:
    """Writes the original grids out, one after the other.

    Args:
        tokens: (…, 900).
        rows: (n,) which of them.
        codes: (n,) their augmentations.
        sizes: (n, 2) as :func:`read` found them.
        starts: (n,) where each grid's cells start.
        cells: all cells, filled.
    """
    colours = np.empty(VOCABULARY, np.int64)
    for i in range(len(rows)):
        k = _undo_colours(codes[i], colours)
        height, width = (sizes[i, 1], sizes[i, 0]) if _SWAPS[k] else (sizes[i, 0], sizes[i, 1])
        origin, by_row, by_column = _walk(k, height, width, sizes[i, 1])
        for row in range(height):
            for column in range(width):
                colour = colours[tokens[rows[i], row * SIDE + column]]
                cells[starts[i] + origin + row * by_row + column * by_column] = colour


@compiled
def count(
    ballots: Integers,
    hashes: Hashes,
    confidences: npt.NDArray[np.float64],
    slots: Integers,
    found: int,
    candidate_inputs: Integers,
    candidate_hashes: Hashes,
    votes: Integers,
    confidence: npt.NDArray[np.float64],
) -> Integers:
    """Counts predictions as votes for candidates, in order.

    Args:
        ballots: (n,) the test input that each prediction answers, or −1 for none.
        hashes: (n,) of the predicted grids.
        confidences: (n,).
        slots: (2^b,) open addressing: a candidate, or −1; less than half full after this.
        found: how many candidates there are so far; the next arrays have room for n more.
        candidate_inputs: the test input of each candidate.
        candidate_hashes: its grid's hash.
        votes: its votes.
        confidence: the sum of its votes' confidences.

    Returns:
        The predictions that made a new candidate, in order.
    """
    fresh = np.empty(len(ballots), np.int64)
    before = found
    for i in range(len(ballots)):
        if ballots[i] < 0:
            continue
        slot = _slot(slots, candidate_inputs, candidate_hashes, ballots[i], hashes[i])
        candidate = slots[slot]
        if candidate < 0:
            candidate = found
            slots[slot] = candidate
            candidate_inputs[candidate] = ballots[i]
            candidate_hashes[candidate] = hashes[i]
            votes[candidate] = 0
            confidence[candidate] = 0.0
            fresh[found - before] = i
            found += 1
        votes[candidate] += 1
        confidence[candidate] += confidences[i]
    return fresh[: found - before].copy()


@compiled
def rebuild(slots: Integers, found: int, candidate_inputs: Integers, candidate_hashes: Hashes) -> None:
    """Fills empty ``slots`` with the candidates."""
    for candidate in range(found):
        slot = _slot(
            slots, candidate_inputs, candidate_hashes, candidate_inputs[candidate], candidate_hashes[candidate]
        )
        slots[slot] = candidate


@compiled
def _slot(slots: Integers, candidate_inputs: Integers, candidate_hashes: Hashes, ballot: int, value: np.uint64) -> int:
    """The slot of a candidate, or the free one where it belongs."""
    mask = len(slots) - 1
    slot = np.int64(value & np.uint64(mask))
    while slots[slot] >= 0 and (candidate_inputs[slots[slot]] != ballot or candidate_hashes[slots[slot]] != value):
        slot = (slot + 1) & mask
    return int(slot)
