"""A small run to publish: manifest, checkpoint, configuration, submission, in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trm_repro.digests import digest_file
from trm_repro.files import write_json, write_text
from trm_repro.provenance.bundle import Bundle
from trm_repro.publish.package import package

RUN = "tiny_run"
OWNER = "ada"


def write_run(repository: Path, *, faithful: bool = True, engine: str = "reference", name: str = RUN) -> Path:
    """Writes a run's outputs and its manifest; returns the manifest's path."""
    import torch

    work = repository / ".repro/work"
    run = work / "checkpoints/Arc2-ACT-torch" / name
    run.mkdir(parents=True)
    torch.manual_seed(0)
    state = {
        "_orig_mod.model.inner.H_init": torch.zeros(4, dtype=torch.bfloat16),
        "_orig_mod.model.inner.L_init": torch.zeros(4, dtype=torch.bfloat16),
        "_orig_mod.model.inner.L_level.layers.0.mlp.down_proj.weight": torch.randn(4, 8),
        "_orig_mod.model.inner.embed_tokens.embedding_weight": torch.randn(12, 4),
        "_orig_mod.model.inner.lm_head.weight": torch.randn(12, 4),
        "_orig_mod.model.inner.puzzle_emb.weights": torch.randn(3, 4),
    }
    torch.save(state, run / "step_20")
    write_text(run / "all_config.yaml", "arch:\n  hidden_size: 4\n")
    write_json(work / "data/arc2/identifiers.json", ["<blank>", "00000001", "00000002"])
    write_json(work / "data/arc2/train/dataset.json", {"vocab_size": 12})
    answer = {"attempt_1": [[1, 2], [3, 4]], "attempt_2": [[5]]}
    write_json(run / "evaluator_ARC_step_10/submission.json", {"00000001": [{"attempt_1": [[0]], "attempt_2": [[0]]}]})
    write_json(run / "evaluator_ARC_step_20/submission.json", {"00000001": [answer]})
    files = {
        "final-checkpoint": [run / "step_20"],
        "config": [run / "all_config.yaml"],
        "identifiers": [work / "data/arc2/identifiers.json"],
        "dataset": [work / "data/arc2/identifiers.json", work / "data/arc2/train/dataset.json"],
        "submission": sorted(run.rglob("submission.json"), reverse=True),
    }
    outputs = [
        {
            "role": role,
            "path": path.relative_to(repository).as_posix(),
            "sha256": digest_file(path).sha256,
            "bytes": path.stat().st_size,
        }
        for role, paths in files.items()
        for path in paths
    ]
    manifest: dict[str, Any] = {
        "format": "trm-repro/manifest/v1",
        "run": {
            "name": name,
            "recipe": "arc2-paper" if faithful else "arc2-rehearsal",
            "engine": engine,
            "target_dataset": "arc2",
            "started": "2026-01-01T00:00:00Z",
            "finished": "2026-01-04T00:00:00Z",
        },
        "faithful": faithful,
        "reasons": [] if faithful else ["the recipe is not faithful"],
        "tool": {"version": "0.1.0", "commit": "0" * 40, "clean": True},
        "recipe": {"name": "arc2-paper", "sha256": "1" * 64, "resolved": {}},
        "knobs": {},
        "upstream": {
            "url": "https://github.com/SamsungSAILMontreal/TinyRecursiveModels",
            "commit": "e7b6871",
            "tree": "",
        },
        "inputs": [],
        "outputs": outputs,
        "commands": [],
        "guards": [{"step": "01-sanity", "guard": "G-TARGET", "outcome": "holds", "detail": "arc2"}],
        "deviations": [{"id": "D-01", "title": "torchrun for one GPU"}],
        "host": {},
        "versions": {},
        "metrics": {"ARC/pass@2": 0.078, "all": {"exact_accuracy": 0.05}, "train/lr": 1e-4},
    }
    path = repository / "artifacts" / name / "manifest.json"
    write_json(path, manifest)
    return path


def make_bundle(repository: Path, *, owner: str = OWNER, slug: str = "", faithful: bool = True) -> Bundle:
    """Writes a run and packages it."""
    manifest = write_run(repository, faithful=faithful)
    return package(manifest, manifest.parent / "bundle", repository=repository, owner=owner, slug=slug)
