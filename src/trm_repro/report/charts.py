"""Pictures as SVG inside the page: curves, intervals, grids. Colours are the page's, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from trm_repro.arc.picture import PALETTE
from trm_repro.arc.score import wilson
from trm_repro.recipes.published import TASKS, Result
from trm_repro.report.facts import Grid, Number
from trm_repro.report.series import Chart, Curve

WIDTH, HEIGHT = 460, 230  # of a chart
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 38
ACROSS, NAMED, VALUED, ROW = 470, 150, 58, 42  # of the intervals: whole, for names, for values; legible on a phone
DASHES = ("", "7 4", "2 4", "10 3 2 3", "1 3", "14 5")  # lines differ in more than colour
NAMES = ("black", "blue", "red", "green", "yellow", "grey", "pink", "orange", "light blue", "brown")


def chart(drawn: Chart, number: int) -> str:
    """A chart with axes and a legend; its text says what the curves do, for those who cannot see them."""
    points = [point for curve in drawn.curves for point in curve.points]
    right = max(x for x, _ in points)
    ticks = _ticks(min(0.0, *(y for _, y in points)), max(y for _, y in points))
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * value / (right or 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / ((high - low) or 1)

    parts = [
        f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{_label(t, drawn.share)}</text>'
        for t in ticks
    ]
    marks: list[tuple[float, str]] = list(enumerate(drawn.places)) or [
        (t, f"{t:,.0f}") for t in _ticks(0, right) if t <= right and t % 1 == 0
    ]
    parts += [
        f'<text x="{x(t):.1f}" y="{HEIGHT - 20}" text-anchor="middle">{escape(called)}</text>' for t, called in marks
    ]
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end">{escape(drawn.across)}</text>')
    curves = [curve for curve in drawn.curves if curve.points]
    for index, curve in enumerate(curves):
        parts.append(_curve(index, [(x(a), y(b)) for a, b in curve.points], dots=curve.dots))
    described = "; ".join(_described(curve, drawn.share) for curve in curves)
    legend = "".join(
        f'<li><svg width="26" height="12" aria-hidden="true">{_curve(i, [(4, 6), (22, 6)], dots=curve.dots)}</svg> '
        f"{escape(curve.name)}</li>"
        for i, curve in enumerate(curves)
    )
    return (
        f'<figure><figcaption>{escape(drawn.title)} <span class="quiet">({escape(drawn.unit)})</span></figcaption>'
        f'<svg role="img" aria-labelledby="chart{number}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<title id="chart{number}">{escape(drawn.title)} over {escape(drawn.across)}: {escape(described)}</title>'
        f'{"".join(parts)}</svg><ul class="legend">{legend}</ul>'
        f"{f'<p class=quiet>{escape(drawn.note)}</p>' if drawn.note else ''}</figure>"
    )


def _curve(index: int, places: Sequence[tuple[float, float]], *, dots: bool) -> str:
    dash = f' stroke-dasharray="{DASHES[index % len(DASHES)]}"' if DASHES[index % len(DASHES)] else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    line = f'<polyline class="c{index % 6}" points="{path}"{dash}/>'
    if not dots:
        return line
    return line + "".join(f'<circle class="c{index % 6}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places)


def _described(curve: Curve, share: bool) -> str:
    first, last = curve.points[0][1], curve.points[-1][1]
    if len(curve.points) == 1:
        return f"{curve.name} {_label(last, share)}"
    return f"{curve.name} from {_label(first, share)} to {_label(last, share)}"


def _label(value: float, share: bool) -> str:
    return f"{100 * value:.3g} %" if share else f"{value:.3g}"


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``, some four to six of them."""
    if high <= low:
        high = low + 1
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    return [round(step * i, 12) for i in range(first, math.ceil(high / step - 1e-9) + 1)]


def intervals(score: Number | None, others: Sequence[Result], target: str) -> str:
    """This run's number and the published ones on one axis, and what each is a number of.

    Each has its 95 % interval where it is of tasks whose number is known.
    """
    rows: list[tuple[str, str, float, float, float]] = []
    if score:
        rows.append((f"this run, {score.of} tasks" if score.of else "this run", "", score.value, score.low, score.high))
    for other in others:
        if other.open:
            of = TASKS.get(target, 0) if other.metric.endswith("per task") else 0
            low, high = wilson(other.value * of, of) if of else (other.value, other.value)
            rows.append((other.who, other.what, other.value, low, high))
    if not rows:
        return ""
    height = ROW * len(rows) + 30
    top = _ticks(0, max(high for *_, high in rows))

    def x(value: float) -> float:
        return NAMED + (ACROSS - NAMED - VALUED) * value / top[-1]

    parts = [
        f'<line class="rule" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="4" y2="{height - 24}"/>'
        f'<text x="{x(t):.1f}" y="{height - 8}" text-anchor="middle">{_label(t, True)}</text>'
        for t in top
    ]
    for row, (name, what, value, low, high) in enumerate(rows):
        y = 20 + ROW * row
        mark = "theirs" if what else "ours"
        parts.append(
            f'<text class="{mark}" x="{NAMED - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
            f'<line class="{mark}" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}"/>'
            f'<circle class="{mark}" cx="{x(value):.1f}" cy="{y}" r="5"/>'
            f'<text class="{mark}" x="{ACROSS - 4}" y="{y + 4}" text-anchor="end">{_label(value, True)}</text>'
            f'<text class="what" x="{ACROSS - 4}" y="{y + 20}" text-anchor="end">{escape(what)}</text>'
        )
    said = "; ".join(
        f"{name} {_label(v, True)}, {_label(a, True)} to {_label(b, True)}{f' ({what})' if what else ''}"
        for name, what, v, a, b in rows
    )
    return (
        f'<svg class="intervals" role="img" aria-labelledby="intervals" viewBox="0 0 {ACROSS} {height}">'
        f'<title id="intervals">Numbers with their 95 % intervals: {escape(said)}</title>{"".join(parts)}</svg>'
    )


def grid(cells: Grid, label: str) -> str:
    """A grid; equal neighbours in a row are one rectangle."""
    rows, columns = len(cells), len(cells[0]) if cells else 0
    if not rows or not columns:
        return f'<div class="empty" role="img" aria-label="{escape(label)}: empty">empty</div>'
    parts = []
    for row, line in enumerate(cells):
        start = 0
        for column in range(1, columns + 1):
            if column == columns or line[column] != line[start]:
                width = column - start
                parts.append(f'<path fill="{PALETTE[line[start]]}" d="M{start} {row}h{width}v1h-{width}z"/>')
                start = column
    across = "".join(f"M0 {row}h{columns}" for row in range(1, rows))
    down = "".join(f"M{column} 0v{rows}" for column in range(1, columns))
    used = ", ".join(NAMES[colour] for colour in sorted({cell for line in cells for cell in line}))
    return (
        f'<svg class="grid" role="img" aria-label="{escape(label)}: {rows} × {columns} cells; {used}" '
        f'viewBox="-0.05 -0.05 {columns + 0.1} {rows + 0.1}">{"".join(parts)}'
        f'<path class="lines" d="{across}{down}"/></svg>'
    )
