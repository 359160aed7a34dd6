"""Tasks of one's own, answered as the notebook answers a competition's: tuned on their examples, then voted on.

What it does is :mod:`trm_repro.notebook.solve`'s. Answers that the source has are kept from it, and looked at afterwards.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from trm_repro.arc import reader
from trm_repro.arc.picture import PALETTE, figure
from trm_repro.arc.submission import Submission
from trm_repro.arc.tasks import upstreams_layout
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import staged, write_bytes, write_json
from trm_repro.notebook import solve
from trm_repro.runs.checkpoints import CONFIG
from trm_repro.weights.find import BUNDLE, find_in
from trm_repro.weights.state import split_part

IDENTIFIERS = "identifiers.json"
BATCHES = {"cpu": 8, "cuda": 96, "mps": 16}  # grids at a time


@dataclass(frozen=True)
class Request:
    """What to answer, and how.

    Attributes:
        tasks: their source, as :func:`trm_repro.arc.reader.read` takes it.
        weights: a bundle, or a folder with a checkpoint, all_config.yaml and identifiers.json.
        minutes: for everything.
        tune: what learns the examples: one of :data:`~trm_repro.notebook.presets.WHAT`.
        share: of the time, for that.
        augmentations: variants of each task that vote, time permitting.
        batch: grids at a time; None for 96 on a GPU, 8 on a CPU.
        device: cpu, cuda or mps; None takes CUDA where there is one, else the CPU.
        seed: of the batches.
    """

    tasks: str
    weights: Path
    minutes: float = 10
    tune: str = "embeddings"
    share: float = 0.5
    augmentations: int = 1000
    batch: int | None = None
    device: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.minutes < 1e5:
            raise UsageError(f"{self.minutes:g} minutes", hint="--minutes takes a number above 0")
        if self.augmentations < 0 or (self.batch is not None and self.batch < 1):
            raise UsageError("the augmentations must be 0 or more, the batch 1 or more")


@dataclass(frozen=True)
class Solution:
    """What came of it.

    Attributes:
        tasks: as they were read, with the answers that the source has.
        submission: two attempts at every test input.
        tally: behind each attempt its votes and their mean confidence; None for a test input without a prediction.
        known: how many variants of the tasks the weights were trained on, by task.
        variants: how many there are, by task.
        steps: of fine-tuning.
        predictions: how many were made.
        wanted: how many there would be with enough time.
    """

    tasks: Mapping[str, Any]
    submission: Submission
    tally: Mapping[str, list[list[dict[str, float]] | None]]
    known: Mapping[str, int]
    variants: Mapping[str, int]
    steps: int
    predictions: int
    wanted: int

    def right(self, task: str, test: int) -> int | None:
        """Which attempt is the answer that the source has: 1, 2, 0 for neither; None where it has none."""
        answer = self.tasks[task]["test"][test]["output"]
        if answer is None:
            return None
        attempts = self.submission[task][test]
        return next((n for n in (1, 2) if attempts[f"attempt_{n}"] == answer), 0)

    def as_json(self) -> dict[str, Any]:
        """Everything but the tasks."""
        answers = {
            task: [
                {**entry, "behind": tally, "right": self.right(task, test)}
                for test, (entry, tally) in enumerate(zip(entries, self.tally[task], strict=True))
            ]
            for task, entries in self.submission.items()
        }
        facts = {"steps": self.steps, "predictions": self.predictions, "wanted": self.wanted}
        return {"answers": answers, "variants": self.variants, "variants_trained_on": self.known, **facts}


def read(source: str) -> Mapping[str, Any]:
    """The tasks of a source.

    Raises:
        UsageError, MissingPrerequisite, InvariantBroken: as :func:`trm_repro.arc.reader.read`; or there is nothing to learn
            from, or to answer.
    """
    tasks = reader.read(source).puzzles
    for name, task in tasks.items():
        for role, why in (("train", "to learn the rule from"), ("test", "to answer")):
            if not task[role]:
                raise InvariantBroken(f"{source}: task {name}: no {role} pairs", hint=f"they are what there is {why}")
    return tasks


@contextlib.contextmanager
def bundle_of(weights: Path) -> Any:
    """A folder with weights, configuration and identifiers under the names that a bundle gives them.

    Raises:
        MissingPrerequisite: one of them is missing.
        InvariantBroken: there are no weights, or several.
    """
    path, config = find_in(weights)
    identifiers = split_part(str(path))[0].with_name(IDENTIFIERS)
    if config is None or not identifiers.is_file():
        raise MissingPrerequisite(
            f"{weights}: no {IDENTIFIERS if config else CONFIG} beside {path.name}",
            hint="a bundle has both (trm-repro fetch-weights); of a training, the dataset has identifiers.json",
        )
    if path.name == BUNDLE and config.parent == path.parent:
        yield path.parent
        return
    if split_part(str(path))[1]:
        raise UsageError(f"{weights}: one of several sets of weights", hint="name the file or folder alone")
    with tempfile.TemporaryDirectory() as folder:
        for name, file in ((BUNDLE, path), (CONFIG, config), (IDENTIFIERS, identifiers)):
            Path(folder, name).symlink_to(file.resolve())
        yield Path(folder)


def answer(request: Request, say: Any = print) -> Solution:
    """Answers the tasks within the time.

    Args:
        request: what to answer.
        say: is told what is going on, a sentence at a time.

    Raises:
        UsageError, MissingPrerequisite, InvariantBroken: tasks or weights are not what they must be.
    """
    budget = solve.Budget(60 * request.minutes)
    tasks = read(request.tasks)
    without = {
        name: {
            "train": task["train"],
            "test": [{"input": pair["input"], "output": None} for pair in task["test"]],
        }
        for name, task in tasks.items()
    }
    with bundle_of(request.weights) as bundle, tempfile.TemporaryDirectory() as work:
        from trm_repro.engine.device import check_dtype, choose

        device = choose(request.device)
        batch = request.batch or BATCHES[device.type]
        challenges = Path(work, "own_tasks_challenges.json")
        write_bytes(challenges, upstreams_layout(without)["challenges"])
        dataset = solve.build(challenges, Path(work, "dataset"), augmentations=request.augmentations)
        model, _ = solve.load(bundle, dataset)
        check_dtype(model.config.forward_dtype, device)
        known, variants = _known(bundle, dataset, tasks)
        for name in tasks:
            say(expectation(name, known[name], variants[name]))
        steps = 0
        if request.tune != "none":
            seconds = request.share * budget.left
            steps = solve.fine_tune(
                model,
                bundle,
                dataset,
                what=request.tune,
                seconds=seconds,
                batch=batch,
                seed=request.seed,
                device=device.type,
            )
        answers = solve.predict(model, dataset, seconds=0.95 * budget.left, batch=batch, device=device.type)
    counted, answered = answers.votes.tally(), answers.votes.answered()
    tally: dict[str, list[list[dict[str, float]] | None]] = {}
    for name, has in answered.items():
        entries = iter(counted[name])
        tally[name] = [next(entries) if one else None for one in has]
    whole = solve.submission(answers, without)
    return Solution(tasks, whole, tally, known, variants, steps, answers.predictions, answers.wanted)


def _known(bundle: Path, dataset: Path, tasks: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """By task, of how many of its variants in the dataset the weights know the vector, and how many there are."""
    from trm_repro.arc.augment import SEPARATOR
    from trm_repro.files import read_json

    trained = set(read_json(bundle / IDENTIFIERS))
    known, variants = dict.fromkeys(tasks, 0), dict.fromkeys(tasks, 0)
    for name in read_json(dataset / IDENTIFIERS):
        if (task := name.partition(SEPARATOR)[0]) in variants:
            variants[task] += 1
            known[task] += name in trained
    return known, variants


def expectation(task: str, known: int, variants: int) -> str:
    """What to expect of an answer to a task, in words."""
    if not known:
        return (
            f"{task}: these weights have never seen this task. TRM knows a task by vectors that it learnt for it; here they "
            "start from the mean of all others and learn from the task's examples alone. Expect no right answer of most "
            "tasks; many votes with a high confidence are the sign of one."
        )
    return (
        f"{task}: the weights were trained on a task of this name, and know the vectors of {known} of its {variants} variants "
        "here. If it is the same task, they have seen its examples, not its test."
    )


def write(solution: Solution, folder: Path) -> None:
    """Writes solution.json, submission.json (ARC's format) and solution.png into a folder."""
    write_json(folder / "submission.json", solution.submission)
    write_json(folder / "solution.json", solution.as_json())
    rows = []
    for name, task in solution.tasks.items():
        rows += [
            [(f"{name}, example {i}", pair["input"]), ("its output", pair["output"])]
            for i, pair in enumerate(task["train"], 1)
        ]
        for test, pair in enumerate(task["test"]):
            row = [(f"{name}, test {test + 1}", pair["input"])]
            row += [(title, grid) for title, grid in _attempts(solution, name, test) if grid != solve.NOT_ANSWERED]
            rows.append(row)
    with staged(folder / "solution.png") as temporary:
        figure(rows).savefig(temporary, dpi=100, format="png")


def _attempts(solution: Solution, task: str, test: int) -> list[tuple[str, Any]]:
    """The attempts at a test input, each with what stands behind it; the second one only where it is another."""
    tally, attempts = solution.tally[task][test], solution.submission[task][test]
    if tally is None:
        return [("not answered: the time was over", solve.NOT_ANSWERED)]
    right = solution.right(task, test)
    found = []
    for n, behind in enumerate(tally, 1):
        grid = attempts[f"attempt_{n}"]
        if n == 1 or grid != attempts["attempt_1"]:
            said = "" if right is None else ", right" if right == n else ", wrong"
            votes = f"{behind['votes']} vote{'' if behind['votes'] == 1 else 's'}"
            found.append((f"attempt {n}{said}\n{votes}, {100 * behind['confidence']:.1f} % sure", grid))
    return found


def print_solution(solution: Solution, file: TextIO) -> None:
    """Prints each test input and the attempts at it, side by side where they fit; as digits where there are no colours."""
    from rich.columns import Columns
    from rich.console import Console, Group
    from rich.text import Text

    console = Console(file=file, highlight=False, width=None if file.isatty() else 80)
    for name, task in solution.tasks.items():
        for test, pair in enumerate(task["test"]):
            shown = [(f"{name}, test {test + 1}\n", pair["input"]), *_attempts(solution, name, test)]
            parts = [
                Group(Text(title, style="bold"), _text(grid, console.is_terminal), Text()) for title, grid in shown
            ]
            console.print(Columns(parts, padding=(0, 3)))
    console.print(
        f"{solution.steps:,} steps of fine-tuning; {solution.predictions:,} of {solution.wanted:,} predictions voted"
    )


def _text(grid: Any, coloured: bool) -> Any:
    from rich.text import Text

    if grid == solve.NOT_ANSWERED:
        return Text()
    if not any(grid):
        return Text("empty")
    text = Text(no_wrap=True)
    for i, row in enumerate(grid):
        text.append("\n" * (i > 0))
        for cell in row:
            text.append("  " if coloured else f"{cell} ", style=f"on {PALETTE[cell]}" if coloured else "")
    return text
