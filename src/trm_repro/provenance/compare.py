"""Two runs side by side: what went in, how it was set, where it ran, what came out, and what that makes of the two claims.

BIT-IDENTICAL: dataset, final checkpoint and submission have the same digests. WITHIN TOLERANCE: the same evaluation tasks,
and each number lies in the other's 95 % interval. DIFFERENT: the same tasks, and it does not. NOT COMPARABLE: other tasks, or
a number is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.arc.score import title, wilson
from trm_repro.errors import MissingPrerequisite
from trm_repro.provenance.schema import FILE as MANIFEST
from trm_repro.provenance.schema import parse_manifest

IDENTICAL, WITHIN, DIFFERENT, NOT_COMPARABLE = "BIT-IDENTICAL", "WITHIN TOLERANCE", "DIFFERENT", "NOT COMPARABLE"
EXIT = {IDENTICAL: 0, WITHIN: 0, DIFFERENT: 1, NOT_COMPARABLE: 3}
CLAIMS = ("dataset", "identifiers", "test-puzzles", "final-checkpoint", "submission")


@dataclass(frozen=True)
class Comparison:
    """What came of comparing two runs.

    Attributes:
        word: one of the four verdicts.
        why: the verdict's reason.
        differences: by part, one line a difference: what, in A, in B.
    """

    word: str
    why: str
    differences: Mapping[str, tuple[tuple[str, str, str], ...]]

    @property
    def exit_code(self) -> int:
        """0, 1 or 3."""
        return EXIT[self.word]

    def __str__(self) -> str:
        lines = []
        for part, found in self.differences.items():
            lines.append(f"{part}: {'the same' if not found else f'{len(found)} differ'}")
            for what, a, b in found:
                lines += [f"  {what}", f"    A: {a}", f"    B: {b}"]
        return "\n".join([*lines, f"{self.word}: {self.why}"])


def read_run(path: Path) -> dict[str, Any]:
    """The manifest of a run: a manifest file, or a folder with one (a bundle, ``artifacts/RUN_NAME``, an attestation).

    Raises:
        MissingPrerequisite: there is none.
        InvariantBroken: it is not one.
    """
    file = path / MANIFEST if path.is_dir() else path
    if not file.is_file():
        raise MissingPrerequisite(
            f"{path}: no {MANIFEST} there", hint="name a bundle, artifacts/RUN_NAME or an attestation"
        )
    return parse_manifest(file.read_bytes())


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> Comparison:
    """Compares two manifests."""
    differences = {
        "inputs": _between(a, b, lambda m: _digests(m, m["inputs"])),
        "settings": _between(a, b, _settings),
        "environment": _between(a, b, _environment),
        "outputs": _between(a, b, lambda m: _digests(m, [e for e in m["outputs"] if e["role"] in CLAIMS])),
        "numbers": _between(a, b, lambda m: dict(m["metrics"])),
    }
    return Comparison(*_verdict(a, b, differences), differences)


def _verdict(a: Mapping[str, Any], b: Mapping[str, Any], differences: Mapping[str, Any]) -> tuple[str, str]:
    claims = {entry["role"] for m in (a, b) for entry in m["outputs"]}
    if not differences["outputs"] and {"final-checkpoint", "dataset"} <= claims:
        return IDENTICAL, "dataset, final checkpoint and submission have the same digests"
    tasks = [[e for e in m["outputs"] if e["role"] == "test-puzzles"] for m in (a, b)]
    if not all(tasks) or tasks[0][0]["sha256"] != tasks[1][0]["sha256"]:
        return NOT_COMPARABLE, "they were not evaluated on the same tasks"
    metric = a["recipe"]["resolved"]["expected"]["metric"]
    values = [m["metrics"].get(metric) for m in (a, b)]
    if None in values:
        return NOT_COMPARABLE, f"{title(metric)} is missing"
    of = tasks[0][0].get("rows")
    if not of:
        return NOT_COMPARABLE, "how many tasks they were evaluated on is not on record"
    bounds = [wilson(value * of, of) for value in values]
    said = " and ".join(
        f"{100 * value:.2f} % ({100 * low:.1f} to {100 * high:.1f} %)"
        for value, (low, high) in zip(values, bounds, strict=True)
    )
    inside = bounds[0][0] <= values[1] <= bounds[0][1] and bounds[1][0] <= values[0] <= bounds[1][1]
    if inside:
        return WITHIN, f"{title(metric)} {said} of {of} tasks: each lies in the other's 95 % interval"
    return DIFFERENT, f"{title(metric)} {said} of {of} tasks"


def _between(
    a: Mapping[str, Any], b: Mapping[str, Any], part: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> tuple[tuple[str, str, str], ...]:
    """The differences in one part of two manifests, sorted by what differs."""
    ours, theirs = part(a), part(b)
    keys = sorted(ours.keys() | theirs.keys())
    return tuple((k, _shown(ours, k), _shown(theirs, k)) for k in keys if ours.get(k) != theirs.get(k))


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
            settings |= {f"{key}: {variable}": value for variable, value in entry["env"].items()}
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
