"""Jobs: a recipe's run as a file that a cluster or a cloud takes, made from what the recipe needs.

The templates are ``machines/*.in``; a place to fill in is ``${name}``, a dollar that stays is ``$$`` (or ``${d}`` before a
brace). Nothing is launched here: `sbatch` and `sky` do that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from trm_repro.recipes.schema import Recipe

TEMPLATES = {"slurm": "slurm.sh.in", "sky": "sky.yaml.in"}
# Where nobody has published how long a run takes: a day. Where somebody has: half as much again, for another machine.
UNKNOWN_HOURS, MARGIN = 24.0, 1.5
ANY_GPU = "L4"  # for a recipe that runs on any
CORES_PER_GPU = 4  # one process a GPU, two data loaders each, and the system
# Where a bucket can be mounted; Lambda has no spot machines. RunPod mounts no bucket, and has volumes of its own.
BUCKET_CLOUDS = {"lambda": False, "aws": True, "gcp": True, "azure": True}
VOLUME_CLOUDS = {"runpod": True}


def job(
    kind: str, recipe: Recipe, *, run_name: str, bucket: str = "", volume: str = "", folder: Path = Path("machines")
) -> str:
    """The text of a job file.

    Args:
        kind: ``slurm`` or ``sky``.
        recipe: what is run.
        run_name: RUN_NAME of the run.
        bucket: where SkyPilot keeps what the run makes; bucket names are shared by all the world.
        volume: keep it on this RunPod network volume instead, and run on RunPod.
        folder: where the templates are.
    """
    gpus = recipe.gpu_count
    gpu = recipe.needs.gpu if re.fullmatch(r"[A-Za-z0-9-]+", recipe.needs.gpu) else ANY_GPU
    hours = (recipe.needs.hours or UNKNOWN_HOURS) * MARGIN
    name = re.sub(r"[^a-z0-9]+", "-", run_name.lower()).strip("-")
    fields: dict[str, str | int] = {
        "d": "$",
        "title": recipe.title,
        "name": name,
        "clouds": _clouds(VOLUME_CLOUDS if volume else BUCKET_CLOUDS),
        "kept": _volume(volume) if volume else _bucket(bucket or f"trm-repro-{name}"),
        "recipe": recipe.name,
        "run_name": run_name,
        # neither Slurm without GPUs nor SkyPilot takes a request for none of them
        "sky_gpus": f"  accelerators: {gpu}:{gpus}\n" if gpus else "",
        "slurm_gpus": f"#SBATCH --gpus-per-node={gpus}\n" if gpus else "",
        "processes": recipe.max_gpus_to_use,
        "cpus": max(4, gpus * CORES_PER_GPU),
        "memory": max(recipe.needs.memory, 8 * gpus),
        "disk": max(recipe.needs.disk, 50),
        "time": slurm_time(hours),
    }
    return Template((folder / TEMPLATES[kind]).read_text()).substitute(fields)


def _clouds(spot: Mapping[str, bool]) -> str:
    return "".join(f"    - infra: {cloud}\n      use_spot: {str(has).lower()}\n" for cloud, has in spot.items())


def _bucket(name: str) -> str:
    return f"file_mounts:\n  /kept:\n    name: {name}\n    mode: MOUNT_CACHED\n"


def _volume(name: str) -> str:
    return f"volumes:\n  /kept: {name}\n"


def slurm_time(hours: float) -> str:
    """Hours as Slurm writes a time limit: ``days-hours:minutes:seconds``."""
    days, rest = divmod(math.ceil(hours), 24)
    return f"{days}-{rest:02d}:00:00"
