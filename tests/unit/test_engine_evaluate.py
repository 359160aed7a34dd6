"""Evaluation alone, and the engine as a library, on a small ARC dataset."""

import json
import shutil
import subprocess
import sys

import arc_support
import numpy as np
import pytest
import torch
import yaml
from engine_support import ALONE, config, environment, metrics, write_dataset

from trm_repro import cli
from trm_repro.arc.builder import Options, build
from trm_repro.arc.scoring import score_submission, wilson
from trm_repro.engine import TRM, checkpoint, load_checkpoint, predict, pretrain, scorecard
from trm_repro.engine.data import Split
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError

SMALL = {"global_batch_size": 16, "evaluators": [{"name": "arc@ARC"}], "epochs": 2, "eval_interval": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arc") / "edge"
    build(Options(arc_support.EDGE, ("edgetrain", "edgeeval"), ("edgeeval",), 1, 1), folder)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A run with two evaluations."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    pretrain.Run(config(data, folder=folder, **SMALL), ALONE).train()
    return folder


def steps(folder):
    return [str(path) for path in checkpoint.steps_in(folder).values()]


def call(*arguments):
    return cli.main(["evaluate", *map(str, arguments)])


def test_evaluation_alone_repeats_the_one_during_training(data, trained, tmp_path, capsys):
    """The first evaluation has voted with nobody else yet; the accumulated vote of both is the second one's."""
    assert call("--checkpoint", *steps(trained), "--dataset", data, "--output-dir", tmp_path, "--batch-size", 16) == 0
    report = json.loads((tmp_path / "evaluation.json").read_text())
    logged = [line for line in metrics(trained) if "all.accuracy" in line]
    for result, line in zip(report["checkpoints"], logged, strict=True):
        # q_halt_loss counts the padding of the last batch (as upstream's does), which depends on the batch size
        expected = {key: value for key, value in line.items() if key.startswith("all.") and key != "all.q_halt_loss"}
        assert {key: result["metrics"][key] for key in expected} == pytest.approx(expected, rel=1e-5)
        assert result["accuracy"] == pytest.approx(line["all.accuracy"], abs=1e-6)
        assert result["examples"] == report["examples_in_split"]
    submissions = [
        json.loads(path.read_text()) for path in sorted(trained.glob("evaluator_ARC_step_*/submission.json"))
    ]
    assert json.loads((tmp_path / "0/submission.json").read_text()) == submissions[0]
    assert json.loads((tmp_path / "submission.json").read_text()) == submissions[1]
    voted = report["vote_of_all_checkpoints"]["pass"]
    assert {f"ARC/pass@{k}": score["over_tasks"] for k, score in voted.items()} == pytest.approx(
        {key: value for key, value in logged[1].items() if key.startswith("ARC/")}
    )
    assert "the vote of all checkpoints together" in capsys.readouterr().out


def test_saved_predictions_give_the_same_numbers_without_the_model(data, trained, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    call("--checkpoint", steps(trained)[1], "--dataset", data, "--output-dir", first, "--save-outputs")
    call("--predictions", first / "predictions.npz", "--dataset", data, "--output-dir", second)
    reports = [json.loads((folder / "evaluation.json").read_text())["checkpoints"][0] for folder in (first, second)]
    for key in ("accuracy", "exact_accuracy", "examples"):
        assert reports[0][key] == reports[1][key]
    assert reports[0]["vote"]["pass"] == reports[1]["vote"]["pass"]
    assert (first / "submission.json").read_bytes() == (second / "submission.json").read_bytes()


def perfect(data, folder, blunders=0):
    """Saved predictions that are right but for the first few."""
    split = Split(data, "test")
    preds = np.array(split.labels)
    preds[:blunders] = 0
    with (folder / "perfect.npz").open("wb") as file:
        q = np.ones(len(preds), np.float32)
        np.savez(file, examples=np.arange(len(preds)), preds=preds, q_halt_logits=q)
    return folder / "perfect.npz"


def test_intervals_are_over_tasks_and_pooled_is_called_pooled(data, tmp_path, capsys):
    call("--predictions", perfect(data, tmp_path), "--dataset", data, "--output-dir", tmp_path)
    vote = json.loads((tmp_path / "evaluation.json").read_text())["checkpoints"][0]["vote"]["pass"]["1"]
    puzzles = json.loads((data / "test_puzzles.json").read_text())
    tests = sum(len(task["test"]) for task in puzzles.values())
    assert len(puzzles) < tests, "else the two could be confused"
    assert vote["over_tasks"] == vote["pooled_over_test_inputs"] == 1.0
    assert vote["wilson_95_over_tasks"] == list(wilson(len(puzzles), len(puzzles)))
    assert vote["wilson_95_pooled"] == list(wilson(tests, tests))
    assert "pooled over test inputs" in capsys.readouterr().out
    assert score_submission(json.loads((tmp_path / "submission.json").read_text()), puzzles)


def test_one_batch(data, trained, tmp_path):
    call(
        "--checkpoint", steps(trained)[0], "--dataset", data, "--output-dir", tmp_path, "--one-batch", "--batch-size", 5
    )
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert report["checkpoints"][0]["examples"] == 5 < report["examples_in_split"] and report["one_batch"]


def test_two_processes_evaluate_what_one_does(data, trained, tmp_path):
    arguments = ["--checkpoint", steps(trained)[0], "--dataset", str(data), "--batch-size", "16", "--output-dir"]
    call(*arguments, tmp_path / "one")
    launcher = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=localhost:0",
    ]
    program = ["-m", "trm_repro", "evaluate", *arguments, str(tmp_path / "two")]
    subprocess.run([sys.executable, *launcher, *program], env=environment(), check=True, capture_output=True)
    one, two = (json.loads((tmp_path / n / "evaluation.json").read_text())["checkpoints"][0] for n in ("one", "two"))
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-5)
    assert {k: v["over_tasks"] for k, v in one["vote"]["pass"].items()} == {
        k: v["over_tasks"] for k, v in two["vote"]["pass"].items()
    }


def test_cycle_counts_come_from_the_configuration(data, trained, tmp_path, capsys):
    arguments = ["--checkpoint", steps(trained)[0], "--dataset", data, "--output-dir", tmp_path, "--batch-size", 2]
    assert call(*arguments, "--one-batch", "--arch", "L_cycles=2", "--arch", "mlp_t=False") == 0
    assert call(*arguments, "--arch", "L_cycles=6") == 2
    assert "arch.L_cycles is 2 in the checkpoint's all_config.yaml, you expect 6" in capsys.readouterr().err
    assert call(*arguments, "--arch", "cycles=6") == 2
    alone = tmp_path / "alone"
    shutil.copy(steps(trained)[0], alone)
    assert call("--checkpoint", alone, *arguments[2:]) == 3
    assert "cycle counts" in capsys.readouterr().err
    configured = ["--config", trained / "all_config.yaml", "--one-batch"]
    assert call("--checkpoint", alone, *arguments[2:], *configured) == 0
    assert "by number only" in capsys.readouterr().out


def test_foreign_puzzle_tables_are_refused(data, trained, tmp_path):
    model = load_checkpoint(steps(trained)[0])
    split = Split(data, "test")
    assert scorecard.check_identifiers(trained / "step_1", model, split) == "by the digest of identifiers.json"
    other = tmp_path / "other"
    shutil.copytree(data, other)
    names = json.loads((other / "identifiers.json").read_text())
    names[1], names[2] = names[2], names[1]
    (other / "identifiers.json").write_text(json.dumps(names))
    with pytest.raises(InvariantBroken, match=r"identifiers\.json of .* differs"):
        scorecard.check_identifiers(trained / "step_1", model, Split(other, "test"))
    smaller = write_dataset(tmp_path / "smaller", seq_len=900, vocab_size=12)
    with pytest.raises(InvariantBroken, match="puzzle vectors, 40 identifiers"):
        scorecard.check_identifiers(trained / "step_1", model, Split(smaller, "test"))


def test_sudoku_gets_an_interval_over_its_puzzles(tmp_path):
    data = write_dataset(tmp_path / "sudoku", seq_len=81, vocab_size=11, identifiers=1)
    pretrain.Run(config(data, folder=tmp_path / "run"), ALONE).train()
    call("--checkpoint", steps(tmp_path / "run")[0], "--dataset", data, "--output-dir", tmp_path / "out")
    result = json.loads((tmp_path / "out/evaluation.json").read_text())["checkpoints"][0]
    assert "vote" not in result and not (tmp_path / "out/submission.json").exists()
    assert result["exact_accuracy_wilson_95"] == list(
        wilson(result["exact_accuracy"] * result["examples"], result["examples"])
    )


def test_a_name_that_is_neither_here_nor_on_the_hub(monkeypatch):
    with pytest.raises(MissingPrerequisite, match="no such file"):
        scorecard.locate("./checkpoints/step_1")
    with pytest.raises(MissingPrerequisite, match="no such file"):
        scorecard.locate("step_1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingPrerequisite, match="neither a file here nor to be had from the hub"):
        scorecard.locate("hf://nobody/nothing/step_1")


def test_a_checkpoint_on_the_hub(trained, tmp_path, monkeypatch):
    asked = []

    def download(repo, file, revision=None):
        asked.append((repo, file, revision))
        return str(trained / file.split("/")[-1])

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert scorecard.locate("hf://user/repo/sub/step_9@v1") == trained / "step_9"
    assert asked == [("user/repo", "sub/step_9", "v1"), ("user/repo", "sub/all_config.yaml", "v1")]


# --- library ---------------------------------------------------------------------------------------------------------


def test_one_task_in_a_few_lines(data, trained):
    model = load_checkpoint(steps(trained)[1])
    identifiers = json.loads((data / "identifiers.json").read_text())
    name, task = next(iter(json.loads((data / "test_puzzles.json").read_text()).items()))
    submission = predict(
        model, {name: {"train": task["train"], "test": [{"input": t["input"]} for t in task["test"]]}}, identifiers
    )
    assert isinstance(model, TRM) and not model.training
    assert len(submission[name]) == len(task["test"]) and list(submission[name][0]) == ["attempt_1", "attempt_2"]
    with pytest.raises(UsageError, match="not trained on these tasks: feedbeef"):
        predict(model, {"feedbeef": task}, identifiers)
    with pytest.raises(InvariantBroken, match="identifiers"):
        predict(model, {name: task}, identifiers[:-1])


def test_the_librarys_answers_are_the_evaluations(data, trained, tmp_path):
    call("--checkpoint", steps(trained)[1], "--dataset", data, "--output-dir", tmp_path)
    tasks = json.loads((data / "test_puzzles.json").read_text())
    identifiers = json.loads((data / "identifiers.json").read_text())
    found = predict(load_checkpoint(steps(trained)[1]), tasks, identifiers)
    assert found == json.loads((tmp_path / "submission.json").read_text())


def test_another_dtype_can_be_asked_for(trained):
    model = load_checkpoint(steps(trained)[1], forward_dtype="bfloat16")
    assert model.config.dtype == torch.bfloat16
    saved = yaml.safe_load((trained / "all_config.yaml").read_text())
    assert saved["arch"]["forward_dtype"] == "float32"
