"""One attempt at training, from its record to its record: supervised, its disk watched, its failure explained."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trm_repro.errors import MissingPrerequisite, ReproError
from trm_repro.recipes.schema import Recipe
from trm_repro.runs.checkpoints import checkpoints
from trm_repro.runs.inputs import changed
from trm_repro.runs.metrics import FILE as METRICS
from trm_repro.training import disk
from trm_repro.training.attempt import begin, write_attempt
from trm_repro.training.causes import ALARMS, Alarm
from trm_repro.training.printed import listener
from trm_repro.training.state import Place, disk_plan, last_step, read_progress
from trm_repro.training.supervise import Ending, Supervisor
from trm_repro.weights.state import read_state

LOOK = 60.0  # seconds between two looks at the disk
REMIND = 3600.0  # seconds between two warnings
GOING_ON = (
    "make all starts it again from the beginning, and sets this attempt aside. RESUME=warm make all begins with the "
    "weights of its last checkpoint instead: a warm start (step, optimiser, averages and votes begin anew), and the "
    "run is no longer faithful"
)


def train(place: Place, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Ending:
    """Runs a training command in the present folder and says on stderr how it ended, and how to go on.

    Args:
        place: where it trains.
        argv: its words.
        environment: all of the variables that it is to see; ours, if that is not said.
    """
    attempt = begin()
    if changed(place.state):  # between its check and its use
        hint = place.meaning("make step-4, then this step again")
        tell("error: the dataset was changed while this step began", f"hint: {hint}")
        return Ending(4)
    write_attempt(place.state, attempt)
    watcher = DiskWatch(place)
    supervisor = Supervisor(argv, alarms=alarms(place.recipe), every_second=watcher.look, environment=environment)
    if place.recipe.expected.metrics == "stdout":
        supervisor.hear = listener(place.folder / METRICS)
    ending = supervisor.run()
    changed(place.state)
    if ending.exit_code == 0:
        write_attempt(place.state, attempt.ended("finished", 0, "it finished"))
        return ending
    where = last_step(read_progress(place))
    if ending.stopped:
        # the record first: who reads what is said may have been ended by the same signal
        said = f"it was stopped ({ending.stopped.name}) at {where}"
        write_attempt(place.state, attempt.ended("stopped", ending.exit_code, said))
        tell(f"==> the training was stopped at {where}", f"hint: {place.meaning(GOING_ON)}")
        return ending
    assert ending.diagnosis
    write_attempt(place.state, attempt.ended("failed", ending.exit_code, ending.diagnosis.finding))
    tell(
        f"error: the training failed at {where}",
        f"error: {ending.diagnosis.finding}",
        f"hint: {place.meaning(ending.diagnosis.remedy)}",
    )
    return ending


def tell(*lines: str) -> None:
    """Says lines on stderr, if anybody still reads it."""
    with contextlib.suppress(OSError):
        print(*lines, sep="\n", file=sys.stderr, flush=True)


def alarms(recipe: Recipe) -> list[Alarm]:
    """The lines that may not appear in the output of a recipe's training.

    A run that adapts given weights to other puzzles replaces their table on purpose, and one without an evaluator has none.
    """
    meant = {"puzzle table reset"} if recipe.weights else set()
    if not recipe.expected.submission:
        meant |= {"no evaluator", "missing predictions"}
    return [alarm for alarm in ALARMS if alarm.name not in meant]


@dataclass
class DiskWatch:
    """Looks at the disk once a minute and warns at most once an hour."""

    place: Place
    samples: list[disk.Sample] = field(default_factory=list)
    looked: float = -LOOK
    warned: float = -REMIND

    def look(self) -> None:
        """Looks, if it is time to."""
        now = time.monotonic()
        if now - self.looked < LOOK:
            return
        self.looked = now
        try:
            plan = disk_plan(self.place)
            left = read_progress(self.place).seconds_left
            self.samples = [entry for entry in self.samples if now - entry.time <= disk.WINDOW]
            self.samples.append(disk.sample(self.place.folder, now))
            warning = disk.shortage(self.samples, plan, left) if plan else ""
        except Exception as error:  # files may be half-written or gone; a look must never end a training of three days
            warning = f"the disk could not be looked at: {error}"
        if warning and now - self.warned >= REMIND:
            self.warned = now
            tell(f"warning: {warning}")


def last_whole_checkpoint(folder: Path) -> Path:
    """The last checkpoint that can be read, of an unfinished training or else of the newest attempt set aside.

    Raises:
        MissingPrerequisite: there is none.
    """
    attempts = [folder, *sorted(folder.parent.glob(f"{folder.name}.set-aside-*"), reverse=True)]
    for path in (path for attempt in attempts for path in reversed(checkpoints(attempt))):
        try:
            read_state(path)
        except ReproError as error:
            print(f"warning: {error}", file=sys.stderr)
            continue
        return path
    raise MissingPrerequisite(
        f"there is no checkpoint in {folder} or in an attempt set aside beside it",
        hint="unset RESUME to start from the beginning",
    )
