"""Vouchers: what lies in a folder that runs share or must not lose, told beside that folder.

A stamp says that a step of *one* run is done. A voucher, ``FOLDER.voucher.json``, says what an environment, a dataset or a
finished training *is*, for every run that means the same: what was meant (``means``: the recipe's relevant part, its locks,
its inputs by digest), what came of it (``files``: digests, by path relative to the folder's parent), and how it was made
(``commands``, ``guards``, times). It lies beside the folder, so that it goes where that goes, and outlives the stamps.

Invariants: a voucher holds only while the digests do; a dataset or an environment that was made past an overridden guard
has none; who takes a thing by its voucher takes over the commands that made it, so that its manifest says the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trm_repro.digests import Cache, Digest, difference, digest_bytes, digest_files
from trm_repro.errors import InvariantBroken
from trm_repro.files import write_json
from trm_repro.recipes.schema import Recipe
from trm_repro.runs.layout import Run
from trm_repro.runs.records import append
from trm_repro.runs.stamps import last_attempts, sources

FORMAT = "trm-repro/voucher/v1"
ENVIRONMENT, DATASET, TRAINING = "03-venv", "04-dataset", "05-train"
INVENTORY = "inventory"  # an environment's, in the place of its files
LATER = ("COMMANDS.txt", "TRM_COMMIT.txt")  # what step 6 writes beside the checkpoints
ATTEMPT = "training.json"  # how the training went, in the run's state folder


@dataclass(frozen=True)
class Voucher:
    """What a voucher says. ``files`` maps paths, relative to the voucher's folder, to digests."""

    step: str
    means: str
    started: str
    finished: str
    files: Mapping[str, Digest]
    commands: list[dict[str, Any]] = field(default_factory=list)
    guards: list[dict[str, Any]] = field(default_factory=list)
    training: dict[str, Any] | None = None


def voucher_of(folder: Path) -> Path:
    """Where the voucher of a folder lies."""
    return folder.with_name(f"{folder.name}.voucher.json")


def read_voucher(path: Path) -> Voucher | None:
    """The voucher in a file; None where there is none, or where it is not a whole one."""
    try:
        found = json.loads(path.read_bytes())
        if found.pop("format") != FORMAT:
            return None
        files = {str(name): Digest(**digest) for name, digest in found.pop("files").items()}
        voucher = Voucher(files=files, **found)
        entries = [json.loads(voucher.means), *voucher.commands, *voucher.guards]
        return voucher if all(isinstance(entry, dict) for entry in entries) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def inventory_of(path: Path) -> str:
    """The SHA-256 of the inventory of an environment that a voucher vouches for; empty where it is for something else."""
    voucher = read_voucher(path)
    found = voucher.files.get(INVENTORY) if voucher and voucher.step == ENVIRONMENT else None
    return found.sha256 if found else ""


def training_files(folder: Path) -> list[Path]:
    """The files that a training has left in its folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in LATER)


def vouched_digests(step: str, outputs: Mapping[Path, Digest]) -> dict[Path, Digest]:
    """The digests that a voucher holds of a step's outputs; of an environment its inventory, whatever the run is called."""
    if step != ENVIRONMENT:
        return dict(outputs)
    return {Path(INVENTORY): digest for path, digest in outputs.items() if path.suffix == ".json"}


def refusal(path: Path, step: str, means: str, present: Iterable[Path], cache: Cache) -> str:
    """Why a voucher does not vouch for what is there, in words; empty where it does.

    Args:
        path: the voucher's.
        step: whose it must be.
        means: what the run means.
        present: the files that are there.
        cache: digests of files that are known.
    """
    voucher = read_voucher(path)
    if voucher is None or voucher.step != step:
        return "there is no voucher"
    if voucher.means != means:
        return "it was made for something else: " + ", ".join(_different(voucher.means, means))
    if step == ENVIRONMENT:
        return ""  # its inventory is compared by the step
    problems = difference(voucher.files, relative(path, digest_files(present, cache)))
    return f"{problems[0]} (and {len(problems) - 1} more)" if problems[1:] else "".join(problems)


def _different(known: str, means: str) -> list[str]:
    """The names of what differs between two meanings."""
    one, other = json.loads(known), json.loads(means)
    return [str(key) for key in {**one, **other} if one.get(key) != other.get(key)]


def relative(path: Path, digests: Mapping[Path, Digest]) -> dict[str, Digest]:
    """Digests by path as a voucher has them, sorted."""
    names = (
        (str(file) if str(file) == INVENTORY else os.path.relpath(file, path.parent), digests[file]) for file in digests
    )
    return dict(sorted(names))


def vouch(
    run: Run, path: Path, step: str, *, means: str, started: str, finished: str, digests: Mapping[Path, Digest]
) -> None:
    """Writes the voucher of what a step has made; none where a guard was overridden for what others would share."""
    guards = [entry for entry in last_attempts(run, "guards.jsonl") if entry["step"] == step]
    commands = [entry for entry in last_attempts(run, "commands.jsonl") if entry["step"] == step]
    if step != TRAINING and any(entry["outcome"] != "holds" for entry in guards):
        path.unlink(missing_ok=True)
        return
    attempt = run.folder / ATTEMPT
    training = json.loads(attempt.read_bytes()) if step == TRAINING and attempt.exists() else None
    made = Voucher(step, means, started, finished, relative(path, digests), commands, guards, training)
    write_json(path, {"format": FORMAT, **asdict(made)})


def take_over(run: Run, path: Path, attempt: str, digests: Mapping[Path, Digest]) -> Voucher:
    """Enters into a run's records how a thing was made that it takes by its voucher.

    Raises:
        InvariantBroken: the voucher does not vouch for these digests (any more).
    """
    voucher = read_voucher(path)
    if voucher is None:
        raise InvariantBroken(f"{path}: gone, or no whole voucher any more", hint="run the step again")
    if problems := difference(voucher.files, relative(path, digests)):
        raise InvariantBroken(f"{path} does not vouch for what is there: {problems[0]}", hint="run the step again")
    entries = [("commands.jsonl", entry) for entry in voucher.commands]
    if voucher.step == TRAINING:  # for the others the guards were tried anew
        entries += [("guards.jsonl", entry) for entry in voucher.guards]
        if voucher.training and not (run.folder / ATTEMPT).exists():
            write_json(run.folder / ATTEMPT, voucher.training)
    for name, entry in entries:
        append(run.folder / name, {**entry, "attempt": attempt})
    return voucher


# ---- what a run means by each ----


def environment_means(recipe: Recipe, environ: Mapping[str, str], words: Mapping[str, Any], checkout: Path) -> str:
    """What a training environment is made from. ``words``: the lock for this machine; ``checkout``: upstream's."""
    own = checkout if recipe.environment.editable else checkout / "requirements.txt"
    return _canonical(
        python=recipe.environment.python,
        interpreter=environ.get("PY", ""),
        locks=_digests(map(Path, words.get("LOCKS", ()))),
        lock=environ.get("ENV_LOCK", ""),
        index="" if words.get("LOCKS") else environ.get("TORCH_INDEX_URL", ""),
        compiled_for=[words.get("LOCK_ARCHITECTURES", ""), words.get("LOCK_NVCC_FLAGS", "")],
        compiler=recipe.environment.compiler,
        requirements=_digests([own]) if own.is_file() else {},
        package=[str(own), recipe.upstream.commit] if recipe.environment.editable and recipe.upstream else [],
    )


def dataset_means(run: Run, recipe: Recipe, command: list[str]) -> str:
    """What a dataset is made from: its command and what that reads; or, where they are known, the bytes it must have."""
    digests = recipe.dataset.digests
    made_by = {} if digests else {"environment": _environment(run, recipe, recipe.dataset.environment)}
    if command[0] == "trm-repro" and not digests:
        made_by["code"] = digest_bytes(sources()).sha256
    return _canonical(
        command=command,
        work=recipe.work,
        upstream=recipe.upstream.model_dump(include={"commit", "tree"}) if recipe.upstream else None,
        digests=_digests([run.repository / "recipes" / digests]) if digests else {},
        tasks=recipe.tasks.model_dump(include={"source", "repository", "select"}) | {"files": recipe.task_files},
        weights=recipe.weights.model_dump() if recipe.weights else None,
        **made_by,
    )


def training_means(run: Run, recipe: Recipe, command: list[str], data: Mapping[Path, Digest], work: Path) -> str:
    """What a training is: its command, the code, the environment, and the bytes that it is given."""
    listing = "".join(f"{d.sha256} {os.path.relpath(path, work)}\n" for path, d in sorted(data.items()))
    return _canonical(
        command=command,
        work=recipe.work,
        upstream=recipe.upstream.model_dump(include={"commit", "tree"}) if recipe.upstream else None,
        code=digest_bytes(sources()).sha256 if recipe.engine == "reference" else "",
        environment=_environment(run, recipe, recipe.environment.name),
        data=digest_bytes(listing.encode()).sha256,
    )


def _environment(run: Run, recipe: Recipe, name: str | None) -> str:
    """What identifies the environment in which a command runs."""
    if (name or recipe.environment.name) == "tool":
        path = run.repository / "locks/tool.txt"
    else:
        path = run.environment_file(recipe.target_dataset, ".json")
    return digest_bytes(path.read_bytes()).sha256 if path.is_file() else ""


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    return {path.name: digest_bytes(path.read_bytes()).sha256 for path in paths}


def _canonical(**parts: Any) -> str:
    return json.dumps(parts, sort_keys=True, ensure_ascii=False)
