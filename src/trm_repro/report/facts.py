"""What a report shows, gathered from a manifest and the small files it names.

A run that is still going on, or has failed, lacks some of it; nothing here insists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trm_repro.arc.reader import read_test_puzzles
from trm_repro.arc.score import Score, Share
from trm_repro.arc.submission import findings, score_submission
from trm_repro.arc.versions import which
from trm_repro.errors import InvariantBroken, ReproError
from trm_repro.files import read_json
from trm_repro.progress import clock
from trm_repro.provenance.faithful import BUILD, TRAIN, processes
from trm_repro.recipes.published import METRICS, TASKS, Result, published
from trm_repro.report.series import CURVES, Chart, charts
from trm_repro.runs.checkpoints import step_of
from trm_repro.runs.curves import read_curves
from trm_repro.runs.metrics import credible

SHOWN = 6  # right and wrong test inputs each, at most
PRICE = "GPU_HOUR_USD"  # the knob that says what a GPU costs an hour
PLAIN = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")  # a price, as a manifest of ours has it

Grid = list[list[int]]


@dataclass(frozen=True)
class Prediction:
    """A predicted grid, whether it is right, and the votes for it if they are known.

    ``agreement`` is the share of cells that are right; None if the grid has another size than the truth.
    """

    grid: Grid
    right: bool
    agreement: float | None
    votes: int | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Shown:
    """A test input of the gallery, and the training pairs of its task: (input, output) each."""

    task: str
    index: int
    pairs: tuple[tuple[Grid, Grid], ...]
    input: Grid
    truth: Grid
    attempts: tuple[Prediction, ...]

    @property
    def right(self) -> bool:
        """Whether one of the attempts is."""
        return any(attempt.right for attempt in self.attempts)


@dataclass(frozen=True)
class Number:
    """The run's number: a share of ``of`` tasks or puzzles, with its 95 % interval."""

    metric: str
    value: float
    low: float
    high: float
    of: int


@dataclass(frozen=True)
class Facts:
    """Everything that a report shows.

    Attributes:
        manifest: the run's manifest.
        state: what the run is doing, in words; empty if it is finished.
        score: its number; None while there is none.
        others: published numbers of the same puzzles.
        charts: those that have points.
        evaluations: the metrics of every evaluation.
        times: step, seconds, what came of it.
        gpu_hours: training time times GPUs; None without a GPU or an end.
        price: dollars a GPU-hour, if the knob says.
        gallery: right ones first.
        judgement: what step 6 made of the number against the published one, in sentences; empty before it has run.
        solved: how many test inputs are right, of how many; None without a submission.
        shares: both of ARC's metrics of the last evaluation, scored again, by name.
        unknown: how many test inputs have no known answer: they are in no number.
        tasks: which version of which benchmark the numbers are of; empty for other puzzles.
        strange: what is strange about the answers, and about what was trained on.
        leaks: what of the test set stands among the training examples, as step 4 found it; empty where it could not look.
        signatures: the files that sign its statement.
    """

    manifest: Mapping[str, Any]
    state: str
    score: Number | None
    others: tuple[Result, ...]
    charts: tuple[Chart, ...]
    evaluations: tuple[Mapping[str, Any], ...]
    times: tuple[tuple[str, float, str], ...]
    gpu_hours: float | None
    price: float | None
    gallery: tuple[Shown, ...]
    judgement: str
    solved: tuple[int, int] | None
    shares: Mapping[str, Share]
    unknown: int
    tasks: str
    strange: tuple[str, ...]
    leaks: str
    signatures: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The recipe's title."""
        return str(self.manifest["recipe"]["resolved"]["title"])

    @property
    def verdict(self) -> str:
        """Whether it is a faithful reproduction, in a sentence's beginning."""
        if self.state:
            return f"Unfinished: {self.state}"
        return "A faithful reproduction" if self.manifest["faithful"] else "Not a faithful reproduction"

    @property
    def vouched(self) -> str:
        """Who vouches for it, or that nobody does, in a sentence: what `trm-repro verify` says in its first line."""
        if self.signatures:
            return f"Signed ({', '.join(self.signatures)}); by whom is told by trm-repro verify, to whoever names the signer."
        return "Vouched for by nobody: this is the run's own account, and nobody has signed it."

    @property
    def reproduce(self) -> str:
        """The one command that makes this run again."""
        recipe = self.manifest["recipe"]["name"]
        changed = [
            f"{n}={_quoted(k['value'])}" for n, k in self.manifest["knobs"].items() if k["value"] != k["default"]
        ]
        skipped = ("RECIPE=", "TRM_DIR=", "VENV_DIR=", "KAGGLE_", "PUBLISH_")
        return " ".join(["make all", f"RECIPE={recipe}", *(w for w in changed if not w.startswith(skipped))])


def gather(
    manifest: Mapping[str, Any],
    locate: Callable[[str], Path],
    *,
    state: str = "",
    verdict: Mapping[str, Any] | None = None,
    signatures: Sequence[str] = (),
) -> Facts:
    """The facts of a run.

    Args:
        manifest: its manifest.
        locate: finds the file that a path of the manifest means.
        state: what the run is doing now, in words; empty for a finished one.
        verdict: step 6's ``verdict.json``, once there is one.
        signatures: the names of the files that sign its statement.
    """
    found = {role: [locate(path) for path in paths] for role, paths in _paths(manifest).items()}
    training, evaluations = read_curves(next(iter(found.get("metrics", [])), None), CURVES)
    puzzles = _puzzles(found.get("test-puzzles", []))
    unknown, inputs = (sum(map(count, puzzles.values())) for count in (_unknown, lambda puzzle: len(puzzle["test"])))
    engine = manifest["run"]["engine"]
    evaluations = [credible(entry, (unknown, inputs), engine=engine) for entry in evaluations]
    submission = _latest(found.get("submission", []), found.get("votes", []))
    gallery, solved = _gallery(puzzles, submission)
    attempts = manifest["recipe"]["resolved"]["expected"].get("attempts", 2)
    scored = score_submission(submission, puzzles, range(1, attempts + 1)) if submission else Score({}, {})
    if verdict:
        strange = tuple(verdict.get("findings", ()))
    else:
        strange = tuple(findings(submission, puzzles, attempts)) if submission else ()
    seconds = {step["step"]: _between(step["started"], step["finished"]) for step in manifest["steps"]}
    gpus = min(len(manifest["host"]["gpus"]), _processes(manifest))
    target = manifest["run"]["target_dataset"]
    known = sum(_unknown(puzzle) < len(puzzle["test"]) for puzzle in puzzles.values())
    benchmark = target if not puzzles or known == TASKS.get(target) else ""  # others' numbers are of all its tasks
    price = manifest["knobs"].get(PRICE, {}).get("value")
    return Facts(
        manifest=manifest,
        state=state or ("" if manifest["run"]["finished"] else "the training has not ended"),
        score=_score(manifest, puzzles),
        others=tuple(published(target)),
        charts=tuple(chart for chart in charts(training, evaluations, benchmark) if chart),
        evaluations=tuple(evaluations),
        times=tuple((step["step"], seconds[step["step"]], step["said"]) for step in manifest["steps"]),
        gpu_hours=seconds[TRAIN] / 3600 * gpus if gpus and TRAIN in seconds else None,
        price=float(price) if PLAIN.fullmatch(price or "") else None,
        gallery=gallery,
        judgement=_judgement(verdict, manifest["reasons"]) if verdict else "",
        solved=solved,
        shares=scored.shares,
        unknown=unknown,
        tasks=str(which(puzzles)) if puzzles else "",
        strange=strange,
        leaks="".join(step["said"].partition("; leaks: ")[2] for step in manifest["steps"] if step["step"] == BUILD),
        signatures=tuple(signatures),
    )


def _unknown(puzzle: Mapping[str, Any]) -> int:
    """How many test inputs of a task have no known answer."""
    return sum(pair["output"] is None for pair in puzzle["test"])


def _judgement(verdict: Mapping[str, Any], known: Sequence[str]) -> str:
    """The word, and what it rests on beside the reasons that the report lists anyhow."""
    why = "; ".join(line for line in verdict["why"] if line not in known)
    return f"{verdict['verdict']}{f' ({why})' if why else ''}"


def duration(seconds: float) -> str:
    """Seconds for people: ``2 d 03:04:05``."""
    days, rest = divmod(int(seconds), 86400)
    return (f"{days} d " if days else "") + clock(rest)


def _paths(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = {}
    for entry in manifest["outputs"]:
        paths.setdefault(entry["role"], []).append(entry["path"])
    return paths


def _score(manifest: Mapping[str, Any], puzzles: Mapping[str, Any]) -> Number | None:
    target = manifest["run"]["target_dataset"]
    metric = next((name for kind, name in METRICS.items() if target.startswith(kind)), "ARC/pass@2")
    value = manifest["metrics"].get(metric)
    if value is None:
        return None
    known = sum(_unknown(puzzle) < len(puzzle["test"]) for puzzle in puzzles.values())
    of = known or TASKS.get(target, 0)
    return Number(metric, value, *Share(value * of, of, "tasks").interval, of)


def _processes(manifest: Mapping[str, Any]) -> int:
    ran = [entry["argv"] for entry in manifest["commands"] if entry["step"] == TRAIN]
    return max(map(processes, ran), default=1)


def _between(started: str, finished: str) -> float:
    try:
        begin, end = (datetime.fromisoformat(time) for time in (started, finished))
        return (end - begin).total_seconds()
    except (TypeError, ValueError):  # one of them without a zone, too
        raise InvariantBroken(f"manifest.json: a step from {started[:80]!r} to {finished[:80]!r}: no times") from None


def _quoted(value: str) -> str:
    import shlex

    return shlex.quote(value)


def _puzzles(paths: Sequence[Path]) -> dict[str, Any]:
    """The evaluation tasks; none where they cannot be read."""
    try:
        return read_test_puzzles(paths[0].parent) if paths else {}
    except ReproError:
        return {}


def _read(path: Path | None) -> dict[str, Any]:
    try:
        return dict(read_json(path)) if path else {}
    except ReproError:
        return {}


def _latest(paths: Sequence[Path], tallies: Sequence[Path]) -> dict[str, Any]:
    """The last evaluation's submission, each entry with its ``votes`` where the engine counted them."""
    path = max(paths, key=step_of, default=None)
    submission = _read(path)
    votes = _read(next((tally for tally in tallies if path and tally.parent == path.parent), None))
    return {
        task: [
            {**entry, "votes": votes[task][i] if i < len(votes.get(task, [])) else []}
            for i, entry in enumerate(entries)
        ]
        for task, entries in submission.items()
    }


def _gallery(
    puzzles: Mapping[str, Any], submission: Mapping[str, Any]
) -> tuple[tuple[Shown, ...], tuple[int, int] | None]:
    """A few test inputs, right ones first, then the wrong ones that come nearest; and how many of all are right."""
    shown = []
    for task, puzzle in puzzles.items():
        for index, pair in enumerate(puzzle["test"]):
            entries = submission.get(task, [])
            if index >= len(entries) or pair["output"] is None:
                continue
            attempts = tuple(
                _attempt(entries[index], number, pair["output"])
                for number in range(1, 1 + sum(key.startswith("attempt_") for key in entries[index]))
            )
            pairs = tuple((known["input"], known["output"]) for known in puzzle["train"])
            shown.append(Shown(task, index, pairs, pair["input"], pair["output"], attempts))
    if not shown:
        return (), None
    right = [one for one in shown if one.right]
    wrong = sorted(
        (one for one in shown if not one.right), key=lambda one: -max(a.agreement or 0 for a in one.attempts)
    )
    total = sum(len(puzzle["test"]) - _unknown(puzzle) for puzzle in puzzles.values())
    return (*right[:SHOWN], *wrong[:SHOWN]), (len(right), total)


def _attempt(entry: Mapping[str, Any], number: int, truth: Grid) -> Prediction:
    grid = entry[f"attempt_{number}"]
    tally = entry["votes"][number - 1] if number <= len(entry["votes"]) else {}
    same = len(grid) == len(truth) and all(len(a) == len(b) for a, b in zip(grid, truth, strict=False))
    cells = (
        [a == b for row, other in zip(grid, truth, strict=True) for a, b in zip(row, other, strict=True)]
        if same
        else []
    )
    agreement = sum(cells) / len(cells) if cells else None
    return Prediction(grid, grid == truth, agreement, tally.get("votes"), tally.get("confidence"))
