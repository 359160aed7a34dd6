"""The engine on a GPU: skipped, with the reason, where there is none."""

import shutil

import pytest
import torch
from engine_support import Golden, arguments, metrics, run, write_dataset

from trm_repro.engine.resume import TrainingStates
from trm_repro.engine.world import World

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("case", ["attention_rope", "learned_positions", "wide_swiglu"])
def test_training_agrees_with_the_golden_numbers(case):
    golden, device = Golden(case), torch.device("cuda")
    training = golden.training(World(0, 1, device))
    for step, expected in enumerate(golden.facts["train_metrics"][:3]):
        found = training.train_step(golden.batch(step).to(device))
        size = golden.facts["train"]["global_batch_size"]
        assert found["train/lm_loss"] * size == pytest.approx(expected["lm_loss"], rel=1e-4)


def test_a_whole_run_and_its_resume(tmp_path):
    """torchrun, NCCL, the compiled step, bfloat16. CUDA adds in no fixed order, so the resumed run is near, not equal."""
    changes = {"device": "cuda", "compile": True, "arch.forward_dtype": "bfloat16", "checkpoint_every_n_steps": 3}
    args = arguments(write_dataset(tmp_path / "toy"), "run", **changes)
    folder = tmp_path / "checkpoints/Toy-ACT-torch/run"
    run(tmp_path, args, torchrun=1)
    whole = metrics(folder)
    shutil.rmtree(TrainingStates(folder, keep=2).newest())
    run(tmp_path, [*args, "++resume=True"], torchrun=1)
    resumed = metrics(folder)
    assert [line["step"] for line in resumed] == [line["step"] for line in whole]
    for one, other in zip(resumed, whole, strict=True):
        assert one.get("train/lm_loss", 0) == pytest.approx(other.get("train/lm_loss", 0), rel=5e-2)
