"""An audit: all that somebody published of one run, held against itself and against what is known.

Nothing of it is run, and PyTorch is loaded by the probe only. What one look stumbles over is said and does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from trm_repro.arc.versions import seen_in_arc_1
from trm_repro.audit.claims import Number, said, written
from trm_repro.audit.numbers import Scored, Tasks, given_tasks, look_at_numbers, look_at_submission
from trm_repro.audit.page import Page
from trm_repro.audit.schedule import dataset_of, look_at_configuration, look_at_cycles, look_at_step
from trm_repro.audit.sources import look_at_sources
from trm_repro.audit.subject import Subject, subjects
from trm_repro.audit.tensors import identifiers_of, kind, look_at_weights
from trm_repro.errors import ReproError
from trm_repro.files import read_bytes
from trm_repro.provenance.verify import verify
from trm_repro.weights import identifiers
from trm_repro.weights.state import TABLE

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What else is known of what is audited.

    Attributes:
        claims: numbers, and a recipe's name, as ``--claim`` has them.
        probe: the dataset that the weights were trained on, where its cycles are to be found out.
        dataset: a dataset that they were trained on.
        pairs: training pairs that the probe answers.
        tasks: a file or folder of the tasks that the submission answers.
        solutions: their answers, where the tasks do not hold them.
        clones: clones of upstreams that are at hand.
    """

    claims: Sequence[str] = ()
    probe: Path | None = None
    dataset: Path | None = None
    pairs: int = 64
    tasks: str | None = None
    solutions: Path | None = None
    clones: Sequence[Path] = ()


def audit(place: str | Path, source: str, request: Request) -> list[Page]:
    """Audits what lies at a place: a page for each run in it.

    Args:
        place: a folder, a file, or ``FILE:PART``.
        source: what it is called on the page: ``hf:owner/name``, or the path.
        request: what else is known of it.

    Raises:
        UsageError, MissingPrerequisite: there is no such place, or what was said of it makes no sense.
    """
    claimed, recipe = said(request.claims)
    datasets = [path for path in (request.dataset, request.probe) if path]
    given = given_tasks(request.tasks, request.solutions, datasets)
    found = subjects(place, source)
    return [_page(subject, request, claimed, recipe, given, several=len(found) > 1) for subject in found]


def _page(
    subject: Subject, request: Request, claimed: Sequence[Number], recipe: str, given: Tasks | None, *, several: bool
) -> Page:
    page = Page(f"{subject.source}, {subject.weights}" if several else subject.source)
    here = next(iter(subject.datasets), None)
    dataset = request.probe or request.dataset or here

    def look(about: str, act: Callable[[], T], otherwise: T) -> T:
        try:
            return act()
        except ReproError as error:
            page.cannot_tell(about, "it can be read", f"{error}; {error.hint}" if error.hint else str(error))
        except (RecursionError, ValueError, KeyError, TypeError, IndexError, AttributeError, OSError) as error:
            page.cannot_tell(about, "it can be read", f"{type(error).__name__}: {error}")
        return otherwise

    if folder := subject.bundle:
        look("bundle", lambda: _verified(page, folder), None)
    state = look("weights", lambda: look_at_weights(page, subject, dataset), None)
    puzzles = kind(state) if state else "arc"
    rows = state.tensors[TABLE].shape[0] if state and TABLE in state.tensors else 0
    look("configuration", lambda: look_at_configuration(page, subject, puzzles, recipe), None)
    if subject.weights:
        look("step", lambda: look_at_step(page, subject, rows, dataset), None)
    if state:
        look("cycles", lambda: look_at_cycles(page, subject, puzzles, request.probe or here, request.pairs), None)
    look("sources", lambda: look_at_sources(page, subject, request.clones), None)
    tasks = given or look("tasks", lambda: given_tasks(None, None, [here] if here else []), None)
    scored: list[Scored] = look("submission", lambda: look_at_submission(page, subject, tasks), [])
    nothing: list[Number] = []
    numbers = [*claimed, *look("numbers", lambda: list(written(subject)), nothing)]
    if not numbers and "README.md" in subject.names:
        page.unknown.append(
            ("numbers in words", "README.md has none where the hub reads them; --claim pass@2=… names one")
        )
    look("numbers", lambda: look_at_numbers(page, scored, numbers, _target(subject, puzzles, rows)), None)
    look("tasks", lambda: _seen_before(page, subject, dataset, scored), None)
    return page


def _verified(page: Page, bundle: Path) -> None:
    """A bundle of ours: what ``verify`` says of it."""
    answer = verify(bundle)
    wrong = [f"{f.check}: {line}" for f in answer.findings if f.outcome == "wrong" for line in f.lines]
    claim = "a bundle of trm-repro's, as its run left it (trm-repro verify)"
    if wrong or answer.exit_code == 0:
        page.judge("bundle", claim, wrong, answer.headline)
    else:
        page.cannot_tell("bundle", claim, answer.headline)


def _target(subject: Subject, puzzles: str, rows: int) -> str:
    """Whose published numbers are to be held beside: arc1, arc2, sudoku or maze; empty where that is not known."""
    if subject.manifest:
        return str(subject.manifest["run"]["target_dataset"])
    if puzzles != "arc":
        return puzzles
    return next((kind for kind in ("arc1", "arc2") if dataset_of(subject, rows).startswith(kind)), "")


def _seen_before(page: Page, subject: Subject, dataset: Path | None, scored: Sequence[Scored]) -> None:
    """Tasks of the test set that the weights have seen with their answers, under the name of another benchmark."""
    names = identifiers_of(subject, dataset)
    if not names or not scored:
        return
    trained = identifiers.variants(read_bytes(names, identifiers.MOST))
    if seen := seen_in_arc_1(trained, scored[0].puzzles):
        page.notes.append(
            f"trained on ARC-AGI-1's evaluation tasks, which {len(seen)} of these tasks equal: {', '.join(seen)}"
        )
