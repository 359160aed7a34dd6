"""Where a run's number comes from, as an evaluation after the run says: beside the run's own account, and no part of it.

`trm-repro evaluate --run` leaves it in ``evaluation/`` beside the manifest. What it says of weights or test inputs that
are not the run's, by their digests, is not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.arc.score import name
from trm_repro.errors import ReproError
from trm_repro.report.series import Chart, Curve
from trm_repro.runs.checkpoints import step_of
from trm_repro.runs.evaluations import FILE, FOLDER, Evaluation, Result, Table, augmentations, read_evaluation, tables

INPUTS = "test/all__inputs.npy"  # of a dataset: what tells its test split from others
DRAWN = (1, 2)  # the K of pass@K that have curves
Rows = Sequence[tuple[float, Mapping[str, float | None]]]


@dataclass(frozen=True)
class Origin:
    """What is shown of it: a sentence, tables by checkpoint, curves."""

    said: str
    tables: tuple[tuple[str, Table], ...] = ()
    charts: tuple[Chart, ...] = ()


def read_origin(folder: Path, manifest: Mapping[str, Any]) -> Origin | None:
    """What lies beside a run's manifest; None where nothing does.

    Args:
        folder: of the manifest.
        manifest: the run's manifest.
    """
    path = folder / FOLDER / FILE
    if not path.is_file():
        return None
    try:
        evaluation = read_evaluation(path)
    except ReproError as error:
        return Origin(f"Not shown: {str(error).replace(f'{folder}/', '')}.")
    steps = _checkpoints(manifest)
    found = [(steps[r.sha256], r) for r in evaluation.checkpoints if r.sha256 in steps]
    inputs = {entry["sha256"] for entry in manifest["outputs"] if entry["path"].endswith(INPUTS)}
    if evaluation.test_inputs_sha256 not in inputs or not found:
        return Origin(f"Not shown: {FOLDER}/{FILE} is of other weights, or of other test inputs, than this run's.")
    last = max(found, key=lambda one: one[0])
    return Origin(
        _said(evaluation, [step for step, _ in found]),
        tuple((f"step {step:,}", table) for step, result in found for table in tables(result)),
        tuple(chart for chart in (_over_training(found), _by_augmentations(last[1]), _by_step(last[1])) if chart),
    )


def _checkpoints(manifest: Mapping[str, Any]) -> dict[str | None, int]:
    """The steps of the run's checkpoints, by digest."""
    roles = ("checkpoint", "final-checkpoint")
    return {entry["sha256"]: step_of(entry["path"]) for entry in manifest["outputs"] if entry["role"] in roles}


def _said(evaluation: Evaluation, steps: Sequence[int]) -> str:
    which = f"step{'' if len(steps) == 1 else 's'} {', '.join(f'{step:,}' for step in steps)}"
    part = " One batch of the test split only." if evaluation.one_batch else ""
    return (
        f"An evaluation after the run, of the checkpoint at {which}, which the digests know as the run's. It is information "
        f"beside the run, and no part of what the manifest vouches for.{part}"
    )


def _over_training(found: Sequence[tuple[int, Result]]) -> Chart | None:
    alone = [(float(step), result.vote_alone) for step, result in found]
    common = [(float(step), result.accumulated.scores) for step, result in found if result.accumulated]
    curves = [*_curves(alone, "one checkpoint alone"), *_curves(common, "the common vote until then")]
    return _chart("Alone and accumulated: pass@K per task", curves, "training steps") if len(found) > 1 else None


def _by_augmentations(result: Result) -> Chart | None:
    if not result.by_augmentations:
        return None
    rows = result.by_augmentations.rows
    curves = _curves([(float(place), row.scores) for place, row in enumerate(rows)], "")
    return _chart(
        "By number of augmentations: pass@K per task", curves, "augmentations", tuple(map(augmentations, rows))
    )


def _by_step(result: Result) -> Chart | None:
    rows = result.by_step
    means = [{"accuracy": row.accuracy, "exact_accuracy": row.exact_accuracy} for row in rows]
    alone = [(float(row.step), {**mean, **row.scores}) for row, mean in zip(rows, means, strict=True)]
    pooled = [(float(row.step), row.pooled) for row in rows]
    curves = [*_curves(alone, "the step alone"), *_curves(pooled, "all steps so far, pooled")]
    return _chart("By supervision step", curves, "supervision steps")


def _curves(rows: Rows, whose: str) -> list[Curve]:
    curves = []
    for metric, label in (
        *((name(k), f"pass@{k}") for k in DRAWN),
        ("exact_accuracy", "whole grids"),
        ("accuracy", "cells"),
    ):
        points = tuple((x, share) for x, scores in rows if (share := scores.get(metric)) is not None)
        curves.append(Curve(", ".join(filter(None, (label, whose))), points, dots=True))
    return [curve for curve in curves if curve.points]


def _chart(title: str, curves: Sequence[Curve], across: str, places: tuple[str, ...] = ()) -> Chart | None:
    """A chart of curves that have more than one point."""
    if not any(len(curve.points) > 1 for curve in curves):
        return None
    return Chart(title, "share", tuple(curves), share=True, across=across, places=places)
