"""What is put under CUDA-only code: with the real PyTorch, in a process of its own as the training is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trm_repro
from trm_repro.engine.data import loader_seed
from trm_repro.engine.optim import AdamATan2, FlatParameters
from trm_repro.provenance.faithful import reasons, supports
from trm_repro.recipes.read import read_recipe
from trm_repro.recipes.shell import SUPPORTS, shell_words

ROOT = Path(__file__).parents[2]
PACKAGE = Path(trm_repro.__file__).parent
SUPPORT, TAP = PACKAGE / "support" / "cpu", PACKAGE / "tap"

# what a program written for a GPU does, in its own words
CUDA_ONLY = """
import json, os, sys
import numpy
import torch
import torch.distributed as dist
from adam_atan2 import AdamATan2

dist.init_process_group(backend="nccl")
torch.cuda.set_device(0)
torch.random.manual_seed(0)
device = torch.device("cuda", 0)
with torch.device("cuda"):
    drawn = torch.randn(1000)
    model = torch.nn.Linear(4, 2)
    buffer = torch.empty(2).normal_()

class Numbers(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield numpy.random.randint(0, 2**31, 4)

[loaded] = torch.utils.data.DataLoader(Numbers(), batch_size=None, num_workers=1)
compiled = torch.compile(model)
total = torch.zeros(3, device="cuda") + torch.ones(3).cuda()
dist.all_reduce(total)
torch.save(compiled.state_dict(), "step_1")
again = torch.load("step_1", map_location="cuda")
compiled.load_state_dict(again, assign=True)

@torch.compile(dynamic=False)
def double(x):
    return 2 * x

torch.manual_seed(3)
parameters = [torch.nn.Parameter(torch.randn(5, 3)), torch.nn.Parameter(torch.randn(4))]
optimiser = AdamATan2(parameters, lr=0, weight_decay=0.1, betas=(0.9, 0.95))
for step in range(1, 6):
    for group in optimiser.param_groups:
        group["lr"] = torch.tensor(0.01 * step)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimiser.step()

print(json.dumps({
    "keys": list(again), "total": total.tolist(), "device": str(device), "drawn": drawn[:3].tolist(),
    "loaded": loaded.tolist(), "is": isinstance(model.weight.device, torch.device), "threads": torch.get_num_threads(),
    "attribute": compiled.in_features, "training": compiled.eval().training, "backend": dist.get_backend(),
    "double": double(torch.ones(1)).item(), "answer": compiled(torch.ones(1, 4)).shape[1],
    "weights": model.weight.device.type, "parameters": [p.tolist() for p in parameters],
}))
"""


def run(folder: Path, program: str, **environment: str) -> dict[str, Any]:
    basics = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": f"{SUPPORT}:{TAP}"}
    group = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=basics | group | environment, capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("CPU support for CUDA-only code") == ("torch" in program)
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("run"), CUDA_ONLY)


def test_a_program_that_names_cuda_runs_on_a_cpu(found: dict[str, Any]) -> None:
    assert found["keys"] == ["_orig_mod.weight", "_orig_mod.bias"]
    assert found["total"] == [1, 1, 1] and found["backend"] == "gloo" and found["weights"] == "cpu"
    assert found["is"] and found["device"] == "cuda:0" and found["threads"] == 1
    assert found["attribute"] == 4 and found["training"] is False and found["double"] == found["answer"] == 2


def test_weights_are_drawn_beside_the_cpus_generator_as_a_gpu_draws_them(found: dict[str, Any]) -> None:
    assert found["drawn"] == torch.randn(1000, generator=torch.Generator().manual_seed(0))[:3].tolist()


def test_our_sampler_can_draw_as_the_loader_of_one_process_does(found: dict[str, Any]) -> None:
    """Whose seed is the one that it has beside a GPU, whatever was drawn for the weights before."""
    assert found["loaded"] == np.random.RandomState(loader_seed(0)).randint(0, 2**31, 4).tolist()


def test_the_optimiser_is_the_engines(found: dict[str, Any]) -> None:
    torch.manual_seed(3)
    flat = FlatParameters([torch.nn.Parameter(torch.randn(*shape)) for shape in ((5, 3), (4,))])
    ours = AdamATan2(flat, betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(1, 6):
        for parameter in flat.parameters:
            assert parameter.grad is not None
            parameter.grad.copy_(torch.randn_like(parameter))
        ours.step(0.01 * step)
    for one, other in zip(found["parameters"], flat.parameters, strict=True):
        torch.testing.assert_close(torch.tensor(one), other.detach(), rtol=1e-6, atol=0)


def test_it_composes_with_the_tap_and_with_a_sitecustomize_behind(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os; os.environ['BEHIND'] = 'ran'")
    (tmp_path / "wandb.py").write_text("def log(data, step=None): pass")
    program = "import os, sys; sys.path.insert(0, ''); import wandb, json; wandb.log({'a': 1}, step=3)"
    program += "; print(json.dumps({'behind': os.environ['BEHIND'], 'imported': 'tor' + 'ch' in sys.modules}))"
    metrics = tmp_path / "metrics.jsonl"
    for folders in ((SUPPORT, TAP), (TAP, SUPPORT)):
        path = ":".join(map(str, (*folders, tmp_path / "site")))
        found = run(tmp_path, program, PYTHONPATH=path, TRM_REPRO_METRICS=str(metrics))
        assert found == {"behind": "ran", "imported": False}  # nothing is imported that the program would not import
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == [3, 3]


def test_it_needs_the_standard_library_and_python_3_10_only() -> None:
    program = "import sys; before = set(sys.modules); import sitecustomize; print(*sys.modules.keys() - before)"
    words = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(SUPPORT)!r}); {program}"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {name.partition(".")[0] for name in done.stdout.split()} - {"sitecustomize"} <= set(sys.stdlib_module_names)
    compile((SUPPORT / "sitecustomize.py").read_text(), "sitecustomize", "exec", dont_inherit=True)


def test_the_shell_is_told_of_it() -> None:
    def support(name: str) -> Any:
        return shell_words(read_recipe(ROOT / "recipes", name), available=1, run_name="x", environ={})["SUPPORT"]

    assert support("arc2-paper") == ""
    assert support("arc2-rehearsal-upstream-cpu") == str(SUPPORTS / "cpu") == str(SUPPORT.resolve())


@pytest.mark.parametrize(
    ("asked", "path", "launcher", "found"),
    [
        ("", "", [], set()),
        ("", "src/trm_repro/tap", [], set()),
        ("cpu", "", [], {"cpu"}),
        ("", "src/trm_repro/support/cpu:src/trm_repro/tap", [], {"cpu"}),
        ("", "/elsewhere/trm_repro/support/other", [], {"other"}),
        ("", "", ["env", "PYTHONPATH=x:/a/trm_repro/support/cpu"], {"cpu"}),
    ],
)
def test_no_run_that_stood_on_a_support_is_faithful(
    asked: str, path: str, launcher: list[str], found: set[str]
) -> None:
    """Whether the recipe says so, the words of its command, or only what its training found on its path."""
    train = {"support": asked, "launcher": launcher, "program": ["x"], "arguments": [], "scale": []}
    resolved = {"faithful": True, "title": "t", "upstream": None, "train": train}
    resolved["dataset"] = {"program": ["y"], "arguments": [], "digests": ""}
    commands = [
        {"step": "05-train", "argv": [*launcher, "x"], "env": {"PYTHONPATH": path}, "exit_code": 0},
        {"step": "04-dataset", "argv": ["y"], "env": {}, "exit_code": 0},
    ]
    manifest = {
        "recipe": {"name": "r", "resolved": resolved},
        "guards": [],
        "tool": {"clean": True, "commit": "c"},
        "upstream": None,
    }
    manifest |= {"commands": commands, "knobs": {}, "run": {"name": "r"}, "versions": {"tool": {"interpreter": {}}}}
    assert set(supports(manifest)) == set(found)
    assert any("stood on" in reason for reason in reasons(manifest)) == bool(found)
