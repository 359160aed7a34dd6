"""The disk is said to be too small hours ahead, and only then."""

from __future__ import annotations

from pathlib import Path

from trm_repro.training.disk import CheckpointPlan, Sample, gigabytes, sample, shortage

GB = 10**9
PAPER = CheckpointPlan(checkpoints=10, bytes=2_467_981_320)
HOUR = 3600.0


def test_room_for_all_checkpoints_is_enough() -> None:
    assert shortage([Sample(0, 26 * GB, 0, 0)], PAPER, None) == ""


def test_checkpoints_that_will_not_fit_are_told_before_the_first() -> None:
    said = shortage([Sample(0, 20 * GB, 0, 0)], PAPER, 70 * HOUR)
    assert "10 checkpoints of 2.5 GB" in said
    assert "room for 7" in said
    assert "free at least 5.8 GB" in said


def test_what_is_written_already_is_not_counted_again() -> None:
    assert shortage([Sample(0, 5 * GB, 9, 9 * PAPER.bytes)], PAPER, HOUR) == ""


def test_what_else_fills_the_disk_is_measured() -> None:
    samples = [Sample(0, 60 * GB, 0, 0), Sample(HOUR, 59 * GB, 0, 0)]  # 1 GB an hour, 33 GB to spare
    assert shortage(samples, PAPER, 30 * HOUR) == ""
    said = shortage(samples, PAPER, 70 * HOUR)
    assert "fills by 1.0 GB an hour" in said
    assert "full in 33.2 hours" in said


def test_the_trainings_own_checkpoints_are_no_drift() -> None:
    samples = [Sample(0, 60 * GB, 0, 0), Sample(HOUR, 60 * GB - 4 * PAPER.bytes, 4, 4 * PAPER.bytes)]
    assert shortage(samples, PAPER, 70 * HOUR) == ""


def test_a_few_minutes_are_too_few_to_measure_a_rate() -> None:
    assert shortage([Sample(0, 60 * GB, 0, 0), Sample(300, 50 * GB, 0, 0)], PAPER, 70 * HOUR) == ""


def test_only_the_last_hours_count() -> None:
    samples = [Sample(0, 500 * GB, 0, 0), Sample(4 * HOUR, 60 * GB, 0, 0), Sample(9 * HOUR, 60 * GB, 0, 0)]
    assert shortage(samples, PAPER, 70 * HOUR) == ""


def test_a_sample_counts_checkpoints_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "step_5").write_bytes(b"12345")
    (tmp_path / "step_7_all_preds.0").write_bytes(b"1")
    (tmp_path / "evaluator_ARC_step_5").mkdir()
    taken = sample(tmp_path, 1.0)
    assert (taken.checkpoints, taken.written) == (1, 5)
    assert sample(tmp_path / "not" / "there", 1.0).checkpoints == 0


def test_bytes_for_people() -> None:
    assert gigabytes(2_467_981_320) == "2.5 GB"
    assert gigabytes(27_318_280) == "27.3 MB"
