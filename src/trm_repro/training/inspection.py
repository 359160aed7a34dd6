"""What a finished training left, compared with what it must have left.

Each check returns lines, one a finding; none where all is well. Everything is read without PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trm_repro.arc.submission import problems
from trm_repro.digests import git_blob
from trm_repro.errors import ReproError
from trm_repro.files import read_json
from trm_repro.provenance import promises
from trm_repro.provenance.faithful import TRAIN, command_problems
from trm_repro.provenance.host import disagreements
from trm_repro.provenance.promises import config_problems, expected_config, is_trm, step_problems
from trm_repro.runs.checkpoints import CONFIG, checkpoint_name, checkpoints, evaluated, step_of
from trm_repro.runs.clone import git
from trm_repro.runs.metrics import FILE as METRICS
from trm_repro.training.early import early
from trm_repro.training.state import Place, configuration
from trm_repro.weights.state import read_state
from trm_repro.weights.stored import Tensor

CHUNK = 1 << 26  # bytes of a tensor that are looked at together
PACKAGE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Check:
    """One check: what it looks at, how it came out, and what was seen or found."""

    name: str
    outcome: Literal["holds", "broken", "skipped"]
    lines: tuple[str, ...]


def checks(place: Place, manifest: Mapping[str, Any], puzzles: Mapping[str, Any]) -> list[Check]:
    """All checks of a run.

    Args:
        place: where it trained.
        manifest: its manifest.
        puzzles: the tasks that a submission must answer; none where it makes no submission.
    """
    recipe, made = place.recipe, []
    if lines := disagreements(manifest.get("host", {})):
        made.append(Check("GPUs", "skipped", (*lines, "the manifest has torch's")))
    if recipe.expected.checkpoints:
        found, config = checkpoints(place.folder), configuration(place.folder)
        shapes = "tensors as the configuration has them"
        if config and not is_trm(config["arch"]):
            shapes = f"readable; the tensors of {config['arch']['name']} are not known here"
        made.append(_steps(manifest, recipe.expected.steps, [step_of(path) for path in found]))
        for path in found:
            lines = list(tensor_problems(path, place, values=path == found[-1]))
            size = f"{path.stat().st_size:,} bytes"
            made.append(_check(path.name, lines, f"{size}, {shapes}"))
        if recipe.train.config:
            made.append(Check("configuration", "skipped", (f"it is upstream's {recipe.train.config}",)))
        else:
            lines = config_problems(expected_config(manifest), config)
            made.append(_check("configuration", lines, "every field is the recipe's or upstream's default"))
        lines = list(source_problems(place))
        made.append(_check("sources", lines, "the copies of the model's and the loss's code are what they must be"))
    if recipe.expected.early:
        made.append(_early(place, manifest))
    if recipe.expected.submission:
        submissions = evaluated(place.folder, "submission.json")
        for path in submissions:
            lines = problems(read_json(path), puzzles, recipe.expected.attempts)
            made.append(_check(path.parent.name, lines, "an entry for every test input"))
        if not submissions:
            made.append(Check("submission", "broken", ("there is none",)))
    return made


def _check(name: str, lines: list[str], seen: str) -> Check:
    return Check(name, "broken", tuple(lines)) if lines else Check(name, "holds", (seen,))


def _early(place: Place, manifest: Mapping[str, Any]) -> Check:
    """Whether the training began as the recipe expects."""
    if command_problems(manifest, TRAIN):
        return Check("early", "skipped", ("the command is not the recipe's: what it expects is of that",))
    found = early(place.recipe.expected.early, place.folder / METRICS)
    if all(entry.found is None for entry in found):
        return Check("early", "skipped", ("the training's metrics are not on record",))
    lines = [str(entry) for entry in found if not entry.inside]
    return _check(
        "early", lines, f"{len(found)} of {len(found)} first losses and scores are those on record for the recipe"
    )


def _steps(manifest: Mapping[str, Any], expected: list[int], found: list[int]) -> Check:
    """Whether training went to its end. Earlier checkpoints may be gone; the last one may not."""
    if not found:
        return Check("steps", "broken", ("there is no checkpoint",))
    missing = [checkpoint_name(step) for step in expected if step not in found]
    seen = f"{len(found)} checkpoints, the last is {checkpoint_name(found[-1])}" + (
        f" (gone: {', '.join(missing)})" if missing else ""
    )
    return _check("steps", step_problems(manifest, found), seen)


def tensor_problems(path: Path, place: Place, *, values: bool) -> Iterator[str]:
    """Whether a checkpoint has the tensors that its configuration and dataset describe, where that is TRM's.

    Args:
        path: the checkpoint.
        place: where its run trained.
        values: whether to look at every number, too: all must be finite.
    """
    config = configuration(place.folder)
    if config is None:
        yield f"{place.folder}: no {CONFIG}; cycle counts and heads leave no trace in a checkpoint"
        return
    try:
        state = read_state(path)
    except ReproError as error:
        yield str(error)
        return
    yield from state.oddities()
    identifiers = read_json(place.dataset / "train" / "dataset.json")["num_puzzle_identifiers"]
    if is_trm(config["arch"]):
        yield from promises.tensor_problems(config["arch"], place.recipe.target_dataset, identifiers, state.tensors)
    for name, tensor in state.tensors.items() if values else ():
        if wrong := infinite(path, tensor):
            yield f"{name}: {wrong:,} numbers are not finite"


def infinite(path: Path, tensor: Tensor) -> int:
    """How many numbers of a floating-point tensor in a checkpoint are not finite: all bits of the exponent are set."""
    kind, exponent = {"F32": ("<u4", 0x7F800000), "BF16": ("<u2", 0x7F80), "F16": ("<u2", 0x7C00)}[tensor.dtype]
    bits = np.memmap(path, np.dtype(kind), "r", tensor.begin, (tensor.bytes // np.dtype(kind).itemsize,))
    step = CHUNK // bits.itemsize
    return sum(
        int(np.count_nonzero((bits[start : start + step] & exponent) == exponent))
        for start in range(0, len(bits), step)
    )


def source_problems(place: Place) -> Iterator[str]:
    """Whether the code that the training copied beside its checkpoints is the pinned one (or this engine's own)."""
    copies = sorted(place.folder.glob("*.py"))
    if not copies:
        yield "no copy of the model's code beside the checkpoints"
    if place.recipe.upstream:
        upstream = place.recipe.upstream
        pinned = pinned_blobs(place.work, upstream.commit, upstream.submodules)
    else:
        pinned = {git_blob(path) for path in (PACKAGE / "engine").glob("*.py")}
    for path in copies:
        if git_blob(path) not in pinned:
            yield f"{path.name}: not a file of {'the pinned commit' if place.recipe.upstream else 'this engine'}"


def pinned_blobs(clone: Path, commit: str, submodules: Sequence[str] = ()) -> set[str]:
    """The names git has for the contents of all files of a commit; those in submodules, at the commits it names, too."""
    listed = git(clone, "ls-tree", "-r", "-z", "--full-tree", commit).stdout
    found: set[str] = set()
    for mode, _, name, path in (re.split(r"[ \t]", line, maxsplit=3) for line in listed.split("\0")[:-1]):
        if mode != "160000":
            found.add(name)
        elif path in submodules:
            found |= pinned_blobs(clone / path, name)
    return found
