"""The seed's "Repro checklist", each box ticked or not from facts, with the evidence beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.provenance.faithful import fast_builder


@dataclass(frozen=True)
class Box:
    """One line of the checklist."""

    ticked: bool
    claim: str
    evidence: str

    def __str__(self) -> str:
        return f"[{'x' if self.ticked else ' '}] {self.claim}\n      {self.evidence}"


def checklist(manifest: Mapping[str, Any], repository: Path, published: str) -> list[Box]:
    """The eight boxes of seed 000.

    Args:
        manifest: the run's manifest.
        repository: root of the repository, to look for the files that the boxes name.
        published: what step 7 said; empty if it did not run.
    """
    run, recipe = manifest["run"], manifest["recipe"]["resolved"]
    guards = {entry["guard"]: entry["outcome"] for entry in manifest["guards"]}
    outputs: dict[str, Any] = {}
    for entry in manifest["outputs"]:
        outputs.setdefault(entry["role"], entry)
    names = {Path(entry["path"]).name: entry["path"] for entry in manifest["outputs"]}
    listing = f".repro/env_{run['target_dataset']}_{run['name']}.txt"

    def guard(name: str) -> tuple[bool, str]:
        outcome = guards.get(name, "not tried")
        return outcome == "holds", f"{name} {outcome}"

    def present(path: str) -> tuple[bool, str]:
        there = bool(path) and (repository / path).exists()
        return there or path.startswith("$TRM_DIR/"), path or "not found"

    same, evidence = guard("G-TARGET-DATASET")
    target = Box(
        same and run["target_dataset"] == "arc2",
        "TARGET_DATASET=arc2 and never changed",
        f"{run['target_dataset']}; {evidence}",
    )
    commit = manifest["upstream"]["commit"] if manifest["upstream"] else ""
    pinned, evidence = guard("G-UPSTREAM-PIN")
    cloned = Box(
        bool(commit) and pinned and "TRM_COMMIT.txt" in names,
        "TRM cloned, commit recorded in TRM_COMMIT.txt",
        f"{commit or 'engine reference: upstream is not used'}; {names.get('TRM_COMMIT.txt', 'no TRM_COMMIT.txt')}; {evidence}",
    )
    exact, evidence = guard("G-BUILDER-COMMAND")
    built = Box(
        exact and recipe["faithful"] and not fast_builder(manifest),
        f"{recipe['dataset']['folder']} built via the exact builder command",
        evidence
        + ("; DATASET_BUILDER=fast: by our builder, the same bytes by digest" if fast_builder(manifest) else ""),
    )
    exact, evidence = guard("G-TRAIN-COMMAND")
    flags = Box(
        exact and recipe["faithful"],
        "training command exactly matches step 5 flags",
        evidence + ("" if recipe["faithful"] else f"; at toy scale: {' '.join(recipe['train']['scale'])}"),
    )
    final = outputs.get("final-checkpoint", {"path": ""})["path"]
    captured, evidence = present(final)
    checkpoint = Box(
        captured and "COMMANDS.txt" in names,
        "final checkpoint path captured; COMMANDS.txt written",
        f"{evidence}; {names.get('COMMANDS.txt', 'no COMMANDS.txt')}",
    )
    saved, evidence = present(listing)
    environment = Box(saved, "environment log saved under .repro/", evidence)
    kaggle = Box(
        "uploaded as Kaggle dataset" in published,
        "Kaggle Dataset created/versioned (if PUBLISH_TO_KAGGLE=1)",
        published or "not published",
    )
    written, evidence = present(f"artifacts/{run['name']}/MANIFEST.txt")
    manifest_box = Box(written, "artifacts/MANIFEST.txt written with key paths", evidence)
    return [target, cloned, built, flags, checkpoint, environment, kaggle, manifest_box]
