"""Jobs: a recipe's run as a file that a cluster or a cloud takes, made from what the recipe needs.

The templates are ``machines/*.in``; a place to fill in is ``${name}``, a dollar that stays is ``$$`` (or ``${d}`` before a
brace). Nothing is launched here: `sbatch` and `sky` do that.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from string import Template

from trm_repro.recipe import Recipe

TEMPLATES = {"slurm": "slurm.sh.in", "sky": "sky.yaml.in"}
# Where nobody has published how long a run takes: a day. Where somebody has: half as much again, for another machine.
UNKNOWN_HOURS, MARGIN = 24.0, 1.5
ANY_GPU = "L4"  # for a recipe that runs on any
CORES_PER_GPU = 4  # one process a GPU, two data loaders each, and the system


def job(kind: str, recipe: Recipe, *, run_name: str, bucket: str = "", folder: Path = Path("machines")) -> str:
    """The text of a job file.

    Args:
        kind: ``slurm`` or ``sky``.
        recipe: what is run.
        run_name: RUN_NAME of the run.
        bucket: where SkyPilot keeps what the run makes; bucket names are shared by all the world.
        folder: where the templates are.
    """
    gpus = recipe.gpu_count
    hours = (recipe.needs.hours or UNKNOWN_HOURS) * MARGIN
    name = re.sub(r"[^a-z0-9]+", "-", run_name.lower()).strip("-")
    fields: dict[str, str | int] = {
        "d": "$",
        "title": recipe.title,
        "name": name,
        "bucket": bucket or f"trm-repro-{name}",
        "recipe": recipe.name,
        "run_name": run_name,
        "gpu": recipe.needs.gpu if re.fullmatch(r"[A-Za-z0-9-]+", recipe.needs.gpu) else ANY_GPU,
        "gpus": gpus,
        "processes": recipe.max_gpus_to_use,
        "cpus": max(4, gpus * CORES_PER_GPU),
        "memory": max(recipe.needs.memory, 8 * gpus),
        "disk": max(recipe.needs.disk, 50),
        "time": slurm_time(hours),
    }
    return Template((folder / TEMPLATES[kind]).read_text()).substitute(fields)


def slurm_time(hours: float) -> str:
    """Hours as Slurm writes a time limit: ``days-hours:minutes:seconds``."""
    days, rest = divmod(math.ceil(hours), 24)
    return f"{days}-{rest:02d}:00:00"
