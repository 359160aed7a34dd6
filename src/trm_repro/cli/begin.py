"""What a step is told as it begins: that it is fresh, or all that it needs to know.

The answer is shell assignments: the recipe, what the machine has, what is recorded beside a command, and what one step needs
beside that. Nothing is computed that a step could not see: guards compare in bash.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trm_repro.cli.common import knob, required, this_recipe, this_run, trm_dir
from trm_repro.errors import InvariantBroken, MissingPrerequisite

if TYPE_CHECKING:
    from trm_repro.recipes.schema import Recipe
    from trm_repro.runs.layout import Run


def begin(arguments: argparse.Namespace) -> None:
    """Prints ``STEP: fresh``, or the shell assignments of all that the step needs."""
    from trm_repro.provenance.host import host
    from trm_repro.recipes.shell import assignments, shell_words
    from trm_repro.runs.records import MASKED, PASSING, RECORDED, SECRET
    from trm_repro.runs.stamps import why_stale

    run, step = this_run(), arguments.step
    if not arguments.dry_run and not arguments.force:
        why = why_stale(run, step)
        if not why:
            print(f"{step}: fresh")
            return
        print(f"==> {step}: {why}", file=sys.stderr)
    recipe, machine, most = this_recipe(), host(), int(required("MAX_GPUS_TO_USE"))
    gpus = len(machine["gpus"])
    # a plan made without GPUs is one for as many as may be used; G-GPUS keeps it from running
    available = min(gpus or most, most)
    values: dict[str, Any] = {
        **shell_words(recipe, available=available, run_name=run.name, environ=os.environ),
        **dict.fromkeys(("LOCKS", "UPSTREAM_IMPORTS"), ()),
        "ENVIRONMENT_FOUND": "",
        "GPUS": gpus,
        **_why_no_gpus(found=gpus),
        "HOST": json.dumps(machine, ensure_ascii=False),
        "RECORDED": RECORDED,
        "SECRET": SECRET,
        "PASSING": PASSING,
        "MASKED": MASKED,
        "KAGGLE_NAMES_PROBLEM": _names_problem(run),
        **_words_of(step, run, recipe, dry_run=arguments.dry_run),
        "VOUCHER": "",
    }
    if step in ("03-venv", "04-dataset", "05-train"):
        values |= _vouched(step, run, recipe, values, look=not arguments.dry_run, believe=not arguments.force)
    sys.stdout.write(assignments(values))


def _vouched(
    step: str, run: Run, recipe: Recipe, values: Mapping[str, Any], *, look: bool, believe: bool
) -> dict[str, Any]:
    """What a voucher beside the step's folder says: VOUCHED is set where it holds; of a training, what it is given as well."""
    from trm_repro.runs import inputs, vouchers
    from trm_repro.runs.stamps import hashed

    work, found = Path(os.environ["TRM_DIR"]), {"VOUCHED": "", "MEANS": "", "INPUTS": "{}", "INPUTS_PROBLEM": ""}
    given = inputs.input_files(recipe, work)
    if step == vouchers.ENVIRONMENT:
        folder, files = Path(os.environ["VENV_DIR"]), []
        if recipe.environment.name == "tool" or os.environ.get("USE_VENV") != "1":
            return {**found, "VOUCHER": ""}
        found["MEANS"] = vouchers.environment_means(recipe, os.environ, values, work / recipe.work)
    elif step == vouchers.DATASET:
        folder, files = work / recipe.dataset.folder, [*given, *inputs.task_files(recipe, work)]
        found["MEANS"] = vouchers.dataset_means(run, recipe, values["BUILDER"])
    else:
        folder = work / recipe.checkpoint_folder(run.name)
        files = vouchers.training_files(folder)
        if look:
            digests = hashed(run, [path for path in given if path.is_file()])
            found["INPUTS"], found["INPUTS_PROBLEM"] = inputs.held(digests), inputs.problem(run, recipe, work, digests)
            found["MEANS"] = vouchers.training_means(run, recipe, values["TRAIN"], digests, work)
    path = vouchers.voucher_of(folder)
    if look and believe and path.is_file():
        cache = run.cache()
        why = vouchers.refusal(path, step, found["MEANS"], [path for path in files if path.is_file()], cache)
        cache.save()
        if step == vouchers.ENVIRONMENT and not why:
            why = "" if _inventory_now(run) == vouchers.inventory_of(path) else "what is in it has changed"
        found["VOUCHED"] = "" if why else "1"
        if why:
            print(f"==> {step}: {path.name} does not vouch for what is there: {why}", file=sys.stderr)
    return {**found, "VOUCHER": str(path)}


def _inventory_now(run: Run) -> str:
    """The SHA-256 of the inventory of what is in the training environment, as step 3 writes it; empty where there is none."""
    from trm_repro.digests import digest_bytes
    from trm_repro.files import json_text
    from trm_repro.provenance.inventory import look_at, notes_of, training_environment

    try:
        seen = look_at(training_environment(run), notes_of(run))
    except MissingPrerequisite:
        return ""
    return "" if seen.strays else digest_bytes(json_text(seen.inventory).encode()).sha256


def _names_problem(run: Run) -> str:
    """Why Kaggle would refuse the names of the run; empty if it would not."""
    from trm_repro.provenance.names import names

    try:
        names(run.name, slug=knob("KAGGLE_DATASET_SLUG"), target=knob("TARGET_DATASET", "arc2"))
    except InvariantBroken as error:
        return str(error)
    return ""


def _why_no_gpus(*, found: int) -> Mapping[str, str]:
    """Why no GPU can be used and what helps, for G-GPUS; empty where one can."""
    if found:
        return {"GPUS_PROBLEM": "", "GPUS_REMEDY": ""}
    from trm_repro.machine.gpu_rules import no_gpus
    from trm_repro.machine.hardware import graphics, other_gpus
    from trm_repro.machine.words import say

    line = say(no_gpus(graphics(os.environ), other_gpus(), os.environ))
    return {"GPUS_PROBLEM": line.found, "GPUS_REMEDY": line.remedy}


def _words_of(step: str, run: Run, recipe: Recipe, *, dry_run: bool) -> Mapping[str, Any]:
    """What one step needs beside the recipe."""
    work = trm_dir()
    if step in ("01-sanity", "02-clone"):
        return _our_commit()
    if step == "03-venv" and recipe.upstream:
        words: dict[str, Any] = {"UPSTREAM_IMPORTS": [] if dry_run else _imported(work / recipe.work)}
        if recipe.environment.name == "training":
            words |= {**_lock_words(recipe), "ENVIRONMENT_STATE": "" if dry_run else _state_of_environment(run)}
        return words
    if step == "04-dataset" and recipe.dataset.environment != "tool":
        return {"ENVIRONMENT_FOUND": "" if dry_run else environment_found(run, recipe)}
    if step == "05-train":
        import trm_repro
        from trm_repro.training.state import Place, last_step, read_progress

        place = Place.of(run, recipe, work)
        state, said = read_progress(place), ""
        if state.attempt and state.attempt.fate and place.folder.exists() and not dry_run:
            said = f"the last attempt at training did not finish: {state.attempt.fate}"
            said += f"\n    begun {state.attempt.started}, last seen at {last_step(state)}"
        tap = Path(trm_repro.__file__).parent / "tap"
        return {
            **(_lock_words(recipe) if recipe.environment.compiler else {}),
            "LAST_ATTEMPT": said,
            "TAP": str(tap),
            "ENVIRONMENT_FOUND": "" if dry_run else environment_found(run, recipe),
        }
    if step == "06-verify":
        from trm_repro.runs.checkpoints import checkpoints

        found = checkpoints(work / recipe.checkpoint_folder(run.name))
        return {"FINAL_CHECKPOINT": found[-1].name if found else "", **_our_commit()}
    return {}


def _our_commit() -> Mapping[str, Any]:
    """This tool's commit, or what stands for it, and why git does not tell it."""
    from trm_repro.provenance.tool import tool

    ours = tool(Path.cwd())
    return {"OUR_COMMIT": ours.commit, "NO_GIT": ours.why}


def environment_found(run: Run, recipe: Recipe) -> str:
    """What in the training environment is not what it must be, in a line; empty if nothing, or if the tool's own trains."""
    from trm_repro.provenance.inventory import changed_since, shown

    return shown(changed_since(run, recipe.target_dataset)) if recipe.environment.name == "training" else ""


def _state_of_environment(run: Run) -> str:
    """``new``: there is none, or it is not ours alone; ``known``: byte for byte one that step 3 of some run has written
    down; ``unknown``: anything else."""
    from trm_repro.files import read_json
    from trm_repro.provenance.inventory import differences, look_at, notes_of, training_environment

    if run.environ.get("USE_VENV") != "1":
        return "new"
    try:
        environment = training_environment(run)
    except MissingPrerequisite:
        return "new"
    written = sorted((run.repository / ".repro").glob("env_*.json"))
    seen = look_at(environment, notes_of(run)) if written else None
    known = seen and any(not differences(read_json(path), seen.inventory) for path in written)
    return "known" if known else "unknown"


def _lock_words(recipe: Recipe) -> Mapping[str, Any]:
    """The locks for this machine, and what adam-atan2 is compiled with."""
    from trm_repro.machine.hardware import compilers, gpus
    from trm_repro.machine.locks import choose, lock_files

    if os.environ.get("ENV_LOCK") != "locks":
        return {"LOCK_CUDA_HOME": ""}
    choice = choose(gpus(), compilers(), wanted=os.environ.get("CUDA_LOCK", "auto"), compiles=recipe.compiles)
    return {
        "LOCKS": [str(path) for path in lock_files(Path("locks"), choice.lock, recipe)],
        "LOCK_WHY": choice.why,
        "LOCK_CUDA_HOME": choice.cuda_home,
        "LOCK_ARCHITECTURES": choice.architectures,
        "LOCK_NVCC_FLAGS": choice.nvcc_flags,
    }


def _imported(checkout: Path) -> list[str]:
    """The modules that an upstream's checkout imports."""
    from trm_repro.machine.locks import imported_modules
    from trm_repro.runs.clone import git

    done = git(checkout, "ls-files", "-z", "*.py")
    if done.returncode:
        raise MissingPrerequisite(f"{checkout}: {done.stderr.strip()}", hint="make step-2")
    return imported_modules(checkout, done.stdout.split("\0")[:-1])
