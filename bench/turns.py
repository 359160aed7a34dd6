"""What every row of the table is made of: commands in turns, in one call, and what came of them.

One after the other, round by round, so that a machine which grows slower or busier does so for all of them. A row names
three sides: what a user would take instead, ours, and the *floor*, which is what the machine needs at least. Ratios are of
one round's measurements; the table has their medians.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TOOL = [sys.executable, "-m", "trm_repro"]
UPSTREAM_NEEDS = (
    "einops",
    "pydantic",
    "coolname",
    "argdantic",
)  # what its model, evaluator and builder import beside torch
SIDES = ("alternative", "ours", "floor")


class Unavailable(Exception):
    """A row cannot be measured here; the message says what is missing and how to get it."""


@dataclass
class Row:
    """One line of the table.

    Attributes:
        what: what is done, and how large it is.
        unit: of the numbers; less is better.
        names: what each side is, by side; a side that is not there was not measured.
        rounds: the measurements of each round, by side.
        note: what a reader must know of the numbers.
        load: how many processes were running or waiting for a core (mean of a minute), before and after.
    """

    what: str
    unit: str
    names: Mapping[str, str]
    rounds: Sequence[Mapping[str, float]]
    note: str = ""
    load: tuple[float, float] = (0.0, 0.0)
    details: Mapping[str, Any] = field(default_factory=dict)

    def of(self, side: str) -> list[float]:
        """The measurements of one side."""
        return [one[side] for one in self.rounds if side in one]

    def ratio(self, over: str, under: str) -> float | None:
        """The median of the rounds' ratios of two sides."""
        found = [one[over] / one[under] for one in self.rounds if over in one and under in one and one[under]]
        return statistics.median(found) if found else None

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        medians = {side: statistics.median(self.of(side)) for side in SIDES if self.of(side)}
        ratios = {"times faster": self.ratio("alternative", "ours"), "of the floor": self.ratio("ours", "floor")}
        return {"what": self.what, "unit": self.unit, "names": dict(self.names), "medians": medians, **ratios} | {
            "rounds": [dict(one) for one in self.rounds],
            "note": self.note,
            "load": list(self.load),
            **self.details,
        }


@dataclass
class Bench:
    """What rows share: where they write, how large they are, how long they may take, what was given.

    Attributes:
        work: an empty folder, gone afterwards.
        quick: everything at toy size, to see that it runs: its numbers say nothing.
        rounds: how often each row is measured, if there is time.
        upstream: a checkout of upstream, to run it; None leaves it out.
        python: a Python that has what upstream imports.
        seconds: that a row may take; a round that has begun is finished.
    """

    work: Path
    quick: bool = False
    rounds: int = 5
    upstream: Path | None = None
    python: str = sys.executable
    seconds: float = 150.0

    def size(self, real: int, toy: int) -> int:
        """The real size, or the toy one."""
        return toy if self.quick else real

    def turns(self, sides: Mapping[str, Callable[[], float]]) -> list[dict[str, float]]:
        """Each side once a round, one after the other."""
        began, rounds = time.monotonic(), []
        for number in range(self.rounds):
            if number and (time.monotonic() - began) * (number + 1) / number > self.seconds:
                break
            rounds.append({side: measure() for side, measure in sides.items()})
        return rounds

    def program(self, name: str, package: str) -> str:
        """A program from the package registry, in an environment of its own that is gone afterwards.

        Raises:
            Unavailable: it could not be installed.
        """
        folder = self.work / f"venv-{name}"
        if not folder.exists():
            create, install = (
                [sys.executable, "-m", "venv", str(folder)],
                [str(folder / "bin/pip"), "install", "-q", package],
            )
            for words in (create, install):
                try:
                    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
                    problem = done.stderr.strip()[-200:] if done.returncode else ""
                except subprocess.TimeoutExpired:
                    problem = "not within four minutes"
                if problem:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise Unavailable(f"{name} could not be installed: {problem}")
        return str(folder / "bin" / name)


def seconds(words: Sequence[str | Path], **how: Any) -> float:
    """Wall seconds of a command that must succeed.

    Raises:
        Unavailable: it failed; the end of what it said.
    """
    how = {"cwd": ROOT, "timeout": 900, **how}
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        done = subprocess.run([str(word) for word in words], stdout=said, stderr=said, stdin=subprocess.DEVNULL, **how)
        took = time.perf_counter() - began
        if done.returncode:
            said.seek(0)
            text = said.read()[-400:].decode(errors="replace").strip()
            raise Unavailable(f"{' '.join(map(str, words))[:200]} ended with {done.returncode}: {text}")
    return took


def timed(work: Callable[[], Any]) -> float:
    """Wall seconds of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def files(folder: Path) -> list[Path]:
    """All files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def drop(paths: Sequence[Path]) -> None:
    """Takes files out of the page cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def interpreter(word: str) -> str:
    """A Python that runs in the checkout: a path is made absolute; a link, as an environment has it, stays one."""
    return str(Path(word).absolute()) if os.sep in word else word


def require(checkout: Path, python: str = sys.executable) -> None:
    """Ends the program in words where the checkout is none, or a Python lacks what upstream imports."""
    if not (checkout / "models/losses.py").is_file():
        sys.exit(f"error: {checkout}: not a checkout of upstream")
    probe = f"import importlib.util as u; print(*(n for n in {UPSTREAM_NEEDS!r} if u.find_spec(n) is None))"
    try:
        done = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=60)
    except OSError as error:
        sys.exit(f"error: {python}: {error.strerror}")
    if lacks := done.stdout.split():
        sys.exit(f"error: upstream imports {', '.join(lacks)}\nhint: {python} -m pip install {' '.join(lacks)}")


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Beside so many processes that want a core each."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def machine() -> tuple[str, str]:
    """The machine in words, and as the name of a file."""
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    model = facts.get("model name", "unknown processor")
    kind = "".join(
        f", {key} {facts[known]}" for key, known in (("family", "cpu family"), ("model", "model")) if known in facts
    )
    words = f"{model}{kind}, {len(os.sched_getaffinity(0))} cores"
    return words, re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def table(rows: Sequence[Row], facts: Mapping[str, Any], missing: Mapping[str, str]) -> str:
    """The table in Markdown."""
    lines = [
        f"# {facts['machine']}",
        "",
        f"{facts['date']}, commit {facts['commit']}, Python {facts['python']}; {facts['took'] / 60:.0f} minutes. "
        "Medians of alternating runs, smallest and largest in brackets; ratios are the medians of each round's. "
        "bench/README.md says how to read it.",
        "",
    ]
    if facts["quick"]:
        lines += ["**Toy sizes (`--quick`): that it runs; the numbers say nothing.**", ""]
    if facts["load"] > len(os.sched_getaffinity(0)) / 2:
        lines += [f"**Provisional: the machine had other work (load {facts['load']:.1f} at the start).**", ""]
    lines += [
        "| what | unit | alternative | ours | floor | times faster | of the floor | load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sides = [_said(row.of(side), row.names.get(side, "")) for side in SIDES]
        faster, above = row.ratio("alternative", "ours"), row.ratio("ours", "floor")
        ratios = ["" if ratio is None else f"{ratio:.3g}" for ratio in (faster, above)]
        what = row.what + (f"; {row.note}" if row.note else "")
        lines.append(f"| {' | '.join([what, row.unit, *sides, *ratios, '{:.1f}, {:.1f}'.format(*row.load)])} |")
    if missing:
        lines += ["", "Not measured:", "", *(f"- {name}: {why}" for name, why in missing.items())]
    return "\n".join([*lines, ""])


def _said(values: Sequence[float], name: str) -> str:
    if not values:
        return ""
    spread = f" ({min(values):.3g}–{max(values):.3g})" if len(values) > 1 else ""
    return f"{statistics.median(values):.3g}{spread}<br>{name}".replace("|", "\\|")
