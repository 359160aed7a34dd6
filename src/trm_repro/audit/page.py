"""The page of an audit: what is claimed, what was found, and a verdict for each; as text, Markdown and JSON.

A row stands for something that somebody claims, in words or by how he laid out his files. What nobody can know from the files
is listed by name, with what would tell; what was seen and nobody claims is a note. Neither decides anything.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from trm_repro.errors import printable

AGREES, CONTRADICTS, CANNOT_TELL = "AGREES", "CONTRADICTS", "CANNOT TELL"
EXIT = {AGREES: 0, CONTRADICTS: 1, CANNOT_TELL: 3}
FORMAT = "trm-repro/audit/v1"
WIDTH, LONG = 100, 2000  # columns of the text; characters of one cell


@dataclass(frozen=True)
class Row:
    """One claim.

    Attributes:
        about: what it is about, in a word or two.
        claim: what is claimed, and by whom or what.
        found: what was found.
        verdict: AGREES, CONTRADICTS or CANNOT TELL.
    """

    about: str
    claim: str
    found: str
    verdict: str


@dataclass
class Page:
    """What an audit found.

    Attributes:
        subject: what was audited.
        rows: the claims, in order.
        unknown: what cannot be known from these files: what, why, what would tell.
        notes: what was seen and nobody claims.
    """

    subject: str
    rows: list[Row] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def agrees(self, about: str, claim: str, found: str) -> None:
        """Adds a claim that agrees with what was found."""
        self.rows.append(Row(about, claim, found, AGREES))

    def contradicts(self, about: str, claim: str, found: str) -> None:
        """Adds a claim that what was found contradicts."""
        self.rows.append(Row(about, claim, found, CONTRADICTS))

    def cannot_tell(self, about: str, claim: str, found: str) -> None:
        """Adds a claim of which nothing can be told; ``found`` says why, and what would tell."""
        self.rows.append(Row(about, claim, found, CANNOT_TELL))

    def judge(self, about: str, claim: str, wrong: Sequence[str], seen: str) -> None:
        """Adds a claim: contradicted by what is wrong, or else agreeing with what was seen."""
        if wrong:
            more = f"; and {len(wrong) - 8} more" if len(wrong) > 8 else ""
            self.contradicts(about, claim, "; ".join(wrong[:8]) + more)
        else:
            self.agrees(about, claim, seen)

    @property
    def verdict(self) -> str:
        """Of all claims together: contradicted if one is; else untold if one is, or if there is none."""
        found = {row.verdict for row in self.rows}
        if CONTRADICTS in found:
            return CONTRADICTS
        return AGREES if found == {AGREES} else CANNOT_TELL

    @property
    def exit_code(self) -> int:
        """0 agrees, 1 contradicts, 3 cannot tell."""
        return EXIT[self.verdict]

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        count = {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in EXIT}
        said = f"{len(self.rows)} claim{'' if len(self.rows) == 1 else 's'}: {count[AGREES]} agree"
        said += f", {count[CONTRADICTS]} contradicted, {count[CANNOT_TELL]} cannot be told"
        if names := list(dict.fromkeys(name for name, _ in self.unknown)):
            said += f"; not to be known from these files: {', '.join(names)}"
        return f"{self.verdict}: {said}" if self.rows else f"{CANNOT_TELL}: nothing here claims anything"

    def __str__(self) -> str:
        lines = [f"audit of {self.subject}", self.headline, ""]
        for row in self.rows:
            lines += _wrapped(f"{row.verdict:12} ", f"{row.about}: {row.claim}")
            lines += _wrapped(f"{'':12} → ", row.found)
        for title, said in self._rest():
            lines += ["", f"{title}:", *(line for text in said for line in _wrapped("  * ", text))]
        return "\n".join(map(printable, lines))

    def markdown(self) -> str:
        """As a page of Markdown."""
        lines = [f"# Audit of {_cell(self.subject)}", "", _cell(self.headline), ""]
        lines += ["| about | claim | found | verdict |", "|---|---|---|---|"]
        for row in self.rows:
            lines.append("| " + " | ".join(map(_cell, (row.about, row.claim, row.found, row.verdict))) + " |")
        for title, said in self._rest():
            lines += ["", f"## {title}", "", *(f"* {_cell(text)}" for text in said)]
        return "\n".join(lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """As values."""
        return {
            "format": FORMAT,
            "subject": _clean(self.subject),
            "verdict": self.verdict,
            "rows": [
                {"about": r.about, "claim": _clean(r.claim), "found": _clean(r.found), "verdict": r.verdict}
                for r in self.rows
            ],
            "unknown": [{"what": what, "why": _clean(why)} for what, why in self.unknown],
            "notes": [_clean(note) for note in self.notes],
        }

    def _rest(self) -> Iterable[tuple[str, list[str]]]:
        if self.unknown:
            yield "Cannot be known from these files", [f"{what}: {why}" for what, why in self.unknown]
        if self.notes:
            yield "Seen besides", self.notes


def worst(pages: Sequence[Page]) -> int:
    """The exit code of several audits: 1 if one contradicts, else the highest."""
    codes = [page.exit_code for page in pages]
    return 1 if 1 in codes else max(codes, default=EXIT[CANNOT_TELL])


def _wrapped(start: str, text: str) -> list[str]:
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.wrap(_clean(text), WIDTH, initial_indent=start, subsequent_indent=" " * len(start), **options)


def _clean(text: str) -> str:
    text = text if len(text) <= LONG else text[:LONG] + " …"
    return printable(" ".join(text.split()))


def _cell(text: str) -> str:
    """A text that stays inside its cell, and makes no link and no HTML."""
    for mark in "\\|<>[]`*":
        text = text.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return _clean(text)
