"""Which of many files are weights, and which configuration is theirs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.runs.checkpoints import CONFIG, step_of
from trm_repro.weights.state import split_part

BUNDLE = "model.ckpt"  # what our own bundles call it; model.safetensors beside it is its twin
SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".safetensors")
# Lie beside weights and are none: evaluations, optimizers, training states, adapters.
OTHER = re.compile(r"preds|optim|scheduler|rng_state|training_args|rank_[0-9]+\.pt$|adapters|adapter_model")
SHARD = re.compile(r"-[0-9]+-of-[0-9]+\.|\.index\.json$|\.distcp$")


@dataclass(frozen=True)
class Found:
    """Weights among files.

    Attributes:
        file: the file with the weights, relative to where it was looked.
        config: its configuration, likewise; None where there is none.
    """

    file: str
    config: str | None


def is_weights(name: str) -> bool:
    """Whether a file of such a name may hold weights: ``step_N`` in any spelling, or an ending that weights have."""
    file = PurePosixPath(name).name
    if OTHER.search(file) or file.startswith("."):
        return False
    suffix = PurePosixPath(file).suffix
    return suffix in SUFFIXES or file == "checkpoint" or (not suffix and step_of(file) >= 0)


def find_weights(names: Iterable[str]) -> Found:
    """The weights among files.

    Args:
        names: all files, relative to one folder, with ``/``.

    Returns:
        ``model.ckpt`` where there is one; else the only file of the highest step; else the only one.

    Raises:
        InvariantBroken: none may hold weights, or several runs lie side by side, or several files without a step, or
            pieces of one.
    """
    names = sorted(names)
    folders: dict[PurePosixPath, list[str]] = defaultdict(list)
    for name in names:
        if is_weights(name):
            folders[PurePosixPath(name).parent].append(name)
    if shards := [name for name in names if SHARD.search(name)]:
        raise InvariantBroken(
            f"the weights are in pieces: {', '.join(shards[:3])}",
            hint="join them first: safetensors.torch.save_file of all their tensors, or (*.distcp) dcp_to_torch_save of "
            "torch.distributed.checkpoint.format_utils; a TRM of 7 M parameters needs no pieces",
        )
    if not folders:
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        raise InvariantBroken(
            f"no weights among: {shown or 'no files'}",
            hint=f"weights are called step_N, {BUNDLE}, *{', *'.join(SUFFIXES)}; a file of another name has to be named",
        )
    if len(folders) > 1:
        listed = ", ".join(f"{folder} ({PurePosixPath(_best(files)).name})" for folder, files in folders.items())
        raise InvariantBroken(
            f"{len(folders)} runs lie side by side: {listed}", hint="name one of these folders: each is another run"
        )
    file = _best(next(iter(folders.values())))
    return Found(file, _config(file, set(names)))


def _best(files: list[str]) -> str:
    """The one to take of a folder's."""
    by_name = {PurePosixPath(file).name: file for file in files}
    if BUNDLE in by_name:
        return by_name[BUNDLE]
    steps = {file: step_of(PurePosixPath(file).name) for file in files}
    highest = max(steps.values())
    best = [file for file, step in steps.items() if step == highest]
    stems = {file.removesuffix(PurePosixPath(file).suffix) if file.endswith(SUFFIXES) else file for file in best}
    if len(stems) > 1:  # such as averaged (EMA) beside raw
        raise InvariantBroken(f"several files may hold the weights: {', '.join(best)}", hint="name one of these files")
    return min(best, key=len)  # of twins, such as step_5 and step_5.safetensors, the one that was there first


def _config(file: str, names: set[str]) -> str | None:
    """The nearest configuration: beside the file, else above it."""
    places = [parent / CONFIG for parent in PurePosixPath(file).parents]
    return next((place.as_posix() for place in places if place.as_posix() in names), None)


def find_in(place: Path) -> tuple[Path, Path | None]:
    """The weights in a folder, or the file itself (``FILE:PART``, too), and the configuration that belongs to them.

    Raises:
        MissingPrerequisite: there is nothing there, or nothing that may be weights.
        InvariantBroken: as :func:`find_weights`.
    """
    if split_part(str(place))[0].is_file():
        config = place.with_name(CONFIG)
        return place, config if config.is_file() else None
    if not place.is_dir():
        raise MissingPrerequisite(f"{place}: no such file or folder")
    found = find_weights(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    return place / found.file, place / found.config if found.config else None
