"""What a person types: a word that is nearly right, TAB, --help; and what a program reads."""

import argparse
import json
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from trm_repro.cli import GROUPS, main, parser
from trm_repro.errors import MissingPrerequisite
from trm_repro.runs.layout import Run
from trm_repro.runs.status import print_status

ROOT = Path(__file__).parents[2]
BUNDLE = "tests/golden/bundles/v1"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("stauts", "error: there is no VERB 'stauts'\nhint: did you mean status?; trm-repro --help\n"),
        ("status --jsn", "error: unrecognized arguments: --jsn\nhint: did you mean --json?; trm-repro status --help\n"),
        ("verify a --signer=x --atestation y", "hint: did you mean --attestation?; trm-repro verify --help\n"),
        ("recipe lsit", "error: there is no VERB 'lsit'\nhint: did you mean list?; trm-repro recipe --help\n"),
        ("recipe xyz", "hint: there are list, show; trm-repro recipe --help\n"),
        ("job slrum", "error: there is no 'slrum'\nhint: did you mean slurm?; trm-repro job --help\n"),
        ("verify a b", "error: unrecognized arguments: b\nhint: trm-repro verify --help\n"),
        ("verify", "error: the following arguments are required: bundle\nhint: trm-repro verify --help\n"),
        ("watch --every x", "error: argument --every: invalid float value: 'x'\nhint: trm-repro watch --help\n"),
    ],
)
def test_what_was_meant_is_said(typed, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(typed.split())
    assert end.value.code == 2
    assert capsys.readouterr().err.endswith(said)


def test_the_first_help_lists_every_verb_but_those_of_the_steps(capsys):
    def listed(words):
        try:
            assert not main(words)
        except SystemExit as end:  # argparse's, after --help
            assert not end.code
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        return {line.split()[0] for line in text.splitlines() if line.startswith("  ") and line[2] != " "}

    (verbs,) = [action.choices for action in parser()._actions if action.dest == "verb"]
    grouped = {name for names in GROUPS.values() for name in names}
    assert grouped == set(verbs) - {"step"}, "a verb that is in no group is found by nobody"
    assert grouped <= listed(["--help"]) and "step" not in listed(["--help"])
    assert grouped | {"step"} <= listed(["help", "--all"])
    assert "--once" in listed(["help", "watch"])


ASK = """source "$1"; shift
COMP_WORDS=(trm-repro "$@") COMP_CWORD=$# COMP_LINE="trm-repro $*" COMP_POINT=${#COMP_LINE}
ask=$(complete -p trm-repro | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$ask" trm-repro "${@: -1}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(script, *words):
    """What bash offers for the last of some words."""
    asked = ["bash", "-c", ASK, "complete", script, *words]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.split()


def test_bash_completes_verbs_options_recipes_and_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    assert completed(script, "stat") == ["status", "statement"]
    assert completed(script, "ste") == [], "what only the steps call"
    assert completed(script, "recipe", "s") == ["show"]
    assert completed(script, "verify", "--sig") == ["--signers"]
    assert completed(script, "recipe", "show", "arc2-pa") == ["arc2-paper"]
    assert completed(script, "job", "slurm", "--recipe", "arc2-pa") == ["arc2-paper"]
    assert completed(script, "verify", "CITA") == ["CITATION.cff"]


ANSWERS = {
    "recipe list": (0, "recipes"),
    "recipe show arc2-paper": (0, "title"),
    f"verify {BUNDLE}": (0, "answer"),
    "verify tests": (3, "answer"),
    f"compare {BUNDLE} {BUNDLE}": (0, "word"),
    f"submission check {BUNDLE}/submission.json --tasks TASKS": (1, "problems"),
    "tasks info TASKS": (0, "sets"),
    "tasks leaks TASKS --test TASKS": (1, "leaks"),
    "dataset digests tests/golden/bundles": (0, ""),
}


@pytest.mark.parametrize("words", ANSWERS)
def test_a_program_reads_one_json_object_and_the_exit_code_stays(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    tasks = tmp_path / "tasks.json"
    pair = {"input": [[1, 2]], "output": [[2, 1]]}
    answered = json.loads((ROOT / BUNDLE / "submission.json").read_text())
    made = {"t": {"train": [pair], "test": [pair]}}
    made |= {task: {"train": [], "test": [{"input": [[1]]} for _ in entries]} for task, entries in answered.items()}
    tasks.write_text(json.dumps(made))
    typed = words.replace("TASKS", str(tasks)).split()
    code, key = ANSWERS[words]
    assert main(typed) == code
    plain = capsys.readouterr()
    assert main([*typed, "--json"]) == code
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert isinstance(answer, dict) and (not key or key in answer)
    assert told.err == plain.err, "errors are text, with --json and without"


def test_a_status_fits_the_terminal_and_a_program_gets_its_parts(tmp_path, monkeypatch, capsys):
    (tmp_path / "steps").mkdir()
    for step in ("01-sanity", "02-clone"):
        (tmp_path / f"steps/{step}.sh").touch()
    log = tmp_path / "logs/a_run/01-sanity.20260131T120000Z.log"
    log.parent.mkdir(parents=True)
    log.touch()
    monkeypatch.setenv("COLUMNS", "80")
    run = Run(tmp_path, "a_run", "arc2-paper", {})
    print_status(run)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 and "next: make step-1" in said
    for name, value in {
        "RUN_NAME": "a_run",
        "RECIPE": "arc2-paper",
        "TRM_DIR": "x",
        "KNOBS_WITHOUT_LOCAL": "1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("recipes", "lib"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    assert main(["status", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["next"] == "01-sanity" and [step["state"] for step in answer["steps"]] == ["stopped", "to do"]
    assert main(["watch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "nothing has been trained yet"


@pytest.mark.parametrize("columns", [80, 130])
def test_a_bar_fits_a_terminal(columns):
    """The last frame that a bar draws on a pseudo-terminal has all that it says."""
    script = (
        "import os\nfrom trm_repro.progress import track\n"
        "with track('training a_run_with_a_long_name_of_its_own', total=723914, done=361957) as bar:\n"
        "    bar.note('loss 2.3229, exact 0.000')\n    bar.advance(1000)\n"
    )
    ours = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-c', sys.argv[1]]))"
    environ = {"PATH": "/usr/bin:/bin", "COLUMNS": str(columns), "TERM": "xterm", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", ours, script], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.stdout).replace("\r", "\n").splitlines()
    last = [frame for frame in frames if frame.strip()][-1]
    assert len(last.rstrip()) <= columns and "…" in last
    for part in ("362957/723914", "loss 2.3229, exact 0.000"):
        assert part in last, frames


def test_the_help_of_each_verb_begins_with_what_it_does(capsys):
    assert main(["help", "verify"]) == 0
    assert "bundle\n\nCheck a bundle: VERIFIED or CONSISTENT (exit 0)" in capsys.readouterr().out
    parsers = [parser()]
    for one in parsers:
        assert one.description, one.prog
        inside = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
        parsers += [verb for action in inside for verb in action.choices.values()]


@pytest.mark.parametrize("verb", ["status", "watch", "report", "doctor"])
def test_a_verb_about_a_run_says_where_it_is_to_be_called(verb, tmp_path, monkeypatch, capsys):
    for name in ("RECIPE", "RUN_NAME", "TRM_DIR"):
        monkeypatch.delenv(name, raising=False)
    below = tmp_path / "my clone" / "docs"
    (below.parent / "lib").mkdir(parents=True)
    (below.parent / "lib" / "prelude.bash").touch()
    below.mkdir()
    for folder, where in ((below, f"'{below.parent}'"), (tmp_path, "THE_CLONE")):
        monkeypatch.chdir(folder)
        assert main([verb]) == 3
        said = capsys.readouterr().err
        assert said.startswith(f"error: trm-repro {verb} is about a run")
        assert f"hint: cd {where}, and give" in said


def test_a_terminal_that_lacks_a_sign_gets_another():
    words = [sys.executable, "-m", "trm_repro", "recipe", "list"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "8 ? A100-80GB" in done.stdout, done.stderr


def test_a_notebook_shows_the_hint_below_the_error():
    said = "".join(traceback.format_exception(MissingPrerequisite("no tasks", hint="attach the competition")))
    assert said.endswith("MissingPrerequisite: no tasks\nhint: attach the competition\n")
