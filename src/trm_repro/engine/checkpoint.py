"""Checkpoints: upstream's format for the weights, and our own training state for an exact resume.

``step_<N>`` is a ``torch.save`` of the state dict, each key behind ``model.inner.``, and behind ``_orig_mod.`` before that
when the model was compiled. It holds the weights only (the averaged ones, where there is an average).

``training_state/step_<N>/`` holds what goes on from step N: one file a rank, put under its name by renaming a folder whose
files are complete and flushed, so that a folder of that name is whole or absent.

Nothing is ever unpickled: ``torch.load`` runs with ``weights_only=True``.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trm_repro.engine.layers import truncated_normal
from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import staged

PREFIX = "model.inner."
COMPILED = "_orig_mod."
TABLE = "puzzle_emb.weights"


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What ``torch.save`` wrote, if it is data only.

    Raises:
        MissingPrerequisite: no such file.
        InvariantBroken: it is damaged, or holds more than data.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True, mmap=True)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise MissingPrerequisite(f"{path}: no such file") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise InvariantBroken(f"{path}: not a readable checkpoint: {str(error).splitlines()[0]}") from None


def save_weights(path: Path, state: Mapping[str, Tensor], *, compiled: bool = False) -> None:
    """Writes a model's state dict (or its adapters) in upstream's format, atomically; equal weights give equal bytes."""
    prefix = (COMPILED if compiled else "") + PREFIX
    # Through an open file: given a path, torch.save would write the temporary file's name into the archive.
    # Cloned: of a parameter, which is a view, it would write the vector of all parameters.
    with staged(path) as temporary, temporary.open("wb") as file:
        torch.save({prefix + key: value.detach().cpu().clone() for key, value in state.items()}, file)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, without the prefixes of its keys.

    Raises:
        InvariantBroken: it is not a checkpoint of this model.
    """
    saved = load(path)
    prefix = re.compile(re.escape(PREFIX).join((f"({re.escape(COMPILED)})?", "")))
    if not all(isinstance(key, str) and prefix.match(key) and isinstance(saved[key], Tensor) for key in saved):
        raise InvariantBroken(f"{path}: not a TRM checkpoint: its keys do not start with {PREFIX}")
    return {prefix.sub("", key, count=1): value for key, value in saved.items()}


def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor], *, source: str, table_policy: str = "refuse"
) -> list[str]:
    """Puts ``weights`` into the model; adapters that the checkpoint lacks keep their initial values.

    Args:
        model: a TRM.
        weights: from :func:`read_weights`.
        source: the checkpoint's name, for messages.
        table_policy: when the puzzle tables differ in size: ``refuse``, or fill the model's with the mean of the
            checkpoint's rows (``mean``) or with a normal of their mean and standard deviation (``normal``).

    Returns:
        What was done beyond plain loading, one sentence each.

    Raises:
        InvariantBroken: keys or shapes do not match.
    """
    own, weights, said = model.state_dict(), dict(weights), []
    if TABLE in weights and TABLE in own and weights[TABLE].shape[0] != own[TABLE].shape[0]:
        rows, wanted = weights[TABLE].shape[0], own[TABLE].shape[0]
        if table_policy == "refuse":
            raise InvariantBroken(
                f"{source} has {rows} puzzle vectors, the dataset {wanted} identifiers",
                hint="to adapt to new puzzles, ask for puzzle_emb_reinit_strategy=mean (or normal)",
            )
        weights[TABLE] = _new_table(weights[TABLE], wanted, table_policy)
        said.append(f"the {rows} puzzle vectors were replaced by {wanted} new ones ({table_policy} of the old)")
    adapters = {key for key in own if "_lora_" in key}
    missing = own.keys() - weights.keys()
    if adapters and missing == adapters:
        said.append(f"{len(adapters)} adapter matrices start from their initial values")
        missing = set()
    problems = [f"missing: {key}" for key in sorted(missing)]
    problems += [f"unexpected: {key}" for key in sorted(weights.keys() - own.keys())]
    problems += [
        f"different: {key}: {tuple(weights[key].shape)}, the model has {tuple(own[key].shape)}"
        for key in sorted(own.keys() & weights.keys())
        if own[key].shape != weights[key].shape
    ]
    if problems:
        raise InvariantBroken(f"{source} does not fit the model:\n  " + "\n  ".join(problems))
    with torch.no_grad():
        for key, value in weights.items():
            own[key].copy_(value)
    return said


def _new_table(old: Tensor, rows: int, policy: str) -> Tensor:
    mean = old.mean(0, keepdim=True)
    if policy == "mean":
        return mean.expand(rows, -1)
    return mean + truncated_normal((rows, old.shape[1]), std=1.0) * old.std(0, keepdim=True)


def step_of(path: Path) -> int | None:
    """N of a name ``step_<N>``; None for other names."""
    match = re.fullmatch(r"step_(\d+)", path.name)
    return int(match[1]) if match else None


def steps_in(folder: Path) -> dict[int, Path]:
    """What is named ``step_<N>`` in ``folder``, by N, ascending."""
    found = {step: path for path in folder.glob("step_*") if (step := step_of(path)) is not None}
    return dict(sorted(found.items()))


class TrainingStates:
    """The training states of a run.

    Args:
        folder: the run's folder.
        keep: how many to keep.
        rank: this process; rank 0 makes and renames folders.
    """

    def __init__(self, folder: Path, *, keep: int, rank: int = 0) -> None:
        self.folder, self.keep, self.rank = folder / "training_state", keep, rank

    def newest(self) -> Path | None:
        """The newest complete state."""
        return next(reversed(steps_in(self.folder).values()), None)

    def begin(self, step: int) -> None:
        """Rank 0: makes the staging folder, and removes what a killed run left."""
        for leftover in self.folder.glob(".step_*.part"):
            shutil.rmtree(leftover)
        self._staging(step).mkdir(parents=True)

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Every rank, after rank 0 began: writes its part and flushes it to the disk."""
        path = self._staging(step) / f"rank_{self.rank}.pt"
        with path.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())

    def commit(self, step: int) -> None:
        """Rank 0, after all wrote: gives the folder its name, and removes the oldest."""
        final = self.folder / f"step_{step}"
        if final.exists():
            shutil.rmtree(final)
        self._staging(step).rename(final)
        directory = os.open(self.folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        for old in list(steps_in(self.folder).values())[: -self.keep]:
            shutil.rmtree(old)

    def _staging(self, step: int) -> Path:
        return self.folder / f".step_{step}.part"
