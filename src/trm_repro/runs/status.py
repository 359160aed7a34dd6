"""``make status``: where a run stands, from its stamps, logs and lock."""

from __future__ import annotations

import fcntl
import os
import re
import sys
from datetime import datetime
from typing import Any

from trm_repro.progress import clock
from trm_repro.runs.layout import Run, meaning
from trm_repro.runs.stamps import Stamp, read_stamp, why_stale


def seconds(stamp: Stamp) -> float:
    """How long a finished step took, in seconds."""
    began, ended = (datetime.fromisoformat(time) for time in (stamp.started, stamp.finished))
    return (ended - began).total_seconds()


def running(run: Run) -> str:
    """The step that is running now, or an empty string. A step holds the run's lock while it works."""
    try:
        with (run.folder / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read().split()[0]
    except (FileNotFoundError, IndexError):
        pass
    return ""


def standing(run: Run) -> str:
    """Where a run that is not finished stands, in words."""
    if now := running(run):
        return f"step {now} is running"
    for step in run.steps:
        if read_stamp(run.path(step)) is None:
            logs = _logs(run, step)
            return (
                f"step {step} did not come to its end: see {logs[-1]}" if logs else f"it has stopped before step {step}"
            )
    return "it has stopped; `make status` says where"


def _logs(run: Run, step: str) -> list[str]:
    """The logs of a step's attempts, as a person reads them, the last one last."""
    return [log.relative_to(run.repository).as_posix() for log in run.logs(step)]


def state(run: Run) -> dict[str, Any]:
    """Where a run stands: of each step its state (done, stale, running, stopped, to do), and which one is next."""
    now = running(run)
    steps = [_step(run, step, now) for step in run.steps]
    following = next((entry["step"] for entry in steps if entry["state"] != "done"), None)
    return {"run": run.name, "recipe": run.recipe, "steps": steps, "next": following}


def _step(run: Run, step: str, now: str) -> dict[str, Any]:
    stamp, why, logs = read_stamp(run.path(step)), why_stale(run, step), _logs(run, step)
    if step == now:
        how, what = "running", logs[-1] if logs else ""
    elif stamp:
        how, what = ("stale", why) if why else ("done", stamp.said)
    else:
        how, what = ("stopped", f"see {logs[-1]}") if logs else ("to do", "")
    times = {"finished": stamp.finished, "seconds": seconds(stamp)} if stamp else {"finished": None, "seconds": None}
    return {"step": step, "state": how, **times, "what": what}


def print_status(run: Run) -> None:
    """Prints it as a table: step, state, when, how long, what came of it; below it, what is next."""
    from rich.console import Console
    from rich.table import Table

    found = state(run)
    table = Table(title=f"{run.name} (recipe {run.recipe})", title_justify="left", box=None, pad_edge=False)
    for column in ("step", "state", "when", "took", "what"):
        table.add_column(column, overflow="fold", no_wrap=column != "what")
    for entry in found["steps"]:
        when, took = (entry["finished"], clock(entry["seconds"])) if entry["finished"] else ("", "")
        table.add_row(entry["step"], entry["state"], when, took, entry["what"])
    fits = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(highlight=False, width=None if fits else 160).print(table)
    following = found["next"]
    step = f"make step-{int(following[:2])}" if following else "nothing; every step is done"
    says = run.repository / "recipes" / f"{run.recipe}.yaml"
    name = re.search(r"^run_name: *(\S+)", says.read_text(), re.MULTILINE) if says.is_file() else None
    named = name[1] if name else run.name
    print(f"next: {meaning(step, recipe=run.recipe, run_name=run.name, default_name=named)}")
