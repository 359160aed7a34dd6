"""How far a training is, what became of the last attempt, and what is shown of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from training_support import ROOT
from training_support import finished as finished_training

from trm_repro.cli import main
from trm_repro.errors import MissingPrerequisite
from trm_repro.recipes.read import read_recipe
from trm_repro.runs.metrics import read_evaluations, read_tail
from trm_repro.training import disk
from trm_repro.training.attempt import begin, birth_of, read_attempt, write_attempt
from trm_repro.training.run import DiskWatch, alarms, last_whole_checkpoint
from trm_repro.training.state import Place, disk_plan, last_step, read_progress, speed, total_steps
from trm_repro.training.watch import lines, watch


@pytest.fixture
def place(tmp_path: Path) -> Place:
    recipe = read_recipe(ROOT / "recipes", "arc2-paper")
    folder = tmp_path / "checkpoints" / "run"
    folder.mkdir(parents=True)
    dataset = tmp_path / "data"
    (dataset / "train").mkdir(parents=True)
    facts = {
        "total_groups": 1280,
        "mean_puzzle_examples": 4.332593232,
        "num_puzzle_identifiers": 1191730,
        "vocab_size": 12,
    }
    (dataset / "train" / "dataset.json").write_text(json.dumps(facts))
    state = tmp_path / "the_run"
    state.mkdir()
    return Place(state, tmp_path, dataset, folder, recipe)


def log(place: Place, *entries: dict[str, Any]) -> None:
    with (place.folder / "metrics.jsonl").open("a") as file:
        for entry in entries:
            file.write(json.dumps(entry) + "\n")


def step(number: int, second: int, loss: float = 2.0) -> dict[str, Any]:
    stamp = f"2026-01-31T12:{second // 60:02d}:{second % 60:02d}Z"
    return {"step": number, "time": stamp, "train/lm_loss": loss, "train/lr": 1e-4}


EVALUATED = {
    "step": 72391,
    "time": "2026-01-31T13:00:00Z",
    "all.exact_accuracy": 0.01,
    "ARC/pass@1": 0.05,
    "ARC/pass@2": 0.0625,
}
CONFIG = "epochs: 100000\neval_interval: 10000\nglobal_batch_size: 768\narch: {hidden_size: 512, expansion: 4, L_layers: 2}\n"


def test_the_paper_run_has_its_known_end_and_size(place: Place) -> None:
    assert total_steps(place) == 723914
    assert disk_plan(place) is None
    (place.folder / "all_config.yaml").write_text(CONFIG)
    assert disk_plan(place) == disk.CheckpointPlan(10, 2_467_981_320)


def test_without_known_steps_the_plan_is_upstreams(place: Place) -> None:
    expected = place.recipe.expected.model_copy(update={"steps": []})
    unknown = replace(place, recipe=place.recipe.model_copy(update={"expected": expected}))
    assert total_steps(unknown) is None
    (place.folder / "all_config.yaml").write_text(CONFIG)
    assert total_steps(unknown) == 722098


def test_without_known_steps_the_dataset_tells_the_last_one(tmp_path: Path) -> None:
    work = finished_training(
        tmp_path
    )  # 16 examples an epoch: 10 × floor(160,000 / 768) batches, 2083 by upstream's estimate
    expected = work.recipe.expected.model_copy(update={"steps": []})
    assert total_steps(replace(work, recipe=work.recipe.model_copy(update={"expected": expected}))) == 2080


def test_speed_and_time_left(place: Place) -> None:
    log(place, step(0, 0), step(100, 50), step(200, 100))
    state = read_progress(place)
    assert state.speed == 2.0
    assert state.seconds_left == (723914 - 200) / 2
    assert speed([step(1, 0)]) is None
    assert speed([step(1, 0), step(2, 0)]) is None


def test_the_loss_is_the_mean_of_the_last_steps(place: Place) -> None:
    log(
        place,
        *(step(number, number, 9.0) for number in range(50)),
        *(step(number, number, 1.0) for number in range(50, 150)),
    )
    assert read_progress(place).loss() == 1.0


def test_a_loss_that_is_no_number_is_shown(place: Place) -> None:
    log(place, step(1, 1) | {"train/lm_loss": "nan"})
    assert any("nan lately" in line for line in lines(place))


def test_a_long_file_is_not_read_as_a_whole(place: Place) -> None:
    path = place.folder / "metrics.jsonl"
    log(place, EVALUATED, *(step(number, number % 3000) for number in range(72392, 82392)))
    assert [entry["step"] for entry in read_evaluations(path)] == [72391]
    tail = read_tail(path, 10)
    assert [entry["step"] for entry in tail] == list(range(82382, 82392))
    with path.open("a") as file:
        file.write('{"step": 99, "ti')  # a line that is being written
    assert read_tail(path, 10)[-1]["step"] == 82391


def test_a_running_training_is_shown(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write_attempt(place.state, begin())
    (place.folder / "all_config.yaml").write_text(CONFIG)
    (place.folder / "step_72391").write_bytes(b"0" * 1000)
    log(place, EVALUATED, step(72400, 0), step(72500, 50))
    binaries = place.work / "bin"
    binaries.mkdir()
    smi = binaries / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559, 580.65.06, 9.0, 40960, 0, 97'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")
    text = "\n".join(lines(place))
    for words in (
        "the_run (arc2-paper)",
        "running since 20",
        "72,500 of 723,914 (10.0 %), 2.00 a second, 90:28:27 left",
        "2.0000 lately, lr 1.00e-04",
        "pass@K at 72,391   @1 5.00 %, @2 6.25 %, exact 1.00 %",
        "GPU 0              NVIDIA H100 80GB HBM3: 40.0 of 79.6 GiB, 97 % busy",
        "9 checkpoints of 2.5 GB to come",
        "step_72391, 0.0 MB",
    ):
        assert words in text


def test_a_run_that_has_not_begun_is_shown(place: Place) -> None:
    shutil.rmtree(place.folder)
    assert "nothing has been trained yet" in "\n".join(lines(place))


def test_one_look_without_a_terminal(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    write_attempt(place.state, begin())
    watch(place, every=60, once=False)
    assert capsys.readouterr().out.count("the_run") == 1


def finished(place: Place) -> None:
    write_attempt(place.state, begin().ended("finished", 0, "it finished"))


def failed(place: Place) -> None:
    write_attempt(place.state, begin().ended("failed", 1, "disk full: nothing more could be written"))


def rebooted(place: Place) -> None:
    write_attempt(place.state, replace(begin(), boot="another boot"))


def killed(place: Place) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    attempt = replace(begin(), pid=process.pid, birth=birth_of(process.pid) or 0)
    write_attempt(place.state, attempt)
    assert attempt.alive
    process.kill()
    process.wait(timeout=100)


def pid_of_another(place: Place) -> None:
    write_attempt(place.state, replace(begin(), birth=12345))


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (finished, "finished 20"),
        (failed, "not running: disk full: nothing more could be written"),
        (rebooted, "not running: the machine was restarted while it ran"),
        (killed, "not running: it was killed without a word"),
        (pid_of_another, "not running: it was killed without a word"),
    ],
)
def test_how_an_attempt_ended_is_known(place: Place, end: Callable[[Place], None], words: str) -> None:
    end(place)
    log(place, step(5, 5))
    attempt = read_attempt(place.state)
    assert attempt
    assert not attempt.alive
    text = "\n".join(lines(place))
    assert words in text
    assert "step               5 of 723,914" in text
    assert " left" not in text.partition("disk")[0]


def test_without_a_run_the_verb_says_how_to_call_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RUN_NAME", "RECIPE", "TRM_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert main(["watch", "--once"]) == 3
    assert "cd THE_CLONE" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ARC/pass@x", "ARC/pass@" + "2" * 5000, "ARC/pass@"])
def test_a_metric_within_no_number_of_answers_is_no_metric(place: Place, name: str) -> None:
    place.folder.mkdir(parents=True, exist_ok=True)
    path = place.folder / "metrics.jsonl"
    path.write_text(f'{{"step": 1, "{name}": 0.5}}\n{{"step": 2, "ARC/pass@2": 0.5}}\n')
    assert [entry["step"] for entry in read_evaluations(path)] == [2]


def test_where_it_was_last_seen(place: Place) -> None:
    log(place, step(72500, 5))
    assert last_step(read_progress(place)) == "step 72,500 of 723,914; no checkpoint yet"
    (place.folder / "step_72391").touch()
    assert last_step(read_progress(place)).endswith("its last checkpoint is step_72391")


def whole_checkpoint(path: Path) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"_orig_mod.model.inner.H_init": torch.zeros(4)}, path)


def test_a_warm_start_takes_the_last_whole_checkpoint(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingPrerequisite, match="no checkpoint"):
        last_whole_checkpoint(place.folder)
    older = place.folder.with_name("run.set-aside-20260101T000000Z")
    newer = place.folder.with_name("run.set-aside-20260202T000000Z")
    whole_checkpoint(older / "step_9")
    assert last_whole_checkpoint(place.folder) == older / "step_9"
    whole_checkpoint(newer / "step_3")
    whole_checkpoint(newer / "step_5")
    assert last_whole_checkpoint(place.folder) == newer / "step_5"
    with (newer / "step_5").open("r+b") as file:
        file.truncate(600)
    assert last_whole_checkpoint(place.folder) == newer / "step_3"
    assert "step_5: cut off" in capsys.readouterr().err


def test_lines_that_a_recipe_means_are_no_alarm() -> None:
    def names(recipe: str) -> set[str]:
        return {alarm.name for alarm in alarms(read_recipe(ROOT / "recipes", recipe))}

    assert names("arc2-paper") == {"no test split", "no evaluator", "missing predictions", "puzzle table reset"}
    assert "puzzle table reset" not in names("trelis-lora-manual")
    assert "no evaluator" not in names("samsung-maze")


def test_the_disk_is_watched_once_a_minute_and_told_once_an_hour(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.folder / "all_config.yaml").write_text(CONFIG)
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(disk, "sample", lambda folder, now: disk.Sample(now, 5 * 10**9, 0, 0))
    watcher = DiskWatch(place)
    for _ in range(4000):
        watcher.look()
        clock[0] += 1
    assert capsys.readouterr().err.count("warning: the disk has 5.0 GB left") == 2
    assert len(watcher.samples) == 67


def test_a_look_at_the_disk_never_ends_a_training(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.folder / "all_config.yaml").write_text("epochs: [")  # it is being written
    DiskWatch(place).look()
    assert "warning: the disk could not be looked at" in capsys.readouterr().err
