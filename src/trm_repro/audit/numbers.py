"""The submission, looked at and scored again on what it fits, and the numbers that are claimed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.arc import score, versions
from trm_repro.arc.score import PER_INPUT, PER_TASK, Score
from trm_repro.arc.submission import answers, findings, problems, score_submission
from trm_repro.audit.claims import Number
from trm_repro.audit.page import Page
from trm_repro.audit.subject import Subject
from trm_repro.errors import ReproError
from trm_repro.provenance.checks.claims import truth
from trm_repro.recipes.published import retrained
from trm_repro.runs.checkpoints import step_of

ATTEMPTS = 1000  # of a submission, at most
SHOWN = 2


@dataclass(frozen=True)
class Scored:
    """A submission on some tasks.

    Attributes:
        on: which they are.
        puzzles: the tasks.
        score: what it scores there.
    """

    on: str
    puzzles: Mapping[str, Any]
    score: Score


@dataclass(frozen=True)
class Tasks:
    """Tasks that were given on the command line, or lie beside."""

    name: str
    puzzles: Mapping[str, Any]


def look_at_submission(page: Page, subject: Subject, given: Tasks | None) -> list[Scored]:
    """Adds what the submission is like and what it scores; returns its scores, on the tasks that fit best first."""
    name = _chosen(page, subject)
    if not name:
        return []
    held = subject.json(name)
    if not isinstance(held, dict) or not held:
        page.contradicts("submission", f"{name} is a submission", "not a JSON object of tasks")
        return []
    counts = {task: len(answers(held, task, 1)) for task in held}
    made = versions.which_answered(counts)
    fits = _fitting(subject, held, given, made)
    if not fits:
        page.cannot_tell(
            "submission", f"{name} answers tasks that are known", f"it answers {made}; --tasks FILE names them"
        )
        return []
    most = _attempts(held)
    scored = [Scored(on, puzzles, score_submission(held, puzzles, range(1, min(most, 10) + 1))) for on, puzzles in fits]
    wrong = problems(held, fits[0][1], most)
    seen = f"{score.counted(len(counts), 'task')}, {score.counted(sum(counts.values()), 'test input')} of {fits[0][0]}"
    page.judge("submission", f"{name} is whole, {most} attempts at each test input", wrong, seen)
    told = dict.fromkeys(f"{_said(one)}, on {one.on}" for one in scored if _said(one))
    page.notes += [f"{name} scored again: {text}" for text in list(told)[:SHOWN]] or [f"{name}: {score.NOTHING}"]
    page.notes += [f"{name}: {line}" for line in findings(held, fits[0][1], most)]
    return scored


def _said(one: Scored) -> str:
    shares = {name: share for name, share in one.score.shares.items() if name.startswith(("pass@1 ", "pass@2 "))}
    return "; ".join(f"{name} {share.percent} ({share.count})" for name, share in shares.items())


def _chosen(page: Page, subject: Subject) -> str | None:
    """The submission that belongs to the weights; says where none does."""
    found = subject.submissions
    if not found:
        return None
    steps = {name: step_of(name) for name in found}
    own = [name for name in found if steps[name] == subject.step and subject.step >= 0]
    chosen = own[-1] if own else found[-1]
    claim = f"{chosen} is the answer of these weights"
    if subject.manifest:
        return "submission.json" if "submission.json" in found else chosen
    if own:
        page.agrees("submission", claim, f"both are of step {subject.step:,}")
    elif subject.weights and subject.step >= 0 and steps[chosen] >= 0:
        said = f"the submission is of step {steps[chosen]:,}, the weights are of step {subject.step:,}"
        page.contradicts("submission", claim, said)
    elif subject.weights:
        why = f"{chosen}: no name says of which step; evaluating them tells (trm-repro evaluate)"
        page.unknown.append(("which weights answered", why))
    if len(found) > 1:
        page.notes.append(f"{len(found)} submissions here; looked at: {chosen}")
    return chosen


def _attempts(held: Mapping[str, Any]) -> int:
    """How many attempts most entries have room for."""
    entries = [entry for task in held.values() if isinstance(task, list) for entry in task if isinstance(entry, dict)]
    numbers = [sum(str(key).startswith("attempt_") for key in entry) for entry in entries]
    return min(ATTEMPTS, max(2, sorted(numbers)[len(numbers) // 2])) if numbers else 2


def _fitting(
    subject: Subject, held: Mapping[str, Any], given: Tasks | None, made: versions.Found
) -> list[tuple[str, Mapping[str, Any]]]:
    """The tasks to score on, with their names: those given, the manifest's, or the versions that the submission fits."""
    if given:
        return [(f"{given.name}: {_called(given.puzzles)}", given.puzzles)]
    if subject.manifest and (tasks := truth(subject.manifest)):
        return [(_called(tasks), tasks)]
    found: list[tuple[str, Mapping[str, Any]]] = []
    whole = made.whole or made.versions[:1]
    others = [v for v in versions.VERSIONS if whole and v.what == whole[0].what and v not in whole]
    for version in (*whole, *others):
        try:
            tasks = versions.tasks_of(version)
        except ReproError:
            continue  # it has no package; another may
        answered = {name: task for name, task in tasks.items() if name in held}
        if 0 < len(answered) < len(tasks):
            found.append((f"the {len(answered)} tasks that it answers of {version.what}", answered))
        found.append((f"{version.what}, {version.said}", tasks))
    return found


def _called(tasks: Mapping[str, Any]) -> str:
    """Tasks in few words."""
    found = versions.which(tasks)
    if found.whole:
        return f"{found.whole[0].what}, {found.whole[0].said}"
    return f"{len(tasks)} tasks{f' of {found.versions[0].what}' if found.versions else ''}"


def look_at_numbers(page: Page, scored: Sequence[Scored], numbers: Sequence[Number], target: str) -> None:
    """Holds each number against the submission's scores. Of one who claims several, those that no submission can show
    count for nothing where another of his was shown."""
    shown = {number.by for number in numbers if number.k and _of(scored, number)}
    accuracies = {n.written: n.name for n in numbers if "accuracy" in n.name.lower() and n.share}
    beyond: dict[str, list[str]] = {}
    for number in numbers:
        claim = f"{number.name} is {number.written} ({number.by})"
        if found := _of(scored, number):
            fits = [text for text, share in found if abs(share - number.share) <= number.tolerance]
            if fits:
                page.agrees("number", claim, fits[0])
                continue
            said = "; ".join(text for text, _ in found[:4])
            if number.written in accuracies:
                said = f"{said}; {number.written} is what {accuracies[number.written]} is said to be: one taken for the other?"
            page.contradicts("number", claim, said)
        elif less := _more_than(scored, number):
            page.contradicts("number", claim, f"more attempts solve no fewer tasks: {less}")
        elif number.by in shown and number.by != "--claim":
            beyond.setdefault(number.by, []).append(f"{number.name} {number.written}")
        else:
            page.cannot_tell("number", claim, _why(scored, number) + _beside(number, target))
    for by, more in beyond.items():
        page.unknown.append(
            ("other numbers", f"{', '.join(more)} ({by}): no submission shows them; trm-repro evaluate does")
        )


def _of(scored: Sequence[Scored], number: Number) -> list[tuple[str, float]]:
    """What the submission shows of a number: a sentence and a share for each set of tasks and metric that it may mean."""
    metrics = {"task": (PER_TASK,), "test input": (PER_INPUT,)}.get(number.metric, (PER_TASK, PER_INPUT))
    shares = (
        (one.on, name, one.score.shares[name])
        for one in scored
        for metric in metrics
        if number.k and (name := score.name(number.k, metric)) in one.score.shares
    )
    return [(f"{name} is {share.percent} ({share.count}) on {on}", share.share) for on, name, share in shares]


def _more_than(scored: Sequence[Scored], number: Number) -> str:
    """That a pass@K is claimed to be less than what the submission reaches with fewer attempts, wherever it is scored."""
    known = [max(k for k in one.score.per_task) for one in scored if one.score.shares]
    if not number.k or not known or number.k < max(known):
        return ""
    fewer = Number(f"pass@{max(known)}{f' per {number.metric}' if number.metric else ''}", 0.0, "", "")
    found = _of(scored, fewer)
    return found[0][0] if found and all(number.share + number.tolerance < share for _, share in found) else ""


def _why(scored: Sequence[Scored], number: Number) -> str:
    if not number.k:
        return "no submission shows it; trm-repro evaluate does, with weights and dataset"
    if not scored:
        return "no submission here, or none that can be scored; trm-repro evaluate makes one"
    return (
        "the submission has fewer attempts, or no answer of its tasks is known; trm-repro evaluate --save-outputs tells"
    )


def _beside(number: Number, target: str) -> str:
    """How a number stands beside those that others published."""
    known = retrained(target) if number.k == 2 and target else None
    if not known:
        return ""
    low, high = known
    where = "above" if number.share > high else "below" if number.share < low else "within"
    return f"; {where} what others are known to have reached, {100 * low:.1f} to {100 * high:.1f} %"


def given_tasks(tasks: str | None, solutions: Path | None, datasets: Sequence[Path]) -> Tasks | None:
    """The tasks that the user names, or those of a dataset that is there.

    Raises:
        ReproError: they cannot be read.
    """
    from trm_repro.arc.reader import read

    if tasks:
        return Tasks(Path(tasks).name, read(tasks, solutions).puzzles)
    for dataset in datasets:
        if (path := dataset / "test_puzzles.json").is_file():
            return Tasks(path.name, versions.with_answers_known(read(str(path), None).puzzles))
    return None
