"""The benches: what their table is made of, and that they run; what they measure depends on the machine."""

import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def turns(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from bench import turns

    return turns


def test_ratios_are_the_medians_of_each_rounds_own(turns):
    rounds = [{"alternative": 10.0, "ours": 1.0, "floor": 0.5}, {"alternative": 100.0, "ours": 20.0, "floor": 10.0}]
    row = turns.Row("what", "s", {"ours": "a | b"}, [*rounds, {"alternative": 6.0, "ours": 2.0, "floor": 1.0}])
    assert row.ratio("alternative", "ours") == 5.0 and row.ratio("ours", "floor") == 2.0
    assert row.as_json()["medians"] == {"alternative": 10.0, "ours": 2.0, "floor": 1.0}
    facts = {"machine": "m", "date": "d", "commit": "c", "python": "3", "took": 60.0, "quick": False, "load": 0.0}
    text = turns.table([row], facts, {"other": "no dvc"})
    assert "| what | s | 10 (6–100)<br> | 2 (1–20)<br>a \\| b | 1 (0.5–10)<br> | 5 | 2 |" in text
    assert "- other: no dvc" in text and "Provisional" not in text and "Toy" not in text
    text = turns.table([row], {**facts, "load": 99.0, "quick": True}, {})
    assert "Provisional" in text and "Toy" in text and "Not measured" not in text


def test_rounds_alternate_and_end_with_their_time(turns, tmp_path, monkeypatch):
    now, called = [0.0], []
    monkeypatch.setattr(turns.time, "monotonic", lambda: now[0])

    def side(name):
        def measure():
            now[0] += 10
            called.append(name)
            return 1.0

        return measure

    rounds = turns.Bench(tmp_path, seconds=70).turns({"ours": side("a"), "floor": side("b")})
    assert len(rounds) == 3 and called == ["a", "b"] * 3  # a fourth would have ended after 80 seconds
    assert len(turns.Bench(tmp_path, seconds=1).turns({"ours": side("a")})) == 1, "one round in any case"


def test_a_machine_has_a_name_that_is_one_of_a_file(turns):
    words, name = turns.machine()
    assert "cores" in words and name and not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_what_cannot_be_measured_is_told(turns, tmp_path):
    with pytest.raises(turns.Unavailable, match="ended with 3: told"):
        turns.seconds([sys.executable, "-c", "import sys; print('told'); sys.exit(3)"])
    with turns.busy(2):
        pass


@pytest.mark.parametrize(
    ("python", "checkout", "says"),
    [
        (sys.executable, False, "not a checkout of upstream"),
        ("/no/python", True, "No such file"),
        ("lacking", True, "upstream imports einops, argdantic\nhint: .* -m pip install einops argdantic"),
    ],
)
def test_upstreams_packages_are_named_before_anything_is_measured(turns, tmp_path, python, checkout, says):
    (tmp_path / "models").mkdir()
    if checkout:
        (tmp_path / "models/losses.py").touch()
    if python == "lacking":
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\necho einops argdantic\n")
        python.chmod(0o755)
    with pytest.raises(SystemExit) as told:
        turns.require(tmp_path, str(python))
    assert re.search(says, str(told.value))


def bench(*words, timeout=1200):
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=timeout
    )


@pytest.mark.deep
def test_a_part_that_fails_or_takes_too_long_is_reported_and_the_rest_goes_on(turns, tmp_path, monkeypatch):
    """With parts that stand in for the real ones: one ends the process, one sleeps, one finds something."""
    script = tmp_path / "parts.py"
    script.write_text(
        "import os, sys, time\nfrom bench import gpu\n"
        "def dies(_):\n    yield {'case': 'before', 'ok': True}\n    os._exit(7)\n"
        "def sleeps(_):\n    yield {'case': 'before', 'ok': True}\n    time.sleep(600)\n"
        "def finds(_):\n    yield {'case': 'x', 'seconds a step': 0.25, 'ok': True}\n"
        "gpu.PARTS = {dies: 60, sleeps: 4, finds: 60}\n"
        "gpu.BY_NAME = {part.__name__: part for part in gpu.PARTS}\n"
        "gpu.PER_CPU = 1\ngpu.STARTED = [sys.executable, __file__]\n"
        "sys.exit(gpu.main())\n"
    )
    words = [sys.executable, str(script), "--device", "cpu", "--tiny", "--output", str(tmp_path / "out")]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    all_parts = ["--parts", "dies", "sleeps", "finds"]
    done = subprocess.run([*words, *all_parts], env=environ, capture_output=True, text=True, timeout=250)
    assert done.returncode == 1, done.stderr
    found = json.loads((tmp_path / "out/GPU.json").read_text())["parts"]
    assert [(part["part"], part["end"].split(":")[0]) for part in found] == [
        ("dies", "failed with 7"),
        ("sleeps", "over its limit of 4 s"),
        ("finds", "done"),
    ]
    assert found[0]["rows"] == [{"case": "before", "ok": True}] and found[2]["rows"][0]["seconds a step"] == 0.25
    assert "| x | 0.25 | yes |" in (tmp_path / "out/GPU.md").read_text()

    subprocess.run([*words, "--parts", "dies"], env=environ, timeout=100)
    again = json.loads((tmp_path / "out/GPU.json").read_text())["parts"]
    assert again[1:] == found[1:] and again[0]["date"] > found[0]["date"], "the others stay"


@pytest.mark.deep
def test_no_turn_of_the_engine_compiles(turns, monkeypatch):
    """Each engine is compiled before the turns, and stays so when the next one is."""
    import torch
    from bench import engine
    from torch._dynamo.utils import counters

    compiled = []

    class Other(engine.Ours):
        """Programs of its own, as upstream's are: those of ours are not compiled when these are."""

        def __init__(self, *given, **how):
            super().__init__(*given, **how)
            self.supervise = torch.compile(lambda *given: engine.supervision_step(*given))
            self.think = torch.compile(lambda *given: engine.TRM.think(*given))

    def timed(work, device):
        before = counters["frames"]["total"]
        work()
        compiled.append(counters["frames"]["total"] - before)
        return 1.0

    monkeypatch.setattr(engine, "timed", timed)
    monkeypatch.setattr(engine, "peak", lambda *_: 1.0)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    sizes = {"seq_len": 16, "hidden_size": 32, "num_heads": 2, "H_cycles": 2, "L_cycles": 1, "batch": 1}
    arguments = Namespace(**sizes, repeat=2, eager_only=False)
    engine.measure(arguments, "float32", torch.device("cpu"), [engine.Ours, Other])
    assert len(compiled) > 16 and not any(compiled) and counters["frames"]["total"] > 1


@pytest.mark.deep
@pytest.mark.timeout(2400)
def test_what_runs_on_a_gpu_runs_whole_on_a_cpu(tmp_path):
    words = ["bench.gpu", "--device", "cpu", "--tiny", "--minutes", "17", "--output", tmp_path]
    for more in ((), ("--parts", "first_steps")):
        done = bench(*words, *more, timeout=1100)
        found = json.loads((tmp_path / "GPU.json").read_text())["parts"]
        assert done.returncode == 0, (done.stderr, [row for part in found for row in part["rows"] if not row["ok"]])
    assert [part["part"] for part in found] == ["golden", "adam", "resume", "steps", "candidates", "first_steps"]
    assert [part["end"] for part in found] == ["done"] * 6
    assert len(found[0]["rows"]) == 4 and len(found[5]["rows"]) >= 3


@pytest.mark.deep
@pytest.mark.timeout(2400)
def test_every_row_is_measured(tmp_path):
    """All but what needs a rehearsed run, which a test makes nowhere but in a clone."""
    words = [
        "--quick",
        "--rows",
        "dataset",
        "scoring",
        "engine",
        "follow",
        "--work",
        tmp_path,
        "--output",
        tmp_path / "out",
    ]
    done = bench("bench", *words, timeout=2200)
    assert done.returncode == 0, done.stderr[-2000:]
    (table,) = (tmp_path / "out").glob("*.json")
    rows = json.loads(table.read_text())["rows"]
    assert len(rows) >= 16 and all(row["medians"]["ours"] > 0 for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing is left behind"


def test_upstreams_python_is_found_from_within_the_checkout(turns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("python").symlink_to(sys.executable)
    assert turns.interpreter("./python") == str(tmp_path / "python") and turns.interpreter("python3") == "python3"
