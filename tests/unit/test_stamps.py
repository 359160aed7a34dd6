from dataclasses import replace
from pathlib import Path

import pytest

from trm_repro.errors import InvariantBroken
from trm_repro.runs import stamps
from trm_repro.runs.layout import Run, meaning
from trm_repro.runs.records import append
from trm_repro.runs.stamps import last_attempts, read_stamp, why_stale, write_stamp
from trm_repro.runs.status import print_status, running


@pytest.fixture
def run(tmp_path):
    for name in ("01-one", "02-two"):
        script = tmp_path / "steps" / f"{name}.sh"
        script.parent.mkdir(exist_ok=True)
        script.write_text("#!/bin/bash\n# Environment: KNOB\n\necho\n")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "r.yaml").write_text("engine: upstream\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("one")
    (tmp_path / "out" / "b").write_text("two")
    return Run(tmp_path, "name", "r", {"KNOB": "1", "OTHER": "1"})


def done(run: Run, step: str) -> None:
    write_stamp(run, step, started="2026-01-01T00:00:00Z", log="logs/x", said="well", outputs=[run.repository / "out"])


def test_a_done_step_is_fresh(run):
    assert why_stale(run, "01-one") == "not done yet"
    done(run, "01-one")
    assert why_stale(run, "01-one") == ""
    stamp = read_stamp(run.path("01-one"))
    assert (stamp.step, stamp.said, sorted(stamp.outputs)) == ("01-one", "well", ["out/a", "out/b"])


@pytest.mark.parametrize(
    ("path", "why"),
    [("steps/01-one.sh", "script"), ("recipes/r.yaml", "recipe"), ("out/b", "different: out/b")],
)
def test_a_changed_file_makes_it_stale_and_is_named(run, path, why):
    done(run, "01-one")
    with (run.repository / path).open("a") as file:
        file.write("\n")
    assert why in why_stale(run, "01-one")


def test_what_stands_under_upstream_counts_as_code(run, tmp_path, monkeypatch):
    """What we put under a training, and nothing else of ours; nothing where a recipe puts nothing there."""
    for name in ("support", "other"):
        (tmp_path / "package" / name).mkdir(parents=True)
        (tmp_path / "package" / name / "a.py").write_text("1")
    monkeypatch.setattr(stamps, "PACKAGE", tmp_path / "package")
    for recipe, why in (("engine: upstream\ntrain:\n  support: cpu\n", "code"), ("engine: upstream\n", "")):
        (run.repository / "recipes" / "r.yaml").write_text(recipe)
        for name, expected in (("other", ""), ("support", why)):
            stamps.sources.cache_clear()
            done(run, "01-one")
            (tmp_path / "package" / name / "a.py").write_text(recipe + name)
            stamps.sources.cache_clear()
            assert why_stale(run, "01-one") == (f"changed since: {expected}" if expected else ""), (recipe, name)
    stamps.sources.cache_clear()


def test_a_missing_output_is_named(run):
    done(run, "01-one")
    (run.repository / "out" / "a").unlink()
    assert "missing: out/a" in why_stale(run, "01-one")


def test_only_the_knobs_that_the_header_names_count(run):
    done(run, "01-one")
    assert why_stale(replace(run, environ={"KNOB": "1", "OTHER": "2"}), "01-one") == ""
    assert "knobs" in why_stale(replace(run, environ={"KNOB": "2"}), "01-one")


def test_a_step_is_stale_when_what_came_before_it_changed_and_not_when_it_was_only_repeated(run):
    done(run, "01-one")
    done(run, "02-two")
    done(run, "01-one")
    assert why_stale(run, "02-two") == ""
    (run.repository / "out" / "new").write_text("three")
    done(run, "01-one")
    assert "previous" in why_stale(run, "02-two")


def test_the_packages_code_counts_where_the_engine_is_ours(run, monkeypatch, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "engine.py").write_text("x = 1")
    monkeypatch.setattr(stamps, "PACKAGE", package)
    done(run, "01-one")
    (package / "engine.py").write_text("x = 2")
    assert why_stale(run, "01-one") == ""
    (run.repository / "recipes" / "r.yaml").write_text("engine: reference\n")
    done(run, "01-one")
    (package / "engine.py").write_text("x = 3")
    stamps.sources.cache_clear()  # another process
    assert "code" in why_stale(run, "01-one")


def test_an_empty_folder_is_no_output(run):
    (run.repository / "empty").mkdir()
    with pytest.raises(InvariantBroken, match="empty"):
        write_stamp(run, "01-one", started="", log="", said="", outputs=[run.repository / "empty"])
    assert why_stale(run, "01-one") == "not done yet"


@pytest.mark.parametrize(
    "text", ["", "another format\n", f"{stamps.FORMAT}\nstep 01-one\n", f"{stamps.FORMAT}\nout x\n", "\udcff"]
)
def test_what_is_not_a_whole_stamp_is_none(run, text):
    run.path("01-one").parent.mkdir(parents=True)
    run.path("01-one").write_bytes(text.encode(errors="surrogateescape"))
    assert why_stale(run, "01-one") == "not done yet"


def test_a_steps_last_attempt_counts_all_of_it_and_nothing_else(run):
    guards = run.folder / "guards.jsonl"
    noted = [
        ("06-six", "6.a", "broken"),
        ("05-five", "5.a", "holds"),
        ("05-five", "5.b", "broken"),
        ("05-five", "5.b", "holds"),
    ]
    for step, attempt, outcome in noted:
        append(guards, {"step": step, "outcome": outcome, "started": "2026-01-01T00:00:00Z", "attempt": attempt})
    # set back, a clock orders nothing
    append(guards, {"step": "06-six", "outcome": "holds", "started": "2025-01-01T00:00:00Z", "attempt": "6.b"})
    with guards.open("a") as file:
        file.write('{"step": "cut o')
    found = last_attempts(run, "guards.jsonl")
    assert [(e["step"], e["outcome"]) for e in found] == [
        ("05-five", "broken"),
        ("05-five", "holds"),
        ("06-six", "holds"),
    ]
    assert not any("attempt" in entry for entry in found)


def test_every_attempt_counts_whose_weights_a_warm_start_goes_on_with(run):
    for attempt, outcome in (("a", "overridden"), ("b", "holds"), ("c+", "holds")):
        append(run.folder / "guards.jsonl", {"step": "05-five", "outcome": outcome, "attempt": attempt, "started": ""})
    assert [entry["outcome"] for entry in last_attempts(run, "guards.jsonl")] == ["overridden", "holds", "holds"]


def test_status_says_what_is_done_running_stopped_and_next(run, capsys):
    import fcntl

    done(run, "01-one")
    (run.repository / "logs" / "name").mkdir(parents=True)
    log = run.repository / "logs" / "name" / "02-two.20260101T000000Z.log"
    log.touch()
    print_status(run)
    text = capsys.readouterr().out
    assert "done" in text and "stopped" in text and text.endswith("next: make step-2 RECIPE=r\n")
    with (run.folder / "lock").open("w") as lock:
        lock.write("02-two (process 1)\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert running(run) == "02-two"
        print_status(run)
        assert "running" in capsys.readouterr().out
    assert running(run) == ""
    log.unlink()
    done(run, "02-two")
    print_status(run)
    assert capsys.readouterr().out.endswith("every step is done\n")


def test_knobs_are_read_from_the_header():
    script = Path(__file__).parents[2] / "steps" / "05-train.sh"
    assert "RUN_NAME" in stamps.knobs_of(script.read_text())


@pytest.mark.parametrize(
    ("recipe", "name", "said"),
    [
        ("arc2-paper", "usual", "RESUME=warm make all, or make step-4 FORCE=1; make demo"),
        ("r", "usual", "RESUME=warm make all RECIPE=r, or make step-4 RECIPE=r FORCE=1; make demo"),
        ("r", "x", "RESUME=warm make all RECIPE=r RUN_NAME=x, or make step-4 RECIPE=r RUN_NAME=x FORCE=1; make demo"),
    ],
)
def test_how_to_go_on_means_this_run_and_not_the_default_one(recipe, name, said):
    text = "RESUME=warm make all, or make step-4 FORCE=1; make demo"
    assert meaning(text, recipe=recipe, run_name=name, default_name="usual") == said


def test_status_names_the_run_that_is_next_where_the_default_is_another(run, capsys):
    (run.repository / "recipes" / "r.yaml").write_text("engine: upstream\nrun_name: usual\n")
    print_status(run)
    assert capsys.readouterr().out.endswith("next: make step-1 RECIPE=r RUN_NAME=name\n")
