"""Grids, symmetries, canvases and the names of augmentations."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trm_repro.arc import augment
from trm_repro.arc import grids as grids_module
from trm_repro.arc.grids import CELLS, INVERSE, SIDE, SYMMETRIES, decode, dihedral, encode, hash_weights, parse_grid
from trm_repro.arc.scoring import hash_grids
from trm_repro.errors import InvariantBroken

grids = st.tuples(st.integers(1, SIDE), st.integers(1, SIDE)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 9))
)
codes = st.one_of(
    st.just(augment.ORIGINAL),
    st.builds(lambda k, order: augment.code(k, [0, *order]), st.integers(0, 7), st.permutations(range(1, 10))),
)


@given(grids, st.integers(0, 7))
def test_every_symmetry_is_undone_by_its_inverse(grid, k):
    assert np.array_equal(dihedral(dihedral(grid, k), INVERSE[k]), grid)
    assert dihedral(grid, k).shape == (grid.shape[::-1] if SYMMETRIES[k][0] else grid.shape)


def test_the_eight_symmetries_are_those_of_numpy():
    grid = np.arange(6, dtype=np.uint8).reshape(2, 3)
    expected = [
        grid,
        np.rot90(grid),
        np.rot90(grid, 2),
        np.rot90(grid, 3),
        grid[:, ::-1],
        grid[::-1],
        grid.T,
        np.rot90(grid)[:, ::-1],
    ]
    assert [dihedral(grid, k).tolist() for k in range(8)] == [other.tolist() for other in expected]
    assert len({dihedral(grid, k).tobytes() + bytes(dihedral(grid, k).shape) for k in range(8)}) == 8


@given(grids, codes)
def test_every_augmentation_is_undone(grid, code):
    assert np.array_equal(augment.undo(augment.apply(grid, code), code), grid)


@given(codes)
def test_a_name_says_which_augmentation_it_is(code):
    assert augment.parse(augment.name("00576224", code)) == ("00576224", code)


def test_names_are_upstreams():
    code = augment.code(7, [0, 4, 8, 1, 9, 6, 3, 2, 7, 5])
    assert augment.name("one_by_one", code) == "one_by_one|||t7|||0481963275"


@pytest.mark.parametrize(
    "name", ["a|||t8|||0123456789", "a|||t1|||1023456789", "a|||t1|||0113456789", "a|||t1", "a|||t1|||01234567890"]
)
def test_a_name_that_is_no_augmentation_is_refused(name):
    with pytest.raises(InvariantBroken, match="not the identifier"):
        augment.parse(name)


@given(st.text(min_size=1, max_size=8), st.lists(codes, min_size=1, max_size=5))
def test_many_names_are_written_as_json_writes_them(task, many):
    many = sorted(many)  # the original, −1, comes first, as in a dataset
    names = [augment.name(task, code) for code in many]
    assert b"[" + augment.json_names(task, np.array(many)) + b"]" == json.dumps(names).encode()


@given(grids, st.data())
def test_a_canvas_shows_its_grid(grid, data):
    row = data.draw(st.integers(0, SIDE - grid.shape[0]))
    column = data.draw(st.integers(0, SIDE - grid.shape[1]))
    tokens = encode(grid, row, column)
    assert tokens.shape == (CELLS,)
    assert np.array_equal(decode(tokens), grid)
    ends = grid.shape[1] * (row + grid.shape[0] < SIDE) + grid.shape[0] * (column + grid.shape[1] < SIDE)
    assert (tokens == 1).sum() == ends
    assert (tokens != 0).sum() == grid.size + ends


@given(grids, st.integers(0, CELLS - 1), st.integers(0, 20))
def test_a_canvas_with_one_token_changed_is_another_grid_or_none(grid, place, token):
    tokens = encode(grid)
    changed = tokens.copy()
    changed[place] = token
    if token == tokens[place]:
        return
    try:
        assert not np.array_equal(decode(changed), grid)
    except InvariantBroken:
        return


@settings(deadline=None)  # the first call compiles
@given(grids, grids)
def test_equal_hashes_mean_equal_grids(first, second):
    same = first.shape == second.shape and np.array_equal(first, second)
    hashes = hash_grids([first, second, first.copy()])
    assert (hashes[0] == hashes[1]) == same
    assert hashes[0] == hashes[2]


def test_the_hash_is_the_documented_sum():
    weights, shapes = hash_weights()
    grid = np.array([[3, 0, 9]], np.uint8)
    expected = (int(shapes[1, 3]) + 4 * int(weights[0]) + int(weights[1]) + 10 * int(weights[2])) % 2**64
    assert int(hash_grids([grid])[0]) == expected


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([[1, 2], [3]], "ragged"),
        ([[1, 10]], "colour 10"),
        ([[-1]], "colour -1"),
        ([[0] * 31], "1 × 31"),
        ([[0]] * 31, "31 × 1"),
        ([], "non-empty"),
        ([[]], "non-empty"),
        ("01", "non-empty"),
        ([[1.0]], "whole number"),
        ([["1"]], "whole number"),
        ([[[1]]], "whole number"),
        ([[True]], "whole number"),
        ([[None, 1]], "whole number"),
        ([[10**30]], "whole number"),
        ([[[1], 2]], "whole number"),
    ],
)
def test_what_is_not_a_grid_is_refused_by_name(value, complaint):
    with pytest.raises(InvariantBroken, match=complaint) as error:
        parse_grid(value, "f.json: task t")
    assert str(error.value).startswith("f.json: task t: ")


@given(grids)
def test_a_grid_is_read_as_written(grid):
    assert np.array_equal(parse_grid(grid.tolist(), ""), grid)


@pytest.mark.parametrize(
    ("k", "colours", "said"),
    [
        (0, range(10), "not turned; colours as they are"),
        (1, [0, 2, 1, *range(3, 10)], "turned a quarter to the left; blue → red, red → blue"),
        (5, [0, 2, 3, 1, *range(4, 10)], "mirrored top to bottom; blue → red, red → green, green → blue"),
    ],
)
def test_an_augmentation_is_said_in_words(k, colours, said):
    assert augment.words(augment.code(k, colours)) == said
    assert augment.words(augment.ORIGINAL) == "as it is"


def test_the_words_for_a_symmetry_are_what_it_does():
    board = np.arange(6, dtype=np.uint8).reshape(2, 3)
    expected = {
        "not turned": [[0, 1, 2], [3, 4, 5]],
        "turned a quarter to the left": [[2, 5], [1, 4], [0, 3]],
        "turned by half": [[5, 4, 3], [2, 1, 0]],
        "turned a quarter to the right": [[3, 0], [4, 1], [5, 2]],
        "mirrored left to right": [[2, 1, 0], [5, 4, 3]],
        "mirrored top to bottom": [[3, 4, 5], [0, 1, 2]],
        "transposed": [[0, 3], [1, 4], [2, 5]],
        "turned a quarter to the left, then mirrored left to right": [[5, 2], [4, 1], [3, 0]],
    }
    assert {said: dihedral(board, k).tolist() for k, said in enumerate(augment.SYMMETRY_NAMES)} == expected


@pytest.mark.parametrize("value", [[[1.0, 2]], [[True, 2.0]], [[True, False]], [[-0.0]], [[1]]])
def test_a_whole_number_is_one_however_json_writes_it_where_that_is_asked_for(value):
    assert parse_grid(value, "", whole=True).tolist() == [[int(cell) for cell in row] for row in value]
    if value != [[1]]:
        with pytest.raises(InvariantBroken, match="whole numbers that are not written as such"):
            parse_grid(value, "")


@pytest.mark.parametrize("cell", [1.5, float("nan"), float("inf"), "1", None, 10**400, -1.0, 10.0, [1]])
def test_what_is_no_colour_is_none(cell):
    with pytest.raises(InvariantBroken):
        parse_grid([[cell]], "", whole=True)


cells = st.one_of(
    st.integers(-1, 300), st.booleans(), st.sampled_from([1.0, 1.5, None, "5", "", [1], {}, 10**30, b"\1"])
)
rows = st.one_of(st.lists(cells, min_size=1, max_size=3), st.sampled_from([5, "55", None, b"\1\2", {}]))


def told(value):
    try:
        return parse_grid(value, "f.json", whole=True).tolist()
    except InvariantBroken as error:
        return str(error)


@given(st.lists(rows, min_size=1, max_size=3))
def test_a_grid_read_at_once_is_the_one_read_with_care(value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids_module, "_colours", lambda rows: None)
        carefully = told(value)
    assert told(value) == carefully
