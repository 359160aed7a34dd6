"""A finished training to look at: the stand-in upstream's, in a git repository, at a place of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trm_repro.recipes.read import read_recipe
from trm_repro.recipes.schema import Recipe
from trm_repro.training.state import Place

ROOT = Path(__file__).parents[2]
STANDIN = ROOT / "tests" / "fixtures" / "standin-upstream"
TAP = ROOT / "src" / "trm_repro" / "tap"
STEPS = "361957 723914"
RUN = "trm_arc2_paper_repro"


def finished(folder: Path) -> Place:
    """Builds and trains in ``folder``: what recipe arc2-paper leaves at two of its ten evaluations."""
    work = folder / "upstream"
    shutil.copytree(STANDIN, work, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(work), "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "pinned"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    recipe = read_recipe(ROOT / "recipes", "arc2-paper")
    assert recipe.upstream
    recipe = recipe.model_copy(update={"upstream": recipe.upstream.model_copy(update={"commit": commit})})
    place = Place(folder / "state", work, work / recipe.dataset.folder, work / recipe.checkpoint_folder(RUN), recipe)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"{TAP}:{ROOT / 'tests' / 'bats' / 'site'}",
        "TRM_REPRO_METRICS": str(place.folder / "metrics.jsonl"),
        "RANK": "0",
        "STANDIN_STEPS": STEPS,
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
    }
    for command in (recipe.builder_command[1:], training_words(recipe)):
        subprocess.run([sys.executable, *command], cwd=work, env=environment, check=True, capture_output=True)
    return place


def training_words(recipe: Recipe) -> list[str]:
    """The training command without its launcher."""
    words = recipe.train_command(processes=1, run_name=RUN)
    return words[words.index("pretrain.py") :]


def manifest(recipe: Recipe, **changes: Any) -> dict[str, Any]:
    """As much of a faithful run's manifest as a verdict looks at."""
    command = {"step": "05-train", "argv": recipe.train_command(processes=1, run_name=RUN), "exit_code": 0}
    return {
        "run": {"name": RUN, "target_dataset": recipe.target_dataset},
        "recipe": {"name": recipe.name, "resolved": recipe.model_dump(exclude={"name"})},
        "commands": [command],
        "outputs": [],
        "reasons": [],
        **changes,
    }


def gone(pids: Iterable[int], seconds: float = 60) -> bool:
    """Whether these processes have ended, or do so in time: a killed one lives on until the kernel gets to it."""
    ends = time.monotonic() + seconds
    while any(map(_runs, pids)):
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
