"""A finding: one thing that the run needs, as it is judged; and what the rules that judge share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trm_repro.machine.budget import GB
from trm_repro.machine.survey import Survey
from trm_repro.recipes.schema import Recipe


@dataclass(frozen=True)
class Finding:
    """One thing that the run needs.

    Attributes:
        what: its name, by which the words for it are found.
        state: ok, warning, problem or unknown.
        facts: what the words are filled with.
        case: which words, where there are several.
    """

    what: str
    state: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    case: str = ""


Rule = Callable[[Recipe, Survey], Iterable[Finding]]


def state_of(good: bool, otherwise: str = "problem") -> str:
    """``ok``, or what it is otherwise."""
    return "ok" if good else otherwise


def one(what: str, state: str, case: str = "", /, **facts: Any) -> list[Finding]:
    """A single finding, with its facts."""
    return [Finding(what, state, facts, case)]


def process_count(recipe: Recipe, survey: Survey) -> int:
    """How many processes will train here."""
    most = int(survey.environ.get("MAX_GPUS_TO_USE") or recipe.max_gpus_to_use)
    return recipe.process_count(min(len(survey.gpus) or most, most))


def gb(size: float) -> str:
    """Bytes as text."""
    return f"{size / GB:.1f} GB"
