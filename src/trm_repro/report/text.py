"""The report's twin in Markdown, for READMEs and attestations: the same facts, curves as lines of blocks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from trm_repro.arc.score import title
from trm_repro.report import words
from trm_repro.report.facts import Facts
from trm_repro.report.origin import Origin
from trm_repro.report.series import Chart, Curve, thin

BLOCKS = "▁▂▃▄▅▆▇█"
LENGTH = 40  # characters of a curve


def markdown(facts: Facts, origin: Origin | None = None) -> str:
    """The whole file; with where the number comes from, if an evaluation told."""
    manifest = facts.manifest
    reasons = "".join(f"\n* {reason}" for reason in words.why(facts))
    deviations = "\n".join(f"* {entry['id']}: {entry['title']}" for entry in manifest["deviations"])
    commands = "\n".join(shlex.join(entry["argv"]) for entry in manifest["commands"])
    solved = f"{facts.solved[0]} of {facts.solved[1]} test inputs are right.\n" if facts.solved else ""
    parts = [
        f"# {facts.title}",
        f"**{facts.verdict}.** {facts.vouched} Run `{manifest['run']['name']}`.{reasons}",
        "## The number",
        words.number(facts),
        words.span(facts),
        _table(("who", "number", "machine", "source"), words.comparison(facts)),
        "## Curves",
        "\n".join(line for chart in facts.charts for line in _chart(chart)) or "No metrics yet.",
        _evaluations(facts),
        _origin(origin),
        "## Time and cost",
        _table(("step", "time", "result"), words.times(facts)),
        words.cost(facts),
        "## Evaluation tasks" if facts.gallery else "",
        solved,
        _table(
            ("task", "test input", "attempts"),
            ((f"`{s.task}`", str(s.index + 1), "; ".join(words.attempts(s))) for s in facts.gallery),
        ),
        "## Do it again",
        f"In a clone of trm-repro at commit `{manifest['tool']['commit']}`:\n\n```sh\n{facts.reproduce}\n```",
        "## Provenance",
        _table(("what", "value"), words.provenance(facts)),
        f"Deviations from the documents:\n\n{deviations}" if deviations else "",
        f"Commands:\n\n```sh\n{commands}\n```" if commands else "",
        _table(("guard", "outcome", "detail"), words.guards(facts)),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _origin(origin: Origin | None) -> str:
    if not origin:
        return ""
    parts = ["## Where the number comes from", origin.said]
    parts.append("\n".join(line for chart in origin.charts for line in _chart(chart)))
    for step, table in origin.tables:
        parts += [f"{step}, {table.caption}, in per cent:", _table(table.columns, table.rows), *table.notes]
    return "\n\n".join(filter(None, parts))


def _chart(chart: Chart) -> list[str]:
    lines = [f"* **{chart.title}** ({chart.unit})"]
    for curve in chart.curves:
        if curve.points:
            first, last = curve.points[0][1], curve.points[-1][1]
            lines.append(f"  * {curve.name}: `{spark(curve)}` {first:.3g} → {last:.3g}")
    return [*lines, *([f"  * {chart.note}"] if chart.note else [])]


def spark(curve: Curve) -> str:
    """A curve as a line of blocks, the lowest value the lowest block."""
    values = [y for _, y in thin([x for x, _ in curve.points], [y for _, y in curve.points], LENGTH)]
    low, high = min(values), max(values)
    span = (high - low) or 1
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(len(BLOCKS) * (value - low) / span))] for value in values)


def _evaluations(facts: Facts) -> str:
    names = sorted(
        {n for entry in facts.evaluations for n in entry if n.startswith("ARC/") or n == "all.exact_accuracy"},
        key=lambda name: (name.partition("@")[0], int(name.partition("@")[2] or 0)),
    )
    rows = [(str(e["step"]), *(words.percent(e[n]) if n in e else "" for n in names)) for e in facts.evaluations]
    return _table(("step", *map(title, names)), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    lines = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in (columns, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
