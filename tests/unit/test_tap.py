"""The tap, with the real wandb, offline, in a process of its own as the training is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trm_repro

TAP = Path(trm_repro.__file__).parent / "tap"
TRAINING = """
import wandb
wandb.init(project="p", name="n", config={"a": 1}, settings=wandb.Settings(_disable_stats=True))
wandb.log({"num_params": 6829058}, step=0)
wandb.log({"train/lm_loss": 0.25, "train/lr": 1e-4}, step=7)
wandb.log({"all": {"accuracy": 0.5, "deep": {"er": 1}}, "ARC/pass@2": 0.1, "note": "words"}, step=7)
wandb.finish()
"""


def run(folder: Path, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program under the tap; its metrics go to ``folder/metrics.jsonl`` unless the environment says otherwise."""
    basics = {"PATH": os.environ["PATH"], "HOME": str(folder), "WANDB_MODE": "offline", "WANDB_DIR": str(folder)}
    variables = {"PYTHONPATH": str(TAP), "TRM_REPRO_METRICS": str(folder / "run" / "metrics.jsonl"), **environment}
    done = subprocess.run(
        [sys.executable, "-c", program], env=basics | variables, capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done


def lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "run" / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_every_wandb_log_is_a_line_and_still_reaches_wandb(tmp_path: Path) -> None:
    done = run(tmp_path, TRAINING, RANK="0")
    found = lines(tmp_path)
    assert all(len(line.pop("time")) == len("2026-01-31T12:00:00Z") for line in found)
    assert found == [
        {"step": 0, "num_params": 6829058},
        {"step": 7, "train/lm_loss": 0.25, "train/lr": 1e-4},
        {"step": 7, "all.accuracy": 0.5, "all.deep.er": 1, "ARC/pass@2": 0.1},
    ]
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    summary = done.stderr.partition("Run summary:")[2]
    for words in ("ARC/pass@2 0.1", "num_params 6829058", "train/lm_loss 0.25"):
        assert words in summary


def test_without_a_process_group_it_logs_too(tmp_path: Path) -> None:
    run(tmp_path, TRAINING)
    assert len(lines(tmp_path)) == 3


@pytest.mark.parametrize("environment", [{"RANK": "1"}, {"TRM_REPRO_METRICS": ""}, {"PYTHONPATH": ""}])
def test_other_ranks_and_an_untapped_process_write_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    run(tmp_path, TRAINING, **environment)
    assert lines(tmp_path) == []


STANDIN = """
import sys, types
from pathlib import Path
Path("wandb.py").write_text("def log(data, step=None): print('wandb got', data, step)")
sys.path.insert(0, "")
import wandb
"""


def test_numbers_that_json_lacks_and_scalars_of_array_libraries(tmp_path: Path) -> None:
    program = (
        STANDIN + "import numpy\nwandb.log({'a': float('nan'), 'b': -numpy.inf, 'c': numpy.float32(0.5), 'd': [1, 2]})"
    )
    done = run(tmp_path, program)
    [line] = lines(tmp_path)
    assert (line["a"], line["b"], line["c"], line["step"]) == ("nan", "-inf", 0.5, 0)
    assert "d" not in line
    assert "wandb got" in done.stdout


def test_a_file_that_cannot_be_written_never_stops_the_training(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")
    done = run(tmp_path, STANDIN + "wandb.log({'a': 1}, step=1)\nwandb.log({'a': 2}, step=2)")
    assert done.stdout.count("wandb got") == 2
    assert done.stderr.count("metrics are no longer written") == 1


def test_a_sitecustomize_that_was_there_before_still_runs(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("print('the one that was there')")
    done = run(tmp_path, STANDIN + "wandb.log({'a': 1}, step=1)", PYTHONPATH=f"{TAP}:{tmp_path / 'site'}")
    assert done.stdout.startswith("the one that was there")
    assert len(lines(tmp_path)) == 1


def test_it_needs_the_standard_library_only() -> None:
    program = "import sys; before = set(sys.modules); import sitecustomize; print(*sys.modules.keys() - before)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(TAP)!r}); {program}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {name.partition(".")[0] for name in done.stdout.split()} - {"sitecustomize"} <= set(sys.stdlib_module_names)
    assert [path.name for path in TAP.iterdir() if path.name != "__pycache__"] == ["sitecustomize.py"]
