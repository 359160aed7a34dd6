"""The verdict on a finished training: was the published number reproduced?

*reproduced*: the 95 % Wilson interval of the final evaluation contains the published number. *below*, *above*: it lies on
one side. *not comparable*: something stands against the comparison — the run is not faithful, a check is broken, there is no
published number or no score — and ``why`` says what. An interval that contains a number is not a proof of it: 120 tasks
cannot tell 4.4 % from 14 %.

Scores are recomputed from each submission and the solutions by our own scorer; what the training logged stands beside them.
Of the last evaluation both of ARC's metrics are given, which version of the benchmark they are of, and what is strange about
its submission. Test inputs without a known answer are in no score.
Upstream keeps the votes of earlier evaluations, so that the score at a step is the vote of all checkpoints so far.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from trm_repro.arc import versions
from trm_repro.arc.augment import SEPARATOR
from trm_repro.arc.reader import read_test_puzzles
from trm_repro.arc.score import LOGGED as PASS
from trm_repro.arc.score import NOTHING, Score, Share, left_out, lines, title
from trm_repro.arc.sources import read_answers
from trm_repro.arc.submission import findings, flat, score_submission, with_solutions
from trm_repro.files import read_json
from trm_repro.recipes.published import METRICS as METRIC_OF
from trm_repro.recipes.published import comparable
from trm_repro.runs.checkpoints import checkpoint_name, checkpoints, evaluated, step_of
from trm_repro.runs.metrics import FILE as METRICS
from trm_repro.runs.metrics import read_evaluations
from trm_repro.training.inspection import Check, checks
from trm_repro.training.state import Place, configuration

FORMAT = "trm-repro/verdict/v1"
TOLERANCE = 1e-6  # between a logged and a recomputed score; upstream logs double precision


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a training.

    Attributes:
        step: when.
        score: its share of right answers, from 0 to 1, recomputed where that is possible.
        interval: the 95 % Wilson interval of the score.
        out_of: how many tasks (or puzzles) that is a share of.
        logged: the score as the training logged it; None if it is not on record.
        votes: the votes of how many evaluations it is; 1 where they are not accumulated.
    """

    step: int
    score: float
    interval: tuple[float, float]
    out_of: int
    logged: float | None
    votes: int


@dataclass(frozen=True)
class Verdict:
    """The verdict on a run.

    Attributes:
        run: its name.
        recipe: its recipe's name.
        verdict: the word.
        why: what it rests on, sentences.
        metric: what is compared.
        published: the recipe's published number; None if it has none.
        reference: where that number stands.
        others: what others published for the same, by name.
        evaluations: all of them, by step.
        last: the name of the last checkpoint.
        best: the name of the checkpoint of the best evaluation, the earliest of equal ones.
        tasks: which version of which benchmark the test set is; empty for other puzzles.
        unknown: how many of its test inputs have no known answer.
        scores: both metrics of the last evaluation, by name, with count and interval.
        findings: what is strange about the last submission, or about what was trained on.
        checks: what was checked.
    """

    run: str
    recipe: str
    verdict: Literal["reproduced", "below", "above", "not comparable"]
    why: Sequence[str]
    metric: str
    published: float | None
    reference: str
    others: Mapping[str, float]
    evaluations: Sequence[Evaluation]
    last: str
    best: str
    checks: Sequence[Check]
    tasks: str = ""
    unknown: int = 0
    scores: Mapping[str, Any] = field(default_factory=dict)
    findings: Sequence[str] = ()

    @property
    def sound(self) -> bool:
        """Whether no check is broken."""
        return all(check.outcome != "broken" for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """The verdict as ``verdict.json`` has it."""
        return {"format": FORMAT, **asdict(self)}


def judge(place: Place, manifest: Mapping[str, Any], run: str, changed: Sequence[str] | None = None) -> Verdict:
    """Judges a finished training.

    Args:
        place: where it trained.
        manifest: its manifest.
        run: its name.
        changed: which files are not what they were when the training was given them, or left them; None if nobody looked.
    """
    expected = place.recipe.expected
    puzzles = solved_puzzles(place) if expected.submission else {}
    made = checks(place, manifest, puzzles)
    if changed is not None:
        same = ("what the training was given and what it left, byte for byte",)
        made.insert(0, Check("bytes", "broken", tuple(changed)) if changed else Check("bytes", "holds", same))
    evaluations = scored(place, puzzles) if expected.metric.startswith(PASS) else logged(place)
    last = final_score(place, puzzles) if puzzles else None
    made.append(agreement(evaluations, last.unknown if last else 0))
    against = [f"{check.name}: {line}" for check in made if check.outcome == "broken" for line in check.lines]
    against += manifest["reasons"]
    if expected.value is None:
        against.append("the recipe knows no published number")
    if not evaluations:
        against.append(NOTHING if last and last.unknown and not last.shares else "there is no score")
    word: Literal["reproduced", "below", "above", "not comparable"] = "not comparable"
    why = against
    if not against:
        assert expected.value is not None
        word, why = compare(evaluations[-1], expected.value, expected.metric)
    found = checkpoints(place.folder)
    best = max(evaluations, key=lambda entry: (entry.score, -entry.step), default=None)
    return Verdict(
        run=run,
        recipe=place.recipe.name,
        verdict=word,
        why=why,
        metric=expected.metric,
        published=expected.value,
        reference=expected.reference,
        others=others(place.recipe.target_dataset, expected.metric),
        evaluations=evaluations,
        last=found[-1].name if found else "",
        best=checkpoint_name(best.step) if best and best.step in map(step_of, found) else "",
        checks=made,
        tasks=str(versions.which(puzzles)) if puzzles else "",
        unknown=last.unknown if last else 0,
        scores=last.as_json() if last else {},
        findings=strange(place, puzzles) if puzzles else [],
    )


def others(target: str, metric: str) -> dict[str, float]:
    """What was published for a kind of puzzle, by whom, where ``metric`` is what those numbers measure."""
    fits = any(target.startswith(kind) and metric == name for kind, name in METRIC_OF.items())
    return {number.who: number.value for number in comparable(target)} if fits else {}


def compare(
    final: Evaluation, published: float, metric: str
) -> tuple[Literal["reproduced", "below", "above"], list[str]]:
    """Holds the final evaluation against the published number."""
    low, high = final.interval
    word: Literal["reproduced", "below", "above"] = (
        "below" if high < published else "above" if low > published else "reproduced"
    )
    lies = "inside" if word == "reproduced" else "outside"
    why = [
        f"{title(metric)} of the final evaluation, step {final.step:,}, is {percent(final.score)} of {final.out_of}, "
        f"95 % interval {percent(low)} to {percent(high)}; the published {percent(published)} lies {lies}"
    ]
    if final.votes > 1:
        why.append(votes_said(final))
    return word, why


def votes_said(evaluation: Evaluation) -> str:
    """What the score of an evaluation with accumulated votes is, and is not."""
    return (
        f"votes accumulated over {evaluation.votes} evaluations: it is the vote of {evaluation.votes} checkpoints, not the "
        "score of the last one alone, which is usually lower"
    )


def solved_puzzles(place: Place) -> dict[str, Any]:
    """The tasks that the dataset holds out, with the answers of the task files where they are there; None where there is none.

    A dataset carries its own answers; those of the task files, whose digests step 4 checked, come before them.
    """
    puzzles: dict[str, Any] = read_test_puzzles(place.dataset)
    words = place.recipe.dataset.arguments
    options = dict(itertools.pairwise(words))
    prefix, subset = options.get("--input-file-prefix", ""), options.get("--test-set-name", "")
    path = place.work / place.recipe.work / f"{prefix}_{subset}_solutions.json"
    return with_solutions(puzzles, read_answers(path)) if path.is_file() else puzzles


def scored(place: Place, puzzles: Mapping[str, Any]) -> list[Evaluation]:
    """The evaluations of an ARC training, scored again from their submissions; none where no answer is known."""
    on_record = {int(entry["step"]): entry for entry in read_evaluations(place.folder / METRICS)}
    config = configuration(place.folder) or {}
    accumulates = all(entry.get("aggregated_voting", True) for entry in config.get("evaluators", [{}]))
    name = place.recipe.expected.metric
    attempts = int(name.removeprefix(PASS))
    found = []
    for count, path in enumerate(evaluated(place.folder, "submission.json"), 1):
        step = step_of(path)
        score = score_submission(read_json(path), puzzles, (attempts,))
        if not score.shares:
            return []
        per_task = score.per_task[attempts]
        value = on_record.get(step, {}).get(name)
        found.append(
            Evaluation(
                step=step,
                score=per_task.share,
                interval=per_task.interval,
                out_of=per_task.of,
                logged=None if value is None else float(value),
                votes=count if accumulates else 1,
            )
        )
    return found


def final_score(place: Place, puzzles: Mapping[str, Any]) -> Score | None:
    """Both metrics of the last evaluation; None without one."""
    submissions = evaluated(place.folder, "submission.json")
    attempts = place.recipe.expected.attempts
    return score_submission(read_json(submissions[-1]), puzzles, range(1, attempts + 1)) if submissions else None


def strange(place: Place, puzzles: Mapping[str, Any]) -> list[str]:
    """What is strange about the last submission and its scores, and what was trained on under another benchmark's name."""
    found = []
    if submissions := evaluated(place.folder, "submission.json"):
        found += findings(read_json(submissions[-1]), puzzles, place.recipe.expected.attempts)
    for entry in read_evaluations(place.folder / METRICS)[-1:]:
        found += flat({int(key.removeprefix(PASS)): float(entry[key]) for key in entry if key.startswith(PASS)})
    weights = place.work / place.recipe.weights.folder if place.recipe.weights else place.dataset
    names = {
        name.partition(SEPARATOR)[0]
        for folder in {place.dataset, weights}
        if (folder / "identifiers.json").is_file()
        for name in read_json(folder / "identifiers.json")
    }
    if seen := versions.seen_in_arc_1(names, puzzles):
        found.append(
            f"ARC-AGI-1's evaluation tasks were trained on, and {len(seen)} of these {len(puzzles)} tasks are among them: "
            + ", ".join(seen)
        )
    return found


def logged(place: Place) -> list[Evaluation]:
    """The evaluations of a training that leaves nothing to score again, as it logged them."""
    name, count = place.recipe.expected.metric, read_json(place.dataset / "test" / "dataset.json")["total_puzzles"]
    found = []
    for entry in read_evaluations(place.folder / METRICS):
        if name in entry:
            value = float(entry[name])
            share = Share(value * count, count, "puzzles")
            found.append(Evaluation(int(entry["step"]), value, share.interval, count, value, 1))
    return found


def agreement(evaluations: Sequence[Evaluation], unknown: int) -> Check:
    """Whether the scores are those that the training logged, which takes a dummy for an answer where none is known."""
    if unknown:
        return Check("scores", "skipped", (left_out(unknown),))
    lines = [
        f"step {entry.step:,}: {entry.score:.6f} when scored again, the training logged {entry.logged:.6f}"
        for entry in evaluations
        if entry.logged is not None and not abs(entry.logged - entry.score) <= TOLERANCE
    ]
    if lines:
        return Check("scores", "broken", tuple(lines))
    on_record = sum(entry.logged is not None for entry in evaluations)
    if not on_record:
        return Check("scores", "skipped", ("the training's own scores are not on record",))
    return Check("scores", "holds", (f"{on_record} of {len(evaluations)} are on record, and equal ours",))


def percent(share: float) -> str:
    """A share for people to read."""
    return f"{100 * share:.2f} %"


def as_text(verdict: Verdict) -> str:
    """The verdict as a table, checks first, the word last."""
    marks = {"holds": "ok", "broken": "BROKEN", "skipped": "-"}
    said = [f"  {marks[check.outcome]:7} {check.name:30} {line}" for check in verdict.checks for line in check.lines]
    if verdict.evaluations:
        said.append(f"  {'step':>9}  {title(verdict.metric):>15}  {'95 % interval':>18}  {'logged':>9}  votes of")
    for entry in verdict.evaluations:
        interval = f"{percent(entry.interval[0])} to {percent(entry.interval[1])}"
        own = "-" if entry.logged is None else percent(entry.logged)
        named = [
            word
            for word, name in (("best", verdict.best), ("last", verdict.last))
            if name == checkpoint_name(entry.step)
        ]
        numbers = f"{entry.step:>9,}  {percent(entry.score):>15}  {interval:>18}  {own:>9}  {entry.votes:<3}"
        said.append(f"  {numbers} {' and '.join(named)}".rstrip())
    if verdict.evaluations and verdict.evaluations[-1].votes > 1:
        said.append(f"  {votes_said(verdict.evaluations[-1])}")
    if verdict.tasks:
        said.append(f"  the last submission, scored on {verdict.tasks}:")
        shares = {name: Share.of_json(value) for name, value in verdict.scores.items()}
        said += [f"    {line}" for line in lines(shares, verdict.unknown)]
    said += [f"  note: {line}" for line in verdict.findings]
    if verdict.published is not None:
        said.append(f"  published: {percent(verdict.published)} ({verdict.reference})")
        said += [f"             {percent(value)} ({name})" for name, value in verdict.others.items()]
    said.append(f"verdict: {verdict.verdict}")
    said += [f"  {sentence}" for sentence in verdict.why]
    return "\n".join(said)
