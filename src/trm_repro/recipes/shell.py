"""A recipe as the steps see it: shell assignments and arrays, every word quoted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from trm_repro.recipes.schema import Recipe, Upstream

NO_UPSTREAM = Upstream(name="", url="", commit="", tree="", license="", writes=[])


def render_shell(recipe: Recipe, *, available: int, run_name: str, environ: Mapping[str, str]) -> str:
    """The assignments for one run, where ``available`` GPUs may be used.

    ``environ`` may add words to the two commands (EXTRA_BUILDER_ARGS, EXTRA_TRAIN_ARGS); the guards compare with the
    commands as the recipe has them.
    """
    processes = recipe.process_count(available)
    upstream = recipe.upstream or NO_UPSTREAM
    expected, weights = recipe.expected, recipe.weights
    scalars: dict[str, str | int] = {
        "RECIPE_TARGET_DATASET": recipe.target_dataset,
        "RECIPE_TITLE": recipe.title,
        "ENGINE": recipe.engine,
        "UPSTREAM_NAME": upstream.name,
        "UPSTREAM_URL": upstream.url,
        "UPSTREAM_COMMIT": upstream.commit,
        "UPSTREAM_TREE": upstream.tree,
        "UPSTREAM_LICENSE": upstream.license,
        "ENVIRONMENT": recipe.environment.name,
        "ENVIRONMENT_PYTHON": recipe.environment.python,
        "ENVIRONMENT_EDITABLE": int(recipe.environment.editable),
        "ENVIRONMENT_COMPILER": int(recipe.environment.compiler),
        "ENVIRONMENT_UNLOCKED": int(recipe.environment.unlocked),
        "TASKS_SOURCE": recipe.tasks.source,
        "TASKS_FOLDER": recipe.tasks.folder,
        "TASKS_SELECTION": recipe.tasks.selection,
        "WORK": recipe.work,
        "DATASET_FOLDER": recipe.dataset.folder,
        "DATASET_DIGESTS": recipe.dataset.digests and f"recipes/{recipe.dataset.digests}",
        "DATASET_ENVIRONMENT": recipe.dataset.environment or recipe.environment.name,
        "WEIGHTS_FILE": weights.path if weights else "",
        "WEIGHTS_BYTES": weights.bytes or "" if weights else "",
        "CHECKPOINT_FOLDER": recipe.checkpoint_folder(run_name),
        "PROCESSES": processes,
        "BATCH": recipe.train.batch,
        "NEEDS_GPU": int(recipe.train.gpu),
        "EXPECTS_CHECKPOINTS": int(expected.checkpoints),
        "EXPECTS_SUBMISSION": int(expected.submission),
        "METRICS_SOURCE": expected.metrics,
        "UPLOADS": int(recipe.publish == "upload"),
    }
    arrays = {
        "UPSTREAM_SUBMODULES": upstream.submodules,
        "UPSTREAM_LINKS": [f"{path}={target}" for path, target in upstream.links.items()],
        "UPSTREAM_WRITES": upstream.writes,
        "ENVIRONMENT_IMPORTS": recipe.environment.imports,
        "FETCH_WEIGHTS": recipe.weights_command,
        "BUILDER": [
            *recipe.builder_for(environ.get("DATASET_BUILDER", "exact")),
            *environ.get("EXTRA_BUILDER_ARGS", "").split(),
        ],
        "TRAIN": [
            *recipe.train_command(processes=processes, run_name=run_name),
            *environ.get("EXTRA_TRAIN_ARGS", "").split(),
        ],
    }
    lines = [f"{name}={shlex.quote(str(value))}" for name, value in scalars.items()]
    lines += [f"{name}=({' '.join(shlex.quote(word) for word in words)})" for name, words in arrays.items()]
    return "\n".join(lines) + "\n"
