"""Whether a training began as the recipe expects: in step 6's checks and in make watch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError
from training_support import finished, manifest

from trm_repro.recipes.schema import Band
from trm_repro.training.early import early, said
from trm_repro.training.inspection import _early
from trm_repro.training.state import Place
from trm_repro.training.watch import beginning

ONE = Band(metric="train/lm_loss", steps=(2,), value=3.0, within=1e-6)
MEAN = Band(metric="train/lm_loss", steps=(2, 4), value=2.0, within=0.1)
SCORE = Band(metric="ARC/pass@2", steps=(5,), value=0.0, within=0.5)
LINES = [{"step": step, "train/lm_loss": loss} for step, loss in ((1, 4.0), (2, 3.0), (3, 2.0), (4, 1.1))]
LINES += [{"step": 5, "train/lm_loss": 1.0}, {"step": 5, "ARC/pass@2": 0.0}, {"step": 6, "train/lm_loss": 0.9}]


def write(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_values_and_means_lie_in_their_bands(tmp_path: Path) -> None:
    found = early([ONE, MEAN, SCORE], write(tmp_path / "metrics.jsonl", LINES))
    assert [entry.found for entry in found] == [3.0, pytest.approx(6.1 / 3), 0.0]
    assert all(entry.inside for entry in found)
    assert said(found) == "as expected, 3 of 3 values seen"


def test_a_training_on_its_way_is_judged_by_what_it_has_reached(tmp_path: Path) -> None:
    assert said(early([ONE, MEAN], tmp_path / "none")) == "none of the expected values is there yet"
    found = early([ONE, MEAN, SCORE], write(tmp_path / "metrics.jsonl", LINES[:3]))
    assert [entry.found for entry in found] == [3.0, None, None]
    assert said(found) == "as expected, 1 of 3 values seen"


def test_a_mean_is_of_what_there_is_once_its_steps_are_over(tmp_path: Path) -> None:
    """An evaluation comes at few steps; a line may have been cut off."""
    score = SCORE.model_copy(update={"steps": (2, 5), "value": 0.5, "within": 0.15})
    lines = [{**line} for line in LINES if line["step"] != 5] + [{"step": 3, "ARC/pass@2": 0.5}]
    lines.sort(key=lambda line: int(str(line["step"])))
    path = tmp_path / "metrics.jsonl"
    assert early([score], write(path, lines[:-1]))[0].found is None
    [found] = early([score], write(path, lines))
    assert found.found == 0.5 and "expected 0.5 ± 15 %, found 0.5" in str(found)


@pytest.mark.parametrize(
    "line", [b"[]", b'{"a": 1}', b'{"step": "x"}', b"[" * 100_000, b"\xff", b'{"step": 3, "train/lm', b"null"]
)
@pytest.mark.parametrize("at", [0, 2])
def test_a_line_that_is_none_is_passed_over(tmp_path: Path, line: bytes, at: int) -> None:
    path = write(tmp_path / "metrics.jsonl", LINES)
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:at], line, *lines[at:]]))
    assert said(early([ONE, MEAN, SCORE], path)) == "as expected, 3 of 3 values seen"


@pytest.mark.parametrize("value", [None, "many", [3.0], 10**400])
def test_a_value_that_is_no_number_is_not_on_record(tmp_path: Path, value: object) -> None:
    lines = [{**line, "train/lm_loss": value} if line["step"] == 2 else line for line in LINES]
    assert early([ONE], write(tmp_path / "metrics.jsonl", lines))[0].found is None


@pytest.mark.parametrize("value", [3.00001, 2.9, "nan", "inf"])
def test_what_is_off_is_named(tmp_path: Path, value: object) -> None:
    lines = [{**line, "train/lm_loss": value} if line["step"] == 2 else line for line in LINES]
    [found] = early([ONE], write(tmp_path / "metrics.jsonl", lines))
    assert not found.inside
    assert said([found]).startswith(
        "NOT as expected, 1 of 1 values; first: train/lm_loss at step 2: expected 3 ± 0.0001 %"
    )


def test_zero_stays_zero(tmp_path: Path) -> None:
    lines = [{**line, "ARC/pass@2": 1e-9} for line in LINES]
    assert not early([SCORE], write(tmp_path / "metrics.jsonl", lines))[0].inside


def test_a_long_file_is_read_no_further_than_needed(tmp_path: Path) -> None:
    path = write(tmp_path / "metrics.jsonl", LINES)
    with path.open("a") as file:
        file.write('{"step": "no number"}\n')  # behind the first line beyond the last band
    assert early([SCORE], path)[0].inside


NAN, INF = float("nan"), float("inf")
WRONG = [
    {"steps": (4, 2)},
    {"steps": (-1,)},
    {"within": -1},
    {"steps": ()},
    {"value": NAN},
    {"within": INF},
    {"metric": ""},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_band_that_means_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Band(**{**ONE.model_dump(), **wrong})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return finished(tmp_path_factory.mktemp("run"))


def expecting(place: Place, *bands: Band) -> Place:
    expected = place.recipe.expected.model_copy(update={"early": list(bands)})
    return replace(place, recipe=place.recipe.model_copy(update={"expected": expected}))


def test_step_6_says_whether_it_began_as_expected(place: Place) -> None:
    entry = next(json.loads(line) for line in (place.folder / "metrics.jsonl").open() if "ARC/pass@2" in line)
    band = Band(metric="ARC/pass@2", steps=(entry["step"],), value=entry["ARC/pass@2"], within=0.01)
    right, record = expecting(place, band), manifest(place.recipe)
    assert _early(right, record).outcome == "holds"
    assert beginning(right) == "as expected, 1 of 1 values seen"
    wrong = expecting(place, band, band.model_copy(update={"value": 0.9}))
    assert _early(wrong, record).outcome == "broken"
    assert "expected 0.9" in _early(wrong, record).lines[0] and beginning(wrong).startswith("NOT as expected")
    late = expecting(place, band, ONE)
    assert _early(late, record).lines[0].endswith("not on record")
    assert _early(expecting(place, ONE), record).outcome == "skipped"
    other = manifest(place.recipe, commands=[])
    assert _early(right, other).outcome == "skipped" and beginning(place) == ""
