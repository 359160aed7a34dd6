"""Everything that draws from the dataset's random stream: NumPy's legacy MT19937, stepped in compiled code.

The generator's state is one (625,) uint32 array: 624 words and the position of the next one. :func:`seeded`
makes it, all other functions advance it. The draws are those of ``np.random.seed``, ``randint``, ``shuffle`` and
``permutation``, whose stream NEP 19 freezes:

* ``randint(0, n)`` masks 32-bit outputs to the smallest 2^b − 1 ≥ n − 1 and rejects those above n − 1; for n = 1 it
  draws nothing;
* ``shuffle`` and ``permutation`` run i from the last index down to 1 and swap i with a j drawn from 0..i.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trm_repro.arc.augment import ORIGINAL, SYMMETRY
from trm_repro.arc.compiled import compiled, inlined
from trm_repro.arc.grids import SIDE, SYMMETRIES

Stream = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.int64]

_WORDS = 624
_TRANSPOSES = np.array([transposes for transposes, *_ in SYMMETRIES])
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def seeded(seed: int) -> Stream:
    """The state after ``np.random.seed(seed)``; the seed is 0..2^32 − 1."""
    _, words, position, *_ = np.random.RandomState(seed).get_state(legacy=True)
    return np.append(np.asarray(words, np.uint32), np.uint32(position))


@inlined
def _twist(word: np.uint32, following: np.uint32) -> int:
    """What the recurrence makes of two words; without a branch, which would be guessed wrong half of the time."""
    mixed = (word & 0x80000000) | (following & 0x7FFFFFFF)
    return int((mixed >> 1) ^ (-(mixed & 1) & 0x9908B0DF))


@inlined
def _refill(state: Stream) -> None:
    """Makes the next 624 words; each loop reads only what is made already, or not yet made anew."""
    for i in range(227):
        state[i] = state[i + 397] ^ _twist(state[i], state[i + 1])
    for i in range(227, 623):
        state[i] = state[i - 227] ^ _twist(state[i], state[i + 1])
    state[623] = state[396] ^ _twist(state[623], state[0])
    state[_WORDS] = 0


@inlined
def _word(state: Stream) -> int:
    """The next 32 bits."""
    if state[_WORDS] == _WORDS:
        _refill(state)
    word = np.int64(state[state[_WORDS]])
    state[_WORDS] += 1
    word ^= word >> 11
    word ^= (word << 7) & 0x9D2C5680
    word ^= (word << 15) & 0xEFC60000
    word ^= word >> 18
    return int(word)


@inlined
def _mask(limit: int) -> int:
    """The smallest 2^b − 1 that is at least ``limit``."""
    for shift in (1, 2, 4, 8, 16):
        limit |= limit >> shift
    return limit


@compiled
def below(state: Stream, n: int) -> int:
    """``np.random.randint(0, n)``, for n up to 2^31."""
    return _below(state, n)


@inlined
def _below(state: Stream, n: int) -> int:
    if n == 1:
        return 0
    mask = _mask(n - 1)
    drawn = _word(state) & mask
    while drawn >= n:
        drawn = _word(state) & mask
    return drawn


@compiled
def shuffle(state: Stream, items: npt.NDArray[np.int64]) -> None:
    """``np.random.shuffle(items)``, in place."""
    _shuffle(state, items)


@inlined
def _shuffle(state: Stream, items: npt.NDArray[np.int64]) -> None:
    """Each turn takes one word, and where it is rejected swaps an item with itself: no branch to guess."""
    i = len(items) - 1
    mask = _mask(i)
    while i > 0:
        drawn = _word(state) & mask
        j = min(drawn, i)
        items[i], items[j] = items[j], items[i]
        i -= drawn <= i
        mask >>= i <= mask >> 1


@inlined
def _mix(value: np.uint64) -> np.uint64:
    """A bijection of 64-bit numbers that looks random (the finaliser of SplitMix64)."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


@inlined
def _hash_variant(
    sums: npt.NDArray[np.uint64], shapes: npt.NDArray[np.uint64], k: int, colours: npt.NDArray[np.int64]
) -> np.uint64:
    """A hash of the multiset of a variant's example pairs; arguments as in :func:`variants`."""
    total = np.uint64(0)
    for pair in range(shapes.shape[1] // 2):
        first, second = shapes[k, 2 * pair], shapes[k, 2 * pair + 1]
        for colour in range(10):
            value = np.uint64(colours[colour] + 1)
            first += sums[k, 2 * pair, colour] * value
            second += sums[k, 2 * pair + 1, colour] * value
        total += _mix(_mix(first) + second)
    return total


@compiled
def variants(
    state: Stream, sums: npt.NDArray[np.uint64], shapes: npt.NDArray[np.uint64], wanted: int
) -> npt.NDArray[np.int64]:
    """Draws the distinct variants of a task.

    Two variants are the same if they have the same multiset of (input, output) pairs. They are compared by a 64-bit
    hash: 1280 tasks of 1001 variants make 6.4 · 10^8 comparisons, one of which fails with probability 3 · 10^-10.

    Args:
        state: the random stream.
        sums: (8, grids, 10) the weights of the cells of each colour, by symmetry and grid (input and output of each
            example in turn).
        shapes: (8, grids) the weights of the shapes.
        wanted: how many variants to draw beside the original; at most five times as many trials are made.

    Returns:
        (found,) codes, the original first.
    """
    codes = np.empty(wanted + 1, np.int64)
    codes[0] = ORIGINAL
    found = 1
    size = 4
    while size < 2 * len(codes):
        size *= 2
    slots = np.full(size, -1, np.int64)  # open addressing: a hash's low bits, then the next free slot
    hashes = np.empty(len(codes), np.uint64)
    colours = np.arange(10)
    moved = colours[1:]
    hashes[0] = _hash_variant(sums, shapes, 0, colours)
    slots[hashes[0] & np.uint64(size - 1)] = 0
    for _ in range(5 * wanted):
        if found > wanted:
            break
        k = _below(state, 8)
        for colour in range(1, 10):
            colours[colour] = colour
        _shuffle(state, moved)
        value = _hash_variant(sums, shapes, k, colours)
        slot = np.int64(value & np.uint64(size - 1))
        while slots[slot] >= 0 and hashes[slots[slot]] != value:
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = found
            hashes[found] = value
            code = k
            for colour in range(1, 10):
                code = code * 10 + colours[colour]
            codes[found] = code
            found += 1
    return codes[:found].copy()


@compiled
def places(state: Stream, codes: Codes, sizes: npt.NDArray[np.int64], translate: bool) -> npt.NDArray[np.uint8]:
    """Draws where on the canvas the grids of each example of each variant of a group lie.

    One example of each variant, drawn at random, stays at the corner; so do all where nothing is translated, but that
    draw is made nevertheless.

    Args:
        state: the random stream.
        codes: (variants,).
        sizes: (examples, 2) the larger height and the larger width of each example's two grids, in the original.
        translate: whether this split moves its grids.

    Returns:
        (variants · examples, 2) row and column.
    """
    examples = len(sizes)
    result = np.zeros((len(codes) * examples, 2), np.uint8)
    for variant in range(len(codes)):
        stays = _below(state, examples)
        swaps = codes[variant] != ORIGINAL and _TRANSPOSES[codes[variant] // SYMMETRY]
        for example in range(examples):
            if translate and example != stays:
                height, width = sizes[example, 0], sizes[example, 1]
                if swaps:
                    height, width = width, height
                result[variant * examples + example, 0] = _below(state, SIDE - height + 1)
                result[variant * examples + example, 1] = _below(state, SIDE - width + 1)
    return result
