"""Sweeps: recipes side by side, and their checkpoints evaluated with other cycles than they were trained with.

A sweep is a YAML file in ``recipes/sweeps/``: its ``recipes`` are run one after the other by the steps, which skip what is
fresh; then each final checkpoint is evaluated by the reference engine with the architecture keys of each entry of
``evaluations``. An evaluation that was made of the same checkpoint with the same keys is not made again. One table at the
end has a line for each evaluation, that of the training itself first.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_json, write_json, write_text
from trm_repro.recipe import Recipe, read_recipe

CYCLES = ("H_cycles", "L_cycles", "halt_max_steps")


class Sweep(BaseModel):
    """What is compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    source: str
    recipes: list[str]
    evaluations: list[list[str]] = []


def read_sweep(recipes: Path, name: str) -> Sweep:
    """Reads and validates a sweep; its recipes must exist.

    Raises:
        UsageError: there is no such sweep.
        InvariantBroken: it is not a valid one.
    """
    path = recipes / "sweeps" / f"{name}.yaml"
    if not path.is_file():
        known = sorted(other.stem for other in path.parent.glob("*.yaml"))
        raise UsageError(f"no sweep '{name}'", hint="choose one of: " + " ".join(known))
    try:
        sweep = Sweep.model_validate(yaml.safe_load(path.read_text()))
    except (ValidationError, yaml.YAMLError) as error:
        raise InvariantBroken(f"{path}: {error}") from None
    for recipe in sweep.recipes:
        read_recipe(recipes, recipe)
    unknown = {pair for pairs in sweep.evaluations for pair in pairs if pair.partition("=")[0] not in CYCLES}
    if unknown:
        raise InvariantBroken(
            f"{path}: {', '.join(sorted(unknown))}: an evaluation may change {', '.join(CYCLES)} only"
        )
    return sweep


@dataclass(frozen=True)
class Run:
    """A finished run of one of the recipes, from its manifest.

    Args:
        repository: the root; the paths in the manifest are relative to it.
        recipe: the recipe.
        manifest: what ``artifacts/RUN_NAME/manifest.json`` holds.
    """

    repository: Path
    recipe: Recipe
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, repository: Path, name: str) -> Run:
        """Reads it.

        Raises:
            MissingPrerequisite: the recipe has not been run under its own name.
        """
        recipe = read_recipe(repository / "recipes", name)
        path = repository / "artifacts" / recipe.run_name / "manifest.json"
        if not path.is_file():
            raise MissingPrerequisite(f"{path} is not there", hint=f"make all RECIPE={name}")
        return cls(repository, recipe, read_json(path))

    def output(self, role: str) -> tuple[Path, str]:
        """Path and SHA-256 of the output with a role."""
        entry = next(entry for entry in self.manifest["outputs"] if entry["role"] == role)
        return self.repository / entry["path"].replace("$TRM_DIR", self.recipe.trm_dir, 1), entry["sha256"]


def evaluate(sweep: Sweep, repository: Path) -> None:
    """Makes the sweep's evaluations, those that are not there yet.

    Raises:
        CommandFailed: one of them failed.
    """
    for name in sweep.recipes:
        run = Run.read(repository, name)
        checkpoint, sha256 = run.output("final-checkpoint")
        trained = yaml.safe_load(run.output("config")[0].read_text())
        for pairs in sweep.evaluations:
            folder = _folder(run, pairs)
            made = {"checkpoint": sha256, "arch": pairs}
            if (folder / "made.json").is_file() and read_json(folder / "made.json") == made:
                continue
            values = {key: int(value) for key, _, value in (pair.partition("=") for pair in pairs)}
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "all_config.yaml", yaml.safe_dump({**trained, "arch": {**trained["arch"], **values}}))
            dataset = repository / run.recipe.trm_dir / run.recipe.dataset.folder
            words = [f"--checkpoint={checkpoint}", f"--dataset={dataset}", f"--config={folder / 'all_config.yaml'}"]
            command = [sys.executable, "-m", "trm_repro", "evaluate", *words, f"--output-dir={folder}"]
            print(f"==> {run.recipe.run_name}: evaluating with {' '.join(pairs)}", file=sys.stderr)
            if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
                raise CommandFailed(f"{checkpoint} could not be evaluated with {' '.join(pairs)}")
            write_json(folder / "made.json", made)


def rows(sweep: Sweep, repository: Path) -> Iterator[tuple[str, str, str, str]]:
    """The table: recipe, cycles in training, cycles at evaluation, results."""
    for name in sweep.recipes:
        run = Run.read(repository, name)
        arch = yaml.safe_load(run.output("config")[0].read_text())["arch"]
        trained = " ".join(f"{key}={arch[key]}" for key in CYCLES)
        logged = {key: value for key, value in run.manifest["metrics"].items() if key != "step"}
        yield name, trained, "as in training", _results(logged)
        for pairs in sweep.evaluations:
            path = _folder(run, pairs) / "evaluation.json"
            if path.is_file():
                yield name, trained, " ".join(pairs), _results(_scores(read_json(path)["checkpoints"][0]))


def markdown(sweep: Sweep, repository: Path) -> str:
    """The table as Markdown."""
    lines = [f"# {sweep.title}", "", f"Source: {sweep.source}.", ""]
    lines += ["| recipe | trained with | evaluated with | result |", "|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows(sweep, repository)]
    return "\n".join(lines) + "\n"


def _folder(run: Run, pairs: list[str]) -> Path:
    return run.repository / "artifacts" / run.recipe.run_name / "evaluations" / "_".join(pairs).replace("=", "")


def _scores(result: Mapping[str, Any]) -> dict[str, float]:
    """Names and values of an evaluation, as a training's evaluation would have logged them."""
    passes = {f"ARC/pass@{k}": entry["over_tasks"] for k, entry in result.get("vote", {}).get("pass", {}).items()}
    return {"all.exact_accuracy": result["exact_accuracy"], **passes}


def _results(scores: Mapping[str, float]) -> str:
    wanted = ("ARC/pass@1", "ARC/pass@2", "all.exact_accuracy")
    return ", ".join(f"{name} {100 * scores[name]:.2f} %" for name in wanted if name in scores) or "not evaluated"
