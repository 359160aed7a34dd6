"""The manifest: one JSON file that says what a run was, from facts.

Format ``trm-repro/manifest/v1``; docs/format.md describes every key. Nothing in it is claimed by hand: ``faithful`` and
its ``reasons`` follow from the rest (:mod:`trm_repro.provenance.faithful`). Paths are POSIX and relative to the repository;
those in a TRM_DIR outside of it start with ``$TRM_DIR/``. No secret, user name or home path enters
(:mod:`trm_repro.provenance.scrub`). A run that is still going on, or has failed, has a manifest too; it is never written to
disk, and lacks what is not there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trm_repro import __version__
from trm_repro.arc.reader import unknown_answers
from trm_repro.errors import MissingPrerequisite
from trm_repro.files import read_json, read_yaml
from trm_repro.provenance.deviations import applying
from trm_repro.provenance.faithful import BUILD, TRAIN, reasons
from trm_repro.provenance.host import TORCH, host, with_torch
from trm_repro.provenance.inventory import own_inventory
from trm_repro.provenance.schema import FORMAT
from trm_repro.provenance.scrub import Scrubber, is_private
from trm_repro.provenance.tool import tool
from trm_repro.recipes.schema import Recipe
from trm_repro.runs.checkpoints import CONFIG, checkpoints, evaluated
from trm_repro.runs.clone import git
from trm_repro.runs.inputs import digests_held
from trm_repro.runs.layout import Run, meaning
from trm_repro.runs.metrics import FILE as METRICS
from trm_repro.runs.metrics import credible, read_evaluations
from trm_repro.runs.stamps import Stamp, hashed, last_attempts, read_stamp

TOOL_LOCKS = tuple(f"locks/tool{part}.txt" for part in ("", "-build", "-torch-cpu", "-torch", "-cuda"))
ENVIRONMENT, WRITES = "03-venv", "06-verify"
ROLES = {"identifiers.json": "identifiers", "test_puzzles.json": "test-puzzles"}


def build_manifest(run: Run, recipe: Recipe, *, work: Path, knobs: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """The manifest of a run, as far as it has come.

    Args:
        run: the run.
        recipe: its recipe.
        work: TRM_DIR.
        knobs: each knob's value and default.

    Raises:
        MissingPrerequisite: the run has not begun.
    """
    scrubber = Scrubber(run.repository, work.resolve(), run.environ)
    stamps = _stamps(run)
    if not stamps:
        hint = meaning("make all", recipe=recipe.name, run_name=run.name, default_name=recipe.run_name)
        raise MissingPrerequisite(f"run {run.name} has not begun", hint=hint)
    done = {stamp.step for stamp in stamps}
    folder = work / recipe.checkpoint_folder(run.name)
    commands, machine = _commands(run, scrubber)
    last, ours = (read_evaluations(folder / METRICS) or [{}])[-1], tool(run.repository)
    unknown = unknown_answers(work / recipe.dataset.folder)
    metrics = credible(last, unknown, engine=recipe.engine)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "run": {
            "name": run.name,
            "recipe": recipe.name,
            "engine": recipe.engine,
            "target_dataset": recipe.target_dataset,
            "started": min(stamp.started for stamp in stamps),
            "finished": max(stamp.finished for stamp in stamps) if TRAIN in done else None,
        },
        "faithful": False,
        "reasons": [],
        "tool": {"version": __version__, "commit": ours.commit, "clean": ours.clean},
        "recipe": {"name": recipe.name, "sha256": recipe.sha256, "resolved": recipe.model_dump(exclude={"name"})},
        "knobs": {
            name: {"value": value, "default": default}
            for name, (value, default) in knobs.items()
            if not is_private(name)
        },
        "upstream": _upstream(recipe, work),
        "seeds": _seeds(recipe, commands, folder / CONFIG),
        "inputs": _files(run, scrubber, _inputs(run, recipe, work)),
        "outputs": _files(run, scrubber, _outputs(run, recipe, work, folder)),
        "steps": [
            {"step": stamp.step, "started": stamp.started, "finished": stamp.finished, "said": stamp.said}
            for stamp in stamps
        ],
        "commands": commands,
        "guards": _records(run, "guards.jsonl"),
        "deviations": applying(recipe),
        "host": with_torch(machine, folder),
        "versions": {"tool": own_inventory(), "training": _training_inventory(run, recipe)},
        "metrics": {key: value for key, value in metrics.items() if key != "time"},
    }
    clean: dict[str, Any] = scrubber.value(manifest)
    why = reasons(clean)
    return {**clean, "faithful": not why, "reasons": why}


def _stamps(run: Run) -> list[Stamp]:
    """The stamps up to the training's; those of later steps, if any, are of an earlier manifest."""
    return [stamp for step in run.steps if step <= TRAIN and (stamp := read_stamp(run.path(step)))]


def _records(run: Run, name: str) -> list[dict[str, Any]]:
    """What each step's last attempt noted, up to the step that writes the manifest; later ones are of an earlier manifest."""
    return [entry for entry in last_attempts(run, name) if entry["step"] <= WRITES]


def _commands(run: Run, scrubber: Scrubber) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The commands of each step's last attempt, and the machine that trained; this one while there is none."""
    commands, machine = [], host()
    for entry in _records(run, "commands.jsonl"):
        ran_on = entry.pop("host", machine)
        if entry["step"] == TRAIN and entry["exit_code"] == 0:
            machine = ran_on
        commands.append({**entry, "cwd": scrubber.path(entry["cwd"])})
    return commands, machine


def _upstream(recipe: Recipe, work: Path) -> dict[str, str] | None:
    """What is checked out in TRM_DIR, which is the recipe's pin unless that guard was overridden; before step 2, the pin."""
    if recipe.upstream is None:
        return None
    found = git(work, "rev-parse", "HEAD", "HEAD^{tree}").stdout.split() if (work / ".git").exists() else []
    pin = recipe.upstream.model_dump(include={"url", "commit", "tree"})
    return {**pin, **dict(zip(("commit", "tree"), found, strict=False))}


def _training_inventory(run: Run, recipe: Recipe) -> dict[str, Any] | None:
    path = run.environment_file(recipe.target_dataset, ".json")
    if recipe.environment.name == "tool":
        return None
    return dict(read_json(path)) if path.exists() else {"python": "", "distributions": []}


def _seeds(recipe: Recipe, commands: list[dict[str, Any]], config: Path) -> dict[str, Any]:
    words = recipe.builder_command
    given = words[words.index("--seed") + 1] if "--seed" in words else "42"  # the builder's default
    hash_seed = [entry["env"].get("PYTHONHASHSEED") for entry in commands if entry["step"] in (BUILD, TRAIN)]
    return {
        "dataset": int(given),
        "training": _seed_in(config),
        "PYTHONHASHSEED": hash_seed[-1] if hash_seed else None,
    }


def _seed_in(config: Path) -> int | None:
    found = read_yaml(config).get("seed") if config.exists() else None
    return found if isinstance(found, int) else None


def _inputs(run: Run, recipe: Recipe, work: Path) -> list[tuple[str, Path]]:
    files = [("arc-tasks", work / recipe.tasks.folder / name) for name in recipe.task_files]
    if recipe.tasks.selection:
        files += [("arc-tasks", path) for path in sorted((work / recipe.tasks.selection).glob("*.json"))]
    if recipe.weights:
        files.append(("weights", work / recipe.weights.path))
    installed = read_stamp(run.path(ENVIRONMENT))
    named = [name for name in (installed.outputs if installed else ()) if name.startswith("locks/")]
    files += [("lock", run.repository / name) for name in dict.fromkeys([*TOOL_LOCKS, *named])]
    files += [("environment", run.environment_file(recipe.target_dataset, suffix)) for suffix in (".txt", ".json")]
    return [(role, path) for role, path in files if path.exists()]


def _outputs(run: Run, recipe: Recipe, work: Path, folder: Path) -> list[tuple[str, Path]]:
    dataset = sorted(path for path in (work / recipe.dataset.folder).rglob("*") if path.is_file())
    files = [(ROLES.get(path.name, "dataset"), path) for path in dataset]
    if read_stamp(run.path(TRAIN)):  # until then the last one is not the final one, and may be half-written
        steps = checkpoints(folder)
        files += [("final-checkpoint" if path == steps[-1] else "checkpoint", path) for path in steps]
    files.append(("config", folder / CONFIG))
    files += [("source", path) for path in sorted(folder.glob("*.py"))]
    for role in ("submission", "votes"):
        files += [(role, path) for path in evaluated(folder, f"{role}.json")]
    files += [("metrics", folder / METRICS), ("torch", folder / TORCH)]
    files += [("command", folder / name) for name in ("COMMANDS.txt", "TRM_COMMIT.txt")]
    files += [("log", run.repository / stamp.log) for stamp in _stamps(run)]
    return [(role, path) for role, path in files if path.exists()]


def changed_since(run: Run, manifest: Mapping[str, Any], locate: Callable[[str], Path]) -> list[str]:
    """Which files of a manifest are not, byte for byte, what the training was given or what a step put out, a line each.

    A manifest says what is there now; that it is what was there then is to be seen here.
    """
    then = {path: ("the training was given it", digest) for path, digest in digests_held(run.folder).items()}
    for stamp in _stamps(run):
        for name, digest in stamp.outputs.items():
            then.setdefault((run.repository / name).resolve(), (f"step {stamp.step[1:2]} put it out", digest))
    lines = []
    for entry in [*manifest["inputs"], *manifest["outputs"]]:
        known = then.get(locate(entry["path"]).resolve())
        if known and known[1].sha256 != entry["sha256"]:
            when, digest = known
            lines.append(f"{entry['path']}: changed since {when}: sha256 was {digest.sha256}, is {entry['sha256']}")
    return lines


def _files(run: Run, scrubber: Scrubber, files: list[tuple[str, Path]]) -> list[dict[str, Any]]:
    digests = hashed(run, [path for _, path in files])  # what is vouched for was read, every byte, and not remembered
    entries: list[dict[str, Any]] = []
    for role, path in files:
        entry = {
            "role": role,
            "path": scrubber.path(path),
            "sha256": digests[path].sha256,
            "bytes": digests[path].bytes,
        }
        rows = count_rows(path)
        entries.append(entry if rows is None else {**entry, "rows": rows})
    return entries


def count_rows(path: Path) -> int | None:
    """How many rows a file has: an array's first dimension, a JSON value's entries, a record file's lines."""
    if path.suffix == ".npy":
        import numpy as np

        return int(np.load(path, mmap_mode="r").shape[0])
    if path.suffix == ".json":
        value = read_json(path)
        return len(value) if isinstance(value, (list, dict)) else None
    if path.suffix == ".jsonl":
        with path.open("rb") as lines:
            return sum(1 for _ in lines)
    return None
