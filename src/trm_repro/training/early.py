"""Whether a training began as it should: its first steps beside what the recipe knows of them (``expected.early``).

A band is the mean of a metric over some steps, as somebody measured it, and how far off it may be. Where data, seed and
arithmetic fix what comes out, that is one value and rounding; for a GPU it is what several runs had. It is known in minutes
whether a run of days lies outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.recipes.schema import Band
from trm_repro.runs.metrics import read_entry, series


@dataclass(frozen=True)
class Reached:
    """A band, and what the training had there; None where it has not come that far."""

    band: Band
    found: float | None

    @property
    def inside(self) -> bool:
        """Whether what was found lies in the band."""
        off = abs(self.band.value) * self.band.within
        return self.found is not None and abs(self.found - self.band.value) <= off

    def __str__(self) -> str:
        first, last = self.band.steps[0], self.band.steps[-1]
        where = f"at step {first}" if first == last else f"over steps {first} to {last}"
        found = "not on record" if self.found is None else f"{self.found:.10g}"
        wide = f" ± {self.band.within * 100:.3g} %" if self.band.within else ""
        return f"{self.band.metric} {where}: expected {self.band.value:.10g}{wide}, found {found}"


def early(bands: Sequence[Band], metrics: Path) -> list[Reached]:
    """Each band, with what a metrics file has there."""
    entries = list(_head(metrics, max((band.steps[-1] for band in bands), default=0)))
    return [Reached(band, _mean(band, entries)) for band in bands]


def said(reached: Sequence[Reached]) -> str:
    """How it began, in a sentence."""
    outside = [entry for entry in reached if entry.found is not None and not entry.inside]
    if outside:
        return f"NOT as expected, {len(outside)} of {len(reached)} values; first: {outside[0]}"
    seen = sum(entry.found is not None for entry in reached)
    return f"as expected, {seen} of {len(reached)} values seen" if seen else "none of the expected values is there yet"


def _mean(band: Band, entries: list[dict[str, Any]]) -> float | None:
    """The mean over the band's steps; None before the last of them is there. An evaluation's metrics are at few of them."""
    first, last = band.steps[0], band.steps[-1]
    values = dict(series(entries, band.metric))
    inside = [value for step, value in values.items() if first <= step <= last]
    over = last in values or any(entry["step"] > last for entry in entries)
    return sum(inside) / len(inside) if inside and over else None


def _head(path: Path, last: int) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file up to a step, and the first one after it; a whole run has some 700,000."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            if (entry := read_entry(line)) is None:
                continue  # the last one of a run that goes on
            yield entry
            if entry["step"] > last:
                return
