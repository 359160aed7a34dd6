"""Lines of training metrics, read by compiled code: ten times as fast as a JSON reader, which a long run's report waits for.

It reads lines of numbers that are written as the engine and the tap write theirs. Every other line (an evaluation's, one cut
short, a stranger's) is left to the JSON reader, so that both together find what the JSON reader alone would. A value is exact
to two units in the last place, a step is exact. A module of its own, because it is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trm_repro.arc.compiled import compiled

_DIGITS = 18  # an integer of so many fits an int64
_POWERS = np.array([10.0**power for power in range(309)], np.float64)
_DAYS = np.array(
    [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
)  # the 29th of February is left to the other reader


def scan(
    block: bytes, names: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Reads the lines of a block, each of which ends in a newline.

    Returns:
        (n,) the steps of its n lines; (n, names) the values, NaN where a line has none; and (n, 2) where each line begins and
        ends, for the lines that must be read otherwise, (-1, -1) for the others.
    """
    data = np.frombuffer(block, np.uint8)
    words = [name.encode() for name in names]
    keys = np.zeros((len(words), max(map(len, words))), np.uint8)
    for row, word in zip(keys, words, strict=True):
        row[: len(word)] = np.frombuffer(word, np.uint8)
    lines = block.count(b"\n")
    steps = np.zeros(lines, np.int64)
    values = np.full((lines, len(words)), np.nan)
    others = np.full((lines, 2), -1, np.int64)
    _scan(data, keys, np.array([len(word) for word in words]), _POWERS, _DAYS, steps, values, others)
    return steps, values, others


@compiled
def _scan(
    data: npt.NDArray[np.uint8],
    keys: npt.NDArray[np.uint8],
    sizes: npt.NDArray[np.int64],
    powers: npt.NDArray[np.float64],
    days: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    others: npt.NDArray[np.int64],
) -> None:
    """Fills steps, values and others, as :func:`scan` gives them."""
    at = 0
    for line in range(len(steps)):
        start = at
        at = _entry(data, at, keys, sizes, powers, days, steps, values, line)
        if at < 0:
            values[line] = np.nan
            at = start
            while data[at] != 10:
                at += 1
            at += 1
            others[line] = start, at


@compiled
def _entry(
    data: npt.NDArray[np.uint8],
    at: int,
    keys: npt.NDArray[np.uint8],
    sizes: npt.NDArray[np.int64],
    powers: npt.NDArray[np.float64],
    days: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    line: int,
) -> int:
    """Reads ``{"step": 1, "time": "…Z", "train/x": 0.5}`` and its newline; the place after it, or -1 where it is not so."""
    if data[at] != 123:  # {
        return -1
    stepped = False
    while True:
        at += 1
        if data[at] != 34:  # "
            return -1
        at += 1
        begin = at
        while data[at] != 34:
            if data[at] < 32 or data[at] > 126 or data[at] == 92:  # a newline, a letter of another alphabet, an escape
                return -1
            at += 1
        size = at - begin
        if data[at + 1] != 58 or data[at + 2] != 32:  # ": "; the block ends in a newline, which stops every look ahead
            return -1
        at += 3
        is_step = size == 4 and data[begin] == 115 and data[begin + 1] == 116 and data[begin + 2] == 101
        is_time = size == 4 and data[begin] == 116 and data[begin + 1] == 105 and data[begin + 2] == 109
        if not is_step and not is_time and (size < 6 or data[begin] != 116 or data[begin + 5] != 47):  # t….…/
            return -1
        if is_time:
            at = _moment(data, at, days)
            if at < 0:
                return -1
        else:
            at, whole, value = _number(data, at, powers)
            if at < 0:
                return -1
            if is_step:
                if whole < 0:
                    return -1
                steps[line], stepped = whole, True
            for key in range(len(sizes)):
                if size == sizes[key]:
                    same = True
                    for place in range(size):
                        same &= data[begin + place] == keys[key, place]
                    if same:
                        values[line, key] = value
        if data[at] == 125 and data[at + 1] == 10 and stepped:  # } and the end of the line
            return at + 2
        if data[at] != 44 or data[at + 1] != 32:  # ", "
            return -1
        at += 1


@compiled
def _moment(data: npt.NDArray[np.uint8], at: int, days: npt.NDArray[np.int64]) -> int:
    """Reads ``"2026-01-31T12:00:00Z"``, a time that is one; the place after it, or -1."""
    shape = (34, 0, 0, 0, 0, 45, 0, 0, 45, 0, 0, 84, 0, 0, 58, 0, 0, 58, 0, 0, 90, 34)
    for place in range(22):
        found = data[at + place]
        if found == 10 or (found != shape[place] if shape[place] else found < 48 or found > 57):
            return -1
    two = np.zeros(7, np.int64)
    for field, place in enumerate((1, 3, 6, 9, 12, 15, 18)):
        two[field] = 10 * (data[at + place] - 48) + data[at + place + 1] - 48
    known = two[0] + two[1] > 0 and 1 <= two[2] <= 12 and two[3] >= 1 and two[4] < 24 and two[5] < 60 and two[6] < 60
    return at + 22 if known and two[3] <= days[two[2]] else -1


@compiled
def _number(data: npt.NDArray[np.uint8], at: int, powers: npt.NDArray[np.float64]) -> tuple[int, int, float]:
    """Reads a JSON number: the place after it or -1, its value if it is a whole number at least 0 or else -1, its value."""
    negative = data[at] == 45
    if negative:
        at += 1
    first, digits, scale, mantissa = at, 0, 0, np.int64(0)
    while 48 <= data[at] <= 57:
        mantissa = mantissa * 10 + np.int64(data[at] - 48)
        digits += mantissa != 0
        at += 1
    if at == first or (data[first] == 48 and at > first + 1) or digits > _DIGITS:
        return -1, 0, 0.0
    if data[at] != 46 and data[at] != 101:  # neither a point nor an e
        return at, -1 if negative else int(mantissa), float(-mantissa if negative else mantissa)
    if data[at] == 46:
        at += 1
        first = at
        while 48 <= data[at] <= 57:
            mantissa = mantissa * 10 + np.int64(data[at] - 48)
            digits += mantissa != 0
            scale -= 1
            at += 1
        if at == first or digits > _DIGITS:
            return -1, 0, 0.0
    if data[at] == 101:
        at += 1
        down = data[at] == 45
        if down or data[at] == 43:
            at += 1
        first, exponent = at, 0
        while 48 <= data[at] <= 57 and at < first + 4:
            exponent = exponent * 10 + int(data[at] - 48)
            at += 1
        if at == first:
            return -1, 0, 0.0
        scale += -exponent if down else exponent
    if scale < -290 or scale > 290:
        return -1, 0, 0.0
    value = float(mantissa) * powers[scale] if scale >= 0 else float(mantissa) / powers[-scale]
    return at, -1, -value if negative else value
