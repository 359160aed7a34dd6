"""Stamps: which steps of a run are done, decided by content.

A stamp is a small text file, written last and atomically when a step is done::

    trm-repro stamp v1
    step 04-dataset
    started 2026-01-31T12:00:00Z
    finished 2026-01-31T12:00:09Z
    log logs/arc2_rehearsal/04-dataset.20260131T120000Z.log
    said 144 puzzles, 391 training examples
    in  SHA256  script        the step's script
    in  SHA256  recipe        the recipe's files
    in  SHA256  knobs         the knobs that the script's header names under Environment:
    in  SHA256  code          this package's sources, where the recipe's engine is ours; of its support, or of nothing
    in  SHA256  previous      what the step before it had put out, and the ones before that
    out SHA256  BYTES  PATH   each output, folders file by file

A step is *fresh* while all of these still match. To find that, outputs are re-hashed only where their identity changed
(:func:`trm_repro.digests.identity`); ``VERIFY=full`` reads every byte. A stamp is written from the bytes themselves. Running a
step again with the same result leaves the steps after it fresh.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.digests import Digest, difference, digest_bytes, digest_files
from trm_repro.errors import InvariantBroken
from trm_repro.files import utc_now, write_text
from trm_repro.recipes.bases import recipe_files, top_level
from trm_repro.runs.layout import Run
from trm_repro.runs.records import read

FORMAT = "trm-repro stamp v1"
PACKAGE = Path(__file__).parents[1]
INPUTS = ("script", "recipe", "knobs", "code", "previous")


@dataclass(frozen=True)
class Stamp:
    """The record of a finished step. Times are UTC; ``outputs`` maps path to digest."""

    step: str
    started: str
    finished: str
    log: str
    said: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, Digest]

    @property
    def chain(self) -> str:
        """A digest of what this step put out and of all that came before it: the next step's ``previous``."""
        lines = [self.inputs["previous"], *(f"{d.sha256} {path}" for path, d in sorted(self.outputs.items()))]
        return digest_bytes("\n".join(lines).encode()).sha256


def inputs(run: Run, step: str) -> dict[str, str]:
    """The digests of what a step depends on, as they are now."""
    script = (run.repository / "steps" / f"{step}.sh").read_bytes()
    files = recipe_files(run.repository / "recipes", run.recipe)
    recipe = b"".join(path.read_bytes() for path in files)
    ours = top_level(files[-1], "engine") == "reference"
    # what stands under upstream's code from outside is ours, too
    code = sources() if ours else sources("support") if b"\n  support: " in recipe else b""
    knobs = "\n".join(f"{name}={run.environ.get(name, '')}" for name in knobs_of(script.decode()))
    index = run.steps.index(step)
    previous = read_stamp(run.path(run.steps[index - 1])) if index else None
    return {
        "script": digest_bytes(script).sha256,
        "recipe": digest_bytes(recipe).sha256,
        "knobs": digest_bytes(knobs.encode()).sha256,
        "code": digest_bytes(code).sha256,
        "previous": previous.chain if previous else digest_bytes(b"").sha256,
    }


def why_stale(run: Run, step: str) -> str:
    """Why a step has to run, in words; empty when it is fresh."""
    stamp = read_stamp(run.path(step))
    if stamp is None:
        return "not done yet"
    changed = [name for name, digest in inputs(run, step).items() if stamp.inputs.get(name) != digest]
    if changed:
        return "changed since: " + ", ".join(changed)
    cache = run.cache()
    present = [path for path in stamp.outputs if (run.repository / path).is_file()]
    digests = digest_files([run.repository / path for path in present], cache)
    cache.save()
    found = {path: digests[run.repository / path] for path in present}
    problems = difference(stamp.outputs, found)
    more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
    return f"outputs changed: {problems[0]}{more}" if problems else ""


def output_files(step: str, outputs: Sequence[Path]) -> list[Path]:
    """The files that a step put out: files as they are, folders with all that is in them.

    Raises:
        InvariantBroken: one of them is empty.
    """
    files: list[Path] = []
    for path in outputs:
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise InvariantBroken(f"{path}: {step} promised this output, and it is empty")
        files += inside
    return list(dict.fromkeys(files))


def hashed(run: Run, files: Sequence[Path]) -> dict[Path, Digest]:
    """The digests of files, every byte read; the run's cache learns them."""
    cache = run.cache(believed=False)
    digests = digest_files(files, cache)
    cache.save()
    return digests


def write_stamp(
    run: Run,
    step: str,
    *,
    started: str,
    log: str,
    said: str,
    outputs: Sequence[Path] = (),
    finished: str = "",
    digests: Mapping[Path, Digest] | None = None,
) -> None:
    """Stamps a step as done, ``finished`` now or then: its outputs (files, or folders with all in them), by digest."""
    digests = hashed(run, output_files(step, outputs)) if digests is None else digests
    lines = [
        FORMAT,
        f"step {step}",
        f"started {started}",
        f"finished {finished or utc_now()}",
        f"log {log}",
        f"said {said}",
    ]
    lines += [f"in  {digest}  {name}" for name, digest in inputs(run, step).items()]
    for path, digest in digests.items():
        name = os.path.relpath(path, run.repository)
        lines.append(f"out {digest.sha256}  {digest.bytes}  {name}")
    write_text(run.path(step), "\n".join(lines) + "\n")


@functools.cache
def sources(folder: str = "") -> bytes:
    """The sources of this package, or of a folder of it."""
    return b"".join(path.read_bytes() for path in sorted((PACKAGE / folder).rglob("*.py")))


def knobs_of(script: str) -> list[str]:
    """The knobs that a step's header names under ``Environment:``, on that line and those indented below it."""
    found = re.search(r"^# Environment:((?:.*\n#  )*.*)", script, re.MULTILINE)
    return sorted(found[1].replace("#", " ").split()) if found else []


def read_stamp(path: Path) -> Stamp | None:
    """The stamp in a file; None where there is none, or where the file is not a complete stamp of this format."""
    try:
        return _parsed(path.read_text(errors="replace").splitlines())
    except (OSError, ValueError):
        return None


def _parsed(lines: list[str]) -> Stamp | None:
    if not lines or lines[0] != FORMAT:
        return None
    fields, inputs, outputs = {}, {}, {}
    for line in lines[1:]:
        kind, _, rest = line.partition(" ")
        if kind == "in":
            digest, _, name = rest.strip().partition("  ")
            inputs[name] = digest
        elif kind == "out":
            digest, _, named = rest.strip().partition("  ")
            size, _, name = named.partition("  ")
            if not name or not re.fullmatch(r"[0-9]{1,18}", size):
                return None
            outputs[name] = Digest(digest, int(size))
        else:
            fields[kind] = rest
    if set(inputs) != set(INPUTS):
        return None
    return Stamp(
        **{name: fields.get(name, "") for name in ("step", "started", "finished", "log", "said")},
        inputs=inputs,
        outputs=outputs,
    )


def last_attempts(run: Run, records: str) -> list[dict[str, Any]]:
    """The entries of a record file that belong to each step's last attempt, all of them and no others, in the steps' order.

    Each entry names its ``attempt``; the last attempt is the one that noted last, whatever the clock said. The name of one
    that goes on with what earlier ones left (a warm start) ends in ``+``: all attempts at that step count then, because what
    they were let do is in the weights.
    """
    entries = read(run.folder / records)
    last = {entry["step"]: str(entry.get("attempt", "")) for entry in entries}
    kept = []
    for entry in sorted(entries, key=lambda entry: str(entry["step"])):
        attempt = str(entry.pop("attempt", ""))
        if last[entry["step"]] in (attempt, "") or last[entry["step"]].endswith("+"):
            kept.append(entry)
    return kept
