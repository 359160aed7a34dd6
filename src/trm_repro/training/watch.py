"""``make watch``: how far a training is, and how it goes. It reads files only, and disturbs nothing."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trm_repro.files import utc_now
from trm_repro.machine.hardware import Gpu, gpus
from trm_repro.progress import clock
from trm_repro.training.disk import gigabytes
from trm_repro.training.state import Place, State, disk_plan, read_state


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
            attempt = read_state(place).attempt
            if attempt is None or not attempt.alive:
                return
            time.sleep(every)


def lines(place: Place) -> Iterator[str]:
    """The screen, line by line."""
    state = read_state(place)
    yield f"{place.state.name} ({place.recipe.name}), {utc_now()}"
    for label, text in (
        ("state", condition(state)),
        ("step", step(state)),
        ("loss", loss(state)),
        *((f"pass@K at {entry['step']:,}", scores(entry)) for entry in state.evaluations[-10:]),
        *((f"GPU {found.index}", gpu(found)) for found in gpus() if found.busy is not None),
        ("disk", disk(place, state)),
        ("checkpoint", checkpoint(state)),
    ):
        if text:
            yield f"  {label:18} {text}"


def condition(state: State) -> str:
    """Whether it runs, and how it ended if not."""
    attempt = state.attempt
    if attempt is None:
        return "nothing has been trained yet" if not state.recent else "not running; no record of how it was started"
    if attempt.alive:
        return f"running since {attempt.started}"
    if attempt.state == "finished":
        return f"finished {attempt.finished}"
    return f"not running: {attempt.fate} (begun {attempt.started}{', ended ' + attempt.finished if attempt.finished else ''})"


def step(state: State) -> str:
    """How far it is, and when it will be done."""
    if not state.recent:
        return ""
    text = f"{state.step:,}" + (f" of {state.total:,} ({100 * state.step / state.total:.1f} %)" if state.total else "")
    if state.speed:
        text += f", {state.speed:.2f} a second"
    left = state.seconds_left
    if left is not None and state.attempt and state.attempt.alive:
        end = datetime.now(UTC) + timedelta(seconds=left)
        text += f", {clock(left)} left and the evaluations, until {end:%Y-%m-%d %H:%M} UTC"
    return text


def loss(state: State) -> str:
    """The mean of the last losses, and what else training reports."""
    mean = state.loss()
    if mean is None:
        return ""
    last = next(entry for entry in reversed(state.recent) if "train/lm_loss" in entry)
    return f"{mean:.4f} lately, lr {float(last['train/lr']):.2e}" if "train/lr" in last else f"{mean:.4f} lately"


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
    total, used = (f"{(size or 0) / 2**30:.1f}" for size in (found.memory, found.used))
    return f"{found.name}: {used} of {total} GiB, {found.busy} % busy"


def disk(place: Place, state: State) -> str:
    """What is left of the disk, and what a training that runs has still to write to it."""
    folder = place.folder
    while not folder.exists():
        folder = folder.parent
    text = f"{gigabytes(shutil.disk_usage(folder).free)} left"
    plan = disk_plan(place) if state.attempt and state.attempt.alive else None
    if plan:
        missing = max(0, plan.checkpoints - len(state.checkpoints))
        text += f", {missing} checkpoints of {gigabytes(plan.bytes)} to come"
    return text


def checkpoint(state: State) -> str:
    """The last checkpoint."""
    if not state.checkpoints:
        return ""
    path: Path = state.checkpoints[-1]
    facts = path.stat()
    age = clock(max(0.0, time.time() - facts.st_mtime))
    return f"{path.name}, {gigabytes(facts.st_size)}, {age} old"
