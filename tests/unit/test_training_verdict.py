"""The verdict on a finished training, and that each check can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from training_support import RUN, finished, manifest

from trm_repro.arc import versions
from trm_repro.training.inspection import infinite
from trm_repro.training.state import Place
from trm_repro.training.verdict import Evaluation, Verdict, as_text, compare, judge, strange
from trm_repro.training.watch import lines as watch_lines
from trm_repro.weights.stored import Tensor, read_content


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return finished(tmp_path_factory.mktemp("run"))


@pytest.fixture
def place(original: Place, tmp_path: Path) -> Place:
    """A finished training that may be changed; its checkpoints are the original's until one is."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(original.folder, folder)
    return Place(original.state, original.work, original.dataset, folder, original.recipe)


def broken(verdict: Verdict) -> dict[str, str]:
    return {check.name: "; ".join(check.lines) for check in verdict.checks if check.outcome == "broken"}


def test_a_finished_training_is_judged(original: Place) -> None:
    verdict = judge(original, manifest(original.recipe), RUN)
    assert broken(verdict) == {}
    assert verdict.sound
    assert [(entry.step, round(entry.score, 6), entry.votes) for entry in verdict.evaluations] == [
        (361957, 0.333333, 1),
        (723914, 0.333333, 2),
    ]
    assert all(entry.logged == pytest.approx(1 / 3) for entry in verdict.evaluations)
    assert (verdict.last, verdict.best) == ("step_723914", "step_361957")
    assert verdict.verdict == "reproduced"  # one of three tasks: 6 % to 79 % contains 7.8 %
    assert "7.80 % lies inside" in verdict.why[0]
    assert "votes accumulated over 2 evaluations" in verdict.why[1]


def test_the_table_says_it_all(original: Place) -> None:
    text = as_text(judge(original, manifest(original.recipe), RUN))
    for words in (
        "361,957",
        "33.33 %",
        "6.15 % to 79.23 %",
        "votes accumulated over 2",
        "best",
        "last",
        "6.20 % (ARC Prize",
    ):
        assert words in text
    assert "verdict: reproduced" in text


def test_the_file_says_it_all(original: Place) -> None:
    value = json.loads(json.dumps(judge(original, manifest(original.recipe), RUN).as_json()))
    assert value["format"] == "trm-repro/verdict/v1"
    assert value["published"] == 0.078
    assert value["evaluations"][1]["votes"] == 2
    assert {check["outcome"] for check in value["checks"]} == {"holds"}


def test_both_metrics_are_said_with_what_they_are_of_and_what_is_strange(original: Place) -> None:
    verdict = judge(original, manifest(original.recipe), RUN)
    said = as_text(verdict)
    assert "the last submission, scored on 3 tasks of no benchmark that is known here:" in said
    assert "pass@2 per task        33.333 %  1 of 3 tasks        95 % interval 6.15 to 79.23 %" in said
    assert "pass@2 per test input  50.000 %  2 of 4 test inputs  95 % interval 15.00 to 85.00 %" in said
    assert "note: 6 of 8 answers are the test input again" in said
    value = verdict.as_json()
    assert value["scores"]["pass@2 per test input"]["right"] == 2 and value["unknown"] == 0


def elsewhere(place: Place, dataset: Path) -> Place:
    """The place with another dataset, and no task files with solutions."""
    words = [word.replace("kaggle/", "nowhere/") for word in place.recipe.dataset.arguments]
    recipe = place.recipe.model_copy(update={"dataset": place.recipe.dataset.model_copy(update={"arguments": words})})
    return Place(place.state, place.work, dataset, place.folder, recipe)


def test_what_nobody_knows_is_no_score(place: Place, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(place.dataset, dataset)
    puzzles = json.loads((dataset / "test_puzzles.json").read_text())
    right = json.loads(json.dumps(puzzles))
    for puzzle in puzzles.values():
        for pair in puzzle["test"]:
            pair["output"] = [[0]]
    (dataset / "test_puzzles.json").write_text(json.dumps(puzzles))
    where = elsewhere(place, dataset)
    verdict = judge(where, manifest(place.recipe), RUN)
    assert verdict.sound and verdict.verdict == "not comparable" and verdict.unknown == 4
    assert list(verdict.why) == ["no answers are known: nothing to score"] and verdict.scores == {}
    assert "no answers are known: nothing to score" in as_text(verdict) and "per task" not in as_text(verdict)
    shown = "\n".join(watch_lines(where))
    assert "pass@K" not in shown and "exact" not in shown and "pass@K at 723,914" in "\n".join(watch_lines(place))
    first = next(iter(puzzles))
    puzzles[first] = right[first]
    (dataset / "test_puzzles.json").write_text(json.dumps(puzzles))
    verdict = judge(where, manifest(place.recipe), RUN)
    assert verdict.evaluations[-1].out_of == 1 and verdict.sound, "upstream's own number took [[0]] for the answer"
    left = 4 - len(right[first]["test"])
    assert f"{left} test inputs without a known answer: counted in no number" in as_text(verdict)


def test_what_was_trained_on_under_another_name_is_warned_about(place: Place, tmp_path: Path) -> None:
    upstreams = versions.tasks_of(versions.UPSTREAMS["evaluation2"])
    puzzles = {name: upstreams[name] for name in ("0934a4d8", "e8686506")}
    where = elsewhere(place, tmp_path)
    (tmp_path / "identifiers.json").write_text(json.dumps(["<blank>", *puzzles, "0934a4d8|||t1|||0213456789"]))
    assert "ARC-AGI-1" not in "".join(strange(where, puzzles))
    (tmp_path / "identifiers.json").write_text(json.dumps(["<blank>", *puzzles, "08573cc6|||t1|||0213456789"]))
    assert strange(where, puzzles)[-1] == (
        "ARC-AGI-1's evaluation tasks were trained on, and 1 of these 2 tasks are among them: 0934a4d8"
    )


def evaluation(score: float, tasks: int = 120) -> Evaluation:
    from trm_repro.arc.score import wilson

    return Evaluation(723914, score, wilson(score * tasks, tasks), tasks, score, 10)


@pytest.mark.parametrize(
    ("score", "word"),
    [(0.078, "reproduced"), (0.045, "reproduced"), (0.12, "reproduced"), (0.02, "below"), (0.2, "above")],
)
def test_the_interval_decides(score: float, word: str) -> None:
    assert compare(evaluation(score), 0.078, "ARC/pass@2")[0] == word


def test_an_unfaithful_run_is_not_comparable(original: Place) -> None:
    verdict = judge(original, manifest(original.recipe, reasons=["G-TRAIN-COMMAND was overridden: added: lr=1"]), RUN)
    assert (verdict.verdict, verdict.sound) == ("not comparable", True)
    assert verdict.why == ["G-TRAIN-COMMAND was overridden: added: lr=1"]


def test_without_a_published_number_nothing_is_compared(original: Place) -> None:
    expected = original.recipe.expected.model_copy(update={"value": None})
    recipe = original.recipe.model_copy(update={"expected": expected})
    where = Place(original.state, original.work, original.dataset, original.folder, recipe)
    verdict = judge(where, manifest(recipe), RUN)
    assert (verdict.verdict, list(verdict.why)) == ("not comparable", ["the recipe knows no published number"])


def first_tensor(path: Path, name: str) -> Tensor:
    return next(tensor for key, tensor in read_content(path).items() if key.endswith(name))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def put_nan(place: Place) -> None:
    path = place.folder / "step_723914"
    overwrite(path, first_tensor(path, "puzzle_emb.weights").begin, np.float32("nan").tobytes())


def put_infinity_in_bfloat16(place: Place) -> None:
    path = place.folder / "step_723914"
    overwrite(path, first_tensor(path, "H_init").begin + 10, b"\x80\x7f")


def cut_off(place: Place) -> None:
    path = place.folder / "step_361957"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def lose_the_last(place: Place) -> None:
    (place.folder / "step_723914").unlink()


def add_a_step(place: Place) -> None:
    shutil.copy(place.folder / "step_723914", place.folder / "step_723915")


def change_config(old: str, new: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        path = place.folder / "all_config.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def change_source(place: Place) -> None:
    (place.folder / "trm.py").write_text("# not the pinned one\n")


def lose_sources(place: Place) -> None:
    for path in place.folder.glob("*.py"):
        path.unlink()


def shorten_submission(place: Place) -> None:
    path = place.folder / "evaluator_ARC_step_723914" / "submission.json"
    value = json.loads(path.read_text())
    value["0e000001"].pop()
    path.write_text(json.dumps(value))


def change_log(place: Place) -> None:
    path = place.folder / "metrics.jsonl"
    path.write_text(path.read_text().replace('"ARC/pass@2": 0.3333333333333333', '"ARC/pass@2": 0.34'))


def lose_submissions(place: Place) -> None:
    for path in place.folder.glob("evaluator_*"):
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("damage", "check", "words"),
    [
        (put_nan, "step_723914", "puzzle_emb.weights: 1 numbers are not finite"),
        (put_infinity_in_bfloat16, "step_723914", "H_init: 1 numbers are not finite"),
        (cut_off, "step_361957", "cut off: a zip without its end"),
        (lose_the_last, "steps", "step_723914: the last one is missing"),
        (add_a_step, "steps", "step_723915: the recipe's run writes none of that number"),
        (change_config("L_cycles: 4", "L_cycles: 6"), "configuration", "arch.L_cycles: expected 4, found 6"),
        (
            change_config("global_batch_size: 768", "global_batch_size: 384"),
            "configuration",
            "global_batch_size: expected 768",
        ),
        (
            change_config("hidden_size: 512", "hidden_size: 256"),
            "step_723914",
            "lm_head.weight: expected F32 [12, 256]",
        ),
        (change_source, "sources", "trm.py: not a file of the pinned commit"),
        (lose_sources, "sources", "no copy of the model's code"),
        (shorten_submission, "evaluator_ARC_step_723914", "0e000001: 1 entries for 2 test inputs"),
        (change_log, "scores", "0.333333 when scored again, the training logged 0.340000"),
        (lose_submissions, "submission", "there is none"),
    ],
)
def test_each_check_can_fail(place: Place, damage: Callable[[Place], None], check: str, words: str) -> None:
    damage(place)
    verdict = judge(place, manifest(place.recipe), RUN)
    assert words in broken(verdict)[check]
    assert not verdict.sound
    assert verdict.verdict == "not comparable"


def with_keys(place: Place, rename: Callable[[int, str], str]) -> dict[str, str]:
    """What is broken after the keys of the last checkpoint were renamed."""
    import torch

    path = place.folder / "step_723914"
    state = torch.load(path, weights_only=True)
    torch.save({rename(i, key): value for i, (key, value) in enumerate(state.items())}, path)
    return broken(judge(place, manifest(place.recipe), RUN))


def test_the_keys_of_an_uncompiled_model_are_as_good(place: Place) -> None:
    assert with_keys(place, lambda i, key: key.removeprefix("_orig_mod.")) == {}


def test_two_kinds_of_keys_in_one_checkpoint_are_not(place: Place) -> None:
    found = with_keys(place, lambda i, key: key if i else key.removeprefix("_orig_mod."))
    assert "its keys begin with '_orig_mod.model.inner.', 'model.inner.', not all alike" in found["step_723914"]


def test_a_table_for_another_dataset_is_found(place: Place, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(place.dataset, dataset)
    facts = dataset / "train" / "dataset.json"
    facts.write_text(facts.read_text().replace('"num_puzzle_identifiers": ', '"num_puzzle_identifiers": 1'))
    verdict = judge(Place(place.state, place.work, dataset, place.folder, place.recipe), manifest(place.recipe), RUN)
    assert "puzzle_emb.weights: expected" in broken(verdict)["step_723914"]


def test_without_metrics_the_scores_are_still_ours(place: Place) -> None:
    (place.folder / "metrics.jsonl").unlink()
    verdict = judge(place, manifest(place.recipe), RUN)
    assert [entry.logged for entry in verdict.evaluations] == [None, None]
    assert [check.outcome for check in verdict.checks if check.name == "scores"] == ["skipped"]
    assert verdict.verdict == "reproduced"


def test_the_solutions_come_before_the_datasets_own_answers(place: Place, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(place.dataset, dataset)
    puzzles = json.loads((dataset / "test_puzzles.json").read_text())
    for puzzle in puzzles.values():
        for pair in puzzle["test"]:
            pair["output"] = [[9]]
    (dataset / "test_puzzles.json").write_text(json.dumps(puzzles))
    verdict = judge(Place(place.state, place.work, dataset, place.folder, place.recipe), manifest(place.recipe), RUN)
    assert verdict.evaluations[0].score == pytest.approx(1 / 3)


def test_all_numbers_are_looked_at(tmp_path: Path) -> None:
    values = np.zeros(5, "<f4")
    values[[1, 4]] = np.nan, -np.inf
    path = tmp_path / "numbers"
    path.write_bytes(b"skip" + values.tobytes())
    assert infinite(path, Tensor("F32", (5,), 4, 20)) == 2
