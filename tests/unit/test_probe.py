"""With which cycles and slots weights were trained: from weights that answer rightly under one setting alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from engine_support import ALONE, config, write_dataset

from trm_repro.cli import main
from trm_repro.engine import pretrain
from trm_repro.engine.checkpoint import save_weights
from trm_repro.engine.config import ArchConfig, read_arch
from trm_repro.engine.data import Split
from trm_repro.engine.evaluate import answer
from trm_repro.engine.probe import probe, settings
from trm_repro.errors import InvariantBroken
from trm_repro.runs.checkpoints import CONFIG, final_checkpoint

SMALL = {"hidden_size": 64, "num_heads": 1, "puzzle_emb_ndim": 64, "forward_dtype": "float32", "halt_max_steps": 1}


def teacher(folder: Path, dataset: Path, *, configured: bool, **setting: int) -> Path:
    """Random weights, and a dataset whose labels are what they answer under a setting: as if they had learned it."""
    torch.manual_seed(3)
    arch = ArchConfig.model_validate({**SMALL, **setting})
    split = Split(write_dataset(dataset, groups=30, identifiers=90), "train")
    model = arch.build(split.metadata.vocab_size, split.metadata.seq_len, split.metadata.num_puzzle_identifiers).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)  # sure of what it says
    examples = np.arange(len(split.inputs))
    logits, _ = answer(model, split.batch(examples, len(examples)))
    np.save(dataset / "train/all__labels.npy", (logits[..., 1:].argmax(-1) + 1).to(torch.uint8).numpy())
    folder.mkdir()
    save_weights(folder / "step_9", model.state_dict())
    if configured:
        (folder / CONFIG).write_text(yaml.safe_dump({"arch": arch.model_dump()}))
    return folder / "step_9"


def ask(path: Path, folder: Path) -> int:
    """The exit code of the probe, as a user asks for it."""
    words = ["evaluate", "--checkpoint", str(path), "--dataset", str(folder / "data"), "--probe-cycles"]
    return main([*words, "--device", "cpu"])


@pytest.mark.parametrize(("cycles", "slots"), [(4, 16), (6, 1)])
def test_the_setting_is_found_without_a_configuration(tmp_path: Path, cycles: int, slots: int) -> None:
    path = teacher(tmp_path / "run", tmp_path / "data", configured=False, L_cycles=cycles, puzzle_emb_len=slots)
    found = probe(path, None, tmp_path / "data", torch.device("cpu"))
    assert found.tried[0].setting == {"H_cycles": 3, "L_cycles": cycles, "puzzle_emb_len": slots}, str(found)
    assert found.clear and found.exit_code == 0
    assert f"L_cycles: trained with {cycles}" in str(found)


@pytest.mark.deep
def test_a_wrong_configuration_is_contradicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = teacher(tmp_path / "run", tmp_path / "data", configured=True, L_cycles=4)
    assert ask(path, tmp_path) == 0
    assert "(as configured)" in capsys.readouterr().out
    file = path.with_name(CONFIG)
    file.write_text(file.read_text().replace("L_cycles: 4", "L_cycles: 6"))
    assert ask(path, tmp_path) == 1
    assert "L_cycles: trained with 4, NOT with 6 as configured" in capsys.readouterr().out


@pytest.mark.deep
def test_an_audit_holds_the_configuration_against_the_probe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = teacher(tmp_path / "run", tmp_path / "data", configured=True, L_cycles=4)
    file = path.with_name(CONFIG)
    file.write_text(file.read_text().replace("L_cycles: 4", "L_cycles: 6"))
    assert main(["audit", str(path.parent), "--probe", str(tmp_path / "data"), "--sample", "30"]) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "CONTRADICTS cycles: trained with the configuration's cycles and slots (H_cycles 3, L_cycles 6" in told
    assert "L_cycles: trained with 4, NOT with 6 as configured" in told


def test_weights_that_learned_nothing_tell_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = teacher(tmp_path / "run", tmp_path / "data", configured=True, L_cycles=4)
    labels = np.load(tmp_path / "data/train/all__labels.npy")
    np.save(
        tmp_path / "data/train/all__labels.npy", np.random.RandomState(0).randint(1, 6, labels.shape).astype(np.uint8)
    )
    assert ask(path, tmp_path) == 3
    assert "cannot be told" in capsys.readouterr().out


def test_weights_of_another_dataset_are_refused(tmp_path: Path) -> None:
    path = teacher(tmp_path / "run", tmp_path / "data", configured=True)
    other = write_dataset(tmp_path / "other", identifiers=50)
    with pytest.raises(InvariantBroken, match="90 puzzle vectors"):
        probe(path, read_arch(path.with_name(CONFIG)), other, torch.device("cpu"))


@pytest.mark.deep
def test_weights_that_are_no_numbers_are_called_so(tmp_path: Path) -> None:
    path = teacher(tmp_path / "run", tmp_path / "data", configured=True)
    weights = torch.load(path, weights_only=True)
    next(tensor for name, tensor in weights.items() if "lm_head" in name)[0, 0] = float("nan")
    torch.save(weights, path)
    with pytest.raises(InvariantBroken, match=r"L_cycles.* not finite numbers"):
        probe(path, read_arch(path.with_name(CONFIG)), tmp_path / "data", torch.device("cpu"))


def test_the_configured_setting_is_tried_first_and_others_only_where_they_fit() -> None:
    tried = settings(ArchConfig(H_cycles=2, L_cycles=2, puzzle_emb_len=8, puzzle_emb_ndim=1024))
    assert tried[0] == {"H_cycles": 2, "L_cycles": 2, "puzzle_emb_len": 8}
    assert {one["puzzle_emb_len"] for one in tried} == {8, 16}  # 1024 does not fit into one slot of 512
    assert {one["puzzle_emb_len"] for one in settings(ArchConfig(puzzle_emb_ndim=0, puzzle_emb_len=0))} == {0}


@pytest.mark.deep
@pytest.mark.parametrize("cycles", [4, 6])
def test_trained_weights_are_not_contradicted(tmp_path: Path, cycles: int) -> None:
    """Sums along a row, which need depth."""
    data = write_dataset(tmp_path / "data", groups=60, identifiers=200)
    inputs = np.load(data / "train/all__inputs.npy")
    np.save(data / "train/all__labels.npy", (np.cumsum(inputs.astype(int), 1) % 5 + 1).astype(np.uint8))
    changes = {"arch.H_cycles": 3, "arch.L_cycles": cycles, "arch.puzzle_emb_len": 16, "arch.hidden_size": 32}
    changes |= {"epochs": 60, "eval_interval": 60, "lr": 2e-3, "lr_warmup_steps": 10, "global_batch_size": 32}
    settings = config(data, folder=tmp_path / "run", ema=False, evaluate=False, **{**changes, "arch.num_heads": 2})
    pretrain.Pretraining(settings, ALONE).train()
    path = final_checkpoint(tmp_path / "run")
    found = probe(path, read_arch(path.with_name(CONFIG)), data, torch.device("cpu"), pairs=256)
    # cycles are told apart slowly here (one to three standard errors after 400 steps): they must not be told wrongly
    assert found.tried[0].setting["puzzle_emb_len"] == 16 and found.apart["puzzle_emb_len"] > 3, str(found)
    assert found.exit_code != 1, str(found)
