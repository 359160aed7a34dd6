"""What vouches for what is shared, what a training is given, and what of the tool ran."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from proof_support import make_run, the_manifest

from trm_repro.cli import MACHINE, main
from trm_repro.digests import digest_files
from trm_repro.errors import InvariantBroken
from trm_repro.provenance.manifest import changed_since
from trm_repro.provenance.tool import tool
from trm_repro.recipes.read import read_recipe
from trm_repro.runs import inputs, vouchers
from trm_repro.runs.layout import Run
from trm_repro.runs.records import append, read


def swap(path: Path) -> None:
    """Changes a byte, and nothing that a user can set."""
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("pattern", ["data/toy/train/all__inputs.npy", "checkpoints/*/tiny/step_*"])
def test_a_file_swapped_before_the_manifest_is_found_whatever_the_cache_says(finished: Run, pattern: str) -> None:
    work = finished.repository / ".repro/work"
    recipe = read_recipe(finished.repository / "recipes", finished.recipe)
    given = digest_files(inputs.input_files(recipe, work))
    assert inputs.problem(finished, recipe, work, given) == ""
    (finished.folder / inputs.FILE).write_text(inputs.held(given))
    assert inputs.changed(finished.folder) == ""

    def locate(path: str) -> Path:
        return finished.repository / path

    assert changed_since(finished, the_manifest(finished), locate) == []
    path = sorted(work.glob(pattern))[-1]
    kept = path.read_bytes()
    swap(path)
    cache = finished.repository / ".repro/digests.json"
    forged = json.loads(cache.read_bytes())
    stat = path.stat()
    forged[str(path.resolve())][:5] = [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    cache.write_text(json.dumps(forged))
    (line,) = changed_since(finished, the_manifest(finished), locate)
    given_away = "data" in pattern
    assert path.name in line and ("the training was given it" if given_away else "step 5 put it out") in line
    if given_away:
        assert "was changed or replaced" in inputs.changed(finished.folder)
        found = inputs.problem(finished, recipe, work, digest_files(inputs.input_files(recipe, work)))
        assert found.endswith("all__inputs.npy: not what step 4 put out")
    path.write_bytes(kept)


def test_a_voucher_holds_for_what_is_meant_and_there_and_for_nothing_else(finished: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_text("alpha")
    path, attempt = vouchers.voucher_of(folder), "04-dataset.x"
    run = Run(tmp_path, "r", "toy", {})
    append(
        run.folder / "guards.jsonl",
        {"step": "04-dataset", "guard": "G", "outcome": "holds", "attempt": attempt, "started": ""},
    )
    append(
        run.folder / "commands.jsonl", {"step": "04-dataset", "argv": ["make it"], "attempt": attempt, "started": ""}
    )
    digests = digest_files([folder / "a"])
    means = json.dumps({"command": ["make it"]})

    def vouch() -> None:
        vouchers.vouch(run, path, "04-dataset", means=means, started="s", finished="f", digests=digests)

    def refusal(means: str = means, step: str = "04-dataset") -> str:
        return vouchers.refusal(path, step, means, [folder / "a"], run.cache())

    vouch()
    assert refusal() == ""
    assert refusal(json.dumps({"command": ["make"]})) == "it was made for something else: command"
    assert refusal(step="05-train") == "there is no voucher"
    # another run takes it over, with the commands that made it
    other = Run(tmp_path, "other", "toy", {})
    vouchers.take_over(other, path, "04-dataset.y", digests)
    assert read(other.folder / "commands.jsonl")[0] == {
        "step": "04-dataset",
        "argv": ["make it"],
        "attempt": "04-dataset.y",
        "started": "",
    }
    swap(folder / "a")
    assert refusal().startswith("different: data/a")
    with pytest.raises(InvariantBroken, match="does not vouch"):
        vouchers.take_over(other, path, "z", digest_files([folder / "a"]))
    for text in ("", "[]", "{}", '{"format": "trm-repro/voucher/v1", "files": 3}', path.read_text()[:-9]):
        path.write_text(text)
        assert refusal() == "there is no voucher"
    # what was made past a guard is its own run's
    append(
        run.folder / "guards.jsonl",
        {"step": "04-dataset", "guard": "G", "outcome": "overridden", "attempt": attempt, "started": ""},
    )
    vouch()
    assert not path.exists()


def test_the_tools_commit_is_its_own_repositorys_or_a_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid", "-C"]
    copy = tmp_path / "foreign" / "my runs" / "trm"
    (copy / "src").mkdir(parents=True)
    (copy / "src" / "a.py").write_text("a = 1\n")
    archive = tool(copy)
    assert archive.commit.startswith("no git: sha256 of the tree ") and not archive.clean and archive.why
    foreign = str(tmp_path / "foreign")
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "foreign"]):
        subprocess.run([*git, foreign, *words], check=True)
    inside = tool(copy)
    assert inside.commit == archive.commit and "another git repository" in inside.why
    (copy / "src" / "a.py").write_text("a = 2\n")
    assert tool(copy).commit != archive.commit
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "ours"]):
        subprocess.run([*git, str(copy), *words], check=True)
    own = tool(copy)
    assert len(own.commit) == 40 and own.clean and not own.why
    (copy / "src" / "a.py").write_text("a = 3\n")
    assert not tool(copy).clean
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git does not run" in tool(copy).why


@pytest.mark.parametrize("number", MACHINE)
def test_what_the_machine_refuses_is_said_in_two_lines(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), "the/file")

    monkeypatch.setattr("pathlib.Path.glob", refuse)
    assert main(["recipe", "list"]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"error: the/file: {os.strerror(number)}\nhint: ") and "Traceback" not in said
