"""Where a number comes from: by augmentations, by supervision step, alone and accumulated; the last row is the number."""

import json
import shutil

import arc_support
import numpy as np
import pytest
from engine_support import ALONE, config, write_dataset

from trm_repro import cli
from trm_repro.arc.builder import Options, build
from trm_repro.arc.submission import PASS_KS
from trm_repro.engine import load_checkpoint, origins, pretrain
from trm_repro.engine.config import EvaluatorConfig
from trm_repro.engine.data import Split
from trm_repro.engine.evaluate import ArcEvaluator, Predictions, read_predictions, save_predictions
from trm_repro.errors import InvariantBroken
from trm_repro.files import read_json, write_json
from trm_repro.runs.evaluations import FILE, read_evaluation

STEPS, MORE = 2, 4  # of the training; more than those
ASKED = ["--by-step", "--halt-max-steps", str(MORE), "--batch-size", "8"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arc") / "edge"
    build(Options(arc_support.EDGE, ("edgeeval",), ("edgeeval",), 12, 1), folder)
    return folder


def predictions(split, share, seed):
    """Of every example in disorder: so many right, of the others one cell changed; confidence beside the point."""
    random = np.random.RandomState(seed)
    preds = np.array(split.labels)
    wrong = random.rand(len(preds)) > share
    preds[wrong, 0] = random.randint(2, 12, wrong.sum())
    q = random.randint(-2, 3, len(preds)).astype(np.float32)
    return Predictions(np.arange(len(preds)), preds, q).take(random.permutation(len(preds)))


def evaluator(split, **changes):
    return ArcEvaluator(split, EvaluatorConfig(name="arc@ARC", **changes))


def call(*arguments):
    return cli.main(["evaluate", *map(str, arguments)])


def found(folder):
    (result,) = read_json(folder / FILE)["checkpoints"]
    assert len(read_evaluation(folder / FILE).checkpoints) == 1, "what is written can be read"
    return result


@pytest.fixture(scope="module")
def saved(data, tmp_path_factory):
    """Four steps of predictions, each better than the one before, scored from their file."""
    split, folder = Split(data, "test"), tmp_path_factory.mktemp("saved")
    steps = [predictions(split, share, seed) for share, seed in ((0.02, 0), (0.05, 1), (0.1, 2), (0.2, 2))]
    order = steps[-1].examples
    steps = [step.in_order().take(order) for step in steps]
    save_predictions(folder / "predictions.npz", steps, split)
    assert call("--predictions", folder / "predictions.npz", "--dataset", data, "--output-dir", folder) == 0
    return folder, split, [step.in_order() for step in steps]


def test_by_augmentations_each_row_is_the_vote_of_the_first_ones_and_the_last_is_the_vote(saved):
    folder, split, steps = saved
    table = found(folder)["by_augmentations"]
    assert [row["augmentations"] for row in table["rows"]] == [1, 10, None]
    for row in table["rows"]:
        plain = evaluator(split)
        several = None if row["augmentations"] is None else row["augmentations"] - 1
        plain.add(steps[-1].take(split.evaluation_examples(several)))
        assert row["scores"] == origins.shares(plain.votes, PASS_KS)
    vote = {name: entry["share"] for name, entry in found(folder)["vote"]["scores"].items()}
    assert table["rows"][-1]["scores"] == vote == found(folder)["vote_alone"]
    assert len({row["scores"]["pass@1 per task"] for row in table["rows"]}) == 3, "else nothing was compared"
    assert read_json(folder / "submission.json") == plain.votes.submission()
    fewer = steps[-1].take(np.arange(len(split.inputs) - 4))
    names = read_json(split.folder / "identifiers.json")
    there = {names[i] for i in split.puzzle_identifiers[split.puzzles(fewer.examples)]}
    counts = np.unique([name.partition("|||")[0] for name in there], return_counts=True)[1]
    part = origins.by_augmentations(evaluator(split), fewer, PASS_KS)
    assert part["distinct"] == [counts.min(), np.median(counts), counts.max()] and counts.min() < counts.max()
    assert table["tasks"] == len(counts) and table["distinct"] == [13, 13, 13]


def test_by_step_a_row_is_the_vote_of_its_answers_and_of_all_so_far(saved):
    folder, split, steps = saved
    rows, pooled = found(folder)["by_step"], evaluator(split)
    for row, step in zip(rows, steps, strict=True):
        alone = evaluator(split)
        for votes in (alone, pooled):
            votes.add(step)
        assert row["scores"] == origins.shares(alone.votes, PASS_KS)
        assert row["pooled"] == origins.shares(pooled.votes, PASS_KS)
        assert row["exact_accuracy"] == (step.preds == split.labels).all(-1).mean()
    assert rows[-1]["scores"] == found(folder)["vote_alone"] != rows[-1]["pooled"]
    assert [rows[-1][key] for key in ("accuracy", "exact_accuracy")] == [
        found(folder)[key] for key in ("accuracy", "exact_accuracy")
    ]
    again = read_predictions(folder / "predictions.npz", split)
    assert all(np.array_equal(a.in_order().preds, b.preds) for a, b in zip(again, steps, strict=True))


def test_what_takes_long_to_pack_and_to_read_shows_progress(saved, tmp_path, monkeypatch, capsys):
    _, split, steps = saved
    monkeypatch.setattr("trm_repro.engine.evaluate.SOON", 0)
    save_predictions(tmp_path / "predictions.npz", steps, split)
    read_predictions(tmp_path / "predictions.npz", split)
    said = capsys.readouterr().err
    assert "packing predictions.npz: " in said and "reading predictions.npz: " in said


def test_saved_steps_that_do_not_belong_together_are_refused(saved, tmp_path):
    folder, split, steps = saved
    with np.load(folder / "predictions.npz") as arrays:
        held = dict(arrays)
    for name, array in (("preds_after_1", steps[0].preds[:-1]), ("examples", held["examples"] + 1), ("preds", None)):
        np.savez(
            tmp_path / "p.npz", **{key: value for key, value in (held | {name: array}).items() if value is not None}
        )
        with pytest.raises(InvariantBroken, match="not saved predictions"):
            read_predictions(tmp_path / "p.npz", split)


def test_pooled_boards_are_those_that_most_steps_gave_then_the_surest_then_the_earliest(tmp_path):
    split = Split(write_dataset(tmp_path / "toy", vocab_size=11, identifiers=1), "test")
    labels = np.array(split.labels[:4])
    wrong, other = (labels + 1) % 11, (labels + 2) % 11
    answers = [wrong, labels, other, labels]  # by step; q of each example below
    q = np.array([[0, 0, 0, 0], [0, 1, -1, 0], [5, 0, 2, 0], [0, 1, 0, 0]], np.float32)
    examples = np.arange(4)
    steps = [Predictions(examples, a.astype(np.uint8), b) for a, b in zip(answers, q, strict=True)]
    rows = origins.by_steps(split, steps, np.ones(4, bool), None, ())
    assert [row["exact_accuracy"] for row in rows] == [0, 1, 0, 1]
    # 1: only a wrong one; 2: one surer example; 3: all differ, the earliest or the surest; 4: the answer given twice
    assert [row["pooled"]["exact_accuracy"] for row in rows] == [0, 0.25, 0.25, 1]


# --- with a model ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small") / "edge"
    build(Options(arc_support.EDGE, ("edgeeval",), ("edgeeval",), 1, 1), folder)
    return folder


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """A run with two evaluations."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    changes = {"evaluators": [{"name": "arc@ARC"}], "epochs": 2, "eval_interval": 1, "arch.halt_max_steps": STEPS}
    pretrain.Pretraining(config(small, folder=folder, eval_max_augmentations=0, **changes), ALONE).train()
    return sorted(folder.glob("step_*"))


@pytest.fixture(scope="module")
def asked(small, trained, tmp_path_factory):
    """The last checkpoint by step, in one process."""
    folder = tmp_path_factory.mktemp("asked")
    assert call("--checkpoint", trained[-1], "--dataset", small, "--output-dir", folder, *ASKED) == 0
    return folder


@pytest.mark.deep
@pytest.mark.parametrize("steps", [STEPS, MORE])
def test_a_row_by_step_is_the_evaluation_with_so_many_steps(small, trained, asked, tmp_path, steps, capsys):
    assert load_checkpoint(trained[-1]).config.halt_max_steps == STEPS
    more = ["--halt-max-steps", steps] if steps != STEPS else []
    call("--checkpoint", trained[-1], "--dataset", small, "--output-dir", tmp_path, "--batch-size", 8, *more)
    plain, row = found(tmp_path), found(asked)["by_step"][steps - 1]
    assert "by_step" not in plain and plain["supervision_steps"] == steps == plain["metrics"]["all.steps"]
    assert row["scores"] == plain["by_augmentations"]["rows"][-1]["scores"] == plain["vote_alone"] != {}
    assert [row[key] for key in ("accuracy", "exact_accuracy")] == [
        plain[key] for key in ("accuracy", "exact_accuracy")
    ]
    assert len({row["accuracy"] for row in found(asked)["by_step"]}) > 2, "else the steps do not differ"
    assert (f"trained with at most {STEPS}" in capsys.readouterr().out) is (steps != STEPS)


def test_what_is_kept_is_said_in_bytes(small, trained, tmp_path, capsys):
    call("--checkpoint", trained[0], "--dataset", small, "--output-dir", tmp_path, "--one-batch", "--by-step")
    assert f"{STEPS} supervision steps: {STEPS * 904 + 8:,} bytes an example" in capsys.readouterr().err
    assert call("--checkpoint", trained[0], "--dataset", small, "--output-dir", tmp_path, "--halt-max-steps", 0) == 2


def test_alone_and_accumulated(small, trained, tmp_path, capsys):
    """The training's own vote, as it left it, is told apart by what its configuration says."""
    for path in (trained[0].parent).iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    truth = json.loads((small / "test_puzzles.json").read_text())
    right = {
        name: [{f"attempt_{i}": pair["output"] for i in (1, 2)} for pair in task["test"]]
        for name, task in truth.items()
    }
    write_json(tmp_path / f"evaluator_ARC_{trained[1].name}/submission.json", right)
    names = [tmp_path / path.name for path in trained]
    arguments = ["--dataset", small, "--output-dir", tmp_path / "out", "--batch-size", 64]
    call("--checkpoint", *names, *arguments)
    first, second = read_json(tmp_path / "out" / FILE)["checkpoints"]
    together = read_json(tmp_path / "out" / FILE)["vote_of_all_checkpoints"]["scores"]
    assert "accumulated" not in first and first["in_training"] is None
    assert second["accumulated"] == {"checkpoints": 2, "scores": {name: v["share"] for name, v in together.items()}}
    assert second["in_training"]["accumulated"] and second["in_training"]["scores"]["pass@1 per task"] == 1
    assert "the training's own vote, of all evaluations until then  100.00" in capsys.readouterr().out
    said = (tmp_path / "all_config.yaml").read_text()
    (tmp_path / "all_config.yaml").write_text(said.replace("aggregated_voting: true", "aggregated_voting: false"))
    call("--checkpoint", names[1], *arguments)
    assert "the training's own vote, of this checkpoint alone  100.00" in capsys.readouterr().out
    for other in ("not JSON", "{}", "[]"):
        (tmp_path / f"evaluator_ARC_{trained[1].name}/submission.json").write_text(other)
        assert origins.left_by_training(names[1], truth, 2) is None
