"""The crosscheck: what upstream computed and what the reference engine makes of the same start, side by side.

Both trained from the same checkpoint, on the same data with the same seed, one process each, in float32. What is counted
must be equal: steps, what halts when, the learning rate, what is right. What is summed may differ by rounding, which grows
with every step: so the loss is judged over the first :data:`EARLY` steps, and after them the curve of its difference is shown.
Evaluations use averaged weights, in which rounding grows slowly; they are judged, and so are the weights of the checkpoints.

Beside that: our evaluation of upstream's checkpoints against what upstream logged, and our builder's files against upstream's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trm_repro.arc.score import title
from trm_repro.digests import digest_files
from trm_repro.runs.checkpoints import CONFIG, checkpoint_name, checkpoints, step_of
from trm_repro.runs.metrics import FILE as METRICS
from trm_repro.runs.metrics import evaluations, read_all
from trm_repro.training.state import configuration

FORMAT = "trm-repro/crosscheck/v1"
EARLY = 8  # steps over which a loss is judged
# Relative, between two float32 programs on one machine. Of the loss, 2e-8 was seen; 3e-7 with another rms_norm_eps.
LOSS, TRAINING, EVALUATION, WEIGHTS = 1e-7, 1e-6, 1e-6, 1e-5
EQUAL = (
    "num_params",
    "train/count",
    "train/steps",
    "train/lr",
    "train/exact_accuracy",
    "all.steps",
    "all.exact_accuracy",
)
ROUNDED = {
    "train/lm_loss": LOSS,
    **dict.fromkeys(("train/accuracy", "train/q_halt_loss", "train/q_halt_accuracy"), TRAINING),
    **dict.fromkeys(("all.lm_loss", "all.accuracy", "all.q_halt_loss", "all.q_halt_accuracy"), EVALUATION),
}
PASS = re.compile(r"ARC/pass@\d+")

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class First:
    """Where two sides differ first: the step (None: not a matter of steps), and what stands on either side."""

    step: int | None
    upstream: Any
    ours: Any


@dataclass(frozen=True)
class Row:
    """One quantity.

    Attributes:
        part: what it was compared in.
        quantity: its name.
        compared: how many values (or files, tensors) were.
        within: how much they may differ, relatively; 0: not at all.
        worst: how much they do, at most; None where it is no number.
        first: the first that differs by more; None where none does.
    """

    part: str
    quantity: str
    compared: int
    within: float
    worst: float | None
    first: First | None


@dataclass(frozen=True)
class Crosscheck:
    """All of it: the rows, and (step, relative difference) of the training loss."""

    rows: Sequence[Row]
    curve: Sequence[tuple[int, float]]

    @property
    def first(self) -> Row | None:
        """The row that differs first; of those at the same step, the first in order."""
        wrong = [row for row in self.rows if row.first]
        return min(
            wrong, key=lambda row: -1 if row.first is None or row.first.step is None else row.first.step, default=None
        )

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return self.first is None

    def as_json(self) -> dict[str, Any]:
        """The crosscheck as its file has it; JSON has no word for an infinite difference, which is null."""
        curve = [(step, _finite(value)) for step, value in self.curve]
        first = {"part": self.first.part, "quantity": self.first.quantity} if self.first else None
        rows = [{**asdict(row), "worst": _finite(row.worst)} for row in self.rows]
        return {"format": FORMAT, "agrees": self.agrees, "first": first, "rows": rows, "curve": curve}

    def __str__(self) -> str:
        lines = [f"{'':10} {'quantity':28} {'compared':>8}  {'within':>7}  {'worst':>7}"]
        for row in self.rows:
            within = _number(row.within) if row.within else "equal"
            start = f"{row.part:10} {row.quantity:28} {row.compared:>8,}  {within:>7}"
            lines.append(f"{start}  {_number(row.worst):>7}  {'DIFFERS' if row.first else 'ok'}")
        for low, high in _stretches(self.curve):
            worst = max(value for step, value in self.curve if low <= step <= high)
            lines.append(f"{'':10} {f'lm_loss, steps {low} to {high}':28} {'':>8}  {'':>7}  {_number(worst):>7}")
        if self.first is None or self.first.first is None:
            return "\n".join([*lines, "the engines agree"])
        found = self.first.first
        where = "" if found.step is None else f" at step {found.step}"
        lines.append(f"the engines DIFFER, first{where} in {self.first.quantity} ({self.first.part}):")
        return "\n".join([*lines, f"  upstream {found.upstream}", f"  ours     {found.ours}"])


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _number(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.0e}"


def _stretches(curve: Sequence[tuple[int, float]]) -> Iterator[tuple[int, int]]:
    """1 to 8, 9 to 16, 17 to 32 … as far as there are steps."""
    last, low, high = max((step for step, _ in curve), default=0), 1, EARLY
    while low <= last:
        yield low, min(high, last)
        low, high = high + 1, 2 * high


def difference(upstream: Any, ours: Any) -> float:
    """How much two numbers differ, relative to upstream's; infinite where one is missing or no number."""
    try:
        one, other = float(upstream), float(ours)
    except (TypeError, ValueError):
        return 0.0 if upstream == ours else float("inf")
    if one == other or upstream == ours:  # the word "nan" is what it is
        return 0.0
    found = abs(one - other) / abs(one) if one else float("inf")
    return found if found == found else float("inf")


def trainings(upstream: Sequence[Entry], ours: Sequence[Entry]) -> Crosscheck:
    """Two metrics files, entry by entry."""
    steps = [[int(entry["step"]) for entry in entries] for entries in (upstream, ours)]
    names = {name for entries in (upstream, ours) for entry in entries for name in entry}
    passes = sorted(filter(PASS.fullmatch, names), key=lambda name: int(name.partition("@")[2]))
    pairs = list(zip(upstream, ours, strict=False))
    rows = [_steps(*steps)]
    for name in (*EQUAL, *passes, *ROUNDED):
        last = EARLY if name.startswith("train/") and name in ROUNDED else None
        if name in names:
            rows.append(_row(name, pairs, ROUNDED.get(name, 0.0), last))
    curve = [
        (int(one["step"]), difference(one["train/lm_loss"], other.get("train/lm_loss")))
        for one, other in pairs
        if "train/lm_loss" in one
    ]
    return Crosscheck(rows, curve)


def _steps(upstream: Sequence[int], ours: Sequence[int]) -> Row:
    """Whether the same steps are on record, in the same order."""
    first = None
    if list(upstream) != list(ours):
        count = min(len(upstream), len(ours))
        at = next((i for i in range(count) if upstream[i] != ours[i]), count)
        one, other = (f"step {s[at]}" if at < len(s) else f"no more than {len(s)} entries" for s in (upstream, ours))
        first = First(min(s[at] for s in (upstream, ours) if at < len(s)), one, other)
    return Row("training", "step numbers", len(upstream), 0.0, None, first)


def _row(name: str, pairs: Sequence[tuple[Entry, Entry]], within: float, last: int | None) -> Row:
    """One metric of two trainings, up to a last step."""
    values = [
        (int(one["step"]), one.get(name), other.get(name))
        for one, other in pairs
        if (name in one or name in other) and (last is None or one["step"] <= last)
    ]
    worst = max((difference(one, other) for _, one, other in values), default=0.0)
    wrong = (First(step, one, other) for step, one, other in values if difference(one, other) > within)
    part = "training" if name.startswith(("train/", "num_")) else "evaluation"
    return Row(part, name, len(values), within, worst, next(wrong, None))


def weights(upstream: Path, ours: Path) -> Iterator[Row]:
    """The checkpoints of two trainings: the length of each tensor's difference, relative to the tensor's."""
    from trm_repro.engine.checkpoint import read_weights

    for path in checkpoints(upstream):
        other = ours / path.name
        if not other.exists():
            yield Row("weights", path.name, 0, WEIGHTS, None, First(step_of(path), path.name, "none"))
            continue
        one, two = read_weights(path), read_weights(other)
        if one.keys() != two.keys():
            first = First(step_of(path), *(", ".join(sorted(a.keys() - b.keys())) for a, b in ((one, two), (two, one))))
            yield Row("weights", path.name, len(one), WEIGHTS, None, first)
            continue
        found = {name: float((one[name].double() - two[name].double()).norm()) for name in one}
        found = {name: value / (float(one[name].double().norm()) or 1.0) for name, value in found.items()}
        name = max(found, key=lambda key: found[key])
        far = (
            None
            if found[name] <= WEIGHTS
            else First(step_of(path), name, f"differs by {found[name]:.1e} of its length")
        )
        yield Row("weights", path.name, len(found), WEIGHTS, found[name], far)


def scored_again(folder: Path, dataset: Path, scratch: Path) -> Iterator[Row]:
    """Our evaluation of upstream's checkpoints against what upstream logged of them.

    The logged pass@K is the vote of all evaluations so far: it is one checkpoint's own at the first evaluation alone.
    """
    import torch

    from trm_repro.engine import scorecard
    from trm_repro.engine.world import World

    config = configuration(folder) or {}
    request = scorecard.Request(dataset=dataset, output=scratch, batch_size=config.get("global_batch_size", 128))
    torch.set_num_threads(1)  # the matrices are small
    world = World(0, 1, torch.device("cpu"))
    for number, entry in enumerate(evaluations(read_all(folder / METRICS))):
        name = checkpoint_name(int(entry["step"]))
        report = scorecard.run(request, [str(folder / name)], world, arch={}, config=folder / CONFIG)
        [result] = report["checkpoints"]
        found = dict(result["metrics"])
        if number == 0 and "vote" in result:
            scores = result["vote"]["scores"]
            found |= {key: scores[title(key)]["share"] for key in entry if title(key) in scores}
        values = [(key, entry.get(key), value) for key, value in found.items() if key in entry]
        first: First | None = None
        worst = 0.0
        for key, one, other in values:
            worst = max(worst, difference(one, other))
            if first is None and difference(one, other) > (TRAINING if key in ROUNDED else 0.0):
                first = First(int(entry["step"]), f"{key} {one}", f"{key} {other}")
        yield Row("scored", name, len(values), TRAINING, worst, first)


def files(upstream: Path, ours: Path) -> Row:
    """Two datasets, byte for byte."""
    found = []
    for folder in (upstream, ours):
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        digests = digest_files(paths)
        found.append({path.relative_to(folder).as_posix(): digests[path].sha256 for path in paths})
    one, other = found
    wrong = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
    first = First(None, *(f"{wrong[0]}: {side.get(wrong[0], 'not there')}" for side in found)) if wrong else None
    return Row("dataset", "files, byte for byte", len(one), 0.0, None, first)
