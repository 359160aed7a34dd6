"""From a bundle and a competition's task file to a submission, within a time budget.

The weights know their training puzzles by rows of a table. A puzzle of the new dataset that has the name of a trained
one gets its row; all others get the mean row, the starting point that upstream gives to new puzzles, and fine-tuning on
the tasks' own examples moves it from there. Predictions are made variant by variant: first every task as it is, then a
first augmentation of every task, and so on, so that whenever the time is over every task has had its share.
"""

from __future__ import annotations

import contextlib
import copy
import glob
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trm_repro.arc.layout import BLANK
from trm_repro.arc.score import lines
from trm_repro.arc.scoring import Votes
from trm_repro.arc.submission import Submission, findings, problems, score_submission, with_solutions
from trm_repro.arc.versions import which
from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import read_json, write_json
from trm_repro.notebook.presets import PRESETS, Preset, what_learns
from trm_repro.progress import track
from trm_repro.runs.checkpoints import CONFIG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trm_repro.engine.config import ArchConfig, PretrainConfig
    from trm_repro.engine.data import Split
    from trm_repro.engine.evaluate import Predictions
    from trm_repro.engine.model import TRM

NOT_ANSWERED = [[0]]  # what a test input gets that the time did not suffice for
LARGEST_EPOCHS = 10**6  # fine-tuning ends with the time; this many epochs are never reached


class Budget:
    """A number of seconds, counted from now, for work that is done in pieces of about equal length."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._longest = 0.0

    @property
    def left(self) -> float:
        """Seconds left, 0 when it is over."""
        return max(0.0, self._end - time.monotonic())

    @property
    def allows(self) -> bool:
        """Whether there is time for one more piece, as long as the longest so far."""
        return self.left > self._longest

    @contextlib.contextmanager
    def piece(self) -> Iterator[None]:
        """Within: one piece of the work."""
        began = time.monotonic()
        yield
        self._longest = max(self._longest, time.monotonic() - began)


@dataclass(frozen=True)
class Answers:
    """What was predicted so far.

    Attributes:
        votes: the votes of all predictions.
        predictions: how many predictions were made.
        wanted: how many there would be with enough time.
        notes: what there is to say of how they were made, a line each.
    """

    votes: Votes
    predictions: int
    wanted: int
    notes: tuple[str, ...] = ()

    @property
    def answered(self) -> int:
        """How many test inputs have a prediction."""
        return sum(map(sum, self.votes.answered().values()))


def find(root: Path, name: str, folder: str = "") -> Path:
    """The file called ``name`` below ``root``, wherever Kaggle mounted it.

    Kaggle has mounted a competition as ``input/SLUG`` and as ``input/competitions/SLUG``, a dataset as ``input/SLUG`` and
    as ``input/datasets/OWNER/SLUG``: so the file itself is looked for, and a folder's name only chooses among several.

    Args:
        root: where to look; links are followed.
        name: the file's name.
        folder: the name of a folder above the file, which is preferred.

    Raises:
        MissingPrerequisite: there is none.
        InvariantBroken: there are several.
    """
    pattern = f"**/{glob.escape(name)}"
    places = [root / place for place in glob.glob(pattern, root_dir=root, recursive=True)]  # noqa: PTH207 (follows links)
    files = sorted({path.resolve(): path for path in sorted(places)}.values())
    found = [path for path in files if folder in path.relative_to(root).parts[:-1]] or files
    attach = f"the competition {folder}" if folder else "the competition or dataset that has it"
    if not found:
        raise MissingPrerequisite(
            f"no {name} below {root}",
            hint=f"attach {attach} to the notebook (Add Input, on the right of Kaggle's editor)",
        )
    if len(found) > 1:
        raise InvariantBroken(
            f"{len(found)} files {name}: {', '.join(map(str, found))}",
            hint=f"leave {attach} attached to the notebook, and remove the others",
        )
    return found[0]


def build(challenges: Path, folder: Path, *, augmentations: int) -> Path:
    """Builds the augmented dataset of a competition's task file, as upstream's builder would.

    Args:
        challenges: a file ``<prefix>_<subset>_challenges.json``; solutions are used if they lie beside it.
        folder: the dataset's folder, which must not exist.
        augmentations: how many variants of each task.

    Returns:
        The dataset's folder.
    """
    from trm_repro.arc.builder import Options
    from trm_repro.arc.builder import build as build_dataset

    prefix, _, subset = challenges.name.removesuffix("_challenges.json").rpartition("_")
    options = Options(
        input_file_prefix=str(challenges.with_name(prefix)),
        subsets=(subset,),
        test_set_names=(subset,),
        num_aug=augmentations,
    )
    build_dataset(options, folder)
    return folder


def _arch(bundle: Path, preset: Preset) -> ArchConfig:
    """The architecture that the weights were trained with, as far as the preset leaves it."""
    from trm_repro.engine.config import ArchConfig, read_arch

    return ArchConfig.model_validate({**read_arch(bundle / CONFIG).model_dump(), **preset.arch})


def load(bundle: Path, dataset: Path, *, preset: Preset = PRESETS["trelis"]) -> tuple[TRM, int]:
    """The bundle's model with a puzzle table for the dataset.

    Args:
        bundle: where weights, configuration and identifiers are.
        dataset: from :func:`build`.
        preset: how long the network thinks.

    Returns:
        The model on the CPU, and how many of the dataset's puzzles the weights were trained on.
    """
    from trm_repro.engine.checkpoint import load_weights, read_weights
    from trm_repro.engine.data import Split
    from trm_repro.weights.state import TABLE

    weights = read_weights(bundle / "model.ckpt")
    wanted: list[str] = read_json(dataset / "identifiers.json")
    rows = {name: row for row, name in enumerate(read_json(bundle / "identifiers.json"))}
    trained = weights[TABLE].float()  # some publish the table in half precision
    if len(rows) != len(trained):
        raise InvariantBroken(f"{bundle}: {len(rows)} identifiers, but {len(trained)} puzzle vectors")
    table = trained.mean(0, keepdim=True).repeat(len(wanted), 1)
    known = [(place, rows[name]) for place, name in enumerate(wanted) if name in rows]
    table[[place for place, _ in known]] = trained[[row for _, row in known]]
    weights[TABLE] = table
    facts = Split(dataset, "test").metadata
    model = _arch(bundle, preset).build(facts.vocab_size, facts.seq_len, facts.num_puzzle_identifiers)
    load_weights(model, weights, source=str(bundle / "model.ckpt"))
    return model, sum(wanted[place] != BLANK for place, _ in known)


def fine_tune(
    model: TRM,
    bundle: Path,
    dataset: Path,
    *,
    what: str,
    seconds: float,
    batch: int,
    preset: Preset = PRESETS["trelis"],
    processes: int = 1,
    seed: int = 0,
    device: str | None = None,
) -> int:
    """Trains on the tasks' own examples until the time is over.

    Args:
        model: from :func:`load`; changed in place.
        bundle: where its configuration is.
        dataset: from :func:`build`.
        what: ``embeddings``: the puzzle vectors alone; ``lora``: these, and adapters of rank 1; ``full``: these, and all
            weights.
        seconds: the time there is.
        batch: examples a step.
        preset: rates, warm-up, averaging; it must be the one that the model was loaded with.
        processes: how many work like this one, on other tasks; the rates go with the batch of all together.
        seed: of the batches and of exploration; adapters start from PyTorch's own random numbers.
        device: ``cpu``, ``cuda`` or ``mps``; None takes CUDA where there is one.

    Returns:
        The number of steps.

    Raises:
        UsageError: ``what`` is none of them.
    """
    from trm_repro.engine.config import parse
    from trm_repro.engine.data import Sampler, Split
    from trm_repro.engine.train import Training
    from trm_repro.engine.world import join

    adapters = {"lora_rank": 1, "lora_alpha": 16.0} if what_learns(what) == "lora" else {}
    scale = batch * processes / preset.batch
    config: PretrainConfig = parse(
        {
            "arch": _arch(bundle, preset).model_dump() | adapters,
            "data_paths": [str(dataset)],
            "global_batch_size": batch,
            "epochs": LARGEST_EPOCHS,
            "lr": preset.lr * scale,
            "lr_warmup_steps": preset.warmup,
            "weight_decay": 0.1,
            "puzzle_emb_lr": preset.puzzle_emb_lr * scale,
            "puzzle_emb_weight_decay": 0.1,
            "freeze_weights": what == "embeddings",
            "ema": preset.ema and what != "embeddings",
            "seed": seed,
        }
    )
    budget, split = Budget(seconds), Split(dataset, "train")
    with join(device) as world, track("fine-tuning", total=max(1, int(seconds)), unit="seconds") as bar:
        config.arch.adapt(model)
        training = Training(config, model.to(world.device).train(), split.metadata, world)
        # `batch` epochs at a time always fill a batch, however few tasks there are
        sampler = Sampler(split, seed=seed, global_batch_size=batch, epochs=batch)
        shown = 0
        while budget.allows:
            drawn = sampler.next()
            if drawn is None:
                sampler.begin(sampler.iteration + 1)
                continue
            with budget.piece():
                metrics = training.train_step(drawn.to(world.device))
            bar.note(f"step {training.step}, loss {(metrics or {}).get('train/lm_loss', 0):.3f}")
            gone = int(seconds - budget.left)
            bar.advance(gone - shown)
            shown = gone
        if training.average:
            training.flat.data.copy_(training.average.average)
        return training.step


def predict(
    model: TRM,
    dataset: Path,
    *,
    seconds: float,
    batch: int,
    done: Sequence[int] = (),
    keep: Callable[[Predictions], None] = lambda _: None,
    device: str | None = None,
) -> Answers:
    """Predicts the dataset's test inputs, in all their variants, on all devices, until done or the time is over.

    Args:
        model: the model; it is copied to each CUDA device, or used on the CPU.
        dataset: from :func:`build`.
        seconds: the time there is.
        batch: examples a device takes at a time.
        done: examples that need no prediction any more.
        keep: is given each batch's predictions as soon as they are there.
        device: ``cpu``, ``mps``, or ``cuda`` for all of these; None takes them where there are some.
    """
    import torch

    from trm_repro.engine.config import EvaluatorConfig
    from trm_repro.engine.data import Split
    from trm_repro.engine.device import choose
    from trm_repro.engine.evaluate import ArcEvaluator, Predictions, answer

    budget, split = Budget(seconds), Split(dataset, "test")
    evaluator = ArcEvaluator(split, EvaluatorConfig(name="arc@ARC", submission_K=2))
    order = _order(split)
    order = order[~np.isin(order, np.array(done, np.int64))]
    parts = [order[start : start + batch] for start in range(0, len(order), batch)]
    kind = choose(device).type
    gpus = torch.cuda.device_count() if kind == "cuda" else 0
    devices = [torch.device(kind, i) for i in range(gpus)] or [torch.device(kind)]
    models = [copy.deepcopy(model).to(device).eval() for device in devices]
    lock, free = threading.Lock(), list(range(len(devices)))
    made = 0

    def work(rows: NDArray[np.int64]) -> None:
        nonlocal made
        if not budget.allows:
            return
        with lock:
            place = free.pop()
        with budget.piece():
            found = Predictions.of(rows, *answer(models[place], split.batch(rows, len(rows)).to(devices[place])))
        with lock:
            free.append(place)
            evaluator.add(found)
            keep(found)
            made += len(rows)
            bar.advance(len(rows))

    with (
        track("predicting", total=len(order), unit="examples") as bar,
        ThreadPoolExecutor(len(devices)) as pool,
    ):
        list(pool.map(work, parts))
    return Answers(evaluator.votes, made, len(order))


def _order(split: Split) -> NDArray[np.int64]:
    """The examples, those of each group's first variant first, then the second's …"""
    firsts = np.repeat(split.group_indices[:-1], np.diff(split.group_indices))
    rank = np.arange(len(split.puzzle_identifiers)) - firsts
    return np.argsort(rank[split.puzzles(np.arange(len(split.inputs)))], kind="stable")


def submission(answers: Answers | None, tasks: Mapping[str, Any]) -> Submission:
    """The submission: two attempts at every test input; those without a prediction get a placeholder.

    Raises:
        InvariantBroken: it is not what the competition accepts.
    """
    voted = answers.votes.submission() if answers else {}
    answered = answers.votes.answered() if answers else {}
    whole: Submission = {}
    for task, puzzle in tasks.items():
        entries = iter(voted.get(task, []))
        has = answered.get(task, [False] * len(puzzle["test"]))
        whole[task] = [next(entries) if one else dict.fromkeys(("attempt_1", "attempt_2"), NOT_ANSWERED) for one in has]
    if wrong := problems(whole, tasks):
        raise InvariantBroken("the submission is not valid:\n" + "\n".join(wrong))
    return whole


def write_submission(path: Path, answers: Answers | None, tasks: Mapping[str, Any]) -> Submission:
    """Writes what is answered so far, whole and valid, at once and never in part; looks at the file that came of it.

    Raises:
        InvariantBroken: it is not what the competition accepts.
    """
    write_json(path, submission(answers, tasks))
    written: Submission = read_json(path)
    if wrong := problems(written, tasks):
        raise InvariantBroken(f"{path} is not valid:\n" + "\n".join(wrong))
    return written


def scores(whole: Submission, tasks: Mapping[str, Any], solutions: Mapping[str, Any]) -> list[str]:
    """Both metrics of the submission, a line each, which tasks they are of, and what is strange about the answers."""
    puzzles = with_solutions(tasks, solutions)
    found = score_submission(whole, puzzles)
    notes = [f"note: {line}" for line in findings(whole, puzzles)]
    return [f"scored on {which(puzzles)}:", *lines(found.shares, found.unknown), *notes]


def picture(whole: Submission, tasks: Mapping[str, Any], *, limit: int = 4) -> Any:
    """A figure of the first tasks: an example, the test input and the two attempts at it."""
    from trm_repro.arc.picture import figure

    rows: list[Sequence[tuple[str, Any]]] = []
    for task in list(tasks)[:limit]:
        example, test, attempts = tasks[task]["train"][0], tasks[task]["test"][0], whole[task][0]
        rows.append(
            [
                (f"{task} example", example["input"]),
                ("its output", example["output"]),
                ("test input", test["input"]),
                ("attempt 1", attempts["attempt_1"]),
                ("attempt 2", attempts["attempt_2"]),
            ]
        )
    return figure(rows)
