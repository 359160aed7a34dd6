"""The inner loops of scoring: reading identifiers, and counting votes; :mod:`trm_repro.arc.canvas` reads the predictions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trm_repro.arc.augment import ORIGINAL
from trm_repro.arc.compiled import compiled, inlined

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

INVALID = -2
_BAR = ord("|")


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


@inlined
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


@inlined
def _slot(slots: Integers, candidate_inputs: Integers, candidate_hashes: Hashes, ballot: int, value: np.uint64) -> int:
    """The slot of a candidate, or the free one where it belongs."""
    mask = len(slots) - 1
    slot = np.int64(value & np.uint64(mask))
    while slots[slot] >= 0 and (candidate_inputs[slots[slot]] != ballot or candidate_hashes[slots[slot]] != value):
        slot = (slot + 1) & mask
    return int(slot)
