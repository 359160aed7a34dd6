"""A recipe as the steps see it: shell assignments and arrays, every word quoted."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from trm_repro.recipes.checkpoints import other_cycles
from trm_repro.recipes.schema import Recipe, Upstream

SUPPORTS = Path(__file__).resolve().parents[1] / "support"
NO_UPSTREAM = Upstream(name="", url="", commit="", tree="", license="", writes=[])


def shell_words(
    recipe: Recipe, *, available: int, run_name: str, environ: Mapping[str, str]
) -> dict[str, str | int | list[str]]:
    """What a recipe means for one run, where ``available`` GPUs may be used: a variable of the steps for each.

    ``environ`` may add words to the two commands (EXTRA_BUILDER_ARGS, EXTRA_TRAIN_ARGS): BUILDER and TRAIN have them,
    RECIPE_BUILDER and RECIPE_TRAIN are the commands as the recipe has them.
    """
    processes = recipe.process_count(available)
    upstream = recipe.upstream or NO_UPSTREAM
    expected, weights, tasks = recipe.expected, recipe.weights, recipe.tasks
    builder = recipe.builder_for(environ.get("DATASET_BUILDER", "exact"))
    train = recipe.train_command(processes=processes, run_name=run_name)
    return {
        "RECIPE_TARGET_DATASET": recipe.target_dataset,
        "RECIPE_TITLE": recipe.title,
        "RECIPE_FAITHFUL": int(recipe.faithful),
        "RECIPE_WARNING": other_cycles(recipe),
        "ENGINE": recipe.engine,
        "UPSTREAM_URL": upstream.url,
        "UPSTREAM_COMMIT": upstream.commit,
        "UPSTREAM_TREE": upstream.tree,
        "UPSTREAM_LICENSE": upstream.license,
        "UPSTREAM_SUBMODULES": upstream.submodules,
        "UPSTREAM_LINKS": [f"{path}={target}" for path, target in upstream.links.items()],
        "UPSTREAM_WRITES": upstream.writes,
        "ENVIRONMENT": recipe.environment.name,
        "ENVIRONMENT_PYTHON": recipe.environment.python,
        "ENVIRONMENT_IMPORTS": recipe.environment.imports,
        "ENVIRONMENT_EDITABLE": int(recipe.environment.editable),
        "ENVIRONMENT_COMPILER": int(recipe.environment.compiler),
        "ENVIRONMENT_UNLOCKED": int(recipe.environment.unlocked),
        "TASKS_SOURCE": tasks.source,
        "TASKS_FOLDER": tasks.folder,
        "TASK_FILES": [f"{sha256}  {name}" for name, sha256 in recipe.task_files.items()],
        "TASKS_SELECTION": tasks.selection,
        "TASKS_SELECT": json.dumps(tasks.select),
        "WORK": recipe.work,
        "DATASET_FOLDER": recipe.dataset.folder,
        "DATASET_DIGESTS": recipe.dataset.digests and f"recipes/{recipe.dataset.digests}",
        "DATASET_ENVIRONMENT": recipe.dataset.environment or recipe.environment.name,
        "WEIGHTS_FILE": weights.path if weights else "",
        "FETCH_WEIGHTS": recipe.weights_command,
        "CHECKPOINT_FOLDER": recipe.checkpoint_folder(run_name),
        "PROCESSES": processes,
        "BATCH": recipe.train.batch,
        "NEEDS_GPU": int(recipe.train.gpu),
        "SUPPORT": recipe.train.support and str(SUPPORTS / recipe.train.support),
        "EXPECTS_CHECKPOINTS": int(expected.checkpoints),
        "METRICS_SOURCE": expected.metrics,
        "UPLOADS": int(recipe.publish == "upload"),
        "RECIPE_BUILDER": builder,
        "RECIPE_TRAIN": train,
        "BUILDER": [*builder, *environ.get("EXTRA_BUILDER_ARGS", "").split()],
        "TRAIN": [*train, *environ.get("EXTRA_TRAIN_ARGS", "").split()],
    }


def assignments(values: Mapping[str, str | int | Sequence[str]]) -> str:
    """Variables as a shell reads them; a sequence is an array.

    They are the shell's own: one that the user exported under the same name (HOST, WORK) is taken back first, or what a
    step starts would find ours in it.
    """
    lines = [f"unset {' '.join(values)}"]
    lines += [
        f"{name}={shlex.quote(str(value))}" if isinstance(value, str | int) else f"{name}=({shlex.join(value)})"
        for name, value in values.items()
    ]
    return "\n".join(lines) + "\n"
