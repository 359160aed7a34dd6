"""``make demo``: the dataset and the training of a recipe, in a folder of their own, and what came of them.

Both commands are the recipe's, word for word but for the seed and the device, and run as anybody could run them; nothing
here trains. The test boards are boards that no training puzzle comes from, and every puzzle has one answer.
"""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trm_repro.demo.outcome import Outcome, Shown
from trm_repro.demo.picture import write_animation, write_picture
from trm_repro.errors import CommandFailed, MissingPrerequisite, UsageError
from trm_repro.files import write_json
from trm_repro.recipes.schema import Recipe
from trm_repro.report.style import colours

LONGEST = {"dataset": 600, "training": 3600}  # seconds, on a machine with much else to do
LEAST = {4: 0.98}  # of the test puzzles, by the side of a board: fewer is a failure
# A run's own wishes that would lead the demo's numbers elsewhere.
NOT_OURS = (
    "TRM_REPRO_METRICS",
    "TRM_REPRO_TORCH",
    "WANDB_API_KEY",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
)


def run(recipe: Recipe, folder: Path, *, seed: int = 0, device: str = "cpu", shown: int = 6) -> Outcome:
    """Builds, trains and tests in ``folder``, which holds nothing else afterwards: outcome.json, demo.png and demo.gif too.

    Args:
        recipe: of a Sudoku that is made here.
        folder: emptied first.
        seed: of the boards, the weights and the batches.
        device: what trains and answers: ``cpu``, ``cuda``, ``mps``.
        shown: how many puzzles to keep as examples.

    Raises:
        MissingPrerequisite: the device is not there.
        UsageError: another demo is at work there.
        CommandFailed: one of the commands failed.
    """
    from trm_repro.engine.device import choose

    choose(device)
    with _alone(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _call("dataset", [*recipe.builder_command, "--seed", str(seed)], folder)
        began, used = time.monotonic(), _cpu_seconds()
        words = recipe.train_command(processes=1, run_name=recipe.run_name)
        words = [f"device={device}" if word.startswith("device=") else word for word in words]
        _call("training", [*words, f"seed={seed}"], folder)
        seconds, cpu_seconds = time.monotonic() - began, _cpu_seconds() - used
        checkpoints = folder / recipe.checkpoint_folder(recipe.run_name)
        outcome = look(checkpoints, folder / recipe.dataset.folder, (seconds, cpu_seconds), device=device, shown=shown)
        _write(outcome, folder)
    return outcome


def look(
    checkpoints: Path, dataset: Path, took: tuple[float, float], *, device: str = "cpu", shown: int = 6
) -> Outcome:
    """What the newest checkpoint answers on the test split, step by step.

    Args:
        checkpoints: the training's folder.
        dataset: the dataset's.
        took: seconds of the training, and of one core in it.
        device: what answers.
        shown: how many puzzles to keep as examples.
    """
    from trm_repro.engine.data import Split
    from trm_repro.engine.predict import answers_by_step, load_checkpoint
    from trm_repro.engine.world import join
    from trm_repro.runs.checkpoints import step_of
    from trm_repro.weights.find import find_in

    split = Split(dataset, "test")
    path, _ = find_in(checkpoints)
    rows = np.arange(len(split.inputs))
    with join(device, threads=1) as world:
        model = load_checkpoint(path, seq_len=split.metadata.seq_len, device=world.device)
        found = answers_by_step(model, split.batch(rows, len(rows)))
    solved = (found.preds == split.labels[:]).all(-1)
    late = np.where(solved[-1], solved.argmax(0), -1)  # the first step after which a puzzle is right
    wrong = (found.preds[0] != split.labels[:]).sum(-1)
    side = int(np.sqrt(split.inputs.shape[1]))
    board = (side, side)
    examples = [
        Shown(
            split.inputs[row].reshape(board),
            split.labels[row].reshape(board),
            found.preds[:, row].reshape(-1, *board),
            found.sure[:, row].reshape(-1, *board),
        )
        for row in np.lexsort((-wrong, -late))[:shown]
        if late[row] >= 0
    ]
    return Outcome(
        side=side,
        boards=len({label.tobytes() for label in np.asarray(split.labels)}),
        puzzles=len(rows),
        right=tuple(solved.sum(1).tolist()),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=step_of(path.name),
        seconds=took[0],
        cpu_seconds=took[1],
        hardest=tuple(examples),
    )


def _write(outcome: Outcome, folder: Path) -> None:
    facts: dict[str, Any] = {name: value for name, value in vars(outcome).items() if name != "hardest"}
    write_json(folder / "outcome.json", facts | {"share": outcome.share})
    if outcome.hardest:
        write_picture(outcome, folder / "demo.png", colours())
        write_animation(outcome, folder / "demo.gif", colours())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One demo at a time works on a folder; the lock dies with its process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another demo is at work in {folder}", hint="wait for it, or give another --seed"
            ) from None
        yield


def _call(what: str, words: Sequence[str], folder: Path) -> None:
    """Runs a command of the recipe in ``folder``, with this environment's own programs."""
    print(f"-> {' '.join(words)}", file=sys.stderr, flush=True)
    programs = {"python": [sys.executable], "trm-repro": [sys.executable, "-m", "trm_repro"]}
    environ = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    try:
        done = subprocess.run(
            [*programs[words[0]], *words[1:]],
            cwd=folder,
            env=environ,
            stdout=sys.stderr,
            timeout=LONGEST[what],
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(
            f"the {what} took longer than {LONGEST[what]} s", hint="try again when less runs here"
        ) from None
    if done.returncode < 0:
        raise CommandFailed(f"the {what} was ended by signal {-done.returncode}", hint="memory? It needs 1 GB")
    if done.returncode:
        raise CommandFailed(f"the {what} failed", hint="its messages stand above")


def _cpu_seconds() -> float:
    """Of one core, what this process's children have taken so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def recipe_of(folder: Path, side: int) -> Recipe:
    """The recipe of a demo.

    Raises:
        MissingPrerequisite: this is not the repository.
    """
    from trm_repro.recipes.read import read_recipe

    if not folder.is_dir():
        raise MissingPrerequisite(f"no {folder}/ here: the demo is one of the repository's", hint="run make demo there")
    return read_recipe(folder, f"sudoku-{side}x{side}")
