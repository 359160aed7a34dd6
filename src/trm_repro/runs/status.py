"""``make status``: where a run stands, from its stamps, logs and lock."""

from __future__ import annotations

import fcntl
import sys
from datetime import datetime

from trm_repro.progress import clock
from trm_repro.runs.layout import Run
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


def print_status(run: Run) -> None:
    """Prints a table: step, state, when, how long, what came of it; below it, what is next."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{run.name} (recipe {run.recipe})", title_justify="left", box=None, pad_edge=False)
    for column in ("step", "state", "when", "took", "what"):
        table.add_column(column, overflow="fold")
    now, following = running(run), ""
    for step in run.steps:
        stamp, why = read_stamp(run.path(step)), why_stale(run, step)
        logs = _logs(run, step)
        if step == now:
            state, what = "running", logs[-1] if logs else ""
        elif stamp and not why:
            state, what = "done", stamp.said
        elif stamp:
            state, what = "stale", why
        elif logs:
            state, what = "stopped", f"see {logs[-1]}"
        else:
            state, what = "to do", ""
        when, took = (stamp.finished, clock(seconds(stamp))) if stamp else ("", "")
        table.add_row(step, state, when, took, what)
        if not following and state != "done":
            following = step
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    print("next: " + (f"make step-{int(following[:2])}" if following else "nothing; every step is done"))
