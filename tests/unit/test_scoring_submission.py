"""Submissions, checked and scored from the file."""

import copy
import json

import pytest

from trm_repro.arc.submission import problems, score_submission
from trm_repro.cli import main

TASKS = {
    "a": {"train": [], "test": [{"input": [[1]], "output": [[1, 2]]}, {"input": [[2]], "output": [[3]]}]},
    "b": {"train": [], "test": [{"input": [[1]], "output": [[5]]}]},
}
GOOD = {
    "a": [{"attempt_1": [[0]], "attempt_2": [[1, 2]]}, {"attempt_1": [[4]], "attempt_2": [[4]]}],
    "b": [{"attempt_1": [[5]], "attempt_2": [[6]]}],
}


def changed(change):
    submission = copy.deepcopy(GOOD)
    change(submission)
    return submission


def test_a_good_submission_has_no_problems_and_its_score():
    assert problems(GOOD, TASKS) == []
    score = score_submission(GOOD, TASKS)
    assert score.pass_at == {1: 0.5, 2: 0.75}
    assert score.inputs_solved == {1: 1, 2: 2}
    assert (score.tasks, score.inputs) == (2, 3)
    low, high = score.interval(2)
    assert 0 < low < 0.75 < high < 1


def test_an_empty_grid_is_a_legal_prediction():
    assert problems(changed(lambda s: s["b"][0].update(attempt_1=[])), TASKS) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop("b"), "task b: missing"),
        (lambda s: s.update(c=[]), "task c: unknown"),
        (lambda s: s["a"].pop(), "task a: 1 entries for 2 test inputs"),
        (lambda s: s.update(a={}), "task a: no list of entries for 2 test inputs"),
        (lambda s: s["a"].append(GOOD["a"][0]), "task a: 3 entries for 2 test inputs"),
        (lambda s: s["a"].__setitem__(0, [[1]]), "task a: test input 0: not an object of attempts"),
        (lambda s: s["a"][1].pop("attempt_2"), "task a: test input 1: attempt_2 missing"),
        (lambda s: s["a"][1].update(attempt_3=[[1]]), "task a: test input 1: attempt_3 unknown"),
        (
            lambda s: s["b"][0].update(attempt_1=[[1], [1, 2]]),
            "task b: test input 0: attempt_1: ragged grid, with rows of [1, 2] cells",
        ),
        (lambda s: s["b"][0].update(attempt_2=[[10]]), "task b: test input 0: attempt_2: colour 10, outside 0..9"),
        (lambda s: s["b"][0].update(attempt_2=[[0] * 31]), "task b: test input 0: attempt_2: a grid of 1 × 31"),
        (lambda s: s["b"][0].update(attempt_2=None), "task b: test input 0: attempt_2: a grid must be"),
    ],
)
def test_each_problem_is_named_exactly(change, complaint):
    (line,) = problems(changed(change), TASKS)
    assert line.startswith(complaint)


def test_as_many_attempts_are_asked_for_as_the_run_makes():
    three = {task: [{**entry, "attempt_3": [[1]]} for entry in entries] for task, entries in GOOD.items()}
    assert problems(three, TASKS, 3) == []
    assert "task a: test input 0: attempt_3 missing" in problems(GOOD, TASKS, 3)


def test_all_problems_are_told_at_once():
    def ruin(submission):
        del submission["b"]
        del submission["a"][0]["attempt_1"]
        submission["a"][1]["attempt_2"] = [[99]]

    assert len(problems(changed(ruin), TASKS)) == 3
    assert problems([], TASKS) == ["not a JSON object of tasks"]


def test_a_short_submission_scores_what_it_has():
    assert score_submission({"b": GOOD["b"]}, TASKS).pass_at == {1: 0.5, 2: 0.5}


@pytest.fixture
def files(tmp_path):
    def write(name, value):
        (tmp_path / name).write_text(json.dumps(value))
        return str(tmp_path / name)

    inputs = {
        task: {**puzzle, "test": [{"input": p["input"]} for p in puzzle["test"]]} for task, puzzle in TASKS.items()
    }
    return {
        "good": write("submission.json", GOOD),
        "bad": write("bad.json", {"a": GOOD["a"]}),
        "puzzles": write("test_puzzles.json", TASKS),
        "challenges": write("challenges.json", inputs),
        "solutions": write(
            "solutions.json", {task: [p["output"] for p in puzzle["test"]] for task, puzzle in TASKS.items()}
        ),
        "other": write("other.json", {"a": [[[1]]]}),
    }


def test_the_verb_checks_and_scores(files, capsys):
    assert main(["submission", "check", files["good"], "--tasks", files["challenges"]]) == 0
    assert "pass@" not in capsys.readouterr().out
    command = ["submission", "check", files["good"], "--tasks", files["challenges"], "--solutions", files["solutions"]]
    assert main(command) == 0
    scored = capsys.readouterr().out
    assert "pass@1: 50.00 % of 2 tasks" in scored
    assert "pass@2: 75.00 % of 2 tasks" in scored
    assert "2 of 3 test inputs" in scored
    assert main(["submission", "check", files["good"], "--tasks", files["puzzles"]]) == 0
    assert capsys.readouterr().out == scored


def test_the_verb_refuses_what_is_not_whole(files, capsys):
    assert main(["submission", "check", files["bad"], "--tasks", files["challenges"]]) == 1
    assert capsys.readouterr().out == "task b: missing\n"
    assert main(["submission", "check", files["good"], "--tasks", files["puzzles"], "--solutions", files["other"]]) == 4
    assert "task a: not one solution for each test input" in capsys.readouterr().err
