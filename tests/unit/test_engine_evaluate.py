"""Evaluation alone, and the engine as a library, on a small ARC dataset."""

import json
import re
import shutil
import sys
from pathlib import Path

import arc_support
import numpy as np
import pytest
import torch
import yaml
from engine_support import ALONE, config, metrics, run, run_forked, write_dataset
from hub_server import HubServer, Repository

from trm_repro import cli
from trm_repro.arc import score
from trm_repro.arc.builder import Options, build
from trm_repro.arc.grids import encode
from trm_repro.arc.score import wilson
from trm_repro.arc.submission import problems, score_submission
from trm_repro.engine import TRM, checkpoint, load_checkpoint, predict, pretrain, scorecard
from trm_repro.engine.data import Split
from trm_repro.engine.evaluate import Predictions, save_predictions
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.runs.checkpoints import checkpoints

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
    pretrain.Pretraining(config(data, folder=folder, **SMALL), ALONE).train()
    return folder


def steps(folder):
    return [str(path) for path in checkpoints(folder)]


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
    voted = report["vote_of_all_checkpoints"]["scores"]
    shares = {name: found["share"] for name, found in voted.items() if name.endswith(score.PER_TASK)}
    assert shares == pytest.approx(
        {score.title(key): value for key, value in logged[1].items() if key.startswith("ARC/")}
    )
    assert "the vote of all checkpoints together" in capsys.readouterr().out


@pytest.mark.deep
def test_the_votes_of_a_run_killed_between_an_evaluation_and_its_state_count_once(data, trained, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def save_and_die(*arguments):
        save_predictions(*arguments)
        raise Killed

    folder, changes = tmp_path / "run", {**SMALL, "checkpoint_every_n_steps": 1, "resume": True}
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "save_predictions", save_and_die)
        for _ in range(2):
            with pytest.raises(Killed):
                pretrain.Pretraining(config(data, folder=folder, **changes), ALONE).train()
    pretrain.Pretraining(config(data, folder=folder, **changes), ALONE).train()
    for name in sorted(path.name for path in trained.glob("evaluator_ARC_step_*")):
        assert (folder / name / "votes.json").read_bytes() == (trained / name / "votes.json").read_bytes()
    assert metrics(folder) == metrics(trained)
    (folder / "training_state/votes/iteration_1.npz").unlink()
    with pytest.raises(MissingPrerequisite, match="iteration_1"):
        pretrain.Pretraining(config(data, folder=folder, **changes), ALONE).train()


def test_saved_predictions_give_the_same_numbers_without_the_model(data, trained, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    call("--checkpoint", steps(trained)[1], "--dataset", data, "--output-dir", first, "--save-outputs")
    call("--predictions", first / "predictions.npz", "--dataset", data, "--output-dir", second)
    reports = [json.loads((folder / "evaluation.json").read_text())["checkpoints"][0] for folder in (first, second)]
    for key in ("accuracy", "exact_accuracy", "examples"):
        assert reports[0][key] == reports[1][key]
    assert reports[0]["vote"]["scores"] == reports[1]["vote"]["scores"] != {}
    assert (first / "submission.json").read_bytes() == (second / "submission.json").read_bytes()


def perfect(data, folder):
    """Saved predictions that are all right."""
    split = Split(data, "test")
    q = np.ones(len(split.labels), np.float32)
    save_predictions(folder / "perfect.npz", [Predictions(np.arange(len(q)), np.array(split.labels), q)], split)
    return folder / "perfect.npz"


def test_saved_predictions_are_scored_on_their_own_dataset_only(data, tmp_path, capsys):
    saved, other = perfect(data, tmp_path), tmp_path / "other"
    shutil.copytree(data, other)
    inputs = np.load(other / "test/all__inputs.npy")
    np.save(other / "test/all__inputs.npy", inputs[::-1])
    assert call("--predictions", saved, "--dataset", other, "--output-dir", tmp_path / "out") == 4
    assert "predictions of another dataset" in capsys.readouterr().err
    assert call("--predictions", tmp_path / "none.npz", "--dataset", data, "--output-dir", tmp_path / "out") == 3
    for content in (b"", b"nothing", saved.read_bytes()[:-200]):
        saved.write_bytes(content)
        assert call("--predictions", saved, "--dataset", data, "--output-dir", tmp_path / "out") == 4
        assert "not saved predictions" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_both_metrics_have_count_and_interval_and_are_called_what_they_are_everywhere(data, tmp_path, capsys):
    call("--predictions", perfect(data, tmp_path), "--dataset", data, "--output-dir", tmp_path)
    vote = json.loads((tmp_path / "evaluation.json").read_text())["checkpoints"][0]["vote"]["scores"]
    tasks, tests = len(puzzles(data)), sum(len(task["test"]) for task in puzzles(data).values())
    assert tasks < tests, "else the two could be confused"
    for name, n, what in (("pass@1 per task", tasks, "tasks"), ("pass@1 per test input", tests, "test inputs")):
        assert vote[name] == {"share": 1.0, "right": n, "of": n, "what": what, "interval_95": list(wilson(n, n))}
    said = capsys.readouterr().out
    assert f"pass@1 per task           100.000 %  {tasks} of {tasks} tasks" in said
    assert f"pass@1000 per test input  100.000 %  {tests} of {tests} test inputs" in said
    assert f"tasks: {tasks} tasks of no benchmark that is known here" in said
    submission = json.loads((tmp_path / "submission.json").read_text())
    assert problems(submission, puzzles(data)) == []
    assert [share.share for share in score_submission(submission, puzzles(data)).shares.values()] == [1.0] * 4


def test_a_dataset_without_answers_has_a_submission_and_no_score(data, tmp_path, capsys):
    """The dataset that a builder makes of a hidden test set: each answer is [[0]], and so are some predictions."""
    saved, hidden = perfect(data, tmp_path), tmp_path / "hidden"
    shutil.copytree(data, hidden)
    dummies = puzzles(data)
    for task in dummies.values():
        task["test"] = [{**pair, "output": [[0]]} for pair in task["test"]]
    labels = np.load(hidden / "test/all__labels.npy")
    np.save(hidden / "test/all__labels.npy", np.broadcast_to(encode(np.zeros((1, 1), np.uint8)), labels.shape))
    (hidden / "test_puzzles.json").write_text(json.dumps(dummies))
    assert call("--predictions", saved, "--dataset", hidden, "--output-dir", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "no answers are known: nothing to score" in said and "pass@1 per" not in said
    result = json.loads((tmp_path / "out/evaluation.json").read_text())["checkpoints"][0]
    vote = result["vote"]
    assert vote["scores"] == {} and "accuracy" not in said
    assert result["accuracy"] is result["exact_accuracy"] is None
    assert vote["test_inputs_without_known_answer"] == sum(len(task["test"]) for task in dummies.values())
    assert problems(json.loads((tmp_path / "out/submission.json").read_text()), dummies) == []
    first = next(iter(dummies))
    dummies[first] = puzzles(data)[first]
    names = json.loads((data / "identifiers.json").read_text())
    split = Split(data, "test")
    mine = np.array([name.partition("|||")[0] == first for name in names])[split.puzzle_identifiers]
    rows = np.isin(split.puzzles(np.arange(len(labels))), np.flatnonzero(mine))
    np.save(hidden / "test/all__labels.npy", np.where(rows[:, None], labels, np.load(hidden / "test/all__labels.npy")))
    (hidden / "test_puzzles.json").write_text(json.dumps(dummies))
    call("--predictions", saved, "--dataset", hidden, "--output-dir", tmp_path / "out")
    said = capsys.readouterr().out
    left = sum(len(task["test"]) for name, task in dummies.items() if name != first)
    assert "token accuracy  1.0000" in said
    assert "1 of 1 tasks" in said and f"{left} test inputs without a known answer: counted in no number" in said


def test_one_batch(data, trained, tmp_path, capsys):
    call(
        "--checkpoint", steps(trained)[0], "--dataset", data, "--output-dir", tmp_path, "--one-batch", "--batch-size", 5
    )
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert report["checkpoints"][0]["examples"] == 5 < report["examples_in_split"] and report["one_batch"]
    found = json.loads((tmp_path / "submission.json").read_text())
    missing = sum(len(task["test"]) - len(found[name]) for name, task in puzzles(data).items())
    assert report["checkpoints"][0]["vote"]["test_inputs_without_prediction"] == missing > 0
    assert f"{missing} test inputs have no prediction" in capsys.readouterr().out
    whole = ["--checkpoint", steps(trained)[0], "--dataset", data, "--output-dir", tmp_path / "whole"]
    call(*whole, "--one-batch", "--batch-size", report["examples_in_split"] + 1)
    found = json.loads((tmp_path / "whole/submission.json").read_text())
    assert problems(found, puzzles(data)) == [] and "no prediction" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "held", ["[]", "{}", '{"a": null}', '{"a": {"test": [{}]}}', '{"a": {"test": [{"input": [[99]]}]}}']
)
def test_a_dataset_whose_test_puzzles_are_none_is_refused_by_name(data, tmp_path, capsys, held):
    saved, other = perfect(data, tmp_path), tmp_path / "other"
    shutil.copytree(data, other)
    (other / "test_puzzles.json").write_text(held)
    assert call("--predictions", saved, "--dataset", other, "--output-dir", tmp_path / "out") == 4
    assert "test_puzzles.json" in capsys.readouterr().err and not (tmp_path / "out").exists()


def puzzles(data):
    return json.loads((data / "test_puzzles.json").read_text())


@pytest.mark.parametrize(
    "wrong",
    [
        ("--batch-size", 0),
        ("--attempts", 0),
        ("--max-augmentations", -1),
        ("--arch", "L_cycles"),
        ("--arch", "L_cycles=["),
    ],
)
def test_a_wrong_call_is_a_wrong_call(data, trained, tmp_path, wrong):
    arguments = ["--checkpoint", steps(trained)[0], "--dataset", data, "--output-dir", tmp_path / "out"]
    assert call(*arguments, *wrong) == 2
    assert not (tmp_path / "out").exists()


def test_a_broken_checkpoint_has_no_score(data, trained, tmp_path, capsys):
    weights = checkpoint.read_weights(steps(trained)[0])
    weights["lm_head.weight"] = weights["lm_head.weight"] * torch.nan
    checkpoint.save_weights(tmp_path / "step_1", weights)
    shutil.copy(trained / "all_config.yaml", tmp_path)
    assert call("--checkpoint", tmp_path / "step_1", "--dataset", data, "--output-dir", tmp_path / "out") == 1
    assert "answers are not finite numbers" in capsys.readouterr().err and not (tmp_path / "out").exists()


# The verb, and then: no thread of a process group may live on when the interpreter ends (engine/world.py)
ENDS_ALONE = """
import pathlib, sys
from trm_repro.cli import main
code = main(sys.argv[1:])
threads = [path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
sys.exit(code or [name for name in threads if "gloo" in name] or 0)
"""


@pytest.mark.deep
def test_two_processes_evaluate_what_one_does(data, trained, tmp_path):
    """With the same tables of where the number comes from; eight rows at a time in both, for products of one shape."""
    arguments = ["evaluate", "--checkpoint", steps(trained)[0], "--dataset", str(data), "--by-step", "--save-outputs"]
    call(*arguments[1:], "--output-dir", tmp_path / "one", "--batch-size", 8)
    arguments += ["--batch-size", "16"]
    (tmp_path / "ends_alone.py").write_text(ENDS_ALONE)
    run(tmp_path, [*arguments, "--output-dir", "two"], ("ends_alone",), torchrun=2)
    one, two = (json.loads((tmp_path / n / "evaluation.json").read_text())["checkpoints"][0] for n in ("one", "two"))
    for found in (one, two):
        found["metrics"].pop("all.q_halt_loss")  # counts the padding, of which a larger batch has more
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-5)
    assert one["vote"]["scores"] == two["vote"]["scores"]
    for name in ("examples", "vote_alone", "by_augmentations", "by_step", "in_training"):
        assert one[name] == two[name], name
    with np.load(tmp_path / "one/predictions.npz") as first, np.load(tmp_path / "two/predictions.npz") as second:
        assert len(first) == 2 + 2 * len(one["by_step"])
        assert all(np.array_equal(first[name], second[name]) for name in first)


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
    pretrain.Pretraining(config(data, folder=tmp_path / "run"), ALONE).train()
    call("--checkpoint", steps(tmp_path / "run")[0], "--dataset", data, "--output-dir", tmp_path / "out")
    result = json.loads((tmp_path / "out/evaluation.json").read_text())["checkpoints"][0]
    assert "vote" not in result and not (tmp_path / "out/submission.json").exists()
    assert result["exact_accuracy_wilson_95"] == list(
        wilson(result["exact_accuracy"] * result["examples"], result["examples"])
    )


def test_the_loss_is_that_of_the_training_and_no_puzzle_vectors_need_no_check(tmp_path):
    data = write_dataset(tmp_path / "toy", vocab_size=11)
    changes = {"arch.loss": {"loss_type": "softmax_cross_entropy"}, "arch.puzzle_emb_ndim": 0, "arch.puzzle_emb_len": 0}
    run = pretrain.Pretraining(config(data, folder=tmp_path / "run", **changes), ALONE)
    run.train()
    call("--checkpoint", steps(tmp_path / "run")[-1], "--dataset", data, "--output-dir", tmp_path / "out")
    result = json.loads((tmp_path / "out/evaluation.json").read_text())["checkpoints"][0]
    assert result["metrics"]["all.lm_loss"] == pytest.approx(metrics(tmp_path / "run")[-1]["all.lm_loss"], rel=1e-5)
    assert result["puzzle_vectors_checked"] == "as there are none"


def test_a_name_that_is_neither_here_nor_on_the_hub(monkeypatch):
    with pytest.raises(MissingPrerequisite, match="no such file"):
        scorecard.locate("./checkpoints/step_1")
    with pytest.raises(MissingPrerequisite, match="no such file"):
        scorecard.locate("step_1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingPrerequisite, match="neither a file here nor to be had from the hub"):
        scorecard.locate("hf://nobody/nothing/step_1")


@pytest.mark.deep
@pytest.mark.parametrize(
    "beside", [("all_config.yaml", "identifiers.sha256"), ("all_config.yaml", "identifiers.json"), ()]
)
def test_a_checkpoint_on_the_hub(data, trained, tmp_path, beside):
    """The real client, as a user starts it; what lies beside the checkpoint is fetched as well."""
    with HubServer() as hub:
        hub.repositories["ada/trm"] = repository = Repository(private=False)
        contents = {name: (trained if name != "identifiers.json" else data) / name for name in beside}
        contents["step_1"] = Path(steps(trained)[0])
        repository.commits.append({f"sub/{name}": path.read_bytes() for name, path in contents.items()})
        output = tmp_path / "out"
        arguments = ["--dataset", data, "--output-dir", output, "--one-batch", "--batch-size", "2"]
        arguments += ["--config", trained / "all_config.yaml"] if not beside else []
        name = f"hf://ada/trm/sub/step_1@{repository.oid(1)}"
        said = run_forked(tmp_path, ["evaluate", "--checkpoint", name, *arguments], environ=hub.environment(tmp_path))
        how = "by the digest of identifiers.json" if beside else "by number only"
        assert f"match the dataset {how}" in said


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
    for tasks in (task, [task], {name: None}, {name: [{"input": [[1]], "output": [[1]]}]}, {name: {"test": [3]}}):
        with pytest.raises(UsageError, match="no task"):
            predict(model, tasks, identifiers)


def test_the_librarys_answers_are_the_evaluations(data, trained, tmp_path):
    call("--checkpoint", steps(trained)[1], "--dataset", data, "--output-dir", tmp_path)
    tasks = json.loads((data / "test_puzzles.json").read_text())
    identifiers = json.loads((data / "identifiers.json").read_text())
    found = predict(load_checkpoint(steps(trained)[1]), tasks, identifiers)
    assert found == json.loads((tmp_path / "submission.json").read_text())


def test_predicting_shows_the_time_left_where_it_lasts(data, trained, capsys, monkeypatch):
    for name in ("TRM_REPRO_TERMINAL", "TRM_REPRO_LOG"):
        monkeypatch.delenv(name, raising=False)
    tasks = dict([next(iter(json.loads((data / "test_puzzles.json").read_text()).items()))])
    words = load_checkpoint(steps(trained)[1]), tasks, json.loads((data / "identifiers.json").read_text())
    monkeypatch.setattr(sys.modules["trm_repro.engine.predict"], "SOON", 1e9)  # whatever else the machine does
    capsys.readouterr()  # of loading, which may last as well
    found = predict(*words)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.modules["trm_repro.engine.predict"], "SOON", 1e-9)
    assert predict(*words, batch_size=1) == found
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("predicting: 0/") and re.search(r"supervision steps, 100 %, .* 00:00:00 left", said[-1])


def test_another_dtype_can_be_asked_for(trained):
    model = load_checkpoint(steps(trained)[1], forward_dtype="bfloat16")
    assert model.config.dtype == torch.bfloat16
    saved = yaml.safe_load((trained / "all_config.yaml").read_text())
    assert saved["arch"]["forward_dtype"] == "float32"
