"""Evaluation: think until the last supervision step, compare, and let the augmentations of a task vote.

Every batch starts from a fresh carry and runs for exactly halt_max_steps supervision steps; only the last answer counts.
The answers of the steps before can be kept beside it: they change nothing.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trm_repro.arc.reader import read_test_puzzles
from trm_repro.arc.score import LOGGED
from trm_repro.arc.scoring import Votes
from trm_repro.engine.act import Batch
from trm_repro.engine.config import EvaluatorConfig
from trm_repro.engine.data import Indices, Split
from trm_repro.engine.loss import METRICS, exact_device, loss_and_metrics
from trm_repro.engine.model import TRM, State
from trm_repro.engine.world import World
from trm_repro.errors import InvariantBroken, MissingPrerequisite, ReproError
from trm_repro.files import read_json, staged, write_json
from trm_repro.progress import MB, SOON, Counted, track

Think = Callable[[TRM, State, Tensor], State]
ANSWERS = ("preds", "q_halt_logits")  # what an example has of every supervision step


def watched(after_step: Callable[[], None], think: Think = TRM.think) -> Think:
    """One supervision step that says when it is done, to show progress."""

    def step(model: TRM, state: State, e: Tensor) -> State:
        state = think(model, state, e)
        after_step()
        return state

    return step


@dataclass(frozen=True)
class Predictions:
    """The answers to n examples: their rows in the split (n,), predicted tokens (n, S) uint8, q_halt logits (n,)."""

    examples: Indices
    preds: NDArray[np.uint8]
    q_halt_logits: NDArray[np.float32]

    @staticmethod
    def of(examples: Indices, logits: Tensor, q_halt: Tensor) -> Predictions:
        """Those of a batch that was answered, without the rows that pad it."""
        n = len(examples)
        return Predictions(
            examples, logits[:n].argmax(-1).to(torch.uint8).cpu().numpy(), q_halt[:n].float().cpu().numpy()
        )

    @staticmethod
    def join(parts: Sequence[Predictions]) -> Predictions:
        """The predictions of several batches or processes as one."""
        names = Predictions.__dataclass_fields__
        return Predictions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def fits(self, split: Split) -> bool:
        """Whether they can be predictions of the split's examples."""
        n, most = len(self.examples), len(split.inputs)
        shapes = (self.examples.shape, self.preds.shape, self.q_halt_logits.shape)
        whole = np.issubdtype(self.examples.dtype, np.integer)
        inside = n > 0 and whole and bool(((self.examples >= 0) & (self.examples < most)).all())
        return inside and shapes == ((n,), (n, split.metadata.seq_len), (n,))

    def take(self, rows: Indices) -> Predictions:
        """Those of some rows, in their order."""
        return Predictions(**{name: array[rows] for name, array in vars(self).items()})

    def in_order(self) -> Predictions:
        """In the order of the examples in the split: the same whatever the number of processes that answered."""
        return self.take(np.argsort(self.examples, kind="stable"))


@torch.no_grad()
def answers(
    model: TRM, batch: Batch, think: Think = TRM.think, *, every_step: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """The logits (B, S, V) and q_halt logits (B,) after the last supervision step by ``think``, or after every one."""
    e = model.embed(batch.inputs, model.puzzle_vectors(batch.puzzle_identifiers))
    state = model.initial_state(len(batch.inputs))
    for step in range(1, model.config.halt_max_steps + 1):
        state = think(model, state, e)
        if every_step or step == model.config.halt_max_steps:
            logits, q = model.read(state)
            yield logits, q[:, 0]


def answer(model: TRM, batch: Batch, think: Think = TRM.think) -> tuple[Tensor, Tensor]:
    """The logits (B, S, V) and q_halt logits (B,) after halt_max_steps supervision steps by ``think``."""
    (last,) = answers(model, batch, think)
    return last


@torch.no_grad()
def evaluate(
    model: TRM,
    batches: Iterable[tuple[Indices, Batch]],
    world: World,
    *,
    loss_type: str,
    think: Think = TRM.think,
    every_step: bool = False,
) -> tuple[dict[str, float], list[Predictions]]:
    """Evaluates a model.

    Args:
        model: the model.
        batches: this process's batches with the examples of their rows; equally many on every process.
        world: this process among the others.
        loss_type: as in the configuration.
        think: one supervision step, perhaps compiled.
        every_step: keep the predictions of every supervision step: S + 4 bytes an example and step.

    Returns:
        The metrics of the last step over all processes, ``all.<name>``, and this process's predictions: of the last step, or of
        every step, the last one last.

    Raises:
        InvariantBroken: there is nothing to evaluate.
        ReproError: the model's answers are not finite.
    """
    was_training = model.training
    model.eval()
    sums = torch.zeros(len(METRICS), dtype=torch.float64, device=exact_device(world.device))
    kept: list[list[Predictions]] = [[] for _ in range(model.config.halt_max_steps if every_step else 1)]
    for rows, batch in batches:
        batch = batch.to(world.device)
        for parts, (logits, q_halt) in zip(kept, answers(model, batch, think, every_step=every_step), strict=True):
            parts.append(Predictions.of(rows, logits, q_halt))
        steps = torch.full_like(batch.puzzle_identifiers, model.config.halt_max_steps)
        everyone = torch.ones_like(steps, dtype=torch.bool)
        sums += loss_and_metrics(logits, q_halt, batch.labels, steps, everyone, loss_type)[1]
    model.train(was_training)
    if not kept[-1]:
        raise InvariantBroken("there is nothing to evaluate: the test split is empty")
    named = dict(zip(METRICS, world.sum(sums).tolist(), strict=True))
    count = max(named.pop("count"), 1.0)
    metrics = {f"all.{name}": value / count for name, value in sorted(named.items())}
    if broken := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise ReproError(
            f"the model's answers are not finite numbers: {', '.join(broken)}",
            hint="the weights are not either, or overflow: an earlier checkpoint may be whole; forward_dtype=float32 is wider",
        )
    return metrics, [Predictions.join(parts) for parts in kept]


class ArcEvaluator:
    """ARC voting, on one process: predictions of a task's augmentations are undone and counted.

    Votes are kept from evaluation to evaluation when the configuration says so (upstream's default); the pass@K of a
    later evaluation is then the vote of all checkpoints so far.

    Raises:
        MissingPrerequisite: the dataset has no test_puzzles.json or identifiers.json.
    """

    def __init__(self, split: Split, config: EvaluatorConfig) -> None:
        self.split, self.config = split, config
        self.test_puzzles = read_test_puzzles(split.folder)
        self.identifiers: list[str] = read_json(split.folder / "identifiers.json")
        if len(self.identifiers) != split.metadata.num_puzzle_identifiers:
            raise InvariantBroken(f"{split.folder}: identifiers.json does not belong to the arrays")
        self.votes = self.no_votes()

    def no_votes(self) -> Votes:
        """An empty vote."""
        return Votes(self.test_puzzles, self.identifiers, self.split.metadata.blank_identifier_id)

    def begin(self) -> None:
        """A new evaluation."""
        if not self.config.aggregated_voting:
            self.votes = self.no_votes()

    def add(self, predictions: Predictions) -> None:
        """Predictions of any of the split's examples; their order decides ties."""
        examples = predictions.examples
        with track("voting", total=len(examples), unit="examples", after=SOON) as bar:
            for start in range(0, len(examples), 8192):
                rows = slice(start, start + 8192)
                self.votes.add(
                    self.split.puzzle_identifiers[self.split.puzzles(examples[rows])],
                    self.split.inputs[examples[rows]],
                    predictions.preds[rows],
                    predictions.q_halt_logits[rows],
                )
                bar.advance(len(examples[rows]))

    def result(self, folder: Path) -> dict[str, float]:
        """The metrics ``ARC/pass@K``; writes ``submission.json`` and, for reports, ``votes.json`` into ``folder``.

        There are no metrics where no answer of the test set is known.
        """
        write_json(folder / "submission.json", self.votes.submission(self.config.submission_K))
        write_json(folder / "votes.json", self.votes.tally(self.config.submission_K))
        return {f"{LOGGED}{k}": value for k, value in self.votes.pass_at_k(self.config.pass_Ks).items()}


def save_predictions(path: Path, steps: Sequence[Predictions], split: Split) -> None:
    """Writes the predictions of all processes as a compressed npz, so that a number can be recomputed.

    Args:
        path: the file.
        steps: of the last supervision step; before it, those of the steps before, if they were kept.
        split: what they are predictions of.
    """
    *before, last = steps
    arrays = dict(vars(last))
    for step, predictions in enumerate(before, 1):
        arrays |= {_of_step(name, step): getattr(predictions, name) for name in ANSWERS}
    arrays["inputs_sha256"] = np.array(split.inputs_sha256())
    total = sum(array.nbytes for array in arrays.values()) // MB
    with (  # what np.savez_compressed does, with progress
        staged(path) as temporary,
        track(f"packing {path.name}", total=total, unit="MB", after=SOON) as bar,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(Counted(file, bar), array, allow_pickle=False)


def read_predictions(path: Path, split: Split) -> list[Predictions]:
    """What :func:`save_predictions` wrote.

    Raises:
        MissingPrerequisite: no such file.
        InvariantBroken: it is damaged, something else, or belongs to another dataset.
    """
    try:
        size = path.stat().st_size // MB
        with (
            path.open("rb") as file,
            track(f"reading {path.name}", total=size, unit="MB", after=SOON) as bar,
            np.load(Counted(file, bar)) as arrays,
        ):
            steps = 1 + sum(name.startswith(_of_step("preds", "")) for name in arrays)
            names = [[_of_step(name, step) for name in ANSWERS] for step in range(1, steps)] + [list(ANSWERS)]
            examples, whose = arrays["examples"], arrays["inputs_sha256"]
            found = [Predictions(examples, *(arrays[name] for name in of_step)) for of_step in names]
        if not all(one.fits(split) for one in found):
            raise ValueError("its arrays do not belong together")
    except FileNotFoundError:
        raise MissingPrerequisite(f"{path}: no such file") from None
    except Exception as error:  # whatever the reader stumbles over
        raise InvariantBroken(f"{path}: not saved predictions: {error}") from None
    if whose != split.inputs_sha256():
        raise InvariantBroken(f"{path}: predictions of another dataset than {split.folder}")
    return found


def _of_step(name: str, step: int | str) -> str:
    """What an array of an earlier supervision step is called in the file."""
    return f"{name}_after_{step}"
