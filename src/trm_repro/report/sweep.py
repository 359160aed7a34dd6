"""Sweeps: recipes side by side, and their checkpoints evaluated with other cycles than they were trained with.

A sweep is a YAML file in ``recipes/sweeps/``: its ``recipes`` are run one after the other by the steps, which skip what is
fresh; then each final checkpoint is evaluated by the reference engine with the architecture keys of each entry of
``evaluations``. An evaluation that was made of the same checkpoint with the same keys is not made again. One table at the
end has a line for each evaluation, that of the training itself first, and what ``compare`` says of each run beside the
first. A recipe whose run is not finished has a line that says so.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from trm_repro.arc import score
from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_json, read_yaml, write_json, write_text
from trm_repro.provenance.compare import compare
from trm_repro.provenance.scrub import locate
from trm_repro.recipes.read import read_recipe
from trm_repro.recipes.schema import Recipe
from trm_repro.runs.layout import Run

CYCLES = ("H_cycles", "L_cycles", "halt_max_steps")
SCORES = (score.name(1), score.name(2), "all.exact_accuracy")
COLUMNS = (
    "recipe",
    "trained with",
    "evaluated with",
    "faithful",
    "votes of",
    score.name(1),
    f"{score.name(2)} (95 % interval)",
    "exact accuracy",
)
NOTHING = "–"
VOTES = (
    "*votes of*: how many checkpoints vote. A training's own evaluation is the vote of all that it evaluated so far; the "
    "others are the last checkpoint alone, and compare with each other only."
)


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
        sweep = Sweep.model_validate(read_yaml(path))
    except ValidationError as error:
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
class Finished:
    """A finished run of one of the recipes, from its manifest.

    Args:
        repository: the root; the paths in the manifest are relative to it.
        recipe: the recipe.
        folder: its artifacts.
        manifest: what ``artifacts/RUN_NAME/manifest.json`` holds.
    """

    repository: Path
    recipe: Recipe
    folder: Path
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, repository: Path, name: str) -> Finished:
        """Reads it.

        Raises:
            MissingPrerequisite: the recipe has not been run under its own name.
        """
        recipe = read_recipe(repository / "recipes", name)
        folder = Run(repository, recipe.run_name, name, {}).artifacts
        path = folder / "manifest.json"
        if not path.is_file():
            raise MissingPrerequisite(f"{path} is not there", hint=f"make all RECIPE={name}")
        return cls(repository, recipe, folder, read_json(path))

    def output(self, role: str) -> tuple[Path, str]:
        """Path and SHA-256 of the output with a role."""
        entry = next(entry for entry in self.manifest["outputs"] if entry["role"] == role)
        return locate(entry["path"], self.repository, self.repository / self.recipe.trm_dir), entry["sha256"]


def evaluate(sweep: Sweep, repository: Path) -> None:
    """Makes the sweep's evaluations of the runs that are finished, those that are not there yet.

    Raises:
        CommandFailed: one of them failed.
    """
    for run in filter(None, (_finished(repository, name) for name in sweep.recipes)):
        checkpoint, sha256 = run.output("final-checkpoint")
        trained = read_yaml(run.output("config")[0])
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


def markdown(sweep: Sweep, repository: Path) -> str:
    """The table as Markdown."""
    runs = [_finished(repository, name) for name in sweep.recipes]
    lines = [f"# {sweep.title}", "", f"Source: {sweep.source}.", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for name, run in zip(sweep.recipes, runs, strict=True):
        found = rows(sweep, run) if run else [(name, "not finished", *[NOTHING] * (len(COLUMNS) - 2))]
        lines += ["| " + " | ".join(row) + " |" for row in found]
    lines += ["", VOTES]
    finished = [run for run in runs if run]
    if len(finished) > 1:
        lines += ["", f"Beside `{finished[0].recipe.name}`, by `trm-repro compare`:", ""]
    for other in finished[1:]:
        comparison = compare(finished[0].manifest, other.manifest)
        lines.append(f"* `{other.recipe.name}`: {comparison.word}: {comparison.why}")
    return "\n".join(lines) + "\n"


def rows(sweep: Sweep, run: Finished) -> Iterator[tuple[str, ...]]:
    """The lines of one run: that of its training's own last evaluation, and one for each evaluation with other cycles."""
    name, manifest = run.recipe.name, run.manifest
    arch = read_yaml(run.output("config")[0])["arch"]
    trained = " ".join(f"{key}={arch[key]}" for key in CYCLES)
    last = (read_json(run.folder / "verdict.json")["evaluations"] or [{}])[-1]
    faithful = "yes" if manifest["faithful"] else "no"
    votes = str(last.get("votes", NOTHING))
    yield name, trained, "as in training", faithful, votes, *_scores(manifest["metrics"], last.get("interval"))
    for pairs in sweep.evaluations:
        path = _folder(run, pairs) / "evaluation.json"
        if path.is_file():
            result = read_json(path)["checkpoints"][0]
            found = result.get("vote", {}).get("scores", {})
            scores = {name: entry["share"] for name, entry in found.items()}
            if result["exact_accuracy"] is not None:
                scores["all.exact_accuracy"] = result["exact_accuracy"]
            interval = found.get(score.name(2), {}).get("interval_95")
            yield name, trained, " ".join(pairs), NOTHING, "1", *_scores(scores, interval)


def _finished(repository: Path, name: str) -> Finished | None:
    try:
        return Finished.read(repository, name)
    except MissingPrerequisite:
        return None


def _folder(run: Finished, pairs: list[str]) -> Path:
    return run.folder / "evaluations" / "_".join(pairs).replace("=", "")


def _scores(scores: Mapping[str, float], interval: Sequence[float] | None) -> tuple[str, ...]:
    """The cells of the scores: pass@1, pass@2 with its interval over tasks, exact accuracy over examples."""
    scores = {score.title(name): value for name, value in scores.items()}
    cells = [f"{100 * scores[name]:.2f} %" if name in scores else NOTHING for name in SCORES]
    if interval and score.name(2) in scores:
        cells[1] += f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"
    return tuple(cells)
