"""Runs side by side: what went in, how it was set, where it ran, what came out, and what that makes of their claims.

BIT-IDENTICAL: dataset, final checkpoint and submission have the same digests. WITHIN TOLERANCE: the same evaluation tasks,
and each number lies in every other's 95 % interval. DIFFERENT: the same tasks, and one does not. TOO LITTLE TO TELL: each
does, but so would that of a run which solves nothing, or the tasks are so few that an interval spans half of all numbers
there are: agreement says nothing then. NOT COMPARABLE: other tasks, or a number is missing. Of three runs and more: the mean
with its 95 % interval (Student's t, of runs taken as independent), the spread, and the runs that lie outside what the rest
lets one expect.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.arc.score import title, wilson
from trm_repro.errors import MissingPrerequisite, ReproError, UsageError, printable
from trm_repro.files import read_bytes
from trm_repro.provenance.schema import BYTES, parse_manifest
from trm_repro.provenance.schema import FILE as MANIFEST
from trm_repro.runs.records import RECORDED

IDENTICAL, WITHIN, DIFFERENT, NOT_COMPARABLE = "BIT-IDENTICAL", "WITHIN TOLERANCE", "DIFFERENT", "NOT COMPARABLE"
TOO_LITTLE = "TOO LITTLE TO TELL"
EXIT = {IDENTICAL: 0, WITHIN: 0, DIFFERENT: 1, TOO_LITTLE: 3, NOT_COMPARABLE: 3}
VAGUE = 0.5  # of all numbers there are, from 0 to 1: an interval that spans so much says little
RUNS = "name a bundle's folder, artifacts/RUN_NAME or an attestation"
CLAIMS = ("dataset", "identifiers", "test-puzzles", "final-checkpoint", "submission")


# Student's t, 97.5 % quantile, for 1 to 30 degrees of freedom; the last serves for more (the normal's is 1.960)
T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
OUTLIERS = 4  # runs from which on one can be said to lie apart: the rest needs a spread


@dataclass(frozen=True)
class Comparison:
    """What came of comparing runs.

    Attributes:
        word: one of the five verdicts.
        why: the verdict's reason.
        differences: by part, one tuple a difference: what, then its value in each run.
        runs: a line a run: its name, recipe and number.
        together: lines about all of them, of three runs and more.
    """

    word: str
    why: str
    differences: Mapping[str, tuple[tuple[str, ...], ...]]
    runs: tuple[str, ...]
    together: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, 1 or 3."""
        return EXIT[self.word]

    def __str__(self) -> str:
        lines = [f"{self.word}: {self.why}"]
        lines += [f"  {letter}: {run}" for letter, run in zip(letters(len(self.runs)), self.runs, strict=True)]
        lines += [f"  {line}" for line in self.together]
        for part, found in self.differences.items():
            lines.append(f"{part}: {'the same' if not found else f'{len(found)} differ'}")
            for what, *values in found:
                lines.append(f"  {what}")
                holders: dict[str, list[str]] = {}
                for letter, value in zip(letters(len(values)), values, strict=True):
                    holders.setdefault(value, []).append(letter)
                lines += [f"    {', '.join(who)}: {value}" for value, who in holders.items()]
        return "\n".join(map(printable, lines))


def letters(count: int) -> list[str]:
    """Short names of so many runs: A, B, …, Z, R27, …"""
    return [string.ascii_uppercase[i] if i < 26 else f"R{i + 1}" for i in range(count)]


def read_run(path: Path) -> dict[str, Any]:
    """The manifest of a run: a manifest file, or a folder with one (a bundle, ``artifacts/RUN_NAME``, an attestation).

    Raises:
        MissingPrerequisite: there is none.
        InvariantBroken: it is not one.
    """
    file = path / MANIFEST if path.is_dir() else path
    if not file.is_file():
        raise MissingPrerequisite(f"{path}: no {MANIFEST} there", hint=RUNS)
    data = read_bytes(file, BYTES)
    try:
        return parse_manifest(data)
    except ReproError as error:
        raise type(error)(f"{path}: {error}", hint=error.hint or f"{RUNS}; an archive is unpacked first") from None


def compare(*manifests: Mapping[str, Any]) -> Comparison:
    """Compares manifests.

    Raises:
        UsageError: there are not at least two.
    """
    if len(manifests) < 2:
        raise UsageError("one run alone cannot be compared", hint="name two or more")
    differences = {
        "inputs": _between(manifests, lambda m: _digests(m, m["inputs"])),
        "settings": _between(manifests, _settings),
        "environment": _folded(_between(manifests, _environment)),
        "outputs": _between(manifests, lambda m: _digests(m, [e for e in m["outputs"] if e["role"] in CLAIMS])),
        "numbers": _between(manifests, lambda m: dict(m["metrics"])),
    }
    metric = manifests[0]["recipe"]["resolved"]["expected"]["metric"]
    values = [value if isinstance(value := m["metrics"].get(metric), int | float) else None for m in manifests]
    tasks: list[Mapping[str, Any]] = [
        next((e for e in m["outputs"] if e["role"] == "test-puzzles"), {}) for m in manifests
    ]
    runs = tuple(
        f"{m['run']['name']}, {m['recipe']['name']}: "
        + ("no " + title(metric) if value is None else _number(metric, value, task))
        for m, value, task in zip(manifests, values, tasks, strict=True)
    )
    known = [value for value in values if value is not None]
    together = _together(metric, known) if len(known) == len(values) > 2 else ()
    return Comparison(*_verdict(manifests, metric, values, tasks, differences), differences, runs, together)


def _number(metric: str, value: float, task: Mapping[str, Any]) -> str:
    if not (of := task.get("rows")):
        return f"{title(metric)} {100 * value:.2f} %"
    low, high = wilson(value * of, of)
    return f"{title(metric)} {100 * value:.2f} % ({100 * low:.1f} to {100 * high:.1f} %) of {of} tasks"


def _verdict(
    manifests: Sequence[Mapping[str, Any]],
    metric: str,
    values: Sequence[float | None],
    tasks: Sequence[Mapping[str, Any]],
    differences: Mapping[str, Any],
) -> tuple[str, str]:
    claims = {entry["role"] for m in manifests for entry in m["outputs"]}
    if not differences["outputs"] and {"final-checkpoint", "dataset"} <= claims:
        return IDENTICAL, "dataset, final checkpoint and submission have the same digests"
    if not all(tasks) or len({task["sha256"] for task in tasks}) > 1:
        return NOT_COMPARABLE, "they were not evaluated on the same tasks"
    if any(value is None for value in values):
        return NOT_COMPARABLE, f"{title(metric)} is missing"
    if not (of := tasks[0].get("rows")):
        return NOT_COMPARABLE, "how many tasks they were evaluated on is not on record"
    named = list(zip(letters(len(values)), [value for value in values if value is not None], strict=True))
    bounds = {letter: wilson(value * of, of) for letter, value in named}
    apart = [
        f"{one} and {other}"
        for (one, x), (other, y) in itertools.combinations(named, 2)
        if not (bounds[one][0] <= y <= bounds[one][1] and bounds[other][0] <= x <= bounds[other][1])
    ]
    said = f"{title(metric)} " + ", ".join(f"{100 * value:.2f} %" for _, value in named) + f" of {of} tasks"
    if apart:
        return DIFFERENT, f"{said}; outside each other's 95 % interval: {', '.join(apart)}"
    nothing = wilson(0, of)[1]
    widest = max(high - low for low, high in bounds.values())
    if all(value <= nothing for _, value in named):
        return (
            TOO_LITTLE,
            f"{said}; a run that solves nothing can have up to {100 * nothing:.1f} % (95 % interval) as well",
        )
    if widest > VAGUE:
        return TOO_LITTLE, f"{said}; a 95 % interval spans {100 * widest:.0f} points"
    return WITHIN, f"{said}: each lies in {'the' if len(named) == 2 else 'every'} other's 95 % interval"


def _together(metric: str, values: Sequence[float]) -> tuple[str, ...]:
    """Mean, spread and outliers of three runs and more."""
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    half = _t(len(values) - 1) * deviation / math.sqrt(len(values))
    lines = [
        f"mean {100 * mean:.2f} % (95 % interval {100 * (mean - half):.2f} to {100 * (mean + half):.2f} %), "
        f"standard deviation {100 * deviation:.2f}, from {100 * min(values):.2f} to {100 * max(values):.2f} %"
    ]
    for place, (letter, value) in enumerate(zip(letters(len(values)), values, strict=True)):
        rest = [*values[:place], *values[place + 1 :]]
        if len(values) < OUTLIERS:
            break
        reach = _t(len(rest) - 1) * statistics.stdev(rest) * math.sqrt(1 + 1 / len(rest))
        if abs(value - statistics.fmean(rest)) > reach:
            lines.append(
                f"outlier: {letter}, {title(metric)} {100 * value:.2f} %: the others let one expect "
                f"{100 * (statistics.fmean(rest) - reach):.2f} to {100 * (statistics.fmean(rest) + reach):.2f} % (95 %)"
            )
    return tuple(lines)


def _t(freedom: int) -> float:
    return T[min(freedom, len(T)) - 1]


def _between(
    manifests: Sequence[Mapping[str, Any]], part: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> tuple[tuple[str, ...], ...]:
    """The differences in one part of manifests, sorted by what differs."""
    parts = [part(manifest) for manifest in manifests]
    keys = sorted(set().union(*parts))
    shown = ((key, *(_shown(one, key) for one in parts)) for key in keys)
    return tuple(line for line in shown if len(set(line[1:])) > 1)


def _folded(differences: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Packages of one version from different files, as one line: another wheel of the same source, mostly."""
    same = {line[0] for line in differences if len({value.partition(", ")[0] for value in line[1:]}) == 1}
    same = {what for what in same if what.startswith("package ")}
    if not same:
        return differences
    kept = tuple(line for line in differences if line[0] not in same)
    names = ", ".join(sorted(what.removeprefix("package ") for what in same))
    runs = len(differences[0]) - 1
    return (
        *kept,
        (f"{len(same)} packages of one version, from other files: this alone means nothing", *[names] * runs),
    )


def _shown(part: Mapping[str, Any], key: str) -> str:
    return str(part[key]) if key in part else "(none)"


def _digests(manifest: Mapping[str, Any], entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Digests by a name that does not depend on the run's own."""
    name = manifest["run"]["name"]
    return {f"{e['role']} {e['path'].replace(name, 'RUN_NAME')}": e["sha256"] for e in entries}


def _settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Recipe, seeds, commands and guards that did not hold, run names left out."""
    name = manifest["run"]["name"]
    settings = _flat(manifest["recipe"]["resolved"], "recipe")
    settings |= {f"seeds.{key}": value for key, value in manifest["seeds"].items()}
    for entry in manifest["commands"]:
        if entry["exit_code"] == 0 and entry["step"] in ("04-dataset", "05-train"):
            key = f"command of {entry['step']}: {entry['argv'][0]}"
            settings[key] = " ".join(entry["argv"]).replace(name, "RUN_NAME")
            settings |= {
                f"{key}: {variable}": value.replace(name, "RUN_NAME")
                for variable, value in entry["env"].items()
                if re.search(RECORDED, variable)  # of what reached it, what can change a result
            }
    for guard in manifest["guards"]:
        if guard["outcome"] != "holds":
            settings[guard["guard"]] = f"{guard['outcome']}: {guard['detail']}"
    return settings


def _environment(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The machine, the tool and every installed distribution of the environment that trained."""
    trained = manifest["versions"]["training"] or manifest["versions"]["tool"]
    return {
        **_flat(manifest["host"], "host"),
        **_flat(manifest["tool"], "tool"),
        "upstream": (manifest["upstream"] or {}).get("commit"),
        "python": trained["python"],
        **{f"package {e['name']}": f"{e['version']}, RECORD {e['record']}" for e in trained["distributions"]},
    }


def _flat(value: Any, name: str) -> dict[str, Any]:
    """Nested mappings under dotted names."""
    if isinstance(value, Mapping):
        return {key: leaf for inner, held in value.items() for key, leaf in _flat(held, f"{name}.{inner}").items()}
    return {name: value}
