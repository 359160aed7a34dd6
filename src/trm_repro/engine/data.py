"""The batches drawn from a dataset, whose files :mod:`trm_repro.arc.layout` describes.

A rank's batch is its contiguous slice of the global batch, whatever the number of ranks: all ranks draw the same global
batch from the same generators.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trm_repro.arc.layout import read_split
from trm_repro.digests import digest_file
from trm_repro.engine.act import Batch
from trm_repro.engine.loss import IGNORE
from trm_repro.errors import InvariantBroken, UsageError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Metadata:
    """What ``dataset.json`` says of a split."""

    pad_id: int
    ignore_label_id: int | None
    blank_identifier_id: int
    vocab_size: int
    seq_len: int
    num_puzzle_identifiers: int
    total_groups: int
    mean_puzzle_examples: float
    total_puzzles: int
    sets: tuple[str, ...]


class Split:
    """One split of a dataset, checked, as the engine draws from it; inputs and labels stay on the disk.

    Args:
        folder: the dataset's folder.
        name: ``train`` or ``test``.

    Raises:
        MissingPrerequisite: a file is missing.
        InvariantBroken: the files do not belong together.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        read = read_split(folder, name)
        try:
            self.metadata = Metadata(**{key: read.metadata[key] for key in Metadata.__dataclass_fields__})
        except KeyError as error:
            raise InvariantBroken(f"{folder / name / 'dataset.json'}: the key {error} is missing") from None
        if list(self.metadata.sets) != ["all"]:
            raise InvariantBroken(f"{folder / name / 'dataset.json'}: sets is {self.metadata.sets}, expected ['all']")
        self.inputs, self.labels = read.inputs, read.labels
        self.puzzle_identifiers = np.array(read.puzzle_identifiers, np.int32)
        self.puzzle_indices = np.array(read.puzzle_indices, np.int64)
        self.group_indices = np.array(read.group_indices, np.int64)
        if not (
            self.inputs.shape == self.labels.shape == (self.puzzle_indices[-1], self.metadata.seq_len)
            and len(self.puzzle_identifiers) == len(self.puzzle_indices) - 1 == self.group_indices[-1]
            and self.puzzle_identifiers.max(initial=0) < self.metadata.num_puzzle_identifiers
        ):
            raise InvariantBroken(f"{folder / name}: the arrays do not belong together", hint="build the dataset again")

    def inputs_sha256(self) -> str:
        """The digest of the file with the inputs: what tells this split from others."""
        return digest_file(self.folder / self.name / "all__inputs.npy").sha256

    def puzzles(self, examples: Indices) -> Indices:
        """The puzzle that each of the given examples belongs to."""
        return np.searchsorted(self.puzzle_indices, examples, side="right") - 1

    def batch(self, examples: Indices, size: int) -> Batch:
        """The given examples as a batch of ``size`` rows, padded with blank rows, labels to ignore turned to −100."""
        facts = self.metadata
        inputs = np.full((size, facts.seq_len), facts.pad_id, np.int32)
        labels = np.full((size, facts.seq_len), IGNORE, np.int32)
        identifiers = np.full(size, facts.blank_identifier_id, np.int32)
        rows = slice(0, len(examples))
        inputs[rows] = self.inputs[examples]
        labels[rows] = self.labels[examples]
        identifiers[rows] = self.puzzle_identifiers[self.puzzles(examples)]
        if facts.ignore_label_id is not None:
            labels[labels == facts.ignore_label_id] = IGNORE
        return Batch(torch.from_numpy(inputs), torch.from_numpy(labels), torch.from_numpy(identifiers))

    def evaluation_examples(self, max_augmentations: int | None = None) -> Indices:
        """All examples in file order; or those of each group's first puzzle and so many augmentations of it."""
        if max_augmentations is None:
            return np.arange(len(self.inputs))
        firsts, ends = self.group_indices[:-1], self.group_indices[1:]
        lasts = np.minimum(ends, firsts + 1 + max_augmentations)
        spans = zip(self.puzzle_indices[firsts], self.puzzle_indices[lasts], strict=True)
        return np.concatenate([np.arange(start, end) for start, end in spans])


def rank_slice(global_batch_size: int, rank: int, world_size: int) -> slice:
    """A rank's rows of the global batch.

    Raises:
        UsageError: the batch cannot be divided.
    """
    if global_batch_size % world_size:
        raise UsageError(
            f"global_batch_size {global_batch_size} is not a multiple of the {world_size} processes",
            hint="start a number of processes that divides it",
        )
    rows = global_batch_size // world_size
    return slice(rank * rows, (rank + 1) * rows)


def evaluation_batches(
    split: Split, global_batch_size: int, rank: int = 0, world_size: int = 1, max_augmentations: int | None = None
) -> Iterator[tuple[Indices, Batch]]:
    """A rank's slices of the split in file order, with the example of each row; every rank gets equally many batches."""
    mine = rank_slice(global_batch_size, rank, world_size)
    examples = split.evaluation_examples(max_augmentations)
    for start in range(0, len(examples), global_batch_size):
        rows = examples[start : start + global_batch_size][mine]
        yield rows, split.batch(rows, mine.stop - mine.start)


def loader_seed(seed: int) -> list[int]:
    """The seed of NumPy's global generator in upstream's loader worker, in a run of one process.

    The loader asks PyTorch's generator, ``seed`` and nothing drawn yet, for a number; each worker makes its seeds of that.
    """
    from torch.utils.data._utils.worker import _generate_state

    number = torch.empty((), dtype=torch.int64).random_(generator=torch.Generator().manual_seed(seed))
    return list(_generate_state(int(number), 0))  # type: ignore[no-untyped-call]


class Sampler:
    """Draws training batches, iteration after iteration, and can be stopped and resumed between any two batches.

    An iteration covers ``epochs`` epochs: a permutation of all groups for each, one after the other; each group gives one
    of its puzzles, each puzzle as many of its examples as the batch has room for. What does not fit is dropped.

    Two generators, the same on all ranks: Philox, seeded with seed + iteration, permutes groups and picks puzzles;
    MT19937, seeded once, picks examples: with ``seed``, or as upstream's loader is by PyTorch (:func:`loader_seed`).
    """

    def __init__(
        self,
        split: Split,
        *,
        seed: int,
        global_batch_size: int,
        epochs: int,
        rank: int = 0,
        world_size: int = 1,
        as_loader: bool = False,
    ) -> None:
        self.split, self.seed, self.global_batch_size, self.epochs = split, seed, global_batch_size, epochs
        self.slice = rank_slice(global_batch_size, rank, world_size)
        self.examples_generator = np.random.RandomState(loader_seed(seed) if as_loader else seed)
        self.iteration = 0
        self._order: Indices = np.empty(0, np.int64)
        self._cursor = 0
        self._philox = np.random.Philox()

    def begin(self, iteration: int) -> None:
        """Starts an iteration (counted from 1)."""
        self.iteration = iteration
        self._philox = np.random.Philox(seed=self.seed + iteration)
        generator = np.random.Generator(self._philox)
        groups = len(self.split.group_indices) - 1
        self._order = np.concatenate([generator.permutation(groups) for _ in range(self.epochs)])
        self._cursor = 0

    def next(self) -> Batch | None:
        """The next batch of the iteration; None when what is left does not fill one."""
        spans = self._pick_puzzles()
        chosen = [start + self.examples_generator.choice(size, take, replace=False) for start, size, take in spans]
        if sum(take for _, _, take in spans) < self.global_batch_size:
            return None
        return self.split.batch(np.concatenate(chosen)[self.slice], self.slice.stop - self.slice.start)

    def _pick_puzzles(self) -> list[tuple[int, int, int]]:
        """The puzzles of the next batch: first example, number of examples, how many of them to take."""
        generator = np.random.Generator(self._philox)
        spans = []
        room = self.global_batch_size
        while room and self._cursor < len(self._order):
            group = self._order[self._cursor]
            self._cursor += 1
            puzzle = generator.integers(self.split.group_indices[group], self.split.group_indices[group + 1])
            start, end = self.split.puzzle_indices[puzzle], self.split.puzzle_indices[puzzle + 1]
            take = min(end - start, room)
            spans.append((start, end - start, take))
            room -= take
        return spans

    def count(self, iterations: int, *, at_most: int = 200_000) -> int | None:
        """How many batches there will be; None where finding out takes more than ``at_most`` picks (about a second)."""
        if iterations * self.epochs * (len(self.split.group_indices) - 1) > at_most:
            return None
        probe, batches = copy.copy(self), 0
        for iteration in range(1, iterations + 1):
            probe.begin(iteration)
            while sum(take for _, _, take in probe._pick_puzzles()) == self.global_batch_size:
                batches += 1
        return batches

    def state_dict(self) -> dict[str, Any]:
        """Where the sampler is: plain numbers, texts and lists."""
        state = {
            "iteration": self.iteration,
            "cursor": self._cursor,
            "philox": self._philox.state,
            "examples_generator": self.examples_generator.get_state(legacy=False),
        }
        return json.loads(json.dumps(state, default=lambda array: array.tolist()))  # type: ignore[no-any-return]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`."""
        self.begin(state["iteration"])
        self._cursor = state["cursor"]
        self._philox.state = state["philox"]
        self.examples_generator.set_state(state["examples_generator"])
