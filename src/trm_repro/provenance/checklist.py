"""The seed's "Repro checklist", each box ticked or not from facts, with the evidence beside it.

A box is ticked when all of its facts are as they must be; one that is not stands behind ``not so:``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from trm_repro.provenance.faithful import TRAIN, command_difference, expected_command, fast_builder, guard_outcomes
from trm_repro.provenance.promises import training_command

Fact = tuple[bool, str]  # whether it is as it must be, and what is


@dataclass(frozen=True)
class Box:
    """One line of the checklist."""

    claim: str
    facts: tuple[Fact, ...]

    @property
    def ticked(self) -> bool:
        """Whether all facts are as they must be."""
        return all(good for good, _ in self.facts)

    def __str__(self) -> str:
        evidence = "; ".join(text if good else f"not so: {text}" for good, text in self.facts)
        return f"[{'x' if self.ticked else ' '}] {self.claim}\n      {evidence}"


def checklist(manifest: Mapping[str, Any], locate: Callable[[str], Path], published: str) -> list[Box]:
    """The eight boxes of seed 000.

    Args:
        manifest: the run's manifest.
        locate: finds the file that a path of the manifest means.
        published: what step 7 said; empty if it did not run.
    """
    run, recipe = manifest["run"], manifest["recipe"]["resolved"]
    outcomes = guard_outcomes(manifest)

    def guard(name: str) -> Fact:
        outcome, detail = outcomes.get(name, ("not tried", ""))
        return outcome == "holds", f"{name} {outcome}{detail and f': {detail}'}"

    def present(path: str) -> Fact:
        there = locate(path).exists()
        return there, f"{path}{'' if there else ' is not there'}"

    def recorded(role: str, name: str) -> Fact:
        files = [*manifest["inputs"], *manifest["outputs"]]
        found = [entry["path"] for entry in files if entry["role"] == role and PurePath(entry["path"]).match(name)]
        return present(found[0]) if found else (False, f"no {role} is on record")

    commit = (manifest["upstream"] or {}).get("commit")

    def documented(so: bool, changes: str = "") -> Fact:
        own = f"by the recipe {manifest['recipe']['name']}, whose command is another{changes and f': {changes}'}"
        return so, "the documented words" if so else own

    folder, fast = recipe["dataset"]["folder"], fast_builder(manifest)
    known = recipe["faithful"] or bool(recipe["dataset"]["digests"])  # whatever was trained on it
    train = {**recipe["train"], "scale": [], "variation": []}
    ran = training_command(manifest)
    words = {"recipe": {"resolved": {**recipe, "train": train}}, "run": run}
    changes = "; ".join(command_difference(expected_command(words, TRAIN, ran), ran))
    return [
        Box(
            "TARGET_DATASET=arc2 and never changed",
            ((run["target_dataset"] == "arc2", run["target_dataset"]), guard("G-TARGET-DATASET")),
        ),
        Box(
            "TRM cloned, commit recorded in TRM_COMMIT.txt",
            ((True, commit), guard("G-UPSTREAM-PIN"), recorded("command", "TRM_COMMIT.txt"))
            if commit
            else ((False, "engine reference: upstream is not used"),),
        ),
        Box(
            f"{folder} built via the exact builder command",
            (
                guard("G-BUILDER-COMMAND"),
                documented(known),
                (
                    not fast,
                    "DATASET_BUILDER=fast: by our builder, the same bytes by digest" if fast else "by its own builder",
                ),
            ),
        ),
        Box(
            "training command exactly matches step 5 flags",
            (guard("G-TRAIN-COMMAND"), documented(recipe["faithful"], changes)),
        ),
        Box(
            "final checkpoint path captured; COMMANDS.txt written",
            (recorded("final-checkpoint", "*"), recorded("command", "COMMANDS.txt")),
        ),
        Box("environment log saved under .repro/", (recorded("environment", "*.txt"),)),
        Box(
            "Kaggle Dataset created/versioned (if PUBLISH_TO_KAGGLE=1)",
            (("uploaded as Kaggle dataset" in published, published or "not published"),),
        ),
        Box("artifacts/MANIFEST.txt written with key paths", (present(f"artifacts/{run['name']}/MANIFEST.txt"),)),
    ]
