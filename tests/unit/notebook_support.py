"""Kaggle's folders, laid out in a folder of the test's own: a bundle with real (untrained) weights, and real tasks."""

from __future__ import annotations

import json
from pathlib import Path

from publish_support import write_run

from trm_repro.arc.tasks import arc_agi_2
from trm_repro.digests import digest_file
from trm_repro.files import read_json, write_bytes, write_json, write_text
from trm_repro.notebook.write import COMPETITION
from trm_repro.publish.package import package

# The smallest evaluation tasks; the second has two test inputs.
KNOWN, UNKNOWN = "e8686506", "20270e3b"
DATASET = "trm-arc2-weights-tiny-run"
# Where Kaggle mounts a dataset (or a model of the same name) and a competition; it has done so in several ways.
LAYOUTS = {
    "2025": (DATASET, COMPETITION),
    "2026": (f"datasets/ada/{DATASET}", f"competitions/{COMPETITION}"),
    "model": (f"models/ada/{DATASET}/pytorch/default/1", f"competitions/{COMPETITION}"),
}


def lay_out(root: Path) -> Path:
    """Makes ``input/`` with a bundle and the competition, and ``working/``; returns the folder KAGGLE_ROOT means.

    The weights know the puzzle KNOWN and one variant of it, and have a vector for each.
    """
    import torch
    import yaml

    from trm_repro.engine.checkpoint import save_weights
    from trm_repro.engine.config import ArchConfig

    torch.manual_seed(0)
    arch = ArchConfig(
        hidden_size=64,
        num_heads=2,
        halt_max_steps=2,
        H_cycles=1,
        L_cycles=1,
        puzzle_emb_ndim=64,
        forward_dtype="float32",
    )
    identifiers = ["<blank>", KNOWN, f"{KNOWN}|||t1|||0213456789"]
    model = arch.build(vocab_size=12, seq_len=900, num_puzzle_identifiers=len(identifiers))
    model.puzzle_emb.weights.copy_(torch.randn(len(identifiers), 64))

    repository = root / "repository"
    manifest_path = write_run(repository)
    manifest = read_json(manifest_path)
    for entry in manifest["outputs"]:
        path = repository / entry["path"]
        if entry["role"] == "final-checkpoint":
            save_weights(path, model.state_dict(), compiled=True)
        elif entry["role"] == "config":
            write_text(path, yaml.safe_dump({"arch": arch.model_dump(mode="json")}))
        elif entry["role"] == "identifiers":
            write_json(path, identifiers)
        entry["sha256"] = digest_file(path).sha256
    write_json(manifest_path, manifest)

    kaggle = root / "kaggle"
    package(manifest_path, bundle_of(kaggle), repository=repository, owner="ada")
    (kaggle / "working").mkdir()
    files = arc_agi_2({"evaluation2": [KNOWN, UNKNOWN]})
    competition = competition_of(kaggle)
    write_bytes(competition / "arc-agi_test_challenges.json", files["evaluation2_challenges"])
    write_bytes(competition / "arc-agi_evaluation_challenges.json", files["evaluation2_challenges"])
    write_bytes(competition / "arc-agi_evaluation_solutions.json", files["evaluation2_solutions"])
    return kaggle


def bundle_of(kaggle: Path, layout: str = "2025") -> Path:
    """Where the weights are mounted."""
    return kaggle / "input" / LAYOUTS[layout][0]


def competition_of(kaggle: Path, layout: str = "2025") -> Path:
    """Where the competition is mounted."""
    return kaggle / "input" / LAYOUTS[layout][1]


def tasks(kaggle: Path) -> dict[str, dict[str, list[dict[str, list[list[int]]]]]]:
    """The competition's tasks."""
    (path,) = (kaggle / "input").rglob("arc-agi_test_challenges.json")
    return json.loads(path.read_text())
