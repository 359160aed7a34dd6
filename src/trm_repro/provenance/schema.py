"""The shape of a manifest, version by version, and reading one.

What is read comes from anywhere, so its structure is checked before anything is believed. Each released version keeps its
classes here for as long as its bundles exist.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import parse_json

FORMAT = "trm-repro/manifest/v1"
FILE = "manifest.json"
BYTES, PROBLEMS = 8 << 20, 20  # of a manifest, at most; the problems that are told
Sha256 = Field(pattern=r"^[0-9a-f]{64}$")
Words = Annotated[list[str], Field(max_length=10_000)]
Number = int | float | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Open(BaseModel):
    """A part that may have more than what is read of it: a recipe's, which changes without a manifest's version."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


class PinV1(_Open):
    """``recipe.resolved.upstream``."""

    url: str
    commit: str
    tree: str


class EnvironmentOfV1(_Open):
    """``recipe.resolved.environment``."""

    name: str


class TasksV1(_Open):
    """``recipe.resolved.tasks``."""

    select: dict[str, Words]


class DatasetV1(_Open):
    """``recipe.resolved.dataset``."""

    folder: str
    digests: str
    program: Words = Field(min_length=1)
    arguments: Words


class WeightsV1(_Open):
    """``recipe.resolved.weights``."""

    program: Words = Field(min_length=1)


class TrainV1(_Open):
    """``recipe.resolved.train``."""

    launcher: Words
    program: Words
    arguments: Words
    scale: Words
    variation: Words = []
    config: str | None = None
    batch: int = Field(gt=0)
    gpu: bool


class ExpectedV1(_Open):
    """``recipe.resolved.expected``."""

    checkpoints: bool
    submission: bool
    attempts: int = Field(default=2, gt=0, le=100)
    steps: list[int] = Field(max_length=10_000)
    metric: str
    value: Number
    reference: str


class ResolvedV1(_Open):
    """``recipe.resolved``, as far as it is read."""

    target_dataset: str
    title: str
    engine: str
    faithful: bool
    publish: str
    upstream: PinV1 | None
    environment: EnvironmentOfV1
    tasks: TasksV1
    dataset: DatasetV1
    weights: WeightsV1 | None
    train: TrainV1
    expected: ExpectedV1


class RunV1(_Part):
    """``run``."""

    name: str
    recipe: str
    engine: Literal["upstream", "reference"]
    target_dataset: str
    started: str
    finished: str | None


class ToolV1(_Part):
    """``tool``."""

    version: str
    commit: str
    clean: bool


class RecipeV1(_Part):
    """``recipe``."""

    name: str
    sha256: str = Sha256
    resolved: dict[str, Any]


class KnobV1(_Part):
    """An entry of ``knobs``."""

    value: str
    default: str


class UpstreamV1(_Part):
    """``upstream``."""

    url: str
    commit: str
    tree: str


class SeedsV1(_Part):
    """``seeds``."""

    dataset: int
    training: int | None
    PYTHONHASHSEED: str | None


class FileV1(_Part):
    """An entry of ``inputs`` or ``outputs``."""

    role: str
    path: str
    sha256: str = Sha256
    bytes: int = Field(ge=0)
    rows: int | None = Field(default=None, ge=0)


class StepV1(_Part):
    """An entry of ``steps``."""

    step: str
    started: str
    finished: str
    said: str


class CommandV1(_Part):
    """An entry of ``commands``."""

    step: str
    argv: Annotated[list[str], Field(min_length=1, max_length=10_000)]
    cwd: str
    env: dict[str, str]
    started: str
    finished: str
    exit_code: int


class GuardV1(_Part):
    """An entry of ``guards``."""

    step: str
    guard: str
    outcome: Literal["holds", "broken", "overridden"]
    detail: str
    started: str


class DeviationV1(_Part):
    """An entry of ``deviations``."""

    id: str
    title: str


class GpuV1(_Part):
    """An entry of ``host.gpus``."""

    name: str
    memory_bytes: int | None
    driver: str


class TorchDeviceV1(_Part):
    """A GPU as torch describes it."""

    name: str
    capability: str
    memory_bytes: int
    uuid: str | None


class TorchV1(_Part):
    """``host.torch``: what torch said in the training process."""

    torch: str | None
    cuda: str | None
    cudnn: int | None
    driver: str | None
    driver_cuda: str | None
    devices: list[TorchDeviceV1]
    processes: int
    compile_disabled_by: list[str]
    compiled_frames: int


class HostV1(_Part):
    """``host``; in manifests that say it, what torch said, and what nvidia-smi did."""

    system: str
    os: str
    kernel: str
    machine: str
    cpu: str
    cores: int | None
    memory_bytes: int
    gpus: list[GpuV1]
    cuda: str | None
    torch: TorchV1 | None = None
    nvidia_smi: list[GpuV1] | None = None


class FileDigestV1(_Part):
    """A file of an environment."""

    sha256: str = Sha256
    bytes: int = Field(ge=0)


class FilesDigestV1(_Part):
    """Several files of an environment."""

    files: int = Field(ge=0)
    sha256: str = Sha256


class DistributionV1(_Part):
    """An installed distribution; what is there of its files, in manifests that say it."""

    name: str
    version: str
    record: str | None
    files: int | None = Field(default=None, ge=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class EnvironmentV1(_Part):
    """An environment of ``versions``; its files, in manifests that say them."""

    python: str
    interpreter: FileDigestV1 | None = None
    library: FileDigestV1 | None = None
    standard_library: FilesDigestV1 | None = None
    others: FilesDigestV1 | None = None
    distributions: list[DistributionV1]


class VersionsV1(_Part):
    """``versions``."""

    tool: EnvironmentV1
    training: EnvironmentV1 | None


class ManifestV1(_Part):
    """A manifest of version 1; docs/format.md says what the keys mean."""

    format: Literal["trm-repro/manifest/v1"]
    run: RunV1
    faithful: bool
    reasons: list[str]
    tool: ToolV1
    recipe: RecipeV1
    knobs: dict[str, KnobV1]
    upstream: UpstreamV1 | None
    seeds: SeedsV1
    inputs: list[FileV1]
    outputs: list[FileV1]
    steps: list[StepV1]
    commands: list[CommandV1] = Field(max_length=1000)
    guards: list[GuardV1] = Field(max_length=10_000)
    deviations: list[DeviationV1]
    host: HostV1
    versions: VersionsV1
    metrics: dict[str, Number | dict[str, Number]]


VERSIONS = {FORMAT: ManifestV1}


def parse_manifest(data: bytes) -> dict[str, Any]:
    """The manifest in some bytes, of any released version, with its structure checked.

    Raises:
        MissingPrerequisite: it is of a version that this tool does not know.
        InvariantBroken: it is not a manifest; the message names each wrong key.
    """
    if len(data) > BYTES:
        raise InvariantBroken(f"manifest: larger than {BYTES:,} bytes, the most that one may have")
    value = parse_json(data, "manifest", strict=True)
    found = value.get("format") if isinstance(value, dict) else None
    if not isinstance(found, str) or not found.startswith("trm-repro/manifest/"):
        raise InvariantBroken(f"manifest: not a manifest of trm-repro (format {found!r})")
    if found not in VERSIONS:
        raise MissingPrerequisite(
            f"manifest: this tool knows {', '.join(VERSIONS)}, not {found}", hint="use a newer trm-repro"
        )
    try:
        VERSIONS[found].model_validate(value)
    except ValidationError as error:
        raise InvariantBroken(f"manifest: {_problems(error)}") from None
    try:
        ResolvedV1.model_validate(value["recipe"]["resolved"])
    except ValidationError as error:
        problems = _problems(error)
        raise MissingPrerequisite(
            f"manifest: recipe.resolved is no recipe that this tool can read: {problems}"
        ) from None
    if odd := _beyond(value):
        raise InvariantBroken(f"manifest: {odd} is nothing that every reader of JSON reads alike")
    return dict(value)


def _problems(error: ValidationError) -> str:
    """The first of what is wrong, by key."""
    count = error.error_count()
    told = error.errors(include_url=False, include_context=False, include_input=False)[:PROBLEMS]
    more = f"; and {count - PROBLEMS} more" if count > PROBLEMS else ""
    return "; ".join(f"{'.'.join(map(str, e['loc']))[:200]}: {e['msg'][:200]}" for e in told) + more


def _beyond(value: Any) -> str:
    """What canonical JSON cannot hold: a number that is no double, a text that is no UTF-8; empty if there is none."""
    if isinstance(value, dict):
        return next(filter(None, map(_beyond, (*value, *value.values()))), "")
    if isinstance(value, list):
        return next(filter(None, map(_beyond, value)), "")
    if isinstance(value, str):
        return "" if value.isascii() or value.encode(errors="ignore").decode() == value else ascii(value)[:40]
    wrong = (isinstance(value, int) and abs(value) >= 1 << 53) or (
        isinstance(value, float) and not math.isfinite(value)
    )
    return str(value)[:40] if wrong else ""
