"""Numbers that somebody claims: said on the command line, on a card, in a results file, in a manifest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trm_repro.arc.score import LOGGED
from trm_repro.audit.subject import Subject
from trm_repro.errors import ReproError, UsageError
from trm_repro.files import parse_yaml, read_bytes
from trm_repro.provenance.bundle import TEXT

CLAIM = re.compile(r"([^=]+)=([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(%?)")
PASS = re.compile(r"(?:ARC/)?pass@([0-9]{1,6})(?:\s+per\s+(task|test input))?", re.IGNORECASE)
MOST = 200  # numbers of one card


@dataclass(frozen=True)
class Number:
    """A number that is claimed.

    Attributes:
        name: of the metric, as it stands there.
        share: from 0 to 1.
        by: who claims it.
        written: as it was written.
    """

    name: str
    share: float
    by: str
    written: str

    @property
    def k(self) -> int:
        """The K of a pass@K; 0 of another metric."""
        found = PASS.fullmatch(self.name.strip())
        return int(found[1]) if found else 0

    @property
    def metric(self) -> str:
        """``task`` or ``test input``, where the name says which; empty where it does not."""
        found = PASS.fullmatch(self.name.strip())
        return "task" if found and self.name.startswith(LOGGED) else (found[2] or "").lower() if found else ""

    @property
    def tolerance(self) -> float:
        """One of the last digit that was written, half a per cent at most; of nothing, nearly nothing."""
        digits = self.written.rstrip("% ").lower().partition("e")[0].partition(".")[2]
        last = 10.0 ** -len(digits) / (100 if self.percent else 1)
        return min(last, 0.005) * 1.001 + 1e-9 if self.share else 5e-4

    @property
    def percent(self) -> bool:
        """Whether it was written in per cent."""
        return "%" in self.written


def said(words: Iterable[str]) -> tuple[list[Number], str]:
    """The numbers of ``--claim NAME=VALUE`` words (``pass@2=0.078``, ``pass@2=7.8%``), and the recipe of ``recipe=NAME``.

    Raises:
        UsageError: a word is no claim.
    """
    numbers, recipe = [], ""
    for word in words:
        if word.startswith("recipe="):
            recipe = word.removeprefix("recipe=")
            continue
        found = CLAIM.fullmatch(word)
        number = _number(found[1].strip(), found[2], "--claim", percent=bool(found[3])) if found else None
        if not number:
            raise UsageError(
                f"--claim {word}: not a claim",
                hint="NAME=VALUE, such as pass@2=0.078, pass@2=7.8% or recipe=arc2-paper",
            )
        numbers.append(number)
    return numbers, recipe


def _number(name: str, value: Any, by: str, *, percent: bool = False) -> Number | None:
    """A number as a share: what is above 1 must be per cent."""
    try:
        amount, text = float(value), str(value).strip()
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(value, bool) or not 0 <= amount <= 100:
        return None
    percent = percent or amount > 1
    return Number(name[:100], amount / 100 if percent else amount, by, f"{text} %" if percent else text)


def written(subject: Subject) -> Iterator[Number]:
    """The numbers that files of the subject claim: the cards' model-index, the hub's results files, a manifest's metrics.

    Raises:
        InvariantBroken: a file cannot be read.
    """
    for name in subject.cards:
        read = _of_card if name == "README.md" else _of_results
        yield from list(read(read_bytes(subject.root / name, TEXT).decode(errors="replace"), name))[:MOST]
    for name, value in (subject.manifest or {}).get("metrics", {}).items():
        if name.startswith(LOGGED) and (number := _number(name, value, "manifest.json")):
            yield number


def _of_card(text: str, file: str) -> Iterator[Number]:
    """The results in a card's front matter, which the hub shows."""
    if not text.startswith("---\n") or "\n---" not in text[4:]:
        return
    try:
        matter = parse_yaml(text[4:].partition("\n---")[0].encode(), file)
    except ReproError:
        return  # a stranger's card need not be the hub's
    for model in _items(matter, "model-index"):
        for result in _items(model, "results"):
            for metric in _items(result, "metrics"):
                name = metric.get("name") or metric.get("type")
                if number := _number(str(name), metric.get("value"), f"{file}, model-index"):
                    yield number


def _of_results(text: str, file: str) -> Iterator[Number]:
    """The results in one of the hub's ``.eval_results`` files; ours say in their notes what they are."""
    try:
        found = parse_yaml(text.encode(), file)
    except ReproError:
        return
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict):
            notes = str(entry.get("notes") or "")
            name = PASS.search(notes) or PASS.search(str(entry))
            if number := _number(name[0] if name else "value", entry.get("value"), file, percent="per cent" in notes):
                yield number


def _items(value: Any, key: str) -> list[Mapping[str, Any]]:
    """The mappings in a list at a key; none where there is no such list."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
