import json

import pytest

from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import read_json, remove_staged, staged, write_json, write_text


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file"
    write_text(path, "old")
    with pytest.raises(RuntimeError), staged(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_json_has_one_form(tmp_path):
    write_json(tmp_path / "x.json", {"b": 1, "a": "é"})
    assert (tmp_path / "x.json").read_text() == '{\n  "b": 1,\n  "a": "é"\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", float("nan"))
    assert json.loads((tmp_path / "x.json").read_text())["b"] == 1


def test_reading_names_the_file(tmp_path):
    with pytest.raises(MissingPrerequisite, match=r"gone\.json"):
        read_json(tmp_path / "gone.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InvariantBroken, match=r"bad\.json: not valid JSON"):
        read_json(tmp_path / "bad.json")


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    inner = tmp_path / "a" / ".step_2.0.part"
    inner.mkdir(parents=True)
    (inner / ".rank_0.pt.1.part").touch()  # a file of that kind in a folder of that kind
    (tmp_path / ".step_2.1.part").touch()
    (tmp_path / "a" / "kept").touch()
    remove_staged(tmp_path)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "a", tmp_path / "a" / "kept"]
