"""The configuration: is its step number possible, is it that of a recipe, and with which cycles does it compute?"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.audit.page import Page
from trm_repro.audit.subject import Subject
from trm_repro.errors import InvariantBroken, MissingPrerequisite, ReproError
from trm_repro.machine.budget import KNOWN
from trm_repro.provenance import promises
from trm_repro.recipes.bases import SHIPPED
from trm_repro.recipes.checkpoints import base_of, by_place
from trm_repro.runs.schedule import Settings
from trm_repro.weights.state import UNSEEN


@dataclass(frozen=True)
class Size:
    """Of a dataset that upstream's builders make with their defaults.

    Attributes:
        groups: tasks with their variants, to train on.
        mean: training examples of a puzzle, on average.
        identifiers: puzzles with a vector, and the one that stands for none.
    """

    groups: int
    mean: float
    identifiers: int


# By their folders' names; replayed.
SIZES = {
    **{name: Size(data.groups, data.mean_examples, data.identifiers) for name, data in KNOWN.items()},
    "arc-eval2-aug-1000": Size(120, 354_296 / 118_766, 118_767),
    "arc-manual-eval-aug-1000": Size(23, 66_066 / 23_023, 23_024),
    "arc2-test-aug-1000": Size(240, 719_061 / 225_971, 225_972),
    "sudoku-extreme-1k-aug-1000": Size(1000, 1.0, 1),
    "maze-30x30-hard-1k": Size(1000, 1.0, 1),
}
# The recipes that are the paper's own, by kind of puzzle; the first that fits is compared.
PAPERS = {
    "arc": ("arc2-paper", "samsung-arc1"),
    "sudoku": ("samsung-sudoku-mlp", "samsung-sudoku-att"),
    "maze": ("samsung-maze",),
}
NOT_COMPARED = {"data_paths", "data_paths_test", "evaluators", "project_name", "run_name", "checkpoint_path"}
EPOCHS = 100_000_000  # of a training, at most
DRAWS = 300_000_000  # of puzzles that are replayed, at most; the paper's ARC-AGI-2 recipe has 128 million


def settings_of(subject: Subject) -> Settings | None:
    """The schedule that the configuration has; None where there is none, or it is no schedule."""
    values = {key: subject.setting(key) for key in ("epochs", "eval_interval", "global_batch_size", "seed")}
    if not all(type(value) is int and 0 <= value <= EPOCHS for value in values.values()):
        return None
    known = Settings(**values)
    return known if known.epochs and known.eval_interval and known.global_batch_size else None


def dataset_of(subject: Subject, rows: int = 0) -> str:
    """The folder name of the dataset: by the configuration, or else by the number of puzzle vectors; empty if unknown."""
    paths = subject.setting("data_paths")
    if isinstance(paths, list) and len(paths) == 1 and isinstance(paths[0], str):
        return Path(paths[0]).name
    return next((name for name, size in SIZES.items() if size.identifiers == rows > 1), "")


def examples_of(subject: Subject, dataset: Path | None, rows: int = 0) -> tuple[int, float] | None:
    """Groups and mean examples of the training data: of the dataset that is here, the manifest's, or a known one."""
    if dataset:
        from trm_repro.arc.layout import read_split

        metadata = read_split(dataset, "train").metadata
        groups, mean = metadata.get("total_groups"), metadata.get("mean_puzzle_examples")
        if not isinstance(groups, int) or not isinstance(mean, int | float) or groups < 1 or not 0 < mean < 1e6:
            raise InvariantBroken(f"{dataset}/train/dataset.json: no numbers of groups and examples")
        return groups, float(mean)
    if subject.manifest:
        rows_of = {e["path"].rpartition("/train/")[2]: e.get("rows") or 0 for e in subject.manifest["outputs"]}
        groups = rows_of.get("all__group_indices.npy", 1) - 1
        puzzles, examples = rows_of.get("all__puzzle_identifiers.npy", 0), rows_of.get("all__inputs.npy", 0)
        if groups > 0 and puzzles > 0 and examples > 0:
            return groups, examples / puzzles
    known = SIZES.get(dataset_of(subject, rows))
    return (known.groups, known.mean) if known else None


def epochs_done(subject: Subject, dataset: Path | None) -> float:
    """How many epochs the weights have seen; 0 where it cannot be known."""
    plan, data = settings_of(subject), examples_of(subject, dataset)
    if not plan or not data or subject.step < 1:
        return float(plan.epochs) if plan else 0.0
    return min(float(plan.epochs), subject.step * plan.global_batch_size / (data[0] * data[1]))


def look_at_step(page: Page, subject: Subject, rows: int, dataset: Path | None) -> None:
    """The number in the checkpoint's name: can this configuration have led to it on this dataset?"""
    plan, claim = settings_of(subject), f"the weights are of step {subject.step:,}"
    if subject.step < 0:
        page.unknown.append(("step", "neither a name nor a manifest says of which step the weights are"))
        return
    data = examples_of(subject, dataset, rows)
    if not plan and subject.step > 100 and (recipes := recipes_of_step(subject.step)):
        page.notes.append(f"step {subject.step:,} is one that these recipes' runs write: {', '.join(recipes)}")
    if not plan or not data:
        missing = (
            "there is no configuration with a schedule" if not plan else "the size of its dataset is not known here"
        )
        page.unknown.append(("step", f"{subject.step:,}: {missing}; --dataset DIR tells the dataset's"))
        return
    if dataset and (exact := _exact(dataset, plan)):
        named = f"{len(exact)} checkpoints of this dataset and schedule, at {', '.join(map(str, exact[:12]))}"
        wrong = [] if subject.step in exact else [f"not one of the {named}"]
        page.judge("step", claim, wrong, f"one of the {named}")
        return
    near, count = _evaluations(plan, data, subject.step), plan.epochs // plan.eval_interval
    ranges = {number: promises.step_range(plan, *data, number * plan.eval_interval) for number in near}
    fits = [number for number, (least, most) in ranges.items() if least <= subject.step <= most]
    said = "; ".join(f"{low:,.0f} to {high:,.0f} fit evaluation {n} of {count}" for n, (low, high) in ranges.items())
    every, last = subject.setting("checkpoint_every_n_steps"), ranges[max(ranges)][1]
    if not fits and isinstance(every, int) and every > 0 and not subject.step % every and subject.step <= last:
        page.agrees("step", claim, f"a checkpoint every {every} steps, beside those of evaluations")
        return
    page.judge("step", claim, [] if fits else [said], said)


def recipes_of_step(step: int) -> list[str]:
    """The recipes whose runs are known to write a checkpoint of that number; none where this tool has no recipes."""
    from trm_repro.recipes.bases import list_recipes, recipe_files
    from trm_repro.recipes.read import read_recipe

    number = re.compile(rf"\b{step}\b")
    named = [
        name
        for name in (list_recipes(SHIPPED) if SHIPPED.is_dir() else ())
        if any(number.search(path.read_text("utf-8")) for path in recipe_files(SHIPPED, name))
    ]
    return [name for name in named if step in read_recipe(SHIPPED, name).expected.steps]


def _evaluations(plan: Settings, data: tuple[int, float], step: int) -> Iterable[int]:
    """The evaluations that a step can be near: the one before, the nearest, the one after; never one beyond the last."""
    count = max(1, plan.epochs // plan.eval_interval)
    each = plan.eval_interval * data[0] * data[1] / plan.global_batch_size
    near = round(step / each) if each else 1
    return sorted({min(count, max(1, number)) for number in (near - 1, near, near + 1)})


def _exact(dataset: Path, plan: Settings) -> list[int]:
    """The numbers of the checkpoints, told from the dataset itself; none where they depend on more."""
    from trm_repro.arc.layout import read_split
    from trm_repro.runs.packing import checkpoint_steps

    split = read_split(dataset, "train")
    if plan.epochs * len(split.group_indices) > DRAWS:
        return []
    try:
        return checkpoint_steps(split, plan)
    except (InvariantBroken, IndexError, ValueError):
        return []


def look_at_configuration(page: Page, subject: Subject, puzzles: str, recipe: str) -> None:
    """The configuration against a recipe's that is claimed, the manifest's own, or the paper's."""
    if not subject.config or not isinstance(subject.setting("arch"), dict):
        if recipe:
            page.cannot_tell("configuration", f"it is that of the recipe {recipe}", "there is no configuration here")
        return
    held = subject.configuration or {}
    if subject.manifest and not recipe:
        wrong = promises.config_problems(promises.expected_config(subject.manifest), held)
        page.judge(
            "configuration", "it is that of the manifest's command", wrong, "every key is the command's or a default"
        )
    try:
        found = {name: recipe_differences(name, held) for name in ([recipe] if recipe else PAPERS.get(puzzles, ()))}
    except ReproError as error:
        found = {}
        if recipe:
            page.cannot_tell("configuration", f"it is that of the recipe {recipe}", f"{error}; {error.hint or ''}")
    if found:
        name, wrong = min(found.items(), key=lambda item: len(item[1]))
        if recipe:
            page.judge(
                "configuration", f"it is that of the recipe {name}", wrong, "every key that decides is the recipe's"
            )
        elif wrong:
            more = f" and {len(wrong) - 12} more" if len(wrong) > 12 else ""
            page.notes.append(f"other than in the paper's recipe ({name}): {', '.join(wrong[:12])}{more}")
        else:
            page.agrees("configuration", f"it is the paper's, recipe {name}", "every key that decides is the recipe's")


def recipe_differences(name: str, held: Mapping[str, Any]) -> list[str]:
    """Where a configuration is not what a recipe's command makes of upstream's defaults: ``key value for the recipe's``.

    Raises:
        MissingPrerequisite: this tool was installed without its recipes.
        UsageError: there is no such recipe.
    """
    from trm_repro.recipes.read import read_recipe

    if not SHIPPED.is_dir():
        raise MissingPrerequisite(
            "this tool was installed without its recipes", hint="run it in a clone of its repository"
        )
    recipe = read_recipe(SHIPPED, name).model_dump(exclude={"name"})
    manifest = {"recipe": {"resolved": recipe}, "commands": [], "run": {"name": "x"}, "knobs": {}}
    expected = promises.expected_config(manifest)
    flat, found = _flat(expected), _flat(held)
    keys = (key for key in flat if key.partition(".")[0] not in NOT_COMPARED and key != "arch.H_layers")
    return [f"{key} {found.get(key, 'missing')!s:.60} for {flat[key]}" for key in keys if flat[key] != found.get(key)]


@functools.cache
def _of_recipe(name: str) -> dict[str, Any]:
    """The configuration that a recipe's command makes of upstream's defaults."""
    from trm_repro.recipes.read import read_recipe

    recipe = read_recipe(SHIPPED, name).model_dump(exclude={"name"})
    return _flat(promises.expected_config({"recipe": {"resolved": recipe}, "commands": [], "run": {"name": "x"}}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def look_at_cycles(page: Page, subject: Subject, puzzles: str, dataset: Path | None, pairs: int) -> None:
    """With which cycles and slots the weights were trained: probed where a dataset is there, or else as far as is known."""
    arch = subject.setting("arch")
    own = {key: arch.get(key) for key in UNSEEN} if isinstance(arch, dict) else {}
    said = ", ".join(f"{key} {value}" for key, value in own.items()) or "no configuration"
    claim = f"trained with the configuration's cycles and slots ({said})"
    known = by_place(subject.source, subject.weights or "") or base_of(str(subject.setting("load_checkpoint") or ""))
    if known and known.L_cycles and own and own.get("L_cycles") != known.L_cycles:
        verdict = page.contradicts if known.surely else page.cannot_tell
        verdict("cycles", claim, f"{known.who}'s {known.place} was {known.trained}")
        own = {}
    if dataset:
        _probe(page, subject, claim, dataset, pairs)
        return
    why = f"{said}; shapes do not show them. --probe DATASET finds out, with the dataset they were trained on (needs PyTorch)"
    usual = 6 if puzzles == "sudoku" else 4
    if own and own.get("L_cycles") != usual:
        page.cannot_tell(
            "cycles", claim, f"the paper has L_cycles {usual} here; wrong cycles give 3.75 % for 40 %. {why}"
        )
    else:
        page.unknown.append(("cycles and slots", why))


def _probe(page: Page, subject: Subject, claim: str, dataset: Path, pairs: int) -> None:
    try:
        import torch

        from trm_repro.engine.config import read_arch
        from trm_repro.engine.probe import probe
    except ImportError as error:
        page.cannot_tell("cycles", claim, f"the probe needs PyTorch, which is not installed: {error}")
        return
    try:
        arch = read_arch(subject.root / subject.config) if subject.config else None
        name = f"{subject.path}:{subject.part}" if subject.part else str(subject.path)
        found = probe(Path(name), arch, dataset, torch.device("cpu"), pairs=pairs)
    except ReproError as error:
        page.cannot_tell("cycles", claim, f"the probe could not be made: {error}")
        return
    lines = "; ".join(str(found).splitlines()[1 + len(found.tried) :])
    verdict = {0: page.agrees, 1: page.contradicts}.get(found.exit_code, page.cannot_tell)
    verdict("cycles", claim, f"probed with {len(found.tried[0].losses)} training pairs: {lines}")
