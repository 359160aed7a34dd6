"""The report as one HTML file: no network, no script, light and dark, narrow and wide, on paper."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from html import escape

from trm_repro.arc.score import title
from trm_repro.report import charts as pictures
from trm_repro.report import words
from trm_repro.report.facts import Facts, Shown
from trm_repro.report.origin import Origin
from trm_repro.report.style import STYLE


def page(facts: Facts, origin: Origin | None = None) -> str:
    """The whole file; with where the number comes from, if an evaluation told."""
    run = facts.manifest["run"]
    body = "\n".join(
        section
        for section in (
            _head(facts),
            _numbers(facts),
            _curves(facts),
            _origin(origin, len(facts.charts)),
            _times(facts),
            _gallery(facts),
            _reproduce(facts),
            _provenance(facts),
        )
        if section
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(run['name'])}: {escape(facts.title)}</title>\n"
        f'<link rel="icon" href="data:,">\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n'
    )


def _head(facts: Facts) -> str:
    kind = "good" if facts.manifest["faithful"] and not facts.state else "bad"
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in words.why(facts))
    run = facts.manifest["run"]
    return (
        f'<header><p class="quiet">trm-repro · run <code>{escape(run["name"])}</code> · '
        f"{escape(run['finished'] or run['started'])}</p>"
        f"<h1>{escape(facts.title)}</h1>"
        f'<p><span class="verdict {kind}">{escape(facts.verdict)}</span></p><p class=quiet>{escape(facts.vouched)}</p>'
        f"{f'<ul>{reasons}</ul>' if reasons else ''}</header>\n<main>"
    )


def _numbers(facts: Facts) -> str:
    score = facts.score
    big = (
        f'<p class="number">{escape(words.percent(score.value))} <small>{escape(title(score.metric))}</small></p>'
        if score
        else ""
    )
    picture = pictures.intervals(score, facts.others, facts.manifest["run"]["target_dataset"])
    rows = words.comparison(facts)
    table = (
        _table(("who", "number", "machine", "source"), rows, ours=bool(score), caption="Published numbers")
        if rows
        else ""
    )
    return _section(
        "The number", f"{big}<p>{escape(words.number(facts))}</p><p>{escape(words.span(facts))}</p>{picture}{table}"
    )


def _curves(facts: Facts) -> str:
    if not facts.charts:
        return _section("Curves", "<p>No metrics yet.</p>")
    charts = "".join(pictures.chart(chart, number) for number, chart in enumerate(facts.charts))
    return _section("Curves", f'<div class="charts">{charts}</div>')


def _origin(origin: Origin | None, number: int) -> str:
    if not origin:
        return ""
    charts = "".join(pictures.chart(chart, number + place) for place, chart in enumerate(origin.charts))
    shown = "".join(
        _table(table.columns, table.rows, caption=f"{step}, {table.caption}, in per cent")
        + "".join(f'<p class="quiet">{escape(note)}</p>' for note in table.notes)
        for step, table in origin.tables
    )
    return _section(
        "Where the number comes from", f'<p>{escape(origin.said)}</p><div class="charts">{charts}</div>{shown}'
    )


def _times(facts: Facts) -> str:
    table = _table(("step", "time", "result"), words.times(facts))
    return _section("Time and cost", f"{table}<p>{escape(words.cost(facts))}</p>")


def _gallery(facts: Facts) -> str:
    if not facts.gallery or not facts.solved:
        return ""
    right, total = facts.solved
    shown = "some that are, and the wrong ones that come nearest" if right else "those that come nearest"
    intro = (
        f"<p>{right} of {total} test inputs are right. Shown: {shown}. Above each stand its task's training pairs, the "
        "input to the left, all that there was to learn the rule from.</p>"
    )
    return _section("Evaluation tasks", intro + "".join(map(_shown, facts.gallery)))


def _shown(shown: Shown) -> str:
    verdict = '<span class="good">✓ solved</span>' if shown.right else '<span class="bad">✗ not solved</span>'
    captions = words.attempts(shown)
    grids = [("input", shown.input), ("truth", shown.truth)]
    grids += [(caption, attempt.grid) for caption, attempt in zip(captions, shown.attempts, strict=True)]
    figures = "".join(
        f"<figure>{pictures.grid(cells, name)}<figcaption>{escape(name)}</figcaption></figure>" for name, cells in grids
    )
    pairs = "".join(
        f"<figure><div>{pictures.grid(given, f'training input {number}')}"
        f"{pictures.grid(wanted, f'training output {number}')}</div>"
        f"<figcaption>training pair {number}</figcaption></figure>"
        for number, (given, wanted) in enumerate(shown.pairs, 1)
    )
    return (
        f'<article class="task"><h3><code>{escape(shown.task)}</code>, test input {shown.index + 1}: {verdict}</h3>'
        f'<div class="pairs">{pairs}</div><div class="grids">{figures}</div></article>'
    )


def _reproduce(facts: Facts) -> str:
    commit = facts.manifest["tool"]["commit"]
    return _section(
        "Do it again",
        f"<p>In a clone of trm-repro at commit <code>{escape(commit)}</code>:</p><pre>{escape(facts.reproduce)}</pre>"
        "<p>Check what came out, without trusting whoever made it: <code>trm-repro verify BUNDLE</code>.</p>",
    )


def _provenance(facts: Facts) -> str:
    manifest = facts.manifest
    commands = "".join(
        f"<p class=quiet>{escape(c['step'])}, in <code>{escape(c['cwd'])}</code>, {escape(c['started'])}, "
        f"exit {c['exit_code']}</p>"
        f"<pre>{escape(shlex.join(c['argv']))}</pre>"
        for c in manifest["commands"]
    )
    environment = manifest["versions"]["training"] or manifest["versions"]["tool"]
    installed = [
        f"<li>{escape(entry['name'])} {escape(entry['version'])}</li>" for entry in environment["distributions"]
    ]
    deviations = "".join(f"<li>{escape(d['id'])}: {escape(d['title'])}</li>" for d in manifest["deviations"])
    content = [
        _table(("what", "value"), words.provenance(facts), head=False),
        f"<h3>Deviations from the documents</h3><ul>{deviations}</ul>" if deviations else "",
        "<h3>Guards</h3>" + _table(("guard", "outcome", "detail"), words.guards(facts)),
        f"<h3>Commands</h3>{commands}",
        _details("Inputs", _table(("role", "path", "bytes", "SHA-256"), words.files(facts, "inputs"))),
        _details("Outputs", _table(("role", "path", "bytes", "SHA-256"), words.files(facts, "outputs"))),
        _details(f"{len(installed)} installed packages", f'<ul class="packages">{"".join(installed)}</ul>'),
    ]
    return _section("Provenance", "".join(content)) + "</main>"


def _section(title: str, content: str) -> str:
    name = title.lower().replace(" ", "-")
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>{content}</section>'


def _details(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, ours: bool = False, head: bool = True, caption: str = ""
) -> str:
    """A table that scrolls sideways by itself where it is too wide; its first column names the row.

    One of many columns is a list of rows on a phone.
    """
    lines = []
    for index, row in enumerate(rows):
        first, *rest = (_cell(value) for value in row)
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        lines.append(f'<tr{" class=ours" if ours and not index else ""}><th scope="row">{first}</th>{cells}</tr>')
    top = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    label = escape(caption or " ".join(columns))
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">'
        f"<table{' class=many' if len(columns) > 3 else ''}>"
        + (f"<caption>{escape(caption)}</caption>" if caption else "")
        + (f"<thead><tr>{top}</tr></thead>" if head else "")
        + f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(value: str) -> str:
    code = ("/" in value and " " not in value) or (len(value) == 64 and " " not in value)
    return f"<code>{escape(value)}</code>" if code else escape(value)
