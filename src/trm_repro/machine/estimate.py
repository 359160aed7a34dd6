"""How long a run will take and what it will cost: by formula from published runs, or from steps timed on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from trm_repro.machine import budget
from trm_repro.machine.budget import GB
from trm_repro.machine.hardware import Gpu
from trm_repro.machine.measure import Measured
from trm_repro.recipes.schema import Recipe
from trm_repro.runs.schedule import planned_steps


def estimate(recipe: Recipe, gpus: Sequence[Gpu], *, most: int, gpu_hour: float) -> str:
    """Duration and cost as text, each number with its formula, published runs beside them.

    Args:
        recipe: what is to be run.
        gpus: what this machine has; without any, the paper's machine is taken: 4 × H100.
        most: how many of them may be used.
        gpu_hour: what a GPU costs an hour, in USD.
    """
    data = budget.known_data(recipe)
    if not data or recipe.train.scale or "arch=trm" not in recipe.train.arguments:
        told = (
            f"; it says {recipe.needs.hours:g} h on {recipe.needs.gpu or 'this machine'}" if recipe.needs.hours else ""
        )
        return f"duration  no formula for the recipe {recipe.name}{told}"
    epochs, interval = budget.setting(recipe, "epochs", 100_000), budget.setting(recipe, "eval_interval", 10_000)
    scheduled = planned_steps(epochs, data.groups, data.mean_examples, recipe.train.batch)
    drawn = recipe.expected.steps[-1] if recipe.expected.steps else scheduled
    cycles = budget.cycles(recipe)
    total = budget.work(data, steps=drawn, batch=recipe.train.batch, evaluations=epochs // interval, cycles=cycles)
    runs = budget.published_runs()
    count = recipe.process_count(min(len(gpus) or 4, most))
    # of several kinds the slowest decides, and one that is not in the table may be it
    name = min((gpu.name for gpu in gpus), key=lambda name: budget.peak(name) or 0, default="H100")
    peak = budget.peak(name)
    texts = [
        f"steps     {scheduled:,} by the schedule ({epochs:,} epochs × {data.groups} puzzles × {data.mean_examples:.4f}"
        f" examples / {recipe.train.batch}), {drawn:,} in fact",
        f"work      {total:.2g} FLOP: {drawn:,} × {recipe.train.batch} examples × {cycles.train_flop / 1e12:.2f} TFLOP, and"
        f" {epochs // interval} evaluations × {data.test_examples:,} × {budget.EVALUATION_PASSES} passes"
        f" × {cycles.evaluation_flop / 1e12:.2f} TFLOP",
    ]
    if peak is None:
        texts.append(f"duration  unknown for {name}: make plan MEASURE=1 times it")
    else:
        shares = runs.values()
        low, high = budget.hours(total, gpus=count, gpu_peak=peak, shares=shares)
        texts += [
            f"duration  {low:.0f} to {high:.0f} h on {count} × {name}{'' if gpus else ' (none here; the paper had these)'}:"
            f" {peak / 1e12:.0f} TFLOP/s each, {100 * min(shares):.0f} to {100 * max(shares):.0f} % of it as in the runs below",
            f"cost      {low * count * gpu_hour:.0f} to {high * count * gpu_hour:.0f} USD"
            f" at {gpu_hour:g} USD a GPU hour (GPU_HOUR_USD)",
        ]
    texts += [
        f"published {run.who}: {run.hardware}; {budget.published_work(run):.2g} FLOP, {100 * share:.0f} % of peak; {run.source}"
        for run, share in runs.items()
    ]
    return "\n".join(texts)


def report(recipe: Recipe, seen: Measured, *, gpu_hour: float) -> str:
    """Duration and cost as text, from steps that were timed on this machine."""
    data = budget.known_data(recipe)
    cycles = budget.cycles(recipe)
    drawn = recipe.expected.steps[-1] if recipe.expected.steps else seen.total
    epochs, interval = budget.setting(recipe, "epochs", 100_000), budget.setting(recipe, "eval_interval", 10_000)
    evaluating = 0.0
    if data:
        passes = data.test_examples / recipe.train.batch * budget.EVALUATION_PASSES * (epochs // interval)
        evaluating = passes * seen.step_seconds * cycles.evaluation_flop / cycles.train_flop
    unsteady = "" if seen.steady else " that had not become steady"
    hours = (drawn * seen.step_seconds + evaluating) / 3600
    texts = [
        f"measured  {seen.step_seconds * 1000:.1f} ms a step, over {seen.steps} steps{unsteady};"
        f" the schedule has {seen.total:,}",
        f"duration  {hours:.1f} h: {drawn:,} steps, and {evaluating / 3600:.1f} h of evaluations by the same speed",
    ]
    if seen.gpus:
        texts += [
            f"cost      {hours * seen.gpus * gpu_hour:.0f} USD: {seen.gpus} GPU(s) at {gpu_hour:g} USD an hour (GPU_HOUR_USD)",
            f"memory    {seen.peak_memory / GB:.1f} GB on the fullest GPU while training"
            + (f"; an evaluation adds two copies of the puzzle vectors, {2 * data.table / GB:.1f} GB" if data else ""),
        ]
    return "\n".join(texts)
