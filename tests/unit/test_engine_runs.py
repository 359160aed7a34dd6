"""Whole runs: kinds of training, several processes, configuration, checkpoints, logs."""

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from engine_support import (
    ALONE,
    FORKS,
    Forked,
    Golden,
    arguments,
    collect_in_pieces,
    config,
    grown,
    metrics,
    relative,
    run,
    run_forked,
    write_dataset,
)

from trm_repro.engine import checkpoint, lora, pretrain, train
from trm_repro.engine.checkpoint import read_adapters, read_weights
from trm_repro.engine.config import ArchConfig, PretrainConfig, read_arch
from trm_repro.engine.log import wandb_run
from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite, ReproError, UsageError
from trm_repro.runs.checkpoints import checkpoints, final_checkpoint, step_of
from trm_repro.weights.state import TABLE


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "toy")


def finish(data, folder, **changes):
    ended = pretrain.Pretraining(config(data, folder=folder, **changes), ALONE)
    ended.train()
    return ended


def last(folder):
    return read_weights(final_checkpoint(folder))


# --- many processes --------------------------------------------------------------------------------------------------


def test_two_processes_are_one(data, tmp_path):
    """The same batches, and the same numbers up to the order of a few sums."""
    start = pretrain.Pretraining(config(data, folder=tmp_path / "start"), ALONE).model.state_dict()
    start["q_head.bias"].fill_(1.0)  # rows want to halt, so that exploration decides
    checkpoint.save_weights(tmp_path / "start", start)
    for processes in (1, 2):
        run_forked(tmp_path, arguments(data, f"on{processes}", load_checkpoint=tmp_path / "start"), processes)
    one, two = (tmp_path / f"checkpoints/Toy-ACT-torch/on{n}" for n in (1, 2))
    assert [line["step"] for line in metrics(one)] == [line["step"] for line in metrics(two)]
    for a, b in zip(metrics(one), metrics(two), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)
    for name, value in last(one).items():
        assert relative(last(two)[name], value) < 1e-3, name


@pytest.mark.parametrize("room", [4096, 1 << 26])
def test_what_processes_tell_rank_0_travels_in_pieces_of_a_bounded_size(tmp_path, room):
    """A value of 40 kB, a short one and none: each whole, whatever fits into a piece."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = [FORKS.Process(target=collect_in_pieces, args=(rank, port, tmp_path, room)) for rank in range(3)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(100)
    assert [rank.exitcode for rank in ranks] == [0, 0, 0]
    same, ranks_told, largest = json.loads((tmp_path / "told").read_text())
    assert same and ranks_told == [0, 1, 2] and 0 < largest <= room


def test_a_lost_process_ends_the_run_with_its_step(data, tmp_path):
    begun = Forked([tmp_path] * 2, arguments(data, "lost", epochs=4000, eval_interval=4000))
    grown(tmp_path / "checkpoints/Toy-ACT-torch/lost/metrics.jsonl", 2000)
    begun.kill(1)
    codes, (message, _) = begun.end()
    assert codes == [5, -signal.SIGKILL]
    assert "another process is lost" in message and "error: step " in message and "resume=True" in message


# --- kinds of training -----------------------------------------------------------------------------------------------


def test_training_learns(data, tmp_path):
    finish(data, tmp_path / "run", epochs=60, eval_interval=60, **{"arch.halt_exploration_prob": 0.0})
    losses = [line["train/lm_loss"] for line in metrics(tmp_path / "run") if "train/lm_loss" in line]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_its_progress_has_the_time_left_and_the_loss(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("trm_repro.progress.EVERY", 0)
    for name in ("TRM_REPRO_TERMINAL", "TRM_REPRO_LOG"):
        monkeypatch.delenv(name, raising=False)
    finish(data, tmp_path, epochs=4, eval_interval=4)
    assert re.search(r": 1/\d+ steps, \d+ %, [0-9:]{8} gone, [0-9:]{8} left, loss \d", capsys.readouterr().err)


def test_what_a_run_leaves(data, tmp_path):
    run(tmp_path, arguments(data, "a run"))
    folder = tmp_path / "checkpoints/Toy-ACT-torch/a run"
    steps = checkpoints(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints"}, "Hydra leaves nothing"
    assert {path.name for path in folder.iterdir()} == {
        "all_config.yaml",
        "identifiers.sha256",
        "losses.py",
        "metrics.jsonl",
        "training_state",
        "trm.py",
        *(path.name for path in steps),
    }
    saved = yaml.safe_load((folder / "all_config.yaml").read_text())
    assert saved["arch"]["hidden_size"] == 16 and saved["lr"] == 0.01 and saved["run_name"] == "a run"
    log = metrics(folder)
    assert log[0] == {"step": 0, "num_params": sum(v.numel() for k, v in last(folder).items() if is_parameter(k))}
    assert list(log[1]) == ["step", *(f"train/{name}" for name in train.METRICS), "train/lr"]
    evaluations = [line for line in log if "all.accuracy" in line]
    assert [line["step"] for line in evaluations] == [step_of(path) for path in steps]
    expected = ["all.accuracy", "all.exact_accuracy", "all.lm_loss", "all.q_halt_accuracy", "all.q_halt_loss"]
    assert list(evaluations[0]) == ["step", *expected, "all.steps"]
    checked = subprocess.run(["sha256sum", "-c", str(folder / "identifiers.sha256")], cwd=data, capture_output=True)
    assert checked.returncode == 0
    saved = torch.load(steps[0], weights_only=True)
    assert all(key.startswith("model.inner.") for key in saved)


def is_parameter(key):
    return key not in ("H_init", "L_init", TABLE)


def test_arc_checkpoints_have_the_size_of_upstreams(tmp_path):
    model = ArchConfig().build(vocab_size=12, seq_len=900, num_puzzle_identifiers=10)
    assert sum(p.numel() for p in model.parameters()) == 6_829_058
    payload = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    assert payload == 27_318_280 + 2048 * 10 and len(model.state_dict()) == 15
    checkpoint.save_weights(tmp_path / "step_1", model.state_dict(), compiled=True)
    assert payload < (tmp_path / "step_1").stat().st_size < payload + 12_000
    assert "_orig_mod.model.inner.q_head.bias" in torch.load(tmp_path / "step_1", weights_only=True)
    assert read_weights(tmp_path / "step_1").keys() == model.state_dict().keys()


@pytest.mark.parametrize("arch", [{"arch.mlp_t": True, "arch.pos_encodings": "none"}, {}], ids=["mixer", "attention"])
def test_sudoku(tmp_path, arch):
    """81 tokens, one identifier for all puzzles, nothing to vote on."""
    data = write_dataset(tmp_path / "sudoku", seq_len=81, vocab_size=11, identifiers=1)
    finish(data, tmp_path / "run", **arch)
    assert last(tmp_path / "run")[TABLE].shape == (1, 16)
    assert ("L_level.layers.0.mlp_t.down_proj.weight" in last(tmp_path / "run")) == bool(arch)


def test_training_without_evaluation_saves_all_the_same(data, tmp_path):
    finish(data, tmp_path / "run", evaluate=False)
    assert len(checkpoints(tmp_path / "run")) == 2
    assert not any("all.accuracy" in line for line in metrics(tmp_path / "run"))


def test_frozen_weights_leave_the_parameters_alone(data, tmp_path):
    whole = finish(data, tmp_path / "run", freeze_weights=True, ema=False)
    torch.manual_seed(0)
    fresh = pretrain.Pretraining(config(data, folder=tmp_path / "other"), ALONE).model.state_dict()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, fresh[name]) == (name != TABLE), name
    rates = {line["train/lr"] for line in metrics(tmp_path / "run") if "train/lr" in line}
    assert max(rates) == 0.01  # the puzzle vectors' rate is what is reported


def test_frozen_for_some_epochs(data, tmp_path):
    ended = finish(data, tmp_path / "run", freeze_weights=True, freeze_weights_epochs=2, lr=0.5)
    frozen = ended.training.frozen_steps
    assert 0 < frozen < ended.training.total_steps
    rates = [line["train/lr"] for line in metrics(tmp_path / "run") if "train/lr" in line]
    assert max(rates[:frozen]) <= 0.01 and rates[frozen] > 0.1
    assert ended.training.optimiser.t == len(rates) - frozen


def test_batches_beyond_the_schedule_change_no_parameter(data, tmp_path):
    ended = pretrain.Pretraining(config(data, folder=tmp_path / "run"), ALONE)
    training, sampler = ended.training, ended.sampler
    training.total_steps = 1
    sampler.begin(1)
    assert training.train_step(sampler.next())
    before = {name: value.clone() for name, value in ended.model.state_dict().items()}
    average = training.average.average.clone()
    assert training.train_step(sampler.next()) is None
    assert training.step == 2
    assert all(torch.equal(before[name], value) for name, value in ended.model.state_dict().items())
    assert not torch.equal(average, training.average.average)


ACCUMULATED, CHECKPOINTED = {"gradient_accumulation": 3}, {"activation_checkpointing": True}


@pytest.mark.deep
@pytest.mark.parametrize("changes", [ACCUMULATED, CHECKPOINTED, ACCUMULATED | CHECKPOINTED])
def test_memory_savers_change_rounding_only(changes):
    golden = Golden("attention_rope")
    training = golden.training(**changes)
    for step, expected in enumerate(golden.facts["train_metrics"]):
        found = training.train_step(golden.batch(step))
        assert found["train/lm_loss"] * 6 == pytest.approx(expected["lm_loss"], rel=1e-5)
        assert training.carry.halted.int().tolist() == expected["halted"]


@pytest.mark.parametrize("changes", [{"global_batch_size": 4000}, {"global_batch_size": 30, "eval_interval": 1}])
def test_a_run_that_would_train_nothing_is_refused(data, tmp_path, changes):
    with pytest.raises(UsageError, match="fill no batch of"):
        finish(data, tmp_path / "run", **changes)
    assert not checkpoints(tmp_path / "run")


def test_accumulation_must_divide_the_batch():
    with pytest.raises(UsageError, match="gradient_accumulation 4 does not divide the 6 rows"):
        Golden("attention_rope").training(gradient_accumulation=4)


# --- warm start ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "run"
    finish(data, folder)
    return final_checkpoint(folder)


@pytest.mark.parametrize("compiled", [False, True])
def test_warm_start_from_either_kind_of_key(data, base, tmp_path, compiled):
    checkpoint.save_weights(tmp_path / "given", read_weights(base), compiled=compiled)
    started = pretrain.Pretraining(
        config(data, folder=tmp_path / "run", load_checkpoint=str(tmp_path / "given")), ALONE
    )
    for name, value in read_weights(base).items():
        assert torch.equal(started.model.state_dict()[name], value), name
    assert started.training.step == 0


def test_a_table_of_another_size(data, base, tmp_path, capsys):
    other = write_dataset(tmp_path / "other", identifiers=55)
    with pytest.raises(InvariantBroken, match="has 40 puzzle vectors, the dataset 55") as caught:
        pretrain.Pretraining(config(other, folder=tmp_path / "run", load_checkpoint=str(base)), ALONE)
    assert "puzzle_emb_reinit_strategy" in caught.value.hint
    old = read_weights(base)[TABLE]
    tables = {}
    for policy in ("mean", "normal"):
        changes = {"load_checkpoint": str(base), "puzzle_emb_reinit_strategy": policy}
        started = pretrain.Pretraining(config(other, folder=tmp_path / "run", **changes), ALONE)
        tables[policy] = started.model.puzzle_emb.weights
        assert f"40 puzzle vectors were replaced by 55 new ones ({policy} of the old)" in capsys.readouterr().err
    assert torch.equal(tables["mean"], old.mean(0).expand(55, -1))
    assert tables["normal"].std(0).mean() == pytest.approx(old.std(0).mean().item(), rel=0.3)


def test_a_table_of_as_many_other_puzzles(data, base, tmp_path, capsys):
    other = shutil.copytree(data, tmp_path / "other")
    names = json.loads((other / "identifiers.json").read_text())
    (other / "identifiers.json").write_text(json.dumps([names[0], *reversed(names[1:])]))
    with pytest.raises(InvariantBroken, match="40 puzzle vectors, the dataset 40 identifiers, and they are others"):
        pretrain.Pretraining(config(other, folder=tmp_path / "run", load_checkpoint=str(base)), ALONE)
    changes = {"load_checkpoint": str(base), "puzzle_emb_reinit_strategy": "mean"}
    started = pretrain.Pretraining(config(other, folder=tmp_path / "run", **changes), ALONE)
    assert torch.equal(started.model.puzzle_emb.weights, read_weights(base)[TABLE].mean(0).expand(40, -1))


def test_a_checkpoint_of_another_model_is_named_key_by_key(data, base, tmp_path):
    with pytest.raises(InvariantBroken) as caught:
        changes = {"load_checkpoint": str(base), "arch.mlp_t": True}
        pretrain.Pretraining(config(data, folder=tmp_path / "run", **changes), ALONE)
    assert "missing: L_level.layers.0.mlp_t.down_proj.weight" in str(caught.value)
    assert "unexpected: L_level.layers.0.self_attn.o_proj.weight" in str(caught.value)


def test_nothing_is_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for modern in (True, False):
        torch.save({"model.inner.H_init": Evil()}, tmp_path / "step_1", _use_new_zipfile_serialization=modern)
        with pytest.raises(InvariantBroken, match=r"asks for posix.mkdir.* nothing of it was run"):
            read_weights(tmp_path / "step_1")
    assert not (tmp_path / "ran").exists()
    torch.save({"weights": torch.ones(1)}, tmp_path / "step_2")
    with pytest.raises(InvariantBroken, match="not a TRM checkpoint"):
        read_weights(tmp_path / "step_2")
    with pytest.raises(MissingPrerequisite):
        read_weights(tmp_path / "step_3")
    (tmp_path / "step_2").unlink()
    (tmp_path / "step_1").unlink()
    with pytest.raises(InvariantBroken, match="no weights among: no files"):
        read_weights(tmp_path)


# --- adapters --------------------------------------------------------------------------------------------------------

ADAPTED = {"arch.lora_rank": 2, "arch.lora_alpha": 4.0}


def test_adapters_train_and_the_base_does_not(data, base, tmp_path):
    ended = finish(data, tmp_path / "run", load_checkpoint=str(base), ema=False, **ADAPTED)
    before = read_weights(base)
    changed = {
        name for name, value in ended.model.state_dict().items() if not torch.equal(value, before.get(name, value))
    }
    assert changed == {"embed_tokens.embedding_weight", TABLE}
    adapters = {name: value for name, value in ended.model.state_dict().items() if "_lora_" in name}
    assert len(adapters) == 2 * (2 + 4) and all(value.any() for name, value in adapters.items() if "lm_head" in name)
    assert ended.training.flat.data.numel() < sum(value.numel() for value in before.values())


def test_adapters_saved_alone_reload_exactly(data, base, tmp_path):
    changes = {"load_checkpoint": str(base), "lora_export": "adapters", **ADAPTED}
    finish(data, tmp_path / "run", **changes)
    exported = sorted((tmp_path / "run").glob("step_*_adapters"))[-1]
    assert not any(key.endswith("proj.weight") for key in read_adapters(exported))
    again = pretrain.Pretraining(config(data, folder=tmp_path / "again", load_adapters=str(exported), **changes), ALONE)
    for name, value in last(tmp_path / "run").items():
        assert torch.equal(again.model.state_dict()[name], value), name
    with pytest.raises(InvariantBroken, match="not adapters of this model"):
        other = {**changes, "arch.lora_rank": 3, "load_adapters": str(exported)}
        pretrain.Pretraining(config(data, folder=tmp_path / "other", **other), ALONE)


def test_adapters_that_are_still_frozen_are_exported_all_the_same(data, base, tmp_path):
    changes = {"load_checkpoint": str(base), "lora_export": "adapters", "freeze_weights": True, **ADAPTED}
    finish(data, tmp_path / "run", freeze_weights_epochs=2, **changes)
    frozen, trained = sorted((tmp_path / "run").glob("step_*_adapters"))
    assert read_adapters(frozen).keys() == read_adapters(trained).keys() > {TABLE}
    pretrain.Pretraining(config(data, folder=tmp_path / "again", load_adapters=str(frozen), **changes), ALONE)


def test_merged_adapters_compute_the_same_without_adapters(data, base, tmp_path):
    finish(data, tmp_path / "run", load_checkpoint=str(base), lora_export="merged", **ADAPTED)
    merged = sorted((tmp_path / "run").glob("step_*_merged"))[-1]
    assert read_weights(merged).keys() == read_weights(base).keys()
    adapted = pretrain.Pretraining(config(data, folder=tmp_path / "a", **ADAPTED), ALONE).model
    plain = pretrain.Pretraining(config(data, folder=tmp_path / "b"), ALONE).model
    checkpoint.load_weights(adapted, last(tmp_path / "run"), source="adapted")
    checkpoint.load_weights(plain, read_weights(merged), source="merged")
    x = torch.randint(1, 6, (2, 12))
    for model in (adapted, plain):
        model.eval()
    outputs = [m(m.initial_state(2), x, m.puzzle_vectors(torch.tensor([1, 2])))[1] for m in (adapted, plain)]
    assert torch.allclose(*outputs, atol=1e-4)


def test_some_layers_only(data, tmp_path):
    changes = {**ADAPTED, "arch.lora_modules": ["qkv_proj"], "arch.lora_train_bias": True}
    model = pretrain.Pretraining(config(data, folder=tmp_path, **changes), ALONE).model
    adapted = [name for name, layer in model.named_modules() if isinstance(layer, lora.LoraLinear)]
    assert adapted == ["L_level.layers.0.self_attn.qkv_proj"]
    with pytest.raises(UsageError, match="no layer is called k_proj"):
        pretrain.Pretraining(config(data, folder=tmp_path, **ADAPTED, **{"arch.lora_modules": ["k_proj"]}), ALONE)


# --- configuration ---------------------------------------------------------------------------------------------------


def compose(*overrides, name="cfg_pretrain"):
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(Path(pretrain.__file__).with_name("config")), version_base="1.3"):
        return OmegaConf.to_container(compose(name, list(overrides)), resolve=True)


def test_upstreams_own_command_line_is_accepted():
    values = compose(
        "arch=trm",
        "data_paths=[data/arc2concept-aug-1000]",
        "arch.L_layers=2",
        "arch.H_cycles=3",
        "arch.L_cycles=4",
        "+run_name=pretrain_att_arc2concept_4",
        "ema=True",
    )
    parsed = pretrain.parse(values)
    assert parsed.checkpoint_path == "checkpoints/Arc2concept-aug-1000-ACT-torch/pretrain_att_arc2concept_4"
    expected = {"lr": 1e-4, "puzzle_emb_lr": 1e-2, "weight_decay": 0.1, "global_batch_size": 768, "epochs": 100_000}
    expected |= {
        "eval_interval": 10_000,
        "lr_warmup_steps": 2000,
        "lr_min_ratio": 1.0,
        "beta2": 0.95,
        "ema_rate": 0.999,
    }
    assert {key: getattr(parsed, key) for key in expected} == expected
    assert parsed.arch.puzzle_emb_ndim == 512 and parsed.arch.forward_dtype == "bfloat16"
    assert [entry.name for entry in parsed.evaluators] == ["arc@ARC"]


def test_the_defaults_are_those_of_upstreams_files():
    values = compose()
    assert values["arch"] == ArchConfig().model_dump()
    ours = {key: field.default for key, field in PretrainConfig.model_fields.items() if not field.is_required()}
    theirs = {key: values.get(key, default) for key, default in ours.items()}
    assert theirs == ours | {"evaluators": [{"name": "arc@ARC"}], "eval_interval": 10_000}


@pytest.mark.parametrize("key", ["run_name=x", "load_checkpoint=x", "checkpoint_path=x"])
def test_keys_that_upstream_keeps_out_of_its_file_need_a_plus(key):
    from hydra.errors import ConfigCompositionException

    with pytest.raises(ConfigCompositionException, match="Could not override"):
        compose(key)
    assert compose(f"+{key}") and compose(f"++{key}")


@pytest.mark.parametrize("name", ["cfg_pretrain_lora", "cfg_kaggle_lora", "cfg_emb_posttrain"])
def test_the_forks_configurations(name):
    parsed = pretrain.parse(compose("+run_name=x", name=name))
    assert parsed.global_batch_size == 96 and parsed.lr == 1.25e-5 and parsed.puzzle_emb_lr == 1.25e-3
    assert parsed.arch.lora_rank == (0 if name == "cfg_emb_posttrain" else 1)
    assert parsed.freeze_weights == (name == "cfg_emb_posttrain") and not parsed.ema


def test_all_problems_of_a_configuration_at_once():
    with pytest.raises(UsageError) as caught:
        pretrain.parse(compose("arch.no_ACT_continue=False", "++nonsense=1", "lr=fast", "global_batch_size=0"))
    for part in ("arch.no_ACT_continue", "nonsense", "lr: ", "global_batch_size"):
        assert part in str(caught.value)
    with pytest.raises(UsageError, match="must divide epochs"):
        pretrain.parse(compose("epochs=10", "eval_interval=3"))
    with pytest.raises(UsageError, match="min_eval_interval 2 leaves none of 2 iterations to save"):
        pretrain.parse(compose("epochs=10", "eval_interval=5", "min_eval_interval=2"))


def test_a_problem_ends_the_command_with_its_code(tmp_path):
    codes, (said,) = Forked([tmp_path], ["data_paths=[nowhere]", "+run_name=x", "evaluators=[]"]).end()
    assert codes == [3]
    assert "error: nowhere/train/dataset.json: no such file" in said and "Traceback" not in said


def test_configurations_of_forks_are_read(tmp_path):
    arch = yaml.safe_load(yaml.safe_dump(compose()["arch"])) | {"halt_max_steps_eval": None, "grid_noise_prob": 0}
    (tmp_path / "all_config.yaml").write_text(yaml.safe_dump({"arch": arch}))
    assert read_arch(tmp_path / "all_config.yaml").L_cycles == 6
    (tmp_path / "all_config.yaml").write_text(yaml.safe_dump({"arch": arch | {"grid_noise_prob": 0.05}}))
    with pytest.raises(InvariantBroken, match="grid_noise_prob"):
        read_arch(tmp_path / "all_config.yaml")
    with pytest.raises(MissingPrerequisite, match="cycle counts"):
        read_arch(tmp_path / "none.yaml")


# --- logs ------------------------------------------------------------------------------------------------------------


def test_metrics_go_where_the_steps_ask(data, tmp_path, monkeypatch):
    monkeypatch.setenv("TRM_REPRO_METRICS", str(tmp_path / "elsewhere/metrics.jsonl"))
    finish(data, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "elsewhere/metrics.jsonl").read_text().splitlines()]
    assert all(list(line)[:2] == ["step", "time"] and line["time"].endswith("Z") for line in lines)
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_weights_and_biases_only_when_asked_and_never_a_prompt(monkeypatch):
    started = []
    fake = types.SimpleNamespace(init=lambda **settings: started.append(settings["mode"]) or "a run", Error=OSError)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    about = {"project": "p", "name": "n", "entity": None, "config": {}}
    for variable in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    assert wandb_run(None, **about) is None
    assert wandb_run(True, **about) == "a run" and started == ["offline"]
    monkeypatch.setenv("WANDB_MODE", "online")
    wandb_run(True, **about)
    assert started == ["offline", "offline"], "without a key, online would prompt"
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "k")
    wandb_run(None, **about)
    assert started[-1] == "online"
    assert wandb_run(False, **about) is None and len(started) == 3

    def refuses(**_):
        raise OSError("Timed out while retrying: connection refused\nConsider")

    fake.init = refuses
    with pytest.raises(
        CommandFailed, match=r"Weights & Biases: Timed out while retrying: connection refused(\n|$)"
    ) as caught:
        wandb_run(True, **about)
    assert "WANDB_MODE=offline" in caught.value.hint


def test_a_run_that_breaks_stops_at_its_step(data, tmp_path):
    with pytest.raises(ReproError, match=r"step \d+: the loss is not finite"):
        finish(data, tmp_path / "run", lr=1e30)
    assert all(math.isfinite(value) for line in metrics(tmp_path / "run") for value in line.values())


def test_a_run_that_breaks_right_before_an_evaluation_stops_there(data, tmp_path):
    changes = {"lr": 1e30, "lr_warmup_steps": 0, "global_batch_size": 40, "eval_interval": 2}
    with pytest.raises(ReproError, match=r"answers are not finite numbers: all\.lm_loss"):
        finish(data, tmp_path / "run", **changes)
    assert not checkpoints(tmp_path / "run")


def test_test_data_of_other_puzzles_is_refused(data, tmp_path):
    other = write_dataset(tmp_path / "other", identifiers=55)
    with pytest.raises(InvariantBroken, match="same puzzle identifiers"):
        pretrain.Pretraining(config(data, folder=tmp_path, data_paths_test=[str(other)]), ALONE)


def test_arc_voting_needs_its_files_before_training_starts(data, tmp_path):
    with pytest.raises(MissingPrerequisite, match=r"test_puzzles\.json"):
        pretrain.Pretraining(config(data, folder=tmp_path, evaluators=[{"name": "arc@ARC"}]), ALONE)
