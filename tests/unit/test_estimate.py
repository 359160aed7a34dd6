"""Duration and cost: by formula, and from timed steps."""

import subprocess
import sys
from pathlib import Path

import pytest
from training_support import gone

from trm_repro.errors import CommandFailed
from trm_repro.machine import budget, measure
from trm_repro.machine.budget import GB, KNOWN
from trm_repro.machine.estimate import estimate, report
from trm_repro.machine.hardware import Gpu
from trm_repro.machine.measure import Measured, Speed
from trm_repro.recipes.read import read_recipe
from trm_repro.runs.schedule import planned_steps

PAPER = read_recipe(Path("recipes"), "arc2-paper")
ARC2, ARC1 = KNOWN["arc2concept-aug-1000"], KNOWN["arc1concept-aug-1000"]


def test_the_schedule_has_the_documented_numbers_of_steps() -> None:
    assert planned_steps(100_000, ARC2.groups, ARC2.mean_examples, 768) == 722_098
    assert planned_steps(100_000, ARC1.groups, ARC1.mean_examples, 768) == 518_226
    assert planned_steps(100_000, ARC1.groups, ARC1.mean_examples, 1536) == 259_113


def test_sizes_are_those_that_were_seen() -> None:
    assert ARC2.checkpoint - 6_100 == 2_467_981_320
    assert ARC2.bytes == pytest.approx(9.65e9, rel=2e-3)
    assert ARC2.builder_memory == pytest.approx(21.8e9, rel=5e-3)


def test_gpu_memory_agrees_with_what_others_saw_and_with_the_paper_s_machine() -> None:
    assert budget.gpu_memory(ARC2, 96)[1] == pytest.approx(35 * GB, rel=2e-3)
    assert budget.gpu_memory(ARC2, 192)[1] < 80 * GB
    assert budget.gpu_memory(ARC2, 768)[0] > 141 * GB


def test_cycles_scale_work_and_memory() -> None:
    six = budget.Cycles(3, 6)
    assert budget.PAPER.train_flop == pytest.approx(0.38e12)
    assert six.train_flop / budget.PAPER.train_flop == pytest.approx(7 / 5)
    assert budget.gpu_memory(ARC2, 100, six)[0] > budget.gpu_memory(ARC2, 100)[0]
    assert budget.cycles(PAPER) == budget.PAPER


def test_a_setting_is_the_last_word_that_gives_it() -> None:
    rehearsal = read_recipe(Path("recipes"), "arc2-rehearsal-upstream")
    assert budget.setting(rehearsal, "epochs", 100_000) == 200
    assert budget.setting(PAPER, "epochs", 100_000) == 100_000


def test_the_slowest_published_run_bounds_the_estimate_for_its_own_machine() -> None:
    text = estimate(PAPER, [], most=4, gpu_hour=2.5)
    assert "722,098 by the schedule" in text and "723,914 in fact" in text
    assert "41 to 72 h on 4 × H100 (none here" in text
    assert "to 720 USD at 2.5 USD" in text
    assert [run.who for run in budget.published_runs()] == ["TRM paper", "Trelis", "NVARC"]
    assert all(run.hardware in text for run in budget.published_runs())


def test_the_estimate_follows_the_gpus_found() -> None:
    eight = estimate(PAPER, [Gpu("NVIDIA H100 80GB HBM3", None, "580")] * 8, most=8, gpu_hour=2.5)
    assert "20 to 36 h on 8 × NVIDIA H100" in eight
    assert "unknown for Some GPU" in estimate(PAPER, [Gpu("Some GPU", None, "580")], most=8, gpu_hour=2.5)


@pytest.mark.parametrize(
    ("name", "flop"),
    [
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("GTX", None),
    ],
)
def test_peaks_are_found_by_name(name: str, flop: float | None) -> None:
    assert budget.peak(name) == flop


def test_recipes_without_a_formula_say_so() -> None:
    text = estimate(read_recipe(Path("recipes"), "arc2-rehearsal"), [], most=4, gpu_hour=1)
    assert "no formula" in text and "USD" not in text


def test_a_measured_step_gives_hours_cost_and_memory() -> None:
    text = report(PAPER, Measured(0.25, 400, 722_098, True, 4, 60 * GB), gpu_hour=2.0)
    training = 723_914 * 0.25 / 3600
    evaluating = 10 * 170_393 / 768 * 16 * 0.25 * 15 / 25 / 3600
    assert f"duration  {training + evaluating:.1f} h" in text
    assert f"cost      {(training + evaluating) * 4 * 2:.0f} USD" in text
    assert "60.0 GB on the fullest GPU" in text and "4.9 GB" in text
    assert "not become steady" in report(PAPER, Measured(0.25, 9, 9, False, 0, 0), gpu_hour=2.0)


def test_speed_is_steady_when_two_windows_agree() -> None:
    speed = Speed(window=10)
    assert [speed.add(float(when), step) for when, step in [(0, 0), (5, 1), (10, 2), (20, 12), (30, 22), (31, 23)]] == [
        False, False, False, False, True, False]  # fmt: skip
    assert (speed.seconds, speed.steps) == (1.0, 10)


BAR = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if {stubborn} else signal.SIG_DFL)
child = subprocess.Popen(["sleep", "60"])
print(child.pid, file=open("child", "w"))
for step in range(1000):
    time.sleep(0.02)
    print(f"\\r  0%|  | {{step}}/722098 [00:12<99:00, 9.9it/s]", end="", file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_training_is_timed_and_ended_with_all_its_processes(
    stubborn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "PATIENCE", 0.5)
    monkeypatch.setattr(measure, "AGREE", 0.5)
    seen = measure.measure([sys.executable, "-c", BAR.format(stubborn=stubborn)], cwd=tmp_path, at_most=30, window=0.5)
    assert seen.steady and seen.total == 722_098
    assert 0.015 < seen.step_seconds < 1
    child = int((tmp_path / "child").read_text())
    assert gone([child])


def test_a_training_that_ends_by_itself_is_a_failure_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"code 3: .*out of memory"):
        measure.measure(
            [sys.executable, "-c", "import sys; sys.stderr.write('CUDA out of memory'); sys.exit(3)"],
            cwd=tmp_path,
            at_most=30,
            window=1,
        )


def test_a_training_without_steps_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no two steps"):
        measure.measure(["sleep", "60"], cwd=tmp_path, at_most=1, window=1)


def test_the_arithmetic_loads_neither_numba_nor_numpy() -> None:
    modules = "trm_repro.machine.estimate, trm_repro.runs.schedule, trm_repro.runs.checkpoints, trm_repro.runs.metrics"
    check = f"import sys, {modules}; print(*{{'numba', 'numpy', 'torch'}} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", check], text=True, timeout=60) == "\n"
