"""``artifacts/RUN_NAME/``: what a run leaves, where a person looks for it.

The files stay where the run made them; here are links with plain names, in folders that say what they are::

    weights/   the final checkpoint and its configuration
    data/      the identifiers that the puzzle vectors belong to, and the evaluation tasks
    results/   the last submission, the metrics
    logs/      one log a step
    SHA256SUMS of all of these, of manifest.json and of statement.json: `sha256sum -c SHA256SUMS`

Manifest, statement, report, checklist and notebook lie beside them, written by their own steps.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from trm_repro.digests import digest_file
from trm_repro.files import write_text
from trm_repro.provenance.bundle import SUMS
from trm_repro.provenance.schema import FILE as MANIFEST
from trm_repro.provenance.statement import SIGNED
from trm_repro.runs.checkpoints import step_of

# role: folder and name; {} stands for the file's own name
PLACES = {
    "final-checkpoint": "weights/model.ckpt",
    "config": "weights/all_config.yaml",
    "identifiers": "data/identifiers.json",
    "test-puzzles": "data/test_puzzles.json",
    "submission": "results/submission.json",
    "metrics": "results/metrics.jsonl",
    "log": "logs/{}",
}
BESIDE = (MANIFEST, *SIGNED)


def places(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Which of the manifest's outputs goes where; of several for one place, the one of the latest step."""
    chosen: dict[str, dict[str, Any]] = {}
    for entry in sorted(manifest["outputs"], key=lambda entry: step_of(entry["path"])):
        if place := PLACES.get(entry["role"]):
            chosen[place.format(PurePosixPath(entry["path"]).name)] = entry
    return dict(sorted(chosen.items()))


def arrange(folder: Path, manifest: Mapping[str, Any], locate: Callable[[str], Path]) -> list[str]:
    """Makes the links and ``SHA256SUMS``; returns the places.

    Args:
        folder: ``artifacts/RUN_NAME``, with the manifest in it.
        manifest: the run's manifest.
        locate: finds the file that a path of the manifest means.
    """
    chosen = places(manifest)
    for name in {place.partition("/")[0] for place in PLACES.values()}:
        shutil.rmtree(folder / name, ignore_errors=True)
    sums = {name: entry["sha256"] for name, entry in chosen.items()}
    for name, entry in chosen.items():
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(locate(entry["path"]).resolve(), link.parent.resolve()))
    sums |= {name: digest_file(folder / name).sha256 for name in BESIDE if (folder / name).is_file()}
    write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
    return list(chosen)
