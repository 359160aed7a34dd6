"""The ARC dataset builder: upstream's bytes, in bounded memory, at the speed of the disk.

The dataset is a pure function of the task files, the subsets' order, ``num_aug`` and the seed. It is made in two
phases, because the random stream is one:

1. *Plan*: task by task, the distinct variants are drawn. A variant is kept as one integer; no augmented grid is made.
2. *Write*: split by split, group by group, the places of the grids are drawn in order; threads paint the canvases block
   by block and write each block at its place in the files, whose sizes the plan has fixed. The names are written beside.

Invariants: memory does not grow with the number of examples (a variant costs some 24 bytes: 430 MB in all at 10,000
augmentations of the paper's tasks); the folder appears under its name complete or not at all.
"""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trm_repro import progress
from trm_repro.arc import augment, blocks, canvas, draws
from trm_repro.arc.grids import CELLS, VOCABULARY
from trm_repro.arc.layout import BLANK, write_indices
from trm_repro.arc.plan import Numbering, Options, Plan, Planned, draw_plan, number
from trm_repro.arc.staging import require_space, staged_folder
from trm_repro.arc.tasks import read_tasks
from trm_repro.errors import InvariantBroken, UsageError

__all__ = ["Built", "Options", "build"]


@dataclass(frozen=True)
class Built:
    """Counts of a dataset.

    Attributes:
        puzzles: variants.
        identifiers: with ``<blank>``.
        short: tasks that have fewer variants than asked for.
        rows: examples, by split.
        filled: by subset, test outputs that nobody gave and that are therefore ``[[0]]``.
    """

    puzzles: int
    identifiers: int
    short: int
    rows: dict[str, int]
    filled: dict[str, int]


def build(options: Options, output: Path, jobs: int = 0) -> Built:
    """Builds the dataset ``output``.

    Args:
        options: what to build.
        output: the folder to make; it must not exist.
        jobs: threads that paint and write; 0 for two a core, so that one paints while another waits for the disk.

    Raises:
        UsageError: the options make no sense, or ``output`` exists.
        MissingPrerequisite: task files are missing, or the disk is too small or fills up.
        InvariantBroken: a task file is not what it should be.
    """
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"seed {options.seed}: must be 0..2^32 − 1")
    if options.num_aug < 0 or options.puzzle_identifiers_start < 1:
        raise UsageError("the number of augmentations must not be negative, the first identifier at least 1")
    with staged_folder(output) as folder:
        sources = [
            (subset, read_tasks(options.input_file_prefix, subset, held_out=subset in options.test_set_names))
            for subset in options.subsets
        ]
        if not any(tasks for _, tasks in sources):
            raise InvariantBroken(f"{options.input_file_prefix}: no tasks in {', '.join(options.subsets)}")
        state = draws.seeded(options.seed)
        plan = draw_plan(options, sources, state)
        require_space(folder, 2 * CELLS * sum(plan.rows(split) for split in plan.splits))
        numbering = number(plan, options.puzzle_identifiers_start)
        with (
            ThreadPoolExecutor(1) as aside,
            progress.track("writing", total=sum(map(plan.rows, plan.splits)), unit="examples") as bar,
        ):
            names = aside.submit(
                _write_identifiers, folder / "identifiers.json", numbering, options.puzzle_identifiers_start
            )
            for split in plan.splits:
                (folder / split).mkdir()
                _write_indices(folder / split, plan, split, numbering)
                _write_canvases(folder / split, plan, split, state, jobs or 2 * (os.cpu_count() or 1), bar)
            names.result()
        (folder / "test_puzzles.json").write_text(json.dumps(plan.test_puzzles))
    wanted = options.num_aug + 1
    return Built(
        puzzles=sum(len(task.codes) for task in plan.tasks),
        identifiers=numbering.count,
        short=sum(len(task.codes) < wanted for task in plan.tasks),
        rows={split: plan.rows(split) for split in plan.splits},
        filled={subset: sum(task.filled for task in tasks) for subset, tasks in sources},
    )


def _write_identifiers(path: Path, numbering: Numbering, start: int) -> None:
    """Writes identifiers.json: the names by number, as ``json.dump`` would."""
    with path.open("wb") as file:
        file.write(b"[" + b", ".join([json.dumps(BLANK).encode()] * start))
        for task, codes in numbering.new:
            if len(codes):
                file.write(b", " + augment.json_names(task, codes))
        file.write(b"]")


def _write_indices(folder: Path, plan: Plan, split: str, numbering: Numbering) -> None:
    """Writes all that says which example belongs to which variant and group, and dataset.json."""
    groups = plan.groups(split)
    variants = np.array([len(group.codes) for group in groups], np.int32)
    sizes = np.repeat(np.array([len(group.examples[split]) for group in groups], np.int32), variants)
    kind = {"vocab_size": VOCABULARY, "seq_len": CELLS, "num_puzzle_identifiers": numbering.count}
    write_indices(folder, np.concatenate(numbering.of[split]), sizes, variants, total_puzzles=len(sizes), **kind)


@dataclass(frozen=True)
class Stretch:
    """Rows of a split that belong to one group: its row ``first`` is the split's row ``start``."""

    group: Planned
    places: npt.NDArray[np.uint8]
    start: int

    @property
    def end(self) -> int:
        """The split's row after the last."""
        return self.start + len(self.places)

    def paint(self, canvases: npt.NDArray[np.uint8], split: str, side: int, first: int, last: int) -> None:
        """Paints those of the split's rows ``first`` up to ``last`` that are the group's into ``canvases``."""
        begin, end = max(first, self.start), min(last, self.end)
        packed, grids = self.group.packed, 2 * self.group.examples[split] + side
        part = canvases[begin - first : end - first]
        canvas.paint(
            part, packed.cells, packed.starts, packed.sizes, self.group.codes, grids, self.places, begin - self.start
        )


def _write_canvases(
    folder: Path, plan: Plan, split: str, state: draws.Stream, jobs: int, bar: progress.Tracker
) -> None:
    """Writes all__inputs.npy and all__labels.npy: draws in order, paints and writes block by block in threads."""
    buffers: queue.SimpleQueue[blocks.Buffer] = queue.SimpleQueue()
    for _ in range(jobs):
        buffers.put(blocks.Buffer())
    rows = plan.rows(split)
    with (
        blocks.CanvasFile(folder / "all__inputs.npy", rows) as inputs,
        blocks.CanvasFile(folder / "all__labels.npy", rows) as labels,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def write(block: blocks.Block, stretches: list[Stretch]) -> int:
            buffer = buffers.get()
            try:
                for side, file in enumerate((inputs, labels)):
                    for stretch in stretches:
                        stretch.paint(buffer.rows(block), split, side, block.first, block.last)
                    file.write(block.index, buffer)
            finally:
                buffers.put(buffer)
            return block.last - block.index * blocks.ROWS

        running: set[Future[int]] = set()
        drawn = _stretches(plan, split, state)
        at_hand: list[Stretch] = []
        for block in blocks.blocks(rows):
            at_hand = [stretch for stretch in at_hand if stretch.end > block.first]
            while not at_hand or at_hand[-1].end < block.last:
                at_hand.append(next(drawn))
            running.add(pool.submit(write, block, at_hand))
            if len(running) >= 2 * jobs:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                bar.advance(sum(future.result() for future in finished))
        bar.advance(sum(future.result() for future in running))


def _stretches(plan: Plan, split: str, state: draws.Stream) -> Iterator[Stretch]:
    """Draws where the grids of each group lie, in order."""
    row = 0
    for group in plan.groups(split):
        sizes = group.packed.sizes[0].reshape(-1, 2, 2).max(axis=1)[group.examples[split]]
        stretch = Stretch(group, draws.places(state, group.codes, sizes, split == "train"), row)
        yield stretch
        row = stretch.end
