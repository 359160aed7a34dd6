"""What a report draws over the steps of a training: its curves, and the dots of its evaluations.

Training logs one line a step, some 700,000 in a full run: a curve keeps the mean of every stretch, not every point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trm_repro.arc.score import name
from trm_repro.recipes.published import known_points
from trm_repro.runs.curves import Curves

POINTS = 240  # a curve is drawn some 600 pixels wide
CURVES = tuple(f"train/{name}" for name in ("lm_loss", "accuracy", "exact_accuracy", "q_halt_accuracy", "q_halt_loss"))


@dataclass(frozen=True)
class Curve:
    """One line of a chart: ``dots`` for the few values of evaluations, else a line."""

    name: str
    points: tuple[tuple[float, float], ...]
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves that belong together, over training steps or something else.

    Attributes:
        title: what it shows.
        unit: of the values.
        curves: its curves.
        share: whether values lie between 0 and 1.
        across: what the curves are over.
        places: what the points 0, 1, 2 … are called, where they are no numbers.
    """

    title: str
    unit: str
    curves: tuple[Curve, ...]
    share: bool = False
    note: str = ""
    across: str = "training steps"
    places: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(curve.points for curve in self.curves)


def thin(steps: npt.ArrayLike, values: npt.ArrayLike, points: int = POINTS) -> tuple[tuple[float, float], ...]:
    """At most ``points`` points: the mean step and mean value of equal stretches."""
    steps, values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    stride = -(-len(steps) // points) or 1
    stretches = (slice(start, start + stride) for start in range(0, len(steps), stride))
    with np.errstate(all="ignore"):  # a stranger's infinities
        return tuple((float(np.mean(steps[s])), float(np.mean(values[s]))) for s in stretches)


def charts(training: Curves, evaluations: Sequence[Mapping[str, Any]], benchmark: str) -> list[Chart]:
    """The charts of a training, those without a point too.

    Args:
        training: the curves named in :data:`CURVES`.
        evaluations: the metrics of every evaluation.
        benchmark: whose published numbers may stand beside these; empty for none.
    """

    def line(name: str, label: str) -> Curve:
        return Curve(label, thin(*training.get(f"train/{name}", ((), ()))))

    def dots(name: str, label: str) -> Curve:
        points = [(entry["step"], entry[name]) for entry in evaluations if isinstance(entry.get(name), (int, float))]
        return Curve(label, tuple(points), dots=True)

    ks = sorted(
        {int(name.partition("@")[2]) for entry in evaluations for name in entry if name.startswith("ARC/pass@")}
    )
    last = max((entry["step"] for entry in evaluations), default=0)
    theirs = [
        Curve(f"{point.who}: {point.what}", ((step, point.value),), dots=True)
        for step, point in known_points(benchmark, last, {name(k) for k in ks})
    ]
    return [
        Chart("Loss", "per example", (line("lm_loss", "training"), dots("all.lm_loss", "evaluation"))),
        Chart(
            "Accuracy",
            "share",
            (
                line("accuracy", "cells, training"),
                line("exact_accuracy", "whole grids, training"),
                dots("all.accuracy", "cells, evaluation"),
                dots("all.exact_accuracy", "whole grids, evaluation"),
            ),
            share=True,
        ),
        Chart(
            "Halting: is its guess about itself right?",
            "share of grids",
            (
                line("q_halt_accuracy", "guess right, training"),
                dots("all.q_halt_accuracy", "guess right, evaluation"),
                Curve("always the commoner guess, evaluation", _commoner(evaluations), dots=True),
            ),
            share=True,
            note=_known_of_itself(evaluations),
        ),
        Chart("Halting loss", "per example", (line("q_halt_loss", "training"), dots("all.q_halt_loss", "evaluation"))),
        Chart(
            "pass@K per task",
            "share of tasks",
            (*(dots(f"ARC/pass@{k}", f"pass@{k}") for k in ks), *theirs),
            share=True,
        ),
    ]


def _commoner(evaluations: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, float], ...]:
    """How often the commoner of "right" and "wrong" is right of whole grids, at each evaluation."""
    exact = [
        (entry["step"], entry.get("all.exact_accuracy")) for entry in evaluations if "all.q_halt_accuracy" in entry
    ]
    return tuple((step, max(share, 1 - share)) for step, share in exact if isinstance(share, (int, float)))


def _known_of_itself(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """What the last evaluation says of whether the model knows when it is right, in a sentence; empty without one."""
    last: Mapping[str, Any] = evaluations[-1] if evaluations else {}
    guess, exact = (last.get(f"all.{name}") for name in ("q_halt_accuracy", "exact_accuracy"))
    if not isinstance(guess, (int, float)) or not isinstance(exact, (int, float)):
        return ""
    if exact in (0, 1):
        what, word = ("no grid", "wrong") if exact == 0 else ("every grid", "right")
        return f"With {what} right, whoever always guesses “{word}” is right each time: this says nothing of what it knows."
    more = 100 * (guess - max(exact, 1 - exact))
    if more <= 0:
        return "It knows no more than how often it is right: always the commoner guess does as well."
    return f"Its guess is right {more:.1f} points more often than the commoner guess: so much it knows of itself."
