"""How far a training has come: from its metrics, its checkpoint folder and the record of its attempt.

Everything is read from files that others write, so that it can be told of a running, a finished and a dead training alike.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trm_repro.errors import InvariantBroken, ReproError
from trm_repro.files import read_json, read_yaml
from trm_repro.recipes.schema import Recipe
from trm_repro.runs.checkpoints import CONFIG, checkpoints
from trm_repro.runs.layout import Run, meaning
from trm_repro.runs.metrics import FILE as METRICS
from trm_repro.runs.metrics import read_evaluations, read_tail, series
from trm_repro.runs.schedule import Settings, checkpoint_bytes, planned_steps
from trm_repro.training.attempt import Attempt, read_attempt
from trm_repro.training.disk import CheckpointPlan

RECENT = 100  # steps that the loss shown is the mean of


@dataclass(frozen=True)
class Place:
    """Where a run trains: its state folder, TRM_DIR, its dataset, its checkpoint folder, and the recipe."""

    state: Path
    work: Path
    dataset: Path
    folder: Path
    recipe: Recipe

    @staticmethod
    def of(run: Run, recipe: Recipe, work: Path) -> Place:
        """The place of a run whose TRM_DIR is ``work``."""
        return Place(run.folder, work, work / recipe.dataset.folder, work / recipe.checkpoint_folder(run.name), recipe)

    def meaning(self, text: str) -> str:
        """A text whose words for make mean this run."""
        recipe = self.recipe
        return meaning(text, recipe=recipe.name, run_name=self.state.name, default_name=recipe.run_name)


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        attempt: its record, if it was ever started.
        step: of the last line of its metrics.
        total: the last step there will be; None if unknown.
        planned: what upstream's own progress bar counts to, its estimate of the last step; None if unknown, or ours trains.
        speed: steps a second, lately.
        recent: the last lines of its metrics.
        evaluations: the lines of its evaluations.
        checkpoints: its checkpoint files, by step.
    """

    attempt: Attempt | None
    step: int
    total: int | None
    planned: int | None
    speed: float | None
    recent: Sequence[dict[str, Any]]
    evaluations: Sequence[dict[str, Any]]
    checkpoints: Sequence[Path]

    @property
    def seconds_left(self) -> float | None:
        """How long it will take until the last step, evaluations left out; None if unknown."""
        if self.total is None or not self.speed:
            return None
        return max(0, self.total - self.step) / self.speed

    def loss(self) -> float | None:
        """The mean of the last losses."""
        losses = [value for _, value in series(list(self.recent), "train/lm_loss")][-RECENT:]
        return sum(losses) / len(losses) if losses else None


def read_progress(place: Place) -> Progress:
    """How far the training in a place has come."""
    recent = read_tail(place.folder / METRICS)
    return Progress(
        attempt=read_attempt(place.state),
        step=max((int(entry["step"]) for entry in recent), default=0),
        total=total_steps(place),
        planned=planned_total(place) if place.recipe.engine == "upstream" else None,
        speed=speed(recent),
        recent=recent,
        evaluations=read_evaluations(place.folder / METRICS),
        checkpoints=checkpoints(place.folder),
    )


def speed(entries: Sequence[dict[str, Any]]) -> float | None:
    """Steps a second between the first and the last of some lines; None where that says nothing."""
    trained = [entry for entry in entries if "train/lm_loss" in entry and "time" in entry]
    if len(trained) < 2:
        return None
    seconds = (moment(trained[-1]) - moment(trained[0])).total_seconds()
    steps = int(trained[-1]["step"]) - int(trained[0]["step"])
    return steps / seconds if seconds > 0 and steps > 0 else None


def moment(entry: dict[str, Any]) -> datetime:
    """When a line was written."""
    return datetime.fromisoformat(entry["time"])


def total_steps(place: Place) -> int | None:
    """The last step there will be: known to the recipe, or computed from the configuration and the dataset."""
    if place.recipe.expected.steps:
        return place.recipe.expected.steps[-1]
    config = configuration(place.folder)
    metadata = place.dataset / "train" / "dataset.json"
    return _last_step(place.dataset, _settings(config)) if config and metadata.exists() else None


def planned_total(place: Place) -> int | None:
    """Upstream's estimate of the last step; None before its configuration is there."""
    config = configuration(place.folder)
    there = (place.dataset / "train" / "dataset.json").exists()
    return _planned(place.dataset, _settings(config)) if config and there else None


@functools.lru_cache
def _last_step(dataset: Path, settings: Settings) -> int:
    """The number of the last batch that upstream packs; its own estimate of it where the arrays do not tell."""
    from trm_repro.arc.layout import read_split
    from trm_repro.runs.packing import checkpoint_steps

    try:
        return checkpoint_steps(read_split(dataset, "train"), settings)[-1]
    except ReproError:
        return _planned(dataset, settings)


def _planned(dataset: Path, settings: Settings) -> int:
    facts = read_json(dataset / "train" / "dataset.json")
    groups, mean = facts["total_groups"], facts["mean_puzzle_examples"]
    return planned_steps(settings.epochs, groups, mean, settings.global_batch_size)


def disk_plan(place: Place) -> CheckpointPlan | None:
    """What the training will write; None before its configuration is there."""
    config = configuration(place.folder)
    metadata = place.dataset / "train" / "dataset.json"
    if not config or not metadata.exists():
        return None
    facts, settings = read_json(metadata), _settings(config)
    count = settings.epochs // settings.eval_interval if config.get("checkpoint_every_eval", True) else 1
    return CheckpointPlan(count, checkpoint_bytes(facts["num_puzzle_identifiers"], facts["vocab_size"], settings))


def configuration(folder: Path) -> dict[str, Any] | None:
    """The ``all_config.yaml`` that a training writes when it starts; None where there is none."""
    path = folder / CONFIG
    if not path.exists():
        return None
    if not isinstance(found := read_yaml(path), dict):
        raise InvariantBroken(f"{path}: not a training configuration")
    return found


def _settings(config: dict[str, Any]) -> Settings:
    values = {**config.get("arch", {}), **config}
    values["eval_interval"] = values.get("eval_interval") or values["epochs"]
    return Settings(**{key: values[key] for key in Settings.__dataclass_fields__ if key in values})


def last_step(progress: Progress) -> str:
    """Where the training was last seen, such as ``step 1,200 of 722,098``."""
    where = f"step {progress.step:,}" + (f" of {progress.total:,}" if progress.total else "")
    last = progress.checkpoints[-1].name if progress.checkpoints else ""
    kept = f"; its last checkpoint is {last}" if last else "; no checkpoint yet"
    return where + kept
