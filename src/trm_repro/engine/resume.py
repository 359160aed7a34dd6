"""Going on with a training: its states are written by all processes, found, refused, or gone on from exactly.

``training_state/step_<N>.<I>/`` holds what goes on after N steps, when I iterations are finished: one file a rank. A folder
gets its name when its files are complete and flushed, loses it before they are deleted, and no name is given twice, so that
a folder of that name is whole or absent. ``training_state/votes/`` holds the predictions of earlier evaluations.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trm_repro.engine.checkpoint import know_same_puzzles, load
from trm_repro.engine.config import PretrainConfig
from trm_repro.engine.data import Sampler
from trm_repro.engine.log import MetricsLog
from trm_repro.engine.train import Training
from trm_repro.engine.world import World
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import staged
from trm_repro.runs.checkpoints import checkpoint_name, checkpoints, step_of

MAY_CHANGE = {"resume", "checkpoint_every_n_steps", "keep_checkpoints", "device", "threads", "wandb", "entity"}


class TrainingStates:
    """The training states of a run.

    Args:
        folder: the run's folder.
        keep: how many to keep.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder, self.keep = folder / "training_state", keep

    def complete(self) -> list[Path]:
        """The complete states, the oldest first."""
        found = [path for path in self.folder.glob("*.*") if path.suffix[1:].isdecimal()]
        found = [path for path in found if path.stem == checkpoint_name(step_of(path.stem))]
        return sorted(found, key=lambda path: (step_of(path.stem), int(path.suffix[1:])))

    def newest(self) -> Path | None:
        """The newest complete state."""
        return next(reversed(self.complete()), None)

    def votes(self, iteration: int) -> Path:
        """The predictions of an iteration's evaluation, for the votes of a resumed run."""
        return self.folder / f"votes/iteration_{iteration}.npz"

    def save(self, world: World, step: int, iterations: int, state: dict[str, Any]) -> None:
        """Writes the state after so many steps, with so many iterations finished; on all processes, each its part."""
        name = f"{checkpoint_name(step)}.{iterations}"
        if world.leads:
            self.begin(name)
        world.wait()
        self.write(name, state, world.rank)
        world.wait()
        if world.leads:
            self.commit(name)

    def begin(self, name: str) -> None:
        """Rank 0: makes the folder in which ``name`` is written."""
        self._hidden(name).mkdir(parents=True)

    def write(self, name: str, state: dict[str, Any], rank: int = 0) -> None:
        """Every rank, after rank 0 began: writes its part and flushes it to the disk."""
        with staged(self._hidden(name) / f"rank_{rank}.pt") as temporary, temporary.open("wb") as file:
            torch.save(state, file)

    def commit(self, name: str) -> None:
        """Rank 0, after all wrote: gives the folder its name, and removes the oldest."""
        _flush_names(self._hidden(name))
        self._hidden(name).rename(self.folder / name)
        _flush_names(self.folder)
        for old in self.complete()[: -self.keep]:
            old.rename(self._hidden(old.name))
            shutil.rmtree(self._hidden(old.name))

    def _hidden(self, name: str) -> Path:
        return self.folder / f".{name}.part"


def _flush_names(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def find(states: TrainingStates, config: PretrainConfig, world: World) -> Path | None:
    """The training state to go on from, the same on all processes; None for a start in a folder that holds no other run.

    Raises:
        InvariantBroken: the folder holds a run that is not to be gone on with, or cannot be.
    """

    def look() -> tuple[str | None, bool, bool]:
        newest = states.newest()
        return newest.name if newest else None, bool(checkpoints(config.folder)), states.folder.exists()

    # rank 0 alone looks: other nodes may not see its folder
    newest, exported, stateful = world.agree(look() if world.leads else None)
    if not config.resume and (exported or newest):
        raise InvariantBroken(
            f"{config.folder} holds the checkpoints of a run already",
            hint="resume=True goes on with it; else choose another +run_name, or move the folder away",
        )
    if exported and not stateful:
        raise InvariantBroken(
            f"{config.folder} holds the checkpoints of a run, and no training_state to go on from",
            hint="choose another +run_name, or move the folder away",
        )
    return states.folder / newest if newest else None


def state_of(training: Training, sampler: Sampler, iterations_done: int, log: MetricsLog | None) -> dict[str, Any]:
    """This process's part of the state: its own, and on rank 0, which alone has a log, what all share."""
    state = training.state_dict() | {"torch_generator": torch.get_rng_state()}
    if training.world.device.type == "cuda":
        state["cuda_generator"] = torch.cuda.get_rng_state()
    if "shared" in state:
        assert log is not None
        state["shared"] |= {
            "config": training.config.model_dump(mode="json"),
            "world_size": training.world.size,
            "iterations_done": iterations_done,
            "sampler": sampler.state_dict(),
            "metrics_position": log.position(),
        }
    return state


def go_on(folder: Path, training: Training, sampler: Sampler, log: MetricsLog | None) -> int:
    """Puts a training and its sampler where they were, and forgets what was logged since.

    Returns:
        How many iterations are finished.

    Raises:
        UsageError: another configuration, or another number of processes.
        InvariantBroken: the state is damaged, or the dataset is another one.
    """
    config, world = training.config, training.world
    mine, first = (folder / f"rank_{rank}.pt" for rank in (world.rank, 0))
    try:
        shared = load(first, every_byte=mine == first)["shared"]
        same_run(shared["config"], config.model_dump(mode="json"))
        if shared["world_size"] != world.size:
            raise UsageError(
                f"{folder} was written by {shared['world_size']} processes, this run has {world.size}",
                hint="resume with the same number of processes",
            )
        own = load(mine, every_byte=mine != first)
    except (InvariantBroken, MissingPrerequisite) as error:
        raise InvariantBroken(str(error), hint=f"move {folder} away: the state before it is resumed then") from None
    if know_same_puzzles(config.folder, sampler.split.folder) is False:
        raise InvariantBroken(
            f"{sampler.split.folder / 'identifiers.json'} is not the one that the run in {config.folder} began with",
            hint="resume with the same dataset, built the same way",
        )
    training.load_state_dict(own, shared)
    sampler.load_state_dict(shared["sampler"])
    torch.set_rng_state(own["torch_generator"])
    if "cuda_generator" in own:
        torch.cuda.set_rng_state(own["cuda_generator"])
    if log:
        log.rewind(shared["metrics_position"])
    return int(shared["iterations_done"])


def same_run(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Checks that a run is resumed with the configuration it was started with.

    Raises:
        UsageError: keys other than those of :data:`MAY_CHANGE` differ.
    """
    changed = [
        f"{key}: was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if key not in MAY_CHANGE and before.get(key) != now.get(key)
    ]
    if changed:
        raise UsageError(
            "this is not the run that the training state belongs to:\n  " + "\n  ".join(changed),
            hint="resume with the same configuration, or start another run under another +run_name",
        )
