"""The tasks dealt out to processes, one a GPU: each builds, fine-tunes and predicts its share; what all found is one vote.

Every batch of predictions is written down as soon as it is there. So nothing that goes wrong loses more than a batch: not
an exception, not a process that is killed, not a GPU that dies, not one that is never ready.

A share is a folder::

    share.json        what to do, and until when
    arc-agi_*.json    its tasks
    dataset/          their variants
    answers/N.npz     predictions, a batch each
    report.json       what there is to say
    log.txt           what its process printed
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import trm_repro
from trm_repro.arc.layout import BLANK
from trm_repro.arc.scoring import Votes
from trm_repro.errors import ReproError
from trm_repro.files import read_json, staged, write_json
from trm_repro.notebook import solve
from trm_repro.notebook.presets import NONE, PRESETS, preset, what_learns
from trm_repro.progress import track

if TYPE_CHECKING:
    from trm_repro.engine.data import Split
    from trm_repro.engine.evaluate import Predictions

LOOK = 0.5  # seconds between two looks at the processes
GRACE = 0.02, 5.0  # what a process gets beyond its time: a part of it, and seconds at least
LAST_WORDS = 2000  # bytes of a log


@dataclass(frozen=True)
class Plan:
    """How tasks are answered.

    Attributes:
        preset: rates and cycles, a name in :data:`~trm_repro.notebook.presets.PRESETS`.
        what: what learns the tasks' examples, one of :data:`~trm_repro.notebook.presets.WHAT`; empty: the preset's.
        share: of the time, for fine-tuning.
        augmentations: variants of each task.
        batch: examples at a time, in each process.

    Raises:
        UsageError: a name is none.
    """

    preset: str = "trelis"
    what: str = ""
    share: float = 0.5
    augmentations: int = 1000
    batch: int = 32

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", what_learns(self.what or preset(self.preset).what))


@dataclass(frozen=True)
class Share:
    """What one process does: ``share.json``.

    Attributes:
        folder: where it works.
        bundle: the weights.
        tasks: the task file.
        plan: how.
        processes: how many there are.
        ends: when predictions end, by the machine's monotonic clock.
    """

    folder: Path
    bundle: Path
    tasks: Path
    plan: Plan
    processes: int
    ends: float

    def write(self) -> None:
        """Writes ``share.json``."""
        write_json(self.folder / "share.json", {**asdict(self), **{name: str(getattr(self, name)) for name in PATHS}})

    @staticmethod
    def read(folder: Path) -> Share:
        """What was written."""
        values = read_json(folder / "share.json")
        return Share(**{**values, **{name: Path(values[name]) for name in PATHS}, "plan": Plan(**values["plan"])})


PATHS = ("folder", "bundle", "tasks")


def run(
    bundle: Path, challenges: Path, scratch: Path, plan: Plan, *, seconds: float, processes: int = 0
) -> solve.Answers:
    """Answers a competition's task file within a time; whatever fails on the way, what there is comes back.

    Args:
        bundle: the weights.
        challenges: a file ``<prefix>_<subset>_challenges.json``.
        scratch: a folder for what is only needed on the way; what shares left there before is not looked at.
        plan: how.
        seconds: the time there is.
        processes: how many to deal the tasks to; 0: one a GPU, one where there is none.
    """
    begins = time.monotonic()
    shares = deal(bundle, challenges, scratch, plan, ends=begins + seconds, processes=processes or len(_gpus()) or 1)
    notes: list[str] = []
    if len(shares) == 1:
        try:
            work(shares[0])
        except Exception as error:  # what was predicted before counts
            notes.append(f"it ended early: {_told(error)}")
    else:
        notes += _processes(shares, seconds)
    return gather(shares, notes)


def deal(bundle: Path, challenges: Path, scratch: Path, plan: Plan, *, ends: float, processes: int) -> list[Share]:
    """Deals the tasks out, one after the other, to folders of their own below ``scratch``."""
    tasks = read_json(challenges)
    names = list(tasks)
    processes = max(1, min(processes, len(names)))
    shares = []
    for number in range(processes):
        (scratch / "shares").mkdir(parents=True, exist_ok=True)
        folder = _fresh(scratch / "shares")
        share = Share(folder, bundle, folder / challenges.name, plan, processes, ends)
        write_json(share.tasks, {name: tasks[name] for name in names[number::processes]})
        share.write()
        shares.append(share)
    return shares


def _fresh(above: Path) -> Path:
    """A new folder."""
    folder = above / f"{len(list(above.iterdir()))}"
    folder.mkdir()
    (folder / "answers").mkdir()
    return folder


# -- one share --------------------------------------------------------------------------------------------------------


def work(share: Share) -> None:
    """Does a share: builds its dataset, fine-tunes, predicts until the time is over.

    Where memory does not suffice the batch is halved; where fine-tuning fails otherwise, the weights as they are answer.

    Raises:
        Exception: predictions without fine-tuning failed, too.
    """
    report = _Report(share.folder)
    if not (share.folder / "dataset").is_dir():  # it appears whole or not at all
        solve.build(share.tasks, share.folder / "dataset", augmentations=share.plan.augmentations)
    plan = share.plan
    while True:
        try:
            _answer(replace(share, plan=plan), report)
            return
        except Exception as error:
            smaller = _out_of_memory(error) and plan.batch > 1
            if not smaller and plan.what == NONE:
                raise
            told = _told(error)
        # outside of the handler: the exception holds the model
        gc.collect()
        if smaller:
            plan = replace(plan, batch=plan.batch // 2)
            report.note(f"memory did not suffice; batch {plan.batch} from there on")
        else:
            plan = replace(plan, what=NONE)
            report.note(f"fine-tuning failed, so the weights answer as they are: {told}")


def _answer(share: Share, report: _Report) -> None:
    """Fine-tunes and predicts once."""
    plan, dataset, rates = share.plan, share.folder / "dataset", PRESETS[share.plan.preset]
    model, known = solve.load(share.bundle, dataset, preset=rates)
    report.note(f"{known} of {len(read_json(dataset / 'identifiers.json')) - 1} puzzles have a trained vector")
    if plan.what != NONE:
        steps = solve.fine_tune(
            model,
            share.bundle,
            dataset,
            what=plan.what,
            seconds=plan.share * max(0.0, share.ends - time.monotonic()),
            batch=plan.batch,
            preset=rates,
            processes=share.processes,
        )
        report.note(f"{steps} steps of fine-tuning, batch {plan.batch}")
    kept = _kept(share.folder)
    numbers = iter(range(len(kept), sys.maxsize))

    def keep(found: Predictions) -> None:
        path = share.folder / "answers" / f"{next(numbers):08d}.npz"
        with staged(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **vars(found))

    solve.predict(
        model,
        dataset,
        seconds=share.ends - time.monotonic(),
        batch=plan.batch,
        done=[int(row) for found in kept for row in found.examples],
        keep=keep,
    )


class _Report:
    """What there is to say of a share, kept in its folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "report.json"
        self._lines: list[str] = read_json(self._path) if self._path.exists() else []

    def note(self, line: str) -> None:
        self._lines.append(line)
        write_json(self._path, self._lines)


def _kept(folder: Path) -> list[Predictions]:
    """The predictions that a share has written down, in their order."""
    from trm_repro.engine.evaluate import Predictions

    found = []
    for path in sorted((folder / "answers").glob("*.npz")):
        with np.load(path) as arrays:
            found.append(Predictions(**{name: arrays[name] for name in Predictions.__dataclass_fields__}))
    return found


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError))


def _told(error: Exception) -> str:
    """An exception in one line."""
    text = next(iter(str(error).splitlines()), "")
    return text if isinstance(error, ReproError) else f"{type(error).__name__}: {text}".rstrip(": ")


# -- several processes ------------------------------------------------------------------------------------------------


def _gpus() -> list[str]:
    """The GPUs, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    there = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return (named.split(",") if named else list(map(str, range(there))))[:there]


def _processes(shares: Sequence[Share], seconds: float) -> list[str]:
    """Does shares in processes of their own, until all are done or the time and its grace are over.

    A process that fails is started again once, on its own GPU, without fine-tuning and with half the batch.

    Returns:
        What went wrong, a line each.
    """
    notes: list[str] = []
    ends = shares[0].ends
    with contextlib.ExitStack() as stack, track("answering", total=max(1, int(seconds)), unit="seconds at most") as bar:
        running = {number: stack.enter_context(_started(share, number)) for number, share in enumerate(shares)}
        again: set[int] = set()
        shown = 0
        while running and time.monotonic() < ends + max(GRACE[0] * seconds, GRACE[1]):
            for number, process in list(running.items()):
                if process.poll() is None:
                    continue
                del running[number]
                if process.returncode == 0:
                    continue
                line = f"process {number} ended with {process.returncode}: {_last_line(shares[number].folder)}"
                if number in again or time.monotonic() >= ends:
                    notes.append(line)
                    continue
                again.add(number)
                share = shares[number]
                replace(share, plan=replace(share.plan, what=NONE, batch=max(1, share.plan.batch // 2))).write()
                running[number] = stack.enter_context(_started(share, number))
                notes.append(f"{line}; started again without fine-tuning")
            time.sleep(LOOK)
            gone = min(int(seconds), int(seconds - (ends - time.monotonic())))
            bar.note(" | ".join(_last_line(shares[number].folder) for number in running))
            bar.advance(gone - shown)
            shown = gone
        notes += [f"process {number} did not end in time and was ended" for number in running]
    return notes


@contextlib.contextmanager
def _started(share: Share, number: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does a share, on a GPU of its own; ended with the context."""
    gpus = _gpus()
    cores = len(os.sched_getaffinity(0))
    packages = os.pathsep.join([str(Path(trm_repro.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environ: Mapping[str, str] = {
        "OMP_NUM_THREADS": str(max(1, cores // share.processes)),
        **os.environ,
        "PYTHONPATH": packages.rstrip(os.pathsep),
        **({"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}),
    }
    with (share.folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(share.folder)],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _last_line(folder: Path) -> str:
    """The last line that a share's process has printed."""
    path = folder / "log.txt"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LAST_WORDS))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


# -- all together -----------------------------------------------------------------------------------------------------


def gather(shares: Sequence[Share], notes: Sequence[str] = ()) -> solve.Answers:
    """All that shares have written down, as one vote."""
    from trm_repro.arc.reader import read_test_puzzles
    from trm_repro.engine.data import Split

    puzzles: dict[str, Any] = {}
    identifiers = [BLANK]
    ready: list[tuple[Share, Split, int]] = []
    lines = [*notes]
    for number, share in enumerate(shares):
        who = f"process {number}: " if len(shares) > 1 else ""
        report = share.folder / "report.json"
        lines += [f"{who}{line}" for line in (read_json(report) if report.exists() else ["nothing was done"])]
        dataset = share.folder / "dataset"
        if not dataset.is_dir():
            continue
        ready.append((share, Split(dataset, "test"), len(identifiers) - 1))
        puzzles |= read_test_puzzles(dataset)
        identifiers += read_json(dataset / "identifiers.json")[1:]
    votes, made = Votes(puzzles, identifiers), 0
    for share, split, offset in ready:
        for found in _kept(share.folder):
            own = split.puzzle_identifiers[split.puzzles(found.examples)].astype(np.int64)
            votes.add(own + offset, split.inputs[found.examples], found.preds, found.q_halt_logits)
            made += len(found.examples)
    return solve.Answers(votes, made, sum(len(split.inputs) for _, split, _ in ready), tuple(lines))


def main(words: Sequence[str]) -> int:
    """Does the share in the folder named; 0 if it could."""
    (folder,) = words
    try:
        work(Share.read(Path(folder)))
    except ReproError as error:
        print(f"error: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
