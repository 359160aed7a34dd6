"""A training's curves are read by compiled code as the JSON reader would, only faster."""

import json
import random
import re

import numpy as np
import pytest

from trm_repro.runs import curves
from trm_repro.runs.curves import read_curves
from trm_repro.runs.metrics import read_entry

NAMES = ("train/lm_loss", "train/accuracy", "train/lr")
TIME = '"time": "2026-01-31T12:00:00Z"'
# a line of which each can hold something strange; `{}` stands for it
PLACES = (
    '{{"step": {}, ' + TIME + ', "train/count": 1.0, "train/lm_loss": 1.5}}',
    '{{"step": 3, "time": {}, "train/count": 1.0, "train/lm_loss": 1.5}}',
    '{{"step": 3, ' + TIME + ', "train/count": {}, "train/lm_loss": 1.5, "train/accuracy": 0.5, "train/lr": 1e-05}}',
    '{{"step": 3, ' + TIME + ', "train/lm_loss": {}}}',
    '{{"step": 3, "train/lm_loss": 1.5, {}: 2.5}}',
    '{{"step": 3, "train/lm_loss": 1.5{} "train/lr": 0.1}}',
    "{}",
)
STRANGE = (
    *(
        "0",
        "1",
        "-0",
        "-1",
        "007",
        "1.",
        ".5",
        "1.0",
        "0.0",
        "-0.0",
        "1e5",
        "1E5",
        "1e+05",
        "1e-300",
        "1e-400",
        "1e999",
        "1e",
        "1e-",
        "1.e3",
        "-",
        "+",
        "+1",
        "1_0",
        "0x1",
        "NaN",
        "Infinity",
        "true",
    ),
    *(
        "9" * 18,
        "9" * 19,
        "9" * 25,
        "9" * 400,
        "1." + "9" * 30,
        "0." + "0" * 30 + "1",
        "0.1234567890123456789",
        "5e-324",
    ),
    *('"2026-02-28T23:59:59Z"', '"2026-02-29T00:00:00Z"', '"2028-02-29T00:00:00Z"', '"2026-04-31T00:00:00Z"'),
    *(
        '"2026-13-01T00:00:00Z"',
        '"0000-01-01T00:00:00Z"',
        '"2026-01-01T24:00:00Z"',
        '"2026-01-01"',
        '"20\\u00326"',
        '""',
    ),
    *(
        '"step"',
        '"time"',
        '"train/lm_loss"',
        '"train/lr"',
        '"train/x"',
        '"all.accuracy"',
        '"ARC/pass@2"',
        '"x"',
        '"t"',
        '"é"',
    ),
    *(
        ",",
        ", ",
        " , ",
        "",
        "\t",
        "}",
        "}{",
        "{}",
        "[]",
        "null",
        "[1]",
        '{"step": 1}',
        '{"step": 1} ',
        ' {"step": 1}',
        "\r",
    ),
)


def both(path, monkeypatch):
    """What the compiled reader makes of a file together with the JSON reader, and what the latter makes of it alone."""
    found = []
    for least in (0, 1 << 40):
        monkeypatch.setattr(curves, "_LONG", least)
        found.append(read_curves(path, NAMES))
    return found


@pytest.mark.deep
def test_what_the_compiled_code_reads_the_json_reader_finds_too(tmp_path, monkeypatch):
    from trm_repro.runs.scanning import scan

    lines = [place.format(strange) for place in PLACES for strange in STRANGE]
    block = "".join(f"{line}\n" for line in lines).encode()
    steps, values, others = scan(block, NAMES)
    read = np.flatnonzero(others[:, 0] < 0).tolist()
    assert 25 < len(read) < 50, "both kinds occur"
    for line in read:
        entry = read_entry(lines[line].encode())
        assert entry is not None and entry["step"] == steps[line], lines[line]
        expected = [float(entry.get(name, "nan")) for name in NAMES]
        np.testing.assert_allclose(values[line], expected, rtol=5e-16, atol=0, err_msg=lines[line])
    assert [block[slice(*place)].decode()[:-1] for place in others.tolist() if place[0] >= 0] == [
        line for number, line in enumerate(lines) if number not in read
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(block)
    (one, said), (other, too) = both(path, monkeypatch)
    assert said == too and one.keys() == other.keys()
    for name, (steps, values) in one.items():
        assert np.array_equal(steps, other[name][0])
        np.testing.assert_allclose(values, other[name][1], rtol=5e-16, atol=0)


def test_the_lines_of_a_training_are_all_read_by_compiled_code(tmp_path):
    """Written as the engine and the tap write them, in every way in which Python writes a number."""
    from trm_repro.runs.scanning import scan

    draw = random.Random(1)
    numbers = [draw.random() * 10.0**power for power in range(-20, 17) for _ in range(20)] + [0.0, 1.0, 16.0, -0.25]
    lines = [json.dumps({"step": i, "time": "2026-01-31T12:00:00Z", NAMES[0]: x}) for i, x in enumerate(numbers)]
    steps, values, others = scan("".join(f"{line}\n" for line in lines).encode(), NAMES)
    assert (others == -1).all() and steps.tolist() == list(range(len(numbers)))
    np.testing.assert_allclose(values[:, 0], numbers, rtol=5e-16, atol=0)


def test_what_a_step_without_a_halted_row_says_is_its_losses(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": 1, "train/count": 1.0, "train/lm_loss": 3.0, "train/accuracy": 0.5},
        {"step": 2, "train/count": 0.0, "train/lm_loss": 2.0, "train/accuracy": 0.0},
        {"step": 3, "train/count": 1.0, "train/lm_loss": float("nan"), "train/accuracy": 0.7},
        {"step": 3, "all.accuracy": 0.25},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "tra')
    for found, evaluations in both(path, monkeypatch):
        assert {name: [each.tolist() for each in curve] for name, curve in found.items()} == {
            "train/lm_loss": [[1, 2], [3.0, 2.0]],
            "train/accuracy": [[1, 3], [0.5, 0.7]],
        }
        assert evaluations == [{"step": 3, "all.accuracy": 0.25}]
    assert read_curves(None, NAMES) == read_curves(tmp_path / "none", NAMES) == ({}, [])


def test_a_block_ends_in_the_middle_of_nothing(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(f'{{"step": {i}, "train/lr": {i}.5}}\n' for i in range(500))[:-1])
    monkeypatch.setattr(curves, "_BLOCK", 700)
    for found, _ in both(path, monkeypatch):
        assert found["train/lr"][1].tolist() == [i + 0.5 for i in range(500)]
    assert len(re.findall(rb"\n", path.read_bytes())) == 499
