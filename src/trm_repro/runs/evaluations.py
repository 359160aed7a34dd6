"""``evaluation.json``: what ``trm-repro evaluate`` found, and where the number comes from, for terminals and reports alike.

An evaluation is information beside a run, and no part of it: it says which bytes it evaluated (``sha256`` of each checkpoint,
``test_inputs_sha256`` of the dataset), and a report shows it where those are the run's. docs/format.md has the keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trm_repro.arc.score import PER_TASK, counted
from trm_repro.errors import InvariantBroken
from trm_repro.files import read_json

FORMAT = "trm-repro/evaluation/v1"
FILE = "evaluation.json"
FOLDER = "evaluation"  # beside a run's manifest: where its report looks for one
BYTES = 8 << 20  # at most
COLUMNS = (1, 2, 1000)  # the K of pass@K that a table has, of those that are there

ShareOf = Annotated[float, Field(ge=0, le=1)]
Shares = dict[str, ShareOf]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Accumulated(_Part):
    """The common vote of a checkpoint and those before it."""

    checkpoints: int
    scores: Shares


class InTraining(_Part):
    """The vote that the training left beside a checkpoint."""

    submission: str
    accumulated: bool
    scores: Shares


class Augmentations(_Part):
    """A row: the votes of so many variants of each task; None: of all."""

    augmentations: int | None
    scores: Shares


class ByAugmentations(_Part):
    """The table; ``distinct`` is the least, the median and the most variants of a task."""

    tasks: int
    distinct: Annotated[list[float], Field(min_length=3, max_length=3)]
    rows: Annotated[list[Augmentations], Field(min_length=1)]


class Step(_Part):
    """The answers of a supervision step: alone, and pooled with those of the steps before."""

    step: int
    accuracy: ShareOf | None
    exact_accuracy: ShareOf | None
    scores: Shares = {}
    pooled: dict[str, ShareOf | None]


class Result(_Part):
    """One checkpoint's."""

    checkpoint: str
    sha256: str | None = None
    supervision_steps: int
    trained_with: int | None = None
    vote_alone: Shares = {}
    accumulated: Accumulated | None = None
    in_training: InTraining | None = None
    by_augmentations: ByAugmentations | None = None
    by_step: list[Step] = []


class Evaluation(_Part):
    """The whole file, as far as it says where a number comes from."""

    format: Literal["trm-repro/evaluation/v1"]
    dataset: str
    test_inputs_sha256: str
    one_batch: bool
    checkpoints: list[Result]


@dataclass(frozen=True)
class Table:
    """What a terminal, a page and a Markdown file show of it; the numbers are per cent."""

    caption: str
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def lines(self) -> list[str]:
        """As text: the first column to the left, numbers to the right."""
        cells = (self.columns, *self.rows)
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [f"{self.caption}, in per cent", *(f"  {note}" for note in self.notes)]
        for first, *numbers in cells:
            aligned = [f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True)]
            lines.append("  ".join((f"  {first:<{widths[0]}}", *aligned)).rstrip())
        return lines


def read_evaluation(path: Path) -> Evaluation:
    """What a file holds.

    Raises:
        MissingPrerequisite: there is none.
        InvariantBroken: it is no evaluation of this format.
    """
    held = read_json(path, most=BYTES)
    try:
        return Evaluation.model_validate(held)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InvariantBroken(
            f"{path}: no {FORMAT}: {where}: {first['msg']}", hint="evaluate again: trm-repro evaluate --run"
        ) from None


def tables(result: Result) -> list[Table]:
    """Where a checkpoint's number comes from: those tables of which there is something to say."""
    return [*_alone(result), *_by_augmentations(result), *_by_step(result)]


def _alone(result: Result) -> Iterable[Table]:
    rows = [("this checkpoint alone", result.vote_alone)]
    if found := result.accumulated:
        rows.append((f"the common vote of {counted(found.checkpoints, 'checkpoint')}, this the last", found.scores))
    if left := result.in_training:
        whose = "of all evaluations until then" if left.accumulated else "of this checkpoint alone"
        rows.append((f"the training's own vote, {whose}", left.scores))
    ks = shown(*(scores for _, scores in rows))
    if len(rows) > 1 and ks:
        yield Table(
            "alone and accumulated: pass@K per task",
            (),
            ("whose votes", *(f"pass@{k}" for k in ks)),
            tuple((who, *_cells(scores, ks)) for who, scores in rows),
        )


def _by_augmentations(result: Result) -> Iterable[Table]:
    found = result.by_augmentations
    if found and (ks := shown(found.rows[-1].scores)):
        yield Table(
            "by number of augmentations: pass@K per task",
            (f"distinct ones of a task: {distinct(found)}", "the original is the first, then the dataset's order"),
            ("the first", *(f"pass@{k}" for k in ks)),
            tuple((augmentations(row), *_cells(row.scores, ks)) for row in found.rows),
        )


def _by_step(result: Result) -> Iterable[Table]:
    if not result.by_step:
        return
    ks = shown(result.by_step[-1].scores)
    alone = "pass@K per task" if ks else "grids"
    notes = [f"{alone}: the answers of the step alone; pooled: of all steps so far, in one vote"]
    if (trained := result.trained_with) and trained < result.by_step[-1].step:
        notes.append(f"+: more steps than the {trained} at most of the training")
    yield Table(
        "by supervision step",
        tuple(notes),
        ("step", "tokens", "grids", *(f"pass@{k}" for k in ks), *([f"pooled@{k}" for k in ks] or ["pooled"])),
        tuple(
            (
                f"{row.step}{' +' if trained and row.step > trained else ''}",
                *map(percent, (row.accuracy, row.exact_accuracy)),
                *_cells(row.scores, ks),
                *(_cells(row.pooled, ks) if ks else [percent(row.pooled.get("exact_accuracy"))]),
            )
            for row in result.by_step
        ),
    )


def augmentations(row: Augmentations) -> str:
    """How many of them voted, in words."""
    return "all" if row.augmentations is None else str(row.augmentations)


def distinct(found: ByAugmentations) -> str:
    """How many a task has, in words."""
    least, median, most = (f"{n:g}" for n in found.distinct)
    return f"{least} to {most}, median {median}" if least != most else most


def shown(*scores: Mapping[str, Any]) -> list[int]:
    """The K of which tables and curves have a column."""
    there = {
        int(found[1])
        for one in scores
        for name in one
        if (found := re.fullmatch(rf"pass@(\d{{1,9}}) {PER_TASK}", name))
    }
    return [k for k in COLUMNS if k in there] or sorted(there)


def percent(share: float | None) -> str:
    """A share in per cent; nothing where there is none."""
    return "" if share is None else f"{100 * share:.2f}"


def _cells(scores: Mapping[str, float | None], ks: Iterable[int]) -> list[str]:
    return [percent(scores.get(f"pass@{k} {PER_TASK}")) for k in ks]
