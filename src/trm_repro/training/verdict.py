"""The verdict on a finished training: was the published number reproduced?

*reproduced*: the 95 % Wilson interval of the final evaluation contains the published number. *below*, *above*: it lies on
one side. *not comparable*: something stands against the comparison — the run is not faithful, a check is broken, there is no
published number or no score — and ``why`` says what. An interval that contains a number is not a proof of it: 120 tasks
cannot tell 4.4 % from 14 %.

Scores are recomputed from each submission and the solutions by our own scorer; what the training logged stands beside them.
Upstream keeps the votes of earlier evaluations, so that the score at a step is the vote of all checkpoints so far.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trm_repro.arc.submission import score_submission, wilson
from trm_repro.files import read_json
from trm_repro.recipes.published import METRICS as METRIC_OF
from trm_repro.recipes.published import published
from trm_repro.runs.checkpoints import checkpoint_name, checkpoints, evaluated, step_of
from trm_repro.runs.metrics import FILE as METRICS
from trm_repro.runs.metrics import read_evaluations
from trm_repro.training.inspection import Check, checks
from trm_repro.training.state import Place, configuration

FORMAT = "trm-repro/verdict/v1"
TOLERANCE = 1e-6  # between a logged and a recomputed score; upstream logs double precision
PASS = "ARC/pass@"


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
    made.append(agreement(evaluations))
    against = [f"{check.name}: {line}" for check in made if check.outcome == "broken" for line in check.lines]
    against += manifest["reasons"]
    if expected.value is None:
        against.append("the recipe knows no published number")
    if not evaluations:
        against.append("there is no score")
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
    )


def others(target: str, metric: str) -> dict[str, float]:
    """What was published for a kind of puzzle, by whom, where ``metric`` is what those numbers measure."""
    comparable = any(target.startswith(kind) and metric == name for kind, name in METRIC_OF.items())
    return {number.who: number.value for number in published(target)} if comparable else {}


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
        f"{metric} of the final evaluation, step {final.step:,}, is {percent(final.score)} of {final.out_of}, 95 % interval "
        f"{percent(low)} to {percent(high)}; the published {percent(published)} lies {lies}"
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
    """The tasks that the dataset holds out, with the answers of the task files where they are there.

    A dataset carries its own answers; those of the task files, whose digests step 4 checked, come before them.
    """
    puzzles: dict[str, Any] = read_json(place.dataset / "test_puzzles.json")
    words = place.recipe.dataset.arguments
    options = dict(itertools.pairwise(words))
    prefix, subset = options.get("--input-file-prefix", ""), options.get("--test-set-name", "")
    path = place.work / place.recipe.work / f"{prefix}_{subset}_solutions.json"
    if not path.is_file():
        return puzzles
    answers = read_json(path)
    return {
        task: {
            "test": [
                {"input": pair["input"], "output": output}
                for pair, output in zip(puzzle["test"], answers[task], strict=True)
            ]
        }
        for task, puzzle in puzzles.items()
    }


def scored(place: Place, puzzles: Mapping[str, Any]) -> list[Evaluation]:
    """The evaluations of an ARC training, scored again from their submissions, at 2 attempts a test input."""
    if not all("output" in pair for puzzle in puzzles.values() for pair in puzzle["test"]):
        return []
    on_record = {int(entry["step"]): entry for entry in read_evaluations(place.folder / METRICS)}
    config = configuration(place.folder) or {}
    accumulates = all(entry.get("aggregated_voting", True) for entry in config.get("evaluators", [{}]))
    name = place.recipe.expected.metric
    attempts = int(name.removeprefix(PASS))
    found = []
    for count, path in enumerate(evaluated(place.folder, "submission.json"), 1):
        step = step_of(path)
        score = score_submission(read_json(path), puzzles, (attempts,))
        value = on_record.get(step, {}).get(name)
        found.append(
            Evaluation(
                step=step,
                score=score.pass_at[attempts],
                interval=score.interval(attempts),
                out_of=score.tasks,
                logged=None if value is None else float(value),
                votes=count if accumulates else 1,
            )
        )
    return found


def logged(place: Place) -> list[Evaluation]:
    """The evaluations of a training that leaves nothing to score again, as it logged them."""
    name, count = place.recipe.expected.metric, read_json(place.dataset / "test" / "dataset.json")["total_puzzles"]
    found = []
    for entry in read_evaluations(place.folder / METRICS):
        if name in entry:
            value = float(entry[name])
            found.append(Evaluation(int(entry["step"]), value, wilson(value * count, count), count, value, 1))
    return found


def agreement(evaluations: Sequence[Evaluation]) -> Check:
    """Whether the scores are those that the training logged."""
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
    lines = [f"  {marks[check.outcome]:7} {check.name:30} {line}" for check in verdict.checks for line in check.lines]
    if verdict.evaluations:
        lines.append(f"  {'step':>9}  {verdict.metric:>12}  {'95 % interval':>18}  {'logged':>9}  votes of")
    for entry in verdict.evaluations:
        interval = f"{percent(entry.interval[0])} to {percent(entry.interval[1])}"
        own = "-" if entry.logged is None else percent(entry.logged)
        named = [
            word
            for word, name in (("best", verdict.best), ("last", verdict.last))
            if name == checkpoint_name(entry.step)
        ]
        numbers = f"{entry.step:>9,}  {percent(entry.score):>12}  {interval:>18}  {own:>9}  {entry.votes:<3}"
        lines.append(f"  {numbers} {' and '.join(named)}".rstrip())
    if verdict.evaluations and verdict.evaluations[-1].votes > 1:
        lines.append(f"  {votes_said(verdict.evaluations[-1])}")
    if verdict.published is not None:
        lines.append(f"  published: {percent(verdict.published)} ({verdict.reference})")
        lines += [f"             {percent(value)} ({name})" for name, value in verdict.others.items()]
    lines.append(f"verdict: {verdict.verdict}")
    lines += [f"  {sentence}" for sentence in verdict.why]
    return "\n".join(lines)
