"""The compiled random stream is NumPy's legacy one, draw by draw."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_repro.arc import draws
from trm_repro.arc.augment import ORIGINAL, apply, decompose
from trm_repro.arc.canvas import hashes, pack
from trm_repro.arc.tasks import Example, Task

seeds = st.integers(0, 2**32 - 1)


@settings(deadline=None)  # the first call compiles
@given(seeds, st.lists(st.integers(1, 2**31), max_size=50))
def test_whole_numbers_are_numpys(seed, limits):
    state, legacy = draws.seeded(seed), np.random.RandomState(seed)
    for limit in limits:
        assert draws.below(state, limit) == legacy.randint(0, limit)


@settings(deadline=None)  # the first call compiles
@given(seeds, st.lists(st.integers(0, 40), max_size=20))
def test_shuffles_are_numpys(seed, lengths):
    state, legacy = draws.seeded(seed), np.random.RandomState(seed)
    for length in lengths:
        items, expected = np.arange(length), list(range(length))
        draws.shuffle(state, items)
        legacy.shuffle(expected)
        assert items.tolist() == expected


def test_the_stream_goes_on_beyond_one_block_of_words():
    state, legacy = draws.seeded(42), np.random.RandomState(42)
    assert [draws.below(state, 1000) for _ in range(5000)] == legacy.randint(0, 1000, 5000).tolist()


def task(*grids):
    pairs = zip(grids[::2], grids[1::2], strict=True)
    return Task("t", {}, tuple(Example("train", np.array(a, np.uint8), np.array(b, np.uint8)) for a, b in pairs))


def slow_variants(state, puzzle, wanted):
    """The definition: pairs as bytes, multisets as sorted lists."""

    def key(code):
        pairs = []
        for example in puzzle.examples:
            grids = [np.ascontiguousarray(apply(grid, code)) for grid in (example.input, example.output)]
            pairs.append([(grid.shape, grid.tobytes()) for grid in grids])
        return repr(sorted(pairs))

    found, seen = [ORIGINAL], {key(ORIGINAL)}
    for _ in range(5 * wanted):
        if len(found) > wanted:
            break
        k = draws.below(state, 8)
        colours = np.arange(10)
        draws.shuffle(state, colours[1:])
        code = int("".join(map(str, [k, *colours[1:]])))
        if key(code) not in seen:
            seen.add(key(code))
            found.append(code)
    return found


small = st.integers(1, 3).flatmap(
    lambda height: st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 2), min_size=width, max_size=width), min_size=height, max_size=height
        )
    )
)


@settings(deadline=None, max_examples=50)
@given(seeds, st.lists(st.tuples(small, small), min_size=1, max_size=3), st.integers(0, 30))
def test_variants_are_distinct_as_multisets_of_pairs(seed, pairs, wanted):
    puzzle = task(*(grid for pair in pairs for grid in pair))
    state, slow = draws.seeded(seed), draws.seeded(seed)
    found = draws.variants(state, *hashes(pack(puzzle)), wanted)
    assert found.tolist() == slow_variants(slow, puzzle, wanted)
    assert np.array_equal(state, slow), "both must leave the stream at the same place"


def test_a_black_task_has_no_variants_but_its_turns():
    state = draws.seeded(0)
    found = draws.variants(state, *hashes(pack(task([[0, 0]], [[0]]))), 1000)
    assert len(found) == 2
    assert found[0] == ORIGINAL
    assert decompose(int(found[1]))[0] in (1, 3, 6, 7)


def test_swapping_input_and_output_is_another_pair():
    first, second = (hashes(pack(task(*grids))) for grids in (([[1]], [[2]]), ([[2]], [[1]])))
    assert draws._hash_variant(*first, 0, np.arange(10)) != draws._hash_variant(*second, 0, np.arange(10))


def test_only_one_example_of_a_variant_stays_at_the_corner():
    state = draws.seeded(3)
    places = draws.places(state, np.full(200, ORIGINAL), np.full((3, 2), 5), True).reshape(200, 3, 2)
    at_corner = (places == 0).all(axis=2).sum(axis=1)
    assert at_corner.min() == 1
    assert places.max() == 25
    assert not draws.places(state, np.full(200, ORIGINAL), np.full((3, 2), 5), False).any()
