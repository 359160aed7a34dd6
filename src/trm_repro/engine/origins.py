"""Where a number comes from: how much of it a few augmentations give, and how much each supervision step.

All from the predictions of one evaluation. *By augmentations*: the votes of the first 1, 10, 100 variants of each task in the
dataset's order, in which the original is the first, and of all; a task has as many as there are distinct ones. *By step*: the
answers of a supervision step alone, and of all steps up to it in one vote. For ARC that is the vote of
:mod:`trm_repro.arc.scoring`; where a puzzle has one example, the answer that most steps gave, among equals the one of the
highest mean sigmoid(q_halt), then the earliest. The last row of either table is the evaluation's own number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_repro.arc.scoring import Votes
from trm_repro.arc.submission import problems, score_submission
from trm_repro.engine.data import Split
from trm_repro.engine.evaluate import ArcEvaluator, Predictions
from trm_repro.errors import ReproError
from trm_repro.files import read_json, read_yaml
from trm_repro.runs.checkpoints import CONFIG, evaluation_name, step_of

FIRST = (1, 10, 100)  # variants of a task
ROWS = 4096  # of which labels are read at a time


def shares(votes: Votes, ks: Iterable[int]) -> dict[str, float]:
    """Both metrics by K, by name; none where no answer is known."""
    return {name: share.share for name, share in votes.score(ks).shares.items()}


def by_augmentations(evaluator: ArcEvaluator, predictions: Predictions, ks: Sequence[int]) -> dict[str, Any]:
    """Adds predictions, in the order of their examples, to an evaluator; says what they score by then.

    The first variant of every task comes first, then the next nine, and so on: within a task the order remains, and with it
    how ties end.

    Returns:
        ``tasks``; ``distinct``: the least, the median and the most variants of a task; ``rows``: of each number of
        ``augmentations`` (None: all) the ``scores``.
    """
    split = evaluator.split
    puzzles = split.puzzles(predictions.examples)
    groups = np.searchsorted(split.group_indices, puzzles, side="right") - 1
    place = puzzles - split.group_indices[groups]
    of_task = np.unique(groups[np.unique(puzzles, return_index=True)[1]], return_counts=True)[1]
    most = int(of_task.max())
    rows: list[dict[str, Any]] = []
    done = 0
    for augmentations in (*(n for n in FIRST if n < most), None):
        until = augmentations or int(place.max()) + 1
        evaluator.add(predictions.take(np.flatnonzero((place >= done) & (place < until))))
        rows.append({"augmentations": augmentations, "scores": shares(evaluator.votes, ks)})
        done = until
    distinct = [int(of_task.min()), float(np.median(of_task)), most]
    return {"tasks": len(of_task), "distinct": distinct, "rows": rows}


def by_steps(
    split: Split,
    steps: Sequence[Predictions],
    known: NDArray[np.bool_],
    evaluators: tuple[ArcEvaluator, ArcEvaluator] | None,
    ks: Sequence[int],
    after_step: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """What the answers of each supervision step score.

    Args:
        split: the split.
        steps: predictions of every step, of the same examples in their order.
        known: (n,) whether an example's label is an answer.
        evaluators: for ARC, an empty one for the answers of a step, and one for those of all steps so far.
        ks: the K of pass@K.
        after_step: called after each.

    Returns:
        Of each ``step``: ``accuracy`` and ``exact_accuracy``, and as ``pooled`` those of all steps so far together: shares by
        name; for ARC the same as ``scores`` of the step alone.
    """
    rows: list[dict[str, Any]] = []
    most_frequent = _MostFrequent(len(known))
    for step, predictions in enumerate(steps, 1):
        accuracy, exact, counted = marks(split, predictions, known)
        row: dict[str, Any] = {"step": step, **means(accuracy, exact, counted)}
        if evaluators:
            alone, pooled = evaluators
            alone.votes = alone.no_votes()
            for evaluator in evaluators:
                evaluator.add(predictions)
            row |= {"scores": shares(alone.votes, ks), "pooled": shares(pooled.votes, ks)}
        else:
            most_frequent.add(predictions, exact)
            row["pooled"] = {"exact_accuracy": means(accuracy, most_frequent.exact(), counted)["exact_accuracy"]}
        rows.append(row)
        after_step()
    return rows


class _MostFrequent:
    """Of each of n examples, the answer that most steps gave."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._hashes: list[NDArray[np.uint64]] = []
        self._votes, self._confidence, self._exact = (np.zeros((0, n), dtype) for dtype in (int, float, bool))

    def add(self, predictions: Predictions, exact: NDArray[np.bool_]) -> None:
        """A step's answers, and whether each is right."""
        weights = np.random.RandomState(0).randint(1, 1 << 62, predictions.preds.shape[1], np.uint64)
        blocks = [predictions.preds[start : start + ROWS] for start in range(0, self._n, ROWS)]
        hashes = np.concatenate([(block * weights).sum(-1, dtype=np.uint64) for block in blocks])
        confidence = 1 / (1 + np.exp(-predictions.q_halt_logits.astype(np.float64)))
        votes, total = np.ones(self._n, int), confidence.copy()
        for step, others in enumerate(self._hashes):
            same = others == hashes
            votes[same] = self._votes[step][same] + 1
            total[same] = self._confidence[step][same] + confidence[same]
        for step, others in enumerate(self._hashes):
            same = others == hashes
            self._votes[step][same], self._confidence[step][same] = votes[same], total[same]
        self._hashes.append(hashes)
        self._votes, self._confidence = np.vstack((self._votes, votes)), np.vstack((self._confidence, total))
        self._exact = np.vstack((self._exact, exact))

    def exact(self) -> NDArray[np.bool_]:
        """(n,) whether the answer is right."""
        best, choice = np.full(self._n, -1.0), np.zeros(self._n, int)
        for step in range(
            len(self._hashes)
        ):  # votes first; the mean confidence is at most 1, and 1 still loses to a vote
            rank = self._votes[step] + self._confidence[step] / self._votes[step] / 2
            better = rank > best
            best[better], choice[better] = rank[better], step
        return np.array(self._exact[choice, np.arange(self._n)])


def marks(
    split: Split, predictions: Predictions, known: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) the token accuracy of each example, whether it is right in all tokens, and whether it has a label that is known."""
    n = len(predictions.examples)
    accuracy, exact, counted = np.zeros(n), np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    for start in range(0, n, ROWS):
        rows = slice(start, start + ROWS)
        examples = predictions.examples[rows]
        labels = split.batch(examples, len(examples)).labels.numpy()
        valid = labels >= 0
        tokens = valid.sum(-1)
        right = (valid & (labels == predictions.preds[rows])).sum(-1)
        counted[rows] = (tokens > 0) & known[rows]
        accuracy[rows] = right / np.maximum(tokens, 1)
        exact[rows] = right == tokens
    return accuracy, exact, counted


def means(
    accuracy: NDArray[np.float64], exact: NDArray[np.bool_], counted: NDArray[np.bool_]
) -> dict[str, float | None]:
    """``accuracy`` and ``exact_accuracy`` of the examples that count; None where none does."""
    if not counted.any():
        return {"accuracy": None, "exact_accuracy": None}
    return {"accuracy": float(accuracy[counted].mean()), "exact_accuracy": float(exact[counted].mean())}


def left_by_training(checkpoint: Path, puzzles: Mapping[str, Any], attempts: int) -> dict[str, Any] | None:
    """What the training's own vote at a checkpoint scores; None where its submission is not beside it, or is of other tasks.

    Returns:
        ``submission``, its path; ``accumulated``: whether earlier evaluations voted too, as the configuration says; ``scores``.
    """
    step = step_of(checkpoint.name)
    path = checkpoint.parent / evaluation_name(step) / "submission.json"
    if step < 0 or not path.is_file():
        return None
    try:
        submission, config = read_json(path), read_yaml(checkpoint.parent / CONFIG)
        voting = [dict(entry) for entry in config["evaluators"]]
    except (ReproError, KeyError, TypeError, ValueError):
        return None
    if problems(submission, puzzles, attempts):
        return None
    found = score_submission(submission, puzzles, range(1, attempts + 1)).shares
    return {
        "submission": str(path),
        "accumulated": all(entry.get("aggregated_voting", True) for entry in voting),
        "scores": {name: share.share for name, share in found.items()},
    }
