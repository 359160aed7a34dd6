"""The engine as a library: load a checkpoint, answer a task.

model = load_checkpoint("pretrained/step_723914")
identifiers = json.loads(Path("pretrained/identifiers.json").read_text())
submission = predict(model, {"0934a4d8": task}, identifiers)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trm_repro.arc import augment
from trm_repro.arc.grids import CELLS, encode, parse_grid
from trm_repro.arc.scoring import Votes
from trm_repro.arc.submission import ATTEMPTS, Submission
from trm_repro.engine import checkpoint
from trm_repro.engine.act import Batch
from trm_repro.engine.config import LossConfig, read_arch
from trm_repro.engine.device import choose, has_dtype
from trm_repro.engine.evaluate import Predictions, answer, answers, watched
from trm_repro.engine.loss import IGNORE, LOG_PROBABILITIES
from trm_repro.engine.model import DTYPES, TRM
from trm_repro.errors import InvariantBroken, UsageError
from trm_repro.progress import SOON, track
from trm_repro.runs.checkpoints import CONFIG
from trm_repro.weights.find import find_in
from trm_repro.weights.state import TABLE

BATCH_SIZES = {"cpu": 8, "cuda": 64, "mps": 16}


def load_checkpoint(
    path: str | Path,
    *,
    seq_len: int = CELLS,
    device: str | torch.device = "cpu",
    forward_dtype: str | None = None,
    config: Path | None = None,
) -> TRM:
    """A trained model, ready to predict.

    Args:
        path: weights of this engine, of upstream, of a fork or of anybody's (:mod:`trm_repro.weights`): a file, a folder
            with one, or ``FILE:PART`` where a file holds several sets of weights.
        seq_len: tokens of a grid: 900 for ARC and Maze, 81 for Sudoku.
        device: where to put it: ``cpu``, ``cuda``, ``mps``.
        forward_dtype: compute in this dtype rather than the one of the training run. Where the device has no such dtype,
            float32 is taken, and that is said.
        config: the training run's configuration; by default the ``all_config.yaml`` beside the checkpoint.

    Raises:
        MissingPrerequisite: the file, the configuration or the device is missing.
        InvariantBroken: it is no checkpoint of the model that the configuration describes.
    """
    device = choose(device)  # before anything is read
    path, beside = find_in(Path(path))
    arch = read_arch(config or beside or path.with_name(CONFIG))
    if forward_dtype:
        arch.forward_dtype = forward_dtype
    if not has_dtype(DTYPES.get(arch.forward_dtype, torch.float32), device):
        print(f"note: {device.type} has no {arch.forward_dtype} here: computed in float32", file=sys.stderr, flush=True)
        arch.forward_dtype = "float32"
    weights = checkpoint.read_weights(path)
    vocab_size = weights["lm_head.weight"].shape[0] if "lm_head.weight" in weights else 0
    puzzles = weights[TABLE].shape[0] if TABLE in weights else 0
    model = checkpoint.built(arch.sized(vocab_size, seq_len, puzzles), arch.adapt, weights, source=str(path))
    return model.to(device).eval()


@dataclass(frozen=True)
class BySteps:
    """What a model answers to B examples after each of T supervision steps.

    Attributes:
        preds: (T, B, S) tokens.
        sure: (T, B, S), the probability that it gives to each of these tokens.
    """

    preds: NDArray[np.uint8]
    sure: NDArray[np.float32]


@torch.no_grad()
def answers_by_step(model: TRM, batch: Batch, *, loss_type: str = LossConfig().loss_type) -> BySteps:
    """The answers of all supervision steps to a few examples; those of the last are the evaluation's.

    Args:
        model: from :func:`load_checkpoint`.
        batch: the examples, on the model's device.
        loss_type: that it was trained with, which says what its logits mean.
    """
    preds, sure = [], []
    for logits, _ in answers(model, batch, every_step=True):
        best, tokens = LOG_PROBABILITIES[loss_type](logits).max(-1)
        preds.append(tokens.to(torch.uint8).cpu().numpy())
        sure.append(best.exp().float().cpu().numpy())
    return BySteps(np.stack(preds), np.stack(sure))


def predict(
    model: TRM,
    tasks: Mapping[str, Any],
    identifiers: Sequence[str],
    *,
    attempts: int = ATTEMPTS,
    max_augmentations: int | None = None,
    batch_size: int | None = None,
) -> Submission:
    """Answers ARC tasks: all augmentations that the model knows of a task answer, and vote.

    Args:
        model: from :func:`load_checkpoint`; it can only answer tasks whose puzzles it was trained on.
        tasks: {name: task} in ARC's format; of a task, only the test inputs are looked at.
        identifiers: the dataset's identifiers.json, to which the model's puzzle vectors belong.
        attempts: how many answers for each test input.
        max_augmentations: use the original and so many augmentations of each task; None: all.
        batch_size: how many grids to think about at a time; None: :data:`BATCH_SIZES`.

    Returns:
        A submission in ARC's format: {name: [{"attempt_1": grid, …} for each test input]}.

    Raises:
        UsageError: a task is none of the model's puzzles, or the tasks are not {name: task}.
        InvariantBroken: the identifiers do not belong to the model.
    """
    for name, task in tasks.items() if isinstance(tasks, Mapping) else [("", tasks)]:
        pairs = task.get("test") if isinstance(task, Mapping) else None
        if not isinstance(pairs, list) or not all(isinstance(pair, Mapping) and "input" in pair for pair in pairs):
            raise UsageError(
                f"no task: {name!r}", hint='tasks are {name: {"test": [{"input": grid}, …]}}, one of them too'
            )
    if len(identifiers) != model.config.num_puzzle_identifiers:
        raise InvariantBroken(
            f"the model has {model.config.num_puzzle_identifiers} puzzle vectors, there are {len(identifiers)} identifiers"
        )
    puzzles = {name: {"test": [{"input": pair["input"]} for pair in task["test"]]} for name, task in tasks.items()}
    known: dict[str, list[tuple[int, int]]] = {name: [] for name in tasks}
    for number, identifier in enumerate(identifiers):
        if identifier.split(augment.SEPARATOR, 1)[0] in known:
            task, variant = augment.parse(identifier)
            known[task].append((number, variant))
    if unknown := sorted(name for name, variants in known.items() if not variants):
        raise UsageError(f"the model was not trained on these tasks: {', '.join(unknown)}")

    examples = [
        (number, encode(augment.apply(parse_grid(pair["input"], f"task {name}"), variant)))
        for name, variants in known.items()
        for number, variant in variants[: None if max_augmentations is None else max_augmentations + 1]
        for pair in puzzles[name]["test"]
    ]
    votes = Votes(puzzles, identifiers)
    device = model.H_init.device
    starts = range(0, len(examples), batch_size or BATCH_SIZES.get(device.type, 64))
    total = len(starts) * model.config.halt_max_steps
    with track("predicting", total=total, unit="supervision steps", after=SOON) as bar:
        for start in starts:
            some = examples[start : start + starts.step]
            numbers = np.array([number for number, _ in some], np.int32)
            inputs = np.stack([tokens for _, tokens in some])
            tokens = torch.from_numpy(inputs.astype(np.int32))
            batch = Batch(tokens, torch.full_like(tokens, IGNORE), torch.from_numpy(numbers)).to(device)
            found = Predictions.of(np.arange(len(some)), *answer(model, batch, watched(bar.advance)))
            votes.add(numbers, inputs, found.preds, found.q_halt_logits)
    return votes.submission(attempts)
