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
from trm_repro.provenance.host import disagreements, read_torch, with_torch
from trm_repro.tap.sitecustomize import kernel_driver

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


# A torch of two H100s: as much of it as is asked.
FAKE_TORCH = """
import sys, types
def module(name, **parts):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(parts)
    return sys.modules[name]
class Properties:
    name, major, minor, total_memory, uuid = "NVIDIA H100 80GB HBM3", 9, 0, 85017100288, "0d3d-7033"
asked = []
cuda = module("torch.cuda", is_initialized=lambda: INITIALIZED, device_count=lambda: 2,
              get_device_properties=lambda i: asked.append(i) or Properties)
distributed = module("torch.distributed", is_available=lambda: True, is_initialized=lambda: True, get_world_size=lambda: 2)
utils = module("torch._dynamo.utils", counters={"frames": {"ok": 0}})
module("torch._dynamo", utils=utils, config=types.SimpleNamespace(disable=False))
torch = module("torch", __version__="2.11.0+cu130", cuda=cuda, version=types.SimpleNamespace(cuda="13.0"),
               _C=types.SimpleNamespace(_cuda_getDriverVersion=lambda: 13000),
               backends=types.SimpleNamespace(cudnn=types.SimpleNamespace(version=lambda: 91002)))
"""


def torch_said(folder: Path) -> dict[str, Any] | None:
    path = folder / "run" / "torch.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_what_torch_says_in_the_training_is_written_down(tmp_path: Path) -> None:
    program = FAKE_TORCH.replace("INITIALIZED", "True") + STANDIN
    program += "wandb.log({'a': 1}, step=0)\nutils.counters['frames']['ok'] = 7\nfor i in range(9): wandb.log({'a': 1})"
    variables = {"TRM_REPRO_TORCH": str(tmp_path / "run" / "torch.json"), "RANK": "0", "DISABLE_COMPILE": ""}
    done = run(tmp_path, program + "\nprint(asked)", **variables)
    assert done.stdout.endswith("[0, 1, 0, 1, 0, 1]\n"), "asked at the first three lines, and no more"
    found = torch_said(tmp_path)
    assert found and found.pop("driver") in (None, kernel_driver())
    gpu = {"name": "NVIDIA H100 80GB HBM3", "capability": "9.0", "memory_bytes": 85017100288, "uuid": "0d3d-7033"}
    assert found == {
        "format": "trm-repro/torch/v1",
        "torch": "2.11.0+cu130",
        "cuda": "13.0",
        "cudnn": 91002,
        "driver_cuda": "13.0",
        "devices": [gpu, gpu],
        "processes": 2,
        "compile_disabled_by": ["DISABLE_COMPILE"],
        "compiled_frames": 7,
    }
    assert len(lines(tmp_path)) == 10
    parsed = read_torch(tmp_path / "run" / "torch.json")
    assert parsed and parsed["devices"] == [gpu, gpu] and "format" not in parsed


@pytest.mark.parametrize(
    ("torch", "program", "environment", "said"),
    [
        # nothing is logged: as the process ends
        (FAKE_TORCH, "", {"RANK": "0"}, 2),
        (FAKE_TORCH, "", {}, 2),
        # CUDA is not in use: it is not begun
        (FAKE_TORCH, "assert asked == []", {"INITIALIZED": "False"}, 0),
        # no torch, another rank, a process that the training starts
        ("", "", {}, None),
        (FAKE_TORCH, "", {"RANK": "1"}, None),
        (FAKE_TORCH, "", {"RANK": "0", "TRM_REPRO_WITNESS": "0"}, None),
        # a torch that lacks what is asked
        ("import types, sys\nsys.modules['torch'] = types.ModuleType('torch')\n", "", {}, None),
    ],
)
def test_torch_is_asked_in_the_training_process_only(
    tmp_path: Path, torch: str, program: str, environment: dict[str, str], said: int | None
) -> None:
    torch = torch.replace("INITIALIZED", environment.pop("INITIALIZED", "True"))
    variables = {"TRM_REPRO_TORCH": str(tmp_path / "run" / "torch.json"), "TRM_REPRO_METRICS": "", **environment}
    run(tmp_path, torch + program, **variables)
    found = torch_said(tmp_path)
    assert (found and len(found["devices"])) == said


def test_a_launcher_leaves_the_word_to_its_workers(tmp_path: Path) -> None:
    """A launcher imports torch, too, and sees no GPUs; what the worker starts in turn is not asked."""
    (tmp_path / "worker.py").write_text(
        FAKE_TORCH.replace("INITIALIZED", "True") + "import subprocess\nsubprocess.run([sys.executable, 'helper.py'])"
    )
    (tmp_path / "helper.py").write_text(FAKE_TORCH.replace("INITIALIZED", "False"))
    launcher = FAKE_TORCH.replace("INITIALIZED", "False") + (
        "import os, subprocess\nsubprocess.run([sys.executable, 'worker.py'], env={**os.environ, 'RANK': '0'}, check=True)"
    )
    run(tmp_path, launcher, TRM_REPRO_TORCH=str(tmp_path / "run" / "torch.json"))
    found = torch_said(tmp_path)
    assert found and len(found["devices"]) == 2


@pytest.mark.deep
def test_the_real_torch_can_be_asked(tmp_path: Path) -> None:
    run(tmp_path, "import torch", TRM_REPRO_TORCH=str(tmp_path / "run" / "torch.json"))
    found = read_torch(tmp_path / "run" / "torch.json")
    assert found and found["torch"] and found["processes"] == 1


H100 = {"name": "NVIDIA H100", "memory_bytes": 80 << 30, "driver": "580.65.06"}


@pytest.mark.parametrize(
    ("torch", "smi", "words"),
    [
        ({}, [H100, H100], []),
        ({"devices": 1}, [H100, H100], []),  # CUDA_VISIBLE_DEVICES
        (
            {"name": "NVIDIA A100"},
            [H100, H100],
            ["torch computed on 2 × NVIDIA A100, nvidia-smi lists 2 × NVIDIA H100"],
        ),
        ({}, [H100], ["2 × NVIDIA H100, nvidia-smi lists 1 × NVIDIA H100"]),
        ({}, [], ["nvidia-smi lists none"]),
        ({"memory_bytes": 40 << 30}, [H100, H100], ["42,949,672,960 bytes on NVIDIA H100, nvidia-smi 85,899,345,920"]),
        ({"memory_bytes": 79 << 30}, [H100, H100], []),
        ({"driver": "550.1"}, [H100, H100], ["the kernel has driver 550.1, nvidia-smi says 580.65.06"]),
        ({"driver_cuda": "12.8"}, [H100, H100], ["the driver knows CUDA 12.8, nvidia-smi says 13.0"]),
    ],
)
def test_where_torch_and_nvidia_smi_disagree(
    tmp_path: Path, torch: dict[str, Any], smi: list[Any], words: list[str]
) -> None:
    gpu = {key: torch.get(key, H100[key]) for key in ("name", "memory_bytes")} | {"capability": "9.0", "uuid": None}
    said = {"torch": "2", "cuda": "13.0", "driver": "580.65.06", "driver_cuda": "13.0", "cudnn": None, "processes": 2}
    said |= {"compile_disabled_by": [], "compiled_frames": 0, "devices": [gpu] * torch.pop("devices", 2), **torch}
    (tmp_path / "torch.json").write_text(json.dumps(said))
    host = with_torch({"gpus": smi, "cuda": "13.0"}, tmp_path)
    assert len(found := disagreements(host)) == len(words), found
    assert all(word in line for word, line in zip(words, found, strict=True))
    assert host["gpus"][0]["name"] == gpu["name"], "the manifest has torch's"
    assert host["nvidia_smi"] == smi


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"devices": 3}', '{"torch": "2", "devices": [{"name": []}]}'])
def test_what_the_tap_did_not_write_is_no_word_of_torch(tmp_path: Path, text: str) -> None:
    (tmp_path / "torch.json").write_text(text)
    host = with_torch({"gpus": [H100], "cuda": None}, tmp_path)
    assert host == {"gpus": [H100], "cuda": None, "torch": None} and disagreements(host) == []


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
