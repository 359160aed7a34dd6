"""A small sample of the fuzzing (make fuzz): no mutated input ends in anything but a value or an error of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_sample_of_every_parser(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.fuzz", "--cases", "300", "--seed", "7", "--json", str(tmp_path / "counts")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    counts = json.loads((tmp_path / "counts").read_text())
    assert counts["cases"] >= 280 and not counts["failed"]


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("raise KeyError(1)", "KeyError"),
        pytest.param("while True: pass", "took too long", marks=pytest.mark.deep),
        pytest.param("bytearray(3 << 29)", "grew by|MemoryError", marks=pytest.mark.deep),
        ("os._exit(3)", "ended the process"),
    ],
)
def test_what_must_not_happen_is_told(tmp_path: Path, body: str, how: str) -> None:
    """The harness itself: an exception, a loop, a gigabyte and a dead process are each a failed case."""
    import re

    script = f"""
import os, sys
import tests.fuzz.__main__ as fuzz
from tests.fuzz.parsers import PARSERS, Parser
def read(data, folder):
    if data != b"seed":
        {body}
PARSERS.clear()
PARSERS["x"] = Parser(lambda: [b"seed"], read, lambda data, others, rng: b"other")
fuzz.SECONDS, fuzz.PARSERS = {1 if "too long" in how else 60}, PARSERS
sys.argv = ["fuzz", "--cases", "2"]
sys.exit(fuzz.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    # memory that a worker took once counts once: of two cases in one worker the first is told
    told = "[12] failed" if "grew" in how else "2 failed"
    assert done.returncode == 1 and re.search(told, done.stdout), done.stdout + done.stderr
    assert re.search(how, done.stdout), done.stdout


# ---- what it found, each once ----


def test_a_line_that_is_no_entry_is_left_out(tmp_path: Path) -> None:
    from trm_repro.report.series import CURVES
    from trm_repro.runs.curves import read_curves
    from trm_repro.runs.metrics import read_evaluations, read_tail, series
    from trm_repro.runs.records import read
    from trm_repro.training.state import speed

    time = ', "time": "2026-01-31T12:00:00Z"'
    good, value = f'{{"step": 3{time}, "train/lm_loss": 1.5', f'{{"step": 4{time}, "train/lm_loss": [1]'
    good, value = (f'{line}, "all.accuracy": 0.5}}' for line in (good, value))
    odd = [
        "7",
        "[]",
        "null",
        '"x"',
        "[" * 5000,
        "{}",
        f'{{"step": "1"{time}}}',
        f'{{"step": [1]{time}}}',
    ]
    odd += ['{"step": 1, "time": 3}', '{"step": 1, "time": "x"}', f'{{"step": {"9" * 400}{time}}}', "\xff"]
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join([*odd, good, value]))
    assert [entry["step"] for entry in read_tail(path)] == [3, 4] == [e["step"] for e in read_evaluations(path)]
    assert list(series(read_tail(path), "train/lm_loss")) == [(3, 1.5)]
    assert speed(read_tail(path)) is None and len(read_curves(path, CURVES)[1]) == 2
    record = '{"step": "05-train", "started": "2026-01-31T12:00:00Z"}'
    path.write_text("\n".join([*odd, '{"step": "../x", "started": ""}', record]))
    assert [entry["step"] for entry in read(path)] == ["05-train"]


@pytest.mark.parametrize("line", ["out x", "out x  y  z", "out x  1", "in", "\udcff", f"out x  {'9' * 5000}  z"])
def test_a_stamp_that_is_none_vouches_for_nothing(tmp_path: Path, line: str) -> None:
    from trm_repro.runs.stamps import read_stamp

    path = tmp_path / "x.stamp"
    path.write_text(f"trm-repro stamp v1\nstep x\n{line}\n", errors="surrogateescape")
    assert read_stamp(path) is None


@pytest.mark.parametrize(
    "text", ["Mem: x", "Mem:", "Mem: " + "9" * 5000, "GPU, [N/A], " + "9" * 5000 + ", x", "Avail\nx"]
)
def test_what_a_machine_says_may_be_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    from trm_repro.machine import hardware

    monkeypatch.setattr(hardware, "output", lambda command: text)
    hardware.gpus()
    hardware.compilers()
    assert not hardware.health() and not hardware.topology()


@pytest.mark.parametrize("cell", [[1], [[1]], 10**30, None, "1", 1.5, {}])
def test_a_cell_that_is_no_colour_is_named(cell: object) -> None:
    from trm_repro.arc.grids import parse_grid
    from trm_repro.errors import InvariantBroken

    with pytest.raises(InvariantBroken, match="here: a cell that is not a whole number"):
        parse_grid([[1, cell], [2, 3]], "here")


@pytest.mark.parametrize("tasks", ['{"a": {}}', '{"a": 1}', '{"a": {"test": []}}', '{"a": {"test": [1]}}', "[]"])
def test_tasks_that_are_none_are_named(tmp_path: Path, tasks: str, capsys: pytest.CaptureFixture[str]) -> None:
    from trm_repro.cli import main

    (tmp_path / "t.json").write_text(tasks)
    (tmp_path / "s.json").write_text("{}")
    assert main(["submission", "check", str(tmp_path / "s.json"), "--tasks", str(tmp_path / "t.json")]) == 4
    assert "t.json: " in capsys.readouterr().err


@pytest.mark.parametrize("other", ["x", 3, 1.5, [1], None, {"test": 3}, {"test": {"a": 1}}])
def test_a_task_of_many_that_is_none_is_named(
    tmp_path: Path, other: object, capsys: pytest.CaptureFixture[str]
) -> None:
    from trm_repro.cli import main

    task = {"train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[1]]}]}
    (tmp_path / "tasks.json").write_text(json.dumps({"a": task, "b": other}))
    (tmp_path / "submission.json").write_text(json.dumps({"a": [{"attempt_1": [[1]], "attempt_2": [[1]]}]}))
    assert main(["submission", "check", f"{tmp_path}/submission.json", "--tasks", f"{tmp_path}/tasks.json"]) != 0
    assert capsys.readouterr().err.startswith("error: ")


def test_a_recipe_with_what_is_no_character_is_refused(tmp_path: Path) -> None:
    from trm_repro.errors import InvariantBroken
    from trm_repro.recipes.read import read_recipe

    recipes = Path(__file__).parents[2] / "recipes"
    (tmp_path / "base").symlink_to(recipes / "base")
    text = (recipes / "arc2-rehearsal.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(
        text.replace("arc2-rehearsal\n", 'arc2-rehearsal\nexpected: {published: "\\uD800"}\n', 1)
    )
    with pytest.raises(InvariantBroken, match="is no character"):
        read_recipe(tmp_path, "mine")


def test_an_index_whose_host_is_none_and_a_metric_that_is_no_number_have_words() -> None:
    from trm_repro.cli.knobs import RULES
    from trm_repro.errors import InvariantBroken
    from trm_repro.report.facts import _between

    assert RULES["TORCH_INDEX_URL"]("https://[1]/simple")
    for times in (("../x", "2026-01-31T12:00:00Z"), ("2026-01-31T12:00:00", "2026-01-31T12:00:00Z")):
        with pytest.raises(InvariantBroken, match="no times"):
            _between(*times)
