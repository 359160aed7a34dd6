"""The crosscheck catches one thing wrong in the engine, and names the first step and quantity."""

import json
import shutil

import pytest
import torch
from engine_support import ALONE, config, write_dataset
from mutations import MUTATIONS

from trm_repro.cli import main
from trm_repro.engine.pretrain import Pretraining
from trm_repro.runs.metrics import read_all
from trm_repro.training.crosscheck import Crosscheck, difference, files, scored_again, trainings, weights

# per example as the real one: several cycles, no luck (nothing halts early), enough steps for two evaluations
SETTINGS = {"arch.halt_max_steps": 2, "lr": 0.01, "epochs": 12, "eval_interval": 6, "keep_checkpoints": 0}


def train(data, folder, **changes):
    with torch.random.fork_rng():
        Pretraining(config(data, folder=folder, **SETTINGS, **changes), ALONE).train()
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A dataset, and a training whose first checkpoint the others start from."""
    folder = tmp_path_factory.mktemp("crosscheck")
    data = write_dataset(folder / "data", groups=9)
    first = train(data, folder / "first")
    begun = min(first.glob("step_*"), key=lambda path: int(path.name[5:]))
    train(data, folder / "upstream", load_checkpoint=str(begun))
    return data, begun, folder


def compared(start, ours):
    folder = start[2] / "upstream"
    both = trainings(read_all(folder / "metrics.jsonl"), read_all(ours / "metrics.jsonl"))
    return Crosscheck([*both.rows, *weights(folder, ours)], both.curve)


def test_the_same_engine_agrees_with_itself(start, tmp_path):
    data, begun, _ = start
    found = compared(start, train(data, tmp_path / "ours", load_checkpoint=str(begun)))
    assert found.agrees and found.first is None and str(found).endswith("the engines agree")
    assert {row.part for row in found.rows} == {"training", "evaluation", "weights"}
    assert all(row.compared for row in found.rows) and len(found.curve) > 16


@pytest.mark.parametrize(
    ("mutation", "quantity", "step"),
    [
        ("eps", "train/lm_loss", 1),
        ("label", "train/lm_loss", 1),
        ("decay", "train/lm_loss", 2),
        ("rate", "train/lr", 1),
        ("average", "all.", None),
    ],
)
def test_one_thing_wrong_is_caught_and_named(start, tmp_path, mutation, quantity, step):
    data, begun, _ = start
    with pytest.MonkeyPatch.context() as patch:
        MUTATIONS[mutation](patch)
        ours = train(data, tmp_path / "ours", load_checkpoint=str(begun))
    found = compared(start, ours)
    assert not found.agrees and found.first and found.first.first
    assert found.first.quantity.startswith(quantity), str(found)
    assert found.first.first.step == step or step is None
    assert "DIFFERS" in str(found) and f"in {found.first.quantity}" in str(found)


def test_every_mutation_is_tried():
    tried = {"eps", "label", "decay", "rate", "average"}
    assert set(MUTATIONS) == tried


ENTRIES = [
    {"step": 0, "num_params": 5},
    {"step": 1, "train/lm_loss": 2.0, "train/lr": 0.1, "train/steps": 2.0},
    {"step": 2, "train/lm_loss": 1.0, "train/lr": 0.2, "train/steps": 0.0},
    {"step": 2, "all.exact_accuracy": 0.5, "all.lm_loss": 1.0, "ARC/pass@2": 0.5, "ARC/pass@10": 0.5},
]


@pytest.mark.parametrize(
    ("entry", "change", "quantity", "step"),
    [
        (0, {"num_params": 6}, "num_params", 0),
        (1, {"train/lm_loss": 2.0 + 1e-6}, "train/lm_loss", 1),
        (1, {"train/lm_loss": "nan"}, "train/lm_loss", 1),
        (1, {"train/lr": 0.1 + 1e-12}, "train/lr", 1),
        (2, {"train/steps": 1.0}, "train/steps", 2),
        (2, {"step": 3}, "step numbers", 2),
        (3, {"all.exact_accuracy": 0.25}, "all.exact_accuracy", 2),
        (3, {"all.lm_loss": 1.0 + 1e-5}, "all.lm_loss", 2),
        (3, {"ARC/pass@2": 0.0}, "ARC/pass@2", 2),
        (3, {"ARC/pass@10": None}, "ARC/pass@10", 2),
    ],
)
def test_each_quantity_is_looked_at(entry, change, quantity, step):
    ours = [dict(line) for line in ENTRIES]
    ours[entry] |= change
    ours[entry] = {key: value for key, value in ours[entry].items() if value is not None}
    assert trainings(ENTRIES, ENTRIES).agrees
    found = trainings(ENTRIES, ours)
    assert found.first and found.first.first and (found.first.quantity, found.first.first.step) == (quantity, step)
    assert json.loads(json.dumps(found.as_json()))["first"]["quantity"] == quantity


def test_a_training_that_ended_early_differs():
    found = trainings(ENTRIES, ENTRIES[:-1])
    assert found.first and found.first.quantity == "step numbers"
    assert "no more than 3 entries" in str(found)


def test_a_loss_is_judged_over_the_first_steps_alone_and_its_curve_goes_on():
    theirs = [{"step": step, "train/lm_loss": 1.0} for step in range(1, 41)]
    ours = [{**entry, "train/lm_loss": 1.0 + (1e-3 if entry["step"] > 8 else 0)} for entry in theirs]
    found = trainings(theirs, ours)
    assert found.agrees and found.curve[8] == (9, pytest.approx(1e-3))
    assert [words in str(found) for words in ("steps 1 to 8", "steps 9 to 16", "steps 33 to 40")] == [True] * 3


def test_numbers_that_are_none_differ():
    assert difference(1.0, None) == difference(0.0, 1e-30) == difference("nan", 1.0) == float("inf")
    assert difference(2.0, 2.0) == difference("nan", "nan") == 0.0


def test_datasets_are_compared_byte_for_byte(start, tmp_path):
    data, _, _ = start
    shutil.copytree(data, tmp_path / "built")
    assert files(data, tmp_path / "built").first is None
    path = tmp_path / "built/train/all__labels.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    found = files(data, tmp_path / "built").first
    assert found and found.ours.startswith("train/all__labels.npy")
    path.unlink()
    found = files(data, tmp_path / "built").first
    assert found and "not there" in found.ours


def test_a_checkpoint_is_scored_again(start, tmp_path):
    """By ours, against what its training logged."""
    data, _, folder = start
    rehearsed = tmp_path / "upstream"
    shutil.copytree(folder / "upstream", rehearsed)
    rows = list(scored_again(rehearsed, data, tmp_path))
    assert len(rows) == 2 and all(row.first is None and row.compared >= 5 for row in rows)
    metrics = rehearsed / "metrics.jsonl"
    entries = read_all(metrics)
    last = next(entry for entry in reversed(entries) if "all.accuracy" in entry)
    last["all.lm_loss"] *= 1 + 1e-4
    metrics.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    rows = list(scored_again(rehearsed, data, tmp_path))
    assert rows[0].first is None and rows[1].first and "all.lm_loss" in rows[1].first.upstream


def test_the_verb_writes_its_file_and_exits_1_on_a_difference(start, tmp_path, capsys):
    data, _begun, folder = start

    def crosscheck(ours):
        words = {"rehearsed": folder / "upstream", "upstream": folder / "upstream", "ours": ours, "dataset": data}
        words |= {"built": data, "output": tmp_path / "crosscheck.json"}
        return main(
            ["step", "crosscheck", *(str(word) for key, value in words.items() for word in (f"--{key}", value))]
        )

    assert crosscheck(folder / "upstream") == 0
    assert json.loads((tmp_path / "crosscheck.json").read_text())["agrees"] is True
    assert crosscheck(folder / "first") == 1
    found = json.loads((tmp_path / "crosscheck.json").read_text())
    assert found["agrees"] is False and found["first"]["quantity"] == "train/lm_loss"
    assert "the engines DIFFER, first at step 1 in train/lm_loss" in capsys.readouterr().out
