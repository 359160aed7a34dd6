"""What others published: their numbers, the machines and hours they took, and where each one stands.

The one place for it: a recipe names its result (``expected.published``), an estimate takes the runs whose work is known, a
report shows them all, the README's range is :func:`retrained`'s.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

PASS, EXACT = "pass@2 per task", "exact accuracy"
PUBLIC, SEMI, BOARD = "public evaluation tasks", "semi-private tasks", "Kaggle's public leaderboard"
SUDOKU, MAZE = "Sudoku-Extreme's test puzzles", "Maze-Hard's test puzzles"
OFFICIAL, UPSTREAMS = "official, 167 test inputs", "upstream's, 172 test inputs"
ALONE = "one checkpoint alone"
AUTHORS = "TRM paper"


@dataclass(frozen=True)
class Result:
    """One number somebody published.

    Attributes:
        who: whose number it is.
        value: a share between 0 and 1.
        source: where it stands, and what it says there.
        gpus: how many of them it took; 0 where that is not known.
        gpu: of which kind.
        hours: how long it took; None where that is not known.
        note: what else is known of it.
        steps: the batches that were drawn; 0 where that is not known.
        batch: examples a batch.
        evaluations: how many there were on the way.
        metric: what is counted.
        of: which tasks or puzzles it is a share of.
        version: which version of those; empty where that is not known.
        vote: whether one checkpoint answered, or those of all evaluations voted; empty where that is not known.
        model: what was trained.
        again: the same run has another number here, counted otherwise or told by another source, which is the one to take.
    """

    who: str
    value: float
    source: str
    gpus: int = 0
    gpu: str = ""
    hours: float | None = None
    note: str = ""
    steps: int = 0
    batch: int = 0
    evaluations: int = 0
    metric: str = PASS
    of: str = PUBLIC
    version: str = ""
    vote: str = ""
    model: str = "TRM"
    again: bool = False

    @property
    def hardware(self) -> str:
        """What it took, for people."""
        took = f"{self.hours:g} h" if self.hours else ""
        cards = f"{self.gpus} × {self.gpu}" if self.gpus else ""
        return ", ".join(filter(None, (cards, took, self.note)))

    @property
    def what(self) -> str:
        """What it is a number of, for people: the metric, which version of the tasks, whose vote."""
        if self.of not in (PUBLIC, SEMI, BOARD):
            return self.metric
        version = self.version or ("version not said" if self.of == PUBLIC else self.of)
        return f"{self.metric}; {version}; {self.vote or 'alone or voted: not said'}"

    @property
    def open(self) -> bool:
        """Whether it is a TRM's, of what everybody can evaluate on."""
        return self.model == "TRM" and self.of in (PUBLIC, SUDOKU, MAZE)

    @property
    def comparable(self) -> bool:
        """Whether it is such a number by the metric that counts, and the one to take of its run."""
        return self.open and self.metric in (PASS, EXACT) and not self.again


# The number that counts for each kind of puzzle, and how many tasks or puzzles it is a share of.
METRICS = {"arc": "ARC/pass@2", "sudoku": "all.exact_accuracy", "maze": "all.exact_accuracy"}
TASKS = {"arc1": 400, "arc2": 120}

_PAPER, _PRIZE, _GAO = "arXiv 2510.04871", "ARC Prize's verification", "gaoxin492's model card"
_DOMUS = "domus-magna's repository: submission of step 72,385, scored again by us"
_FELIX = "Felix561's repository: ARC Prize's checkpoint evaluated, its submission scored again by us"


def _boards(
    puzzles: str, who: str, value: float, source: str, gpus: int, gpu: str, hours: float | None = None, note: str = ""
) -> Result:
    source = f"{source} of {puzzles}"
    return Result(who, value, source, gpus, gpu, hours, note, metric=EXACT, of=puzzles)


def _alphaxiv(who: str, value: float, said: str, puzzles: str = "") -> Result:
    who, source, note = f"alphaXiv{who}", f"alphaXiv's REPORT.md: {said}", "batch 1536"
    if puzzles:
        return _boards(puzzles, who, value, source, 8, "A100", note=note)
    return Result(who, value, source, 8, "A100", note=note)


# A name begins with the puzzles, as in target_dataset. The authors' come first.
RESULTS = {
    "arc2-paper": Result(
        "TRM paper", 0.078, f"{_PAPER}: 7.8 % on ARC-AGI-2's 120 public evaluation tasks",
        4, "H100", 72, steps=723_914, batch=768, evaluations=10,
    ),
    "arc2-prize": Result("ARC Prize, retrained", 0.062, f"{_PRIZE}: 6.2 %", 8, "H100", note="$2.10 a task"),
    "arc2-prize-elsewhere": Result(
        "ARC Prize, retrained", 0.069, "another source than ARC Prize's verification: 6.9 %", 8, "H100", again=True
    ),
    "arc2-prize-alone": Result(
        "Felix561", 0.05, f"{_FELIX}: 5.00 %",
        note="ARC Prize's checkpoint, evaluated again, 44,960 s", version=UPSTREAMS, vote=ALONE,
    ),
    "arc2-prize-alone-pass1": Result(
        "Felix561", 0.0292, f"{_FELIX}: 2.92 %",
        metric="pass@1 per task", version=UPSTREAMS, vote=ALONE,
    ),
    "arc2-prize-alone-inputs": Result(
        "Felix561", 0.0523, f"{_FELIX}: 5.23 % pooled over test inputs, 9 of 172",
        metric="pass@2 per test input", version=UPSTREAMS, vote=ALONE,
    ),
    "arc2-trelis": Result(
        "Trelis", 0.10, "Trelis' paper and model card: about 10 % on ARC-AGI-2's public evaluation tasks",
        4, "H100 or H200", 48, steps=723_914, batch=768, evaluations=10,
    ),
    "arc2-trelis-lora": Result(
        "Trelis, LoRA or post-training", 0.0667, "Trelis' paper: 6.67 % at best", 4, "L4", 12, of=SEMI
    ),
    "arc2-trelis-expanded": Result(
        "Trelis, expanded data", 0.0425, "arXiv 2511.02886, table 1: 4.25 %, 200,000 epochs", of=SEMI
    ),
    "arc2-trelis-hard": Result(
        "Trelis, hard data", 0.0127, "arXiv 2511.02886, table 1: 1.27 %, 1,000,000 epochs", of=SEMI
    ),
    "arc2-nvarc": Result(
        "NVARC", 0.1013888888888889, "NVARC's README: 10.14 % pass@2 on the local evaluation",
        8, "H100", 24, "batch 3072, on puzzles of its own", steps=220_708, batch=3072,
    ),
    "arc2-nvarc-pass1": Result(
        "NVARC", 0.0764, "NVARC's README: 7.64 % pass@1 on the local evaluation", 8, "H100", 24,
        metric="pass@1 per task",
    ),
    "arc2-nvarc-pass1000": Result(
        "NVARC", 0.1375, "NVARC's README: 13.75 % pass@1000 on the local evaluation", 8, "H100", 24,
        metric="pass@1000 per task",
    ),
    "arc2-nvarc-kaggle": Result("NVARC", 0.10, "NVARC's README: 10.0 %", 8, "H100", 24, of=BOARD),
    "arc2-nvarc-original-kaggle": Result(
        "NVARC, original data", 0.0208, "NVARC's report, 4.1: 2.08 %", 8, "H100", note="batch 3072", of=BOARD
    ),
    "arc2-gaoxin492": Result(
        "gaoxin492", 0.0333, f"{_GAO}: 3.33 %", 8, "Hopper", 49, "batch 4608, 200,000 epochs"
    ),
    "arc2-domus": Result(
        "domus-magna", 0.0292, f"{_DOMUS}: 2.92 %", 8, "H200", 24, "one variant a task", version=OFFICIAL
    ),
    "arc2-domus-upstreams": Result(
        "domus-magna", 0.025, f"{_DOMUS}: 2.50 %", 8, "H200", 24, "one variant a task", version=UPSTREAMS, again=True
    ),
    "arc2-domus-pass1": Result(
        "domus-magna", 0.0167, f"{_DOMUS}: 1.67 %", 8, "H200", 24, "one variant a task", metric="pass@1 per task",
        version=OFFICIAL,
    ),
    "arc2-hrm": Result("HRM", 0.02, "ARC Prize's analysis of HRM: 2 %", of=SEMI, model="HRM"),
    "arc2-urm": Result(
        "URM", 0.16, "arXiv 2512.14693: 16.0 % pass@1", metric="pass@1 per task", model="URM"
    ),
    "arc1-paper": Result(
        "TRM paper", 0.446, f"{_PAPER}: 44.6 % on ARC-AGI-1's 400 public evaluation tasks", 4, "H100", 72
    ),
    "arc1-prize": Result("ARC Prize, retrained", 0.40, f"{_PRIZE}: 40 %", 8, "H100", note="$1.76 a task"),
    "arc1-prize-one": Result(
        "ARC Prize, retrained", 0.2925, "arXiv 2512.11847: 29.25 % without voting", 8, "H100",
        metric="no vote of augmentations", vote=ALONE,
    ),
    "arc1-prize-alone": Result(
        "Felix561", 0.44, "Felix561's repository: 44 %", note="ARC Prize's checkpoint, evaluated again", vote=ALONE
    ),
    "arc1-prize-alone-pass1": Result(
        "Felix561", 0.40, "Felix561's repository: 40 %",
        metric="pass@1 per task", vote=ALONE,
    ),
    "arc1-alphaxiv-h3l4": _alphaxiv(", H3 L4", 0.43, "43.00 ± 0.16 % pass@2 with H3 L4"),
    "arc1-alphaxiv-h3l6": _alphaxiv(", H3 L6", 0.5275, "52.75 ± 3.09 % pass@2 with H3 L6"),
    "arc1-gaoxin492": Result("gaoxin492", 0.41, f"{_GAO}: 41 %", 8, "Hopper", note="batch 4608"),
    "arc1-gaoxin492-submission": Result(
        "gaoxin492", 0.385, "gaoxin492's repository: submission of a stand-alone evaluation, scored again by us: 38.5 %",
        8, "Hopper", note="batch 4608", version="upstream's, 419 test inputs", vote=ALONE, again=True,
    ),
    "arc1-hrm": Result("HRM", 0.32, "ARC Prize's analysis of HRM: 32 %", of=SEMI, model="HRM"),
    "arc1-urm": Result(
        "URM", 0.538, "arXiv 2512.14693: 53.8 % pass@1", metric="pass@1 per task", model="URM"
    ),
    "sudoku-paper-mlp": _boards(SUDOKU, "TRM paper, MLP", 0.874, f"{_PAPER}: 87.4 %", 1, "L40S", note="under 36 h"),
    "sudoku-paper-att": _boards(SUDOKU, "TRM paper, attention", 0.747, f"{_PAPER}: 74.7 %", 1, "L40S", note="under 36 h"),
    "sudoku-alphaxiv-mlp": _alphaxiv(", MLP", 0.7937, "79.37 % after 50,000 epochs", SUDOKU),
    "sudoku-alphaxiv-mlp-60k": _alphaxiv(", MLP, longer", 0.7557, "75.57 % after 60,000 epochs", SUDOKU),
    "sudoku-alphaxiv-att": _alphaxiv(", attention", 0.6969, "69.69 % after 50,000 epochs", SUDOKU),
    "sudoku-alphaxiv-att-60k": _alphaxiv(", attention, longer", 0.7366, "73.66 % after 60,000 epochs", SUDOKU),
    "sudoku-nano": _boards(SUDOKU, "nano-trm", 0.87, "nano-trm's README: 87 %", 1, "H100", 1),
    "maze-paper": _boards(MAZE, "TRM paper", 0.853, f"{_PAPER}: 85.3 %", 4, "L40S", note="under 24 h"),
    "maze-alphaxiv": _alphaxiv("", 0.8367, "83.67 ± 2.28 %", MAZE),
    "maze-nano": _boards(MAZE, "nano-trm", 0.75, "nano-trm's README: 75 %", 1, "H100", 2),
    "manual-trelis": Result(
        "Trelis", 0.065, "Trelis' README: 6.5 % pass@2 on the 23 manual tasks", 1, "H100", of="23 manual tasks"
    ),
}  # fmt: skip

# Known scores of published runs on their way, by target_dataset: the checkpoint's step, and the result.
POINTS = {
    "arc2": (
        (72_385, "arc2-domus"),
        (72_385, "arc2-domus-upstreams"),
        (72_385, "arc2-domus-pass1"),
        (723_914, "arc2-prize-alone"),
        (723_914, "arc2-prize-alone-pass1"),
    ),
}


def published(target: str) -> list[Result]:
    """All results of one kind of puzzle, the authors' first."""
    return [result for name, result in RESULTS.items() if target.startswith(name.partition("-")[0])]


def comparable(target: str) -> list[Result]:
    """Those that a run's own number can be held against: one for each run, the authors' first."""
    return [result for result in published(target) if result.comparable]


def retrained(target: str) -> tuple[float, float] | None:
    """The lowest and the highest number that others got for what the authors published; None where nobody did."""
    values = [result.value for result in comparable(target) if not result.who.startswith(AUTHORS)]
    return (min(values), max(values)) if values else None


def known_points(target: str, until: float, metrics: Collection[str]) -> list[tuple[int, Result]]:
    """The steps and scores of published runs on their way, up to a step, by one of some metrics (:attr:`Result.metric`)."""
    found = [(step, RESULTS[name]) for step, name in POINTS.get(target, ()) if step <= until]
    return [(step, result) for step, result in found if result.metric in metrics]
