"""``make watch``: how far a training is, and how it goes. It reads files only, and disturbs nothing."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trm_repro.arc.reader import unknown_answers
from trm_repro.files import utc_now
from trm_repro.machine.hardware import Gpu, gpus
from trm_repro.progress import clock
from trm_repro.runs.metrics import FILE as METRICS
from trm_repro.runs.metrics import credible
from trm_repro.training.disk import free, gigabytes
from trm_repro.training.early import early, said
from trm_repro.training.state import Place, Progress, disk_plan, read_progress


def watch(place: Place, *, every: float, once: bool) -> None:
    """Shows the state of a training: once, or again and again on a terminal until it ends or Ctrl-C.

    Args:
        place: where it trains.
        every: seconds between two looks.
        once: once only; so it is without a terminal.
    """
    if once or not sys.stdout.isatty():
        print("\n".join(lines(place)))
        return
    from rich.console import Console
    from rich.live import Live

    with contextlib.suppress(KeyboardInterrupt), Live(console=Console(highlight=False), auto_refresh=False) as screen:
        while True:
            screen.update("\n".join(lines(place)), refresh=True)
            attempt = read_progress(place).attempt
            if attempt is None or not attempt.alive:
                return
            time.sleep(every)


def lines(place: Place) -> Iterator[str]:
    """The screen, line by line."""
    progress = read_progress(place)
    yield f"{place.state.name} ({place.recipe.name}), {utc_now()}"
    for label, text in (
        ("state", condition(progress)),
        ("step", step(progress)),
        ("loss", loss(progress)),
        ("beginning", beginning(place)),
        *((f"pass@K at {entry['step']:,}", scores(entry)) for entry in evaluations(place, progress)),
        *((f"GPU {found.index}", gpu(found)) for found in gpus() if found.busy is not None),
        ("disk", disk(place, progress)),
        ("checkpoint", checkpoint(progress)),
    ):
        if text:
            yield f"  {label:18} {text}"


def as_json(place: Place) -> dict[str, object]:
    """The same for programs; what is not known yet is null."""
    progress = read_progress(place)
    attempt = progress.attempt
    return {
        "run": place.state.name,
        "recipe": place.recipe.name,
        "time": utc_now(),
        "state": condition(progress),
        "alive": bool(attempt and attempt.alive),
        "step": progress.step if progress.recent else None,
        "of": progress.total,
        "steps_a_second": progress.speed,
        "seconds_left": progress.seconds_left,
        "loss": progress.loss(),
        "beginning": beginning(place) or None,
        "evaluations": evaluations(place, progress),
        "checkpoints": [checkpoint.name for checkpoint in progress.checkpoints],
        "free_bytes": free(place.folder),
    }


def evaluations(place: Place, progress: Progress) -> list[dict[str, object]]:
    """The last ten, without scores where no answer is known."""
    unknown = _unknown(place.dataset)
    return [credible(entry, unknown, engine=place.recipe.engine) for entry in progress.evaluations[-10:]]


_unknown = functools.cache(unknown_answers)  # a screen is drawn every few seconds


def condition(progress: Progress) -> str:
    """Whether it runs, and how it ended if not."""
    attempt = progress.attempt
    if attempt is None:
        return "nothing has been trained yet" if not progress.recent else "not running; no record of how it was started"
    if attempt.alive:
        return f"running since {attempt.started}"
    if attempt.state == "finished":
        return f"finished {attempt.finished}"
    return f"not running: {attempt.fate} (begun {attempt.started}{', ended ' + attempt.finished if attempt.finished else ''})"


def step(progress: Progress) -> str:
    """How far it is, and when it will be done."""
    if not progress.recent:
        return ""
    done, total = progress.step, progress.total
    text = f"{done:,}" + (f" of {total:,} ({100 * done / total:.1f} %)" if total else "")
    if progress.speed:
        text += f", {progress.speed:.2f} a second"
    left = progress.seconds_left
    if left is not None and progress.attempt and progress.attempt.alive:
        end = datetime.now(UTC) + timedelta(seconds=left)
        text += f", {clock(left)} left and the evaluations, until {end:%Y-%m-%d %H:%M} UTC"
    if total and progress.planned and progress.planned != total:
        text += f"; upstream's own bar counts to {progress.planned:,}, its plan"
    return text


def loss(progress: Progress) -> str:
    """The mean of the last losses, and what else training reports."""
    mean = progress.loss()
    if mean is None:
        return ""
    last = next(entry for entry in reversed(progress.recent) if "train/lm_loss" in entry)
    return f"{mean:.4f} lately, lr {float(last['train/lr']):.2e}" if "train/lr" in last else f"{mean:.4f} lately"


def beginning(place: Place) -> str:
    """Whether it began as the recipe expects; empty where that expects nothing."""
    bands = place.recipe.expected.early
    return said(early(bands, place.folder / METRICS)) if bands and place.folder.exists() else ""


def scores(entry: dict[str, object]) -> str:
    """pass@K of an evaluation, and the share of exact answers."""
    found = [
        f"@{name.partition('@')[2]} {100 * float(str(value)):.2f} %"
        for name, value in entry.items()
        if "/pass@" in name
    ]
    if "all.exact_accuracy" in entry:
        found.append(f"exact {100 * float(str(entry['all.exact_accuracy'])):.2f} %")
    return ", ".join(found)


def gpu(found: Gpu) -> str:
    """The memory and the use of a GPU."""
    total, used = ("unknown" if size is None else f"{size / 2**30:.1f}" for size in (found.memory, found.used))
    return f"{found.name}: {used} of {total} GiB, {found.busy} % busy"


def disk(place: Place, progress: Progress) -> str:
    """What is left of the disk, and what a training that runs has still to write to it."""
    text = f"{gigabytes(free(place.folder))} left"
    plan = disk_plan(place) if progress.attempt and progress.attempt.alive else None
    if plan:
        missing = max(0, plan.checkpoints - len(progress.checkpoints))
        text += f", {missing} checkpoints of {gigabytes(plan.bytes)} to come"
    return text


def checkpoint(progress: Progress) -> str:
    """The last checkpoint."""
    if not progress.checkpoints:
        return ""
    path: Path = progress.checkpoints[-1]
    facts = path.stat()
    age = clock(max(0.0, time.time() - facts.st_mtime))
    return f"{path.name}, {gigabytes(facts.st_size)}, {age} old"
