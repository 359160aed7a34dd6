"""Evaluation alone: what one checkpoint, or several that vote together, score on a dataset.

For ARC both metrics of :mod:`trm_repro.arc.score` are given, with what is strange about the submission. Where no answer of the
test set is known (a dataset built without solutions) there is a submission and no score. Where the number comes from
(:mod:`trm_repro.engine.origins`) stands beside it. Augmentations of a task are not independent trials: no interval is given for
token and exact accuracy there. Sudoku and Maze have one example a puzzle, and exact accuracy gets its interval.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from trm_repro import progress
from trm_repro.arc import versions
from trm_repro.arc.augment import SEPARATOR
from trm_repro.arc.grids import encode
from trm_repro.arc.score import Share
from trm_repro.arc.score import lines as score_lines
from trm_repro.arc.submission import ATTEMPTS, PASS_KS, findings, flat
from trm_repro.digests import digest_file
from trm_repro.engine import origins
from trm_repro.engine.checkpoint import know_same_puzzles
from trm_repro.engine.config import ArchConfig, EvaluatorConfig, read_arch
from trm_repro.engine.data import Indices, Split, evaluation_batches
from trm_repro.engine.evaluate import ArcEvaluator, Predictions, evaluate, read_predictions, save_predictions, watched
from trm_repro.engine.failures import explained
from trm_repro.engine.model import TRM
from trm_repro.engine.predict import load_checkpoint
from trm_repro.engine.world import World
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import write_json
from trm_repro.runs.checkpoints import CONFIG
from trm_repro.runs.evaluations import FILE, FORMAT, Result, tables
from trm_repro.weights.find import find_in
from trm_repro.weights.state import split_part

HUB_ID = re.compile(r"(?:hf://)?(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)/(?P<file>[^@]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        dataset: the dataset's folder; its test split is used.
        output: where submission.json and evaluation.json go.
        batch_size: rows of a global batch.
        one_batch: evaluate the first batch only.
        save_outputs: keep predictions.npz (of each checkpoint), from which every number can be computed again.
        by_step: keep the answers of every supervision step, and say what they score.
        halt_max_steps: supervision steps; None: as many as in training at most.
        submission_k: attempts in a submission.
        pass_ks: the K of pass@K.
        max_augmentations: evaluate each task's original and so many augmentations; None: all.
    """

    dataset: Path
    output: Path
    batch_size: int = 128
    one_batch: bool = False
    save_outputs: bool = False
    submission_k: int = ATTEMPTS
    pass_ks: tuple[int, ...] = PASS_KS
    max_augmentations: int | None = None
    by_step: bool = False
    halt_max_steps: int | None = None

    def __post_init__(self) -> None:
        least_of = {"batch_size": 1, "submission_k": 1, "max_augmentations": 0, "halt_max_steps": 1}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} is {value}; it must be at least {least}")


def locate(name: str, *, configured: bool = False) -> tuple[Path, Path | None]:
    """A checkpoint on this machine, and its configuration: ``name`` if it is here, else fetched from the Hugging Face hub.

    Args:
        name: a path (of a file, ``FILE:PART``, or a folder with weights), or ``[hf://]USER/REPO/FILE[@REVISION]``; what
            lies beside FILE and tells of it is fetched too.
        configured: the configuration is known, and need not lie there.

    Raises:
        MissingPrerequisite: there is no such file, here or there.
    """
    if split_part(name)[0].exists():
        return find_in(Path(name))
    match = HUB_ID.fullmatch(name)
    if not match or (not name.startswith("hf://") and Path(name).parent.exists()):
        raise MissingPrerequisite(f"{name}: no such file", hint="a checkpoint on the hub is hf://USER/REPO/FILE")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    def fetch(file: str) -> Path:
        return Path(
            hf_hub_download(match["repo"], str(Path(match["file"]).with_name(file)), revision=match["revision"])
        )

    try:
        path = fetch(Path(match["file"]).name)
        config = None if configured else fetch(CONFIG)
        for identifiers in ("identifiers.sha256", "identifiers.json"):
            with contextlib.suppress(EntryNotFoundError):
                fetch(identifiers)
                break
    except (EntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise MissingPrerequisite(
            f"{name}: neither a file here nor to be had from the hub: {str(error).splitlines()[0]}"
        ) from None
    return path, config


def check_arch(arch: ArchConfig, expected: Mapping[str, str]) -> None:
    """Checks that a checkpoint was trained with the expected architecture.

    Args:
        arch: from the checkpoint's configuration.
        expected: key → value, as typed.

    Raises:
        UsageError: a key is unknown, a value unreadable, or another one.
    """
    have = arch.model_dump()
    for key, text in expected.items():
        if key not in have:
            raise UsageError(f"arch has no key {key!r}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError(f"arch.{key}: {text!r} is no value") from None
        if value != have[key]:
            raise UsageError(
                f"arch.{key} is {have[key]!r} in the checkpoint's {CONFIG}, you expect {text}",
                hint="cycle counts leave no trace in a checkpoint; its configuration is believed, so drop the option",
            )


def check_identifiers(checkpoint: Path, model: TRM, split: Split) -> str:
    """Checks that a checkpoint's puzzle vectors belong to the dataset; returns how well that is known.

    Raises:
        InvariantBroken: they do not.
    """
    if not model.config.puzzle_emb_ndim:
        return "as there are none"
    rows, wanted = model.config.num_puzzle_identifiers, split.metadata.num_puzzle_identifiers
    foreign = "its puzzle vectors belong to another dataset"
    hint = "evaluate on the dataset that the checkpoint was trained with, built the same way"
    if rows != wanted:
        raise InvariantBroken(f"{checkpoint}: {rows} puzzle vectors, {wanted} identifiers: {foreign}", hint=hint)
    same = know_same_puzzles(checkpoint.parent, split.folder)
    if same is False:
        raise InvariantBroken(f"{checkpoint}: identifiers.json of {split.folder} differs: {foreign}", hint=hint)
    if same:
        return "by the digest of identifiers.json"
    return "by number only: there is no identifiers.json or identifiers.sha256 beside the checkpoint"


def run(
    request: Request, checkpoints: Sequence[str], world: World, *, arch: Mapping[str, str], config: Path | None = None
) -> dict[str, Any]:
    """Evaluates checkpoints, each alone; with several, also their common vote.

    Args:
        request: what to evaluate, and where the results go.
        checkpoints: paths or hub names.
        world: this process among the others.
        arch: architecture keys that must have these values.
        config: the checkpoints' configuration, if it is not beside them.

    Returns:
        On rank 0 what ``evaluation.json`` holds; elsewhere nothing.
    """
    split = Split(request.dataset, "test")
    evaluations = []
    for name in checkpoints:
        path, beside = locate(name, configured=config is not None)
        trained = read_arch(described := config or beside or path.with_name(CONFIG))
        check_arch(trained, arch)
        model = load_checkpoint(path, seq_len=split.metadata.seq_len, device=world.device, config=described)
        if model.config.vocab_size != split.metadata.vocab_size:
            raise InvariantBroken(
                f"{path} has a vocabulary of {model.config.vocab_size}, the dataset of {split.metadata.vocab_size}"
            )
        known = check_identifiers(path, model, split)
        model.config = replace(model.config, halt_max_steps=request.halt_max_steps or trained.halt_max_steps)
        metrics, own = _evaluate(model, trained.loss.loss_type, split, request, world, path.name)
        steps = _gathered(own, world)
        if world.leads:
            whole = {
                "sha256": digest_file(split_part(str(path))[0]).sha256,
                "trained_with": trained.halt_max_steps,
                "metrics": metrics,
            }
            evaluations.append(
                {"checkpoint": name, "file": path, "puzzle_vectors_checked": known, **whole, "predictions": steps}
            )
    return finish(request, split, evaluations) if world.leads else {}


def rescore(request: Request, files: Sequence[Path]) -> dict[str, Any]:
    """The same from saved predictions, without a model."""
    split = Split(request.dataset, "test")
    evaluations: list[dict[str, Any]] = []
    for file in files:
        steps = [predictions.in_order() for predictions in read_predictions(file, split)]
        evaluations.append({"checkpoint": str(file), "predictions": steps})
    return finish(request, split, evaluations)


def _gathered(own: list[Predictions], world: World) -> list[Predictions]:
    """The predictions of all processes on rank 0, step by step, in the order of the examples; elsewhere nothing."""
    steps = []
    while own:  # what is gathered needs no second place here
        if parts := world.collect(own.pop(0)):
            steps.append(Predictions.join(parts).in_order())
    return steps


def finish(request: Request, split: Split, evaluations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Scores predictions, writes evaluation.json and submissions, and returns what the former holds."""
    is_arc = (split.folder / "test_puzzles.json").exists()
    together = _evaluator(request, split) if is_arc else None
    results: list[dict[str, Any]] = []
    for number, evaluation in enumerate(evaluations):
        steps, file = evaluation.pop("predictions"), evaluation.pop("file", None)
        folder = request.output if len(evaluations) == 1 else request.output / str(number)
        known = _known(split, steps[-1].examples, together)
        result = {**evaluation, **_accuracies(split, steps[-1], known, independent=not is_arc)}
        if not known.all():  # the model's own metrics are of all labels
            result.pop("metrics", None)
        result["supervision_steps"] = request.halt_max_steps or evaluation.get("trained_with") or len(steps)
        if together:
            result |= _votes(request, split, steps[-1], together, folder, file)
            if number:
                common = origins.shares(together.votes, request.pass_ks)
                result["accumulated"] = {"checkpoints": number + 1, "scores": common}
        if request.by_step or len(steps) > 1:
            result["by_step"] = _by_step(request, split, steps, known, is_arc=is_arc)
        if request.save_outputs:
            save_predictions(folder / "predictions.npz", steps, split)
        results.append(result)
    report: dict[str, Any] = {
        "format": FORMAT,
        "dataset": str(request.dataset),
        "test_inputs_sha256": split.inputs_sha256(),
        "tasks": str(versions.which(together.test_puzzles)) if together else None,
        "examples_in_split": len(split.inputs),
        "one_batch": request.one_batch,
        "checkpoints": results,
    }
    if together and len(evaluations) > 1:
        report["vote_of_all_checkpoints"] = _vote(together, request, request.output)
    write_json(request.output / FILE, report)
    return report


def _votes(
    request: Request, split: Split, predictions: Predictions, together: ArcEvaluator, folder: Path, file: Path | None
) -> dict[str, Any]:
    """The vote of one checkpoint, by augmentations, and what the training's own was; adds it to that of all checkpoints."""
    alone = _evaluator(request, split)
    found: dict[str, Any] = {"by_augmentations": origins.by_augmentations(alone, predictions, request.pass_ks)}
    together.add(predictions)
    found |= {"vote": _vote(alone, request, folder), "vote_alone": origins.shares(alone.votes, request.pass_ks)}
    if file and not request.one_batch and request.max_augmentations is None:
        found["in_training"] = origins.left_by_training(file, alone.test_puzzles, request.submission_k)
    return found


def _by_step(
    request: Request, split: Split, steps: Sequence[Predictions], known: NDArray[np.bool_], *, is_arc: bool
) -> list[dict[str, Any]]:
    evaluators = (_evaluator(request, split), _evaluator(request, split)) if is_arc else None
    with progress.track("scoring", total=len(steps), unit="supervision steps") as bar:
        return origins.by_steps(split, steps, known, evaluators, request.pass_ks, bar.advance)


def _evaluate(
    model: TRM, loss_type: str, split: Split, request: Request, world: World, name: str
) -> tuple[dict[str, float], list[Predictions]]:
    examples = len(split.evaluation_examples(request.max_augmentations))
    size = min(request.batch_size, -(-examples // world.size) * world.size)  # a small split is not padded to a batch
    batches = evaluation_batches(split, size, world.rank, world.size, request.max_augmentations)
    total = -(-examples // size)
    if request.one_batch:
        batches, total = iter([next(batches)]), 1
    if request.by_step and world.leads:
        each = model.config.halt_max_steps * (split.metadata.seq_len + 4) + 8
        print(
            f"==> keeping the answers of {model.config.halt_max_steps} supervision steps: {each:,} bytes an example, "
            f"{each * min(total * size, examples) / 1e6:,.1f} MB in all",
            file=sys.stderr,
        )
    total *= model.config.halt_max_steps
    with (
        progress.track(f"evaluating {name}", total=total, unit="supervision steps", quiet=not world.leads) as bar,
        explained(f"the evaluation of {name}"),
    ):
        return evaluate(
            model, batches, world, loss_type=loss_type, think=watched(bar.advance), every_step=request.by_step
        )


def _evaluator(request: Request, split: Split) -> ArcEvaluator:
    return ArcEvaluator(
        split, EvaluatorConfig(name="arc@ARC", submission_K=request.submission_k, pass_Ks=request.pass_ks)
    )


def _accuracies(
    split: Split, predictions: Predictions, known: NDArray[np.bool_], *, independent: bool
) -> dict[str, Any]:
    """Mean token accuracy of the examples, and exact accuracy, from the predictions; None where no label is known."""
    accuracy, exact, counted = origins.marks(split, predictions, known)
    result: dict[str, Any] = {"examples": len(exact), **origins.means(accuracy, exact, counted)}
    if independent:
        share = Share(int(exact[counted].sum()), int(counted.sum()), "examples")
        result["exact_accuracy_wilson_95"] = list(share.interval)
    return result


def _known(split: Split, examples: Indices, evaluator: ArcEvaluator | None) -> NDArray[np.bool_]:
    """(n,) whether an example's label is an answer, and not what a dataset without solutions has for it."""
    puzzles = evaluator.test_puzzles if evaluator else {}
    without = {name for name, task in puzzles.items() if any(pair["output"] is None for pair in task["test"])}
    if not evaluator or not without:
        return np.ones(len(examples), np.bool_)
    tasks = np.array([name.partition(SEPARATOR)[0] in without for name in evaluator.identifiers])
    dummies: NDArray[np.bool_] = (split.labels[examples] == encode(np.array(versions.NO_ANSWER, np.uint8))).all(-1)
    dummies &= tasks[split.puzzle_identifiers[split.puzzles(examples)]]
    return ~dummies


def _vote(evaluator: ArcEvaluator, request: Request, folder: Path) -> dict[str, Any]:
    """Both metrics by K with their intervals, and what is strange; writes the submission."""
    evaluator.result(folder)
    votes, attempts = evaluator.votes, request.submission_k
    score = votes.score(request.pass_ks)
    missing = sum(answers.count(False) for answers in votes.answered().values())
    strange = [] if missing else findings(votes.submission(attempts), evaluator.test_puzzles, attempts)
    return {
        "submission": str(folder / "submission.json"),
        "test_inputs_without_prediction": missing,
        "test_inputs_without_known_answer": score.unknown,
        "scores": score.as_json(),
        "findings": strange + flat({k: share.share for k, share in score.per_task.items()}),
    }


def table(report: Mapping[str, Any]) -> str:
    """The report as text for a terminal."""
    lines = [f"tasks: {report['tasks']}"] if report["tasks"] else []
    for result in report["checkpoints"]:
        lines += [f"{result['checkpoint']}", f"  examples        {result['examples']} of {report['examples_in_split']}"]
        if result["accuracy"] is not None:
            lines.append(f"  token accuracy  {result['accuracy']:.4f}")
            interval = result.get("exact_accuracy_wilson_95")
            lines.append(f"  exact accuracy  {result['exact_accuracy']:.4f}{_span(interval)}")
        if metrics := result.get("metrics"):
            trained = result.get("trained_with")
            other = f", trained with at most {trained}" if trained != result["supervision_steps"] else ""
            lines.append(f"  steps           {metrics['all.steps']:.2f}{other}")
        if known := result.get("puzzle_vectors_checked"):
            lines.append(f"  puzzle vectors  match the dataset {known}")
        lines += _vote_lines(result.get("vote"), "the vote of this checkpoint alone")
        for found in tables(Result.model_validate(result)):
            lines += [f"  {line}" for line in found.lines()]
    lines += _vote_lines(report.get("vote_of_all_checkpoints"), "the vote of all checkpoints together")
    return "\n".join(lines)


def _vote_lines(vote: Mapping[str, Any] | None, title: str) -> list[str]:
    if not vote:
        return []
    shares = {called: Share.of_json(value) for called, value in vote["scores"].items()}
    said = score_lines(shares, vote["test_inputs_without_known_answer"])
    if unanswered := vote["test_inputs_without_prediction"]:
        said.append(f"{unanswered} test inputs have no prediction: they are wrong, and the submission lacks them")
    return [f"  {title}, {vote['submission']}:", *(f"    {line}" for line in said + vote["findings"])]


def _span(interval: Sequence[float] | None) -> str:
    return f" [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
