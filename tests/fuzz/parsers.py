"""Every parser of a stranger's bytes, with real inputs to mutate: each case must end in a value or in an error of ours."""

from __future__ import annotations

import contextlib
import functools
import gzip
import io
import json
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.fuzz.mutations import (
    mutate_bytes,
    mutate_checkpoint,
    mutate_json,
    mutate_lines,
    mutate_safetensors,
    mutate_yaml,
)

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests/golden/bundles/v1"
Mutation = Callable[[bytes, list[bytes], random.Random], bytes]


@dataclass(frozen=True)
class Parser:
    """What reads a stranger's bytes.

    Attributes:
        seeds: real inputs, made when first asked for.
        read: reads bytes, in a folder of its own that it may use.
        mutate: how inputs are made of the seeds.
        share: how many of the cases it gets, beside the others.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]
    mutate: Mutation = mutate_bytes
    share: float = 1.0

    def case(self, rng: random.Random) -> bytes:
        """One input."""
        seeds = self.seeds()
        try:
            return self.mutate(rng.choice(seeds), seeds, rng)
        except RecursionError:  # a text that is nested too deeply to be mutated as a value
            return mutate_bytes(rng.choice(seeds), seeds, rng)


def golden(*names: str) -> Callable[[], list[bytes]]:
    return functools.cache(lambda: [(BUNDLE / name).read_bytes() for name in names])


def once(make: Callable[[], list[bytes]]) -> Callable[[], list[bytes]]:
    return functools.cache(make)


# ---- tasks and submissions ----


@functools.cache
def task_texts() -> tuple[bytes, bytes]:
    from trm_repro.arc.tasks import arc_agi_2

    chosen = {"evaluation2": ["e8686506", "28a6681f", "dbff022c", "20270e3b"]}
    files = arc_agi_2(chosen)
    return files["evaluation2_challenges"], files["evaluation2_solutions"]


def read_tasks(challenges: bytes, solutions: bytes, folder: Path) -> None:
    from trm_repro.arc.tasks import read_tasks

    (folder / "a_x_challenges.json").write_bytes(challenges)
    (folder / "a_x_solutions.json").write_bytes(solutions)
    read_tasks(str(folder / "a"), "x")


@functools.cache
def puzzles() -> dict[str, Any]:
    challenges, solutions = map(json.loads, task_texts())
    return {
        task: {
            "train": entry["train"],
            "test": [{**pair, "output": out} for pair, out in zip(entry["test"], solutions[task], strict=True)],
        }
        for task, entry in challenges.items()
    }


def submission(data: bytes, folder: Path) -> None:
    from trm_repro.arc.submission import problems, score_submission
    from trm_repro.files import parse_json

    held = parse_json(data, "submission.json")
    if not problems(held, puzzles()):
        score_submission(held, puzzles())


def submission_check(data: bytes, folder: Path) -> None:
    """The verb, with a stranger's tasks."""
    from trm_repro.cli import main

    (folder / "submission.json").write_bytes(golden("submission.json")()[0])
    (folder / "tasks.json").write_bytes(data)
    quiet(main, ["submission", "check", str(folder / "submission.json"), "--tasks", str(folder / "tasks.json")])


def quiet(main: Callable[[list[str]], int], words: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(words)


# ---- recipes, configurations, knobs ----


def recipe(data: bytes, folder: Path) -> None:
    from trm_repro.recipes.read import read_recipe
    from trm_repro.recipes.shell import assignments, shell_words

    (folder / "mine.yaml").write_bytes(data)
    if not (folder / "base").exists():
        (folder / "base").symlink_to(ROOT / "recipes/base")
    found = read_recipe(folder, "mine")
    assignments(shell_words(found, available=4, run_name="x", environ={}))


def sweep(data: bytes, folder: Path) -> None:
    from trm_repro.report.sweep import read_sweep

    if not (folder / "sweeps").exists():
        (folder / "sweeps").mkdir()
        for path in (ROOT / "recipes").glob("*"):
            if not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    (folder / "sweeps/mine.yaml").write_bytes(data)
    read_sweep(folder, "mine")


def config(data: bytes, folder: Path) -> None:
    from trm_repro.provenance import promises
    from trm_repro.training.state import configuration

    (folder / "all_config.yaml").write_bytes(data)
    found = configuration(folder)
    promises.config_problems(promises.expected_config(manifest_value()), found)


def arch(data: bytes, folder: Path) -> None:
    from trm_repro.engine.config import read_arch

    (folder / "all_config.yaml").write_bytes(data)
    read_arch(folder / "all_config.yaml")


def knobs(data: bytes, folder: Path) -> None:
    from trm_repro.cli.knobs import RULES, check_knobs

    local = folder / "env.local.sh"
    local.write_bytes(data)
    lines = (line.partition(b"=") for line in data.split(b"\n"))
    given = {os.fsdecode(name): os.fsdecode(value) for name, _, value in lines if name and b"\0" not in name + value}
    check_knobs({name: given.get(name, "") for name in RULES} | given, local)


def knob_lines() -> list[bytes]:
    values = {
        "RECIPE": "arc2-paper",
        "RUN_NAME": "x",
        "TRM_REMOTE": "https://u:p%2Fw@host:8/x.git",
        "TORCH_INDEX_URL": "https://host/whl",
        "MAX_GPUS_TO_USE": "4",
        "GPU_HOUR_USD": "2.5",
        "OVERRIDE": "G-TRAIN-COMMAND G-NO-ARC1",
        "EXTRA_TRAIN_ARGS": "a=[1] b='x'",
        "MAKEFLAGS": " -- FORCE=1 RECIPE=x",
        "PUBLISH_TO_KAGGLE": "1",
    }
    return ["\n".join(f"{name}={value}" for name, value in values.items()).encode()]


# ---- proof ----


@functools.cache
def manifest_value() -> dict[str, Any]:
    return dict(json.loads(golden("manifest.json")()[0]))


def manifest(data: bytes, folder: Path) -> None:
    """A manifest, and all that is read from one without a bundle."""
    from trm_repro.provenance.checklist import checklist
    from trm_repro.provenance.compare import compare
    from trm_repro.provenance.faithful import guard_outcomes, reasons
    from trm_repro.provenance.schema import parse_manifest
    from trm_repro.provenance.statement import make_statement

    held = parse_manifest(data)
    make_statement(data)
    reasons(held)
    guard_outcomes(held)
    str(compare(held, manifest_value()))
    list(map(str, checklist(held, lambda path: folder / "none", "")))


def report(data: bytes, folder: Path) -> None:
    from trm_repro.cli import main

    (folder / "manifest.json").write_bytes(data)
    with mock.patch.dict(os.environ, {"RUN_NAME": "x", "RECIPE": "arc2-paper", "TRM_DIR": str(folder)}):
        quiet(main, ["report", "--manifest", str(folder / "manifest.json"), "--output", str(folder / "report")])


@functools.cache
def attestation() -> Path:
    return next(path for path in (ROOT / "attestations").iterdir() if path.is_dir())


def attested(name: str) -> Callable[[bytes, Path], None]:
    def read(data: bytes, folder: Path) -> None:
        from trm_repro.provenance.attest import read_attestation, table

        place = folder / attestation().name
        if not place.exists():
            shutil.copytree(attestation(), place)
        (place / name).write_bytes(data)
        try:
            table([read_attestation(place)])
        finally:
            shutil.copyfile(attestation() / name, place / name)

    return read


def bundle(name: str) -> Callable[[bytes, Path], None]:
    """A whole bundle of which one file is another, its digests computed again."""

    def read(data: bytes, folder: Path) -> None:
        from trm_repro.provenance.bundle import write_sums
        from trm_repro.provenance.verify import verify

        place = folder / "bundle"
        if not place.exists():
            shutil.copytree(BUNDLE, place)
        (place / name).write_bytes(data)
        try:
            write_sums(place)
            str(verify(place))
        finally:
            shutil.copyfile(BUNDLE / name, place / name)

    return read


def audited(name: str) -> Callable[[bytes, Path], None]:
    """A stranger's folder with one file that is another; without a manifest, so that nothing else looks at it first."""

    def read(data: bytes, folder: Path) -> None:
        from trm_repro.audit.audit import Request, audit

        place = folder / "audited"
        if not place.exists():
            shutil.copytree(
                BUNDLE, place, ignore=shutil.ignore_patterns("*.json", "SHA256SUMS", "*.safetensors", "*.sha256")
            )
            (place / "model.ckpt").rename(place / "step_70")
            for file in ("identifiers.json", "submission.json"):
                shutil.copyfile(BUNDLE / file, place / file)
        kept = (place / name).read_bytes() if (place / name).exists() else None
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(data)
        try:
            for page in audit(place, "x", Request()):
                str(page), page.markdown(), json.dumps(page.as_json(), allow_nan=False)
        finally:
            (place / name).write_bytes(kept) if kept is not None else (place / name).unlink()

    return read


RESULTS = b"""\
- dataset: {id: a/b, task_id: c}
  value: 50.0
  notes: pass@2 per task, in per cent
"""


def sums(data: bytes, folder: Path) -> None:
    from trm_repro.provenance.bundle import listed

    (folder / "SHA256SUMS").write_bytes(data)
    listed(folder / "SHA256SUMS", [])


def archive(data: bytes, folder: Path) -> None:
    from trm_repro.provenance.verify import verify

    (folder / "bundle.zip").write_bytes(data)
    str(verify(folder / "bundle.zip"))


def archives() -> list[bytes]:
    files = {"SHA256SUMS": b"", "manifest.json": b"{}", "README.md": b"# x\n" * 50}
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"ü/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return [zipped.getvalue(), tarred.getvalue()[:5120], gzip.compress(tarred.getvalue(), mtime=0)]


# ---- checkpoints and datasets ----


def checkpoint(data: bytes, folder: Path) -> None:
    from trm_repro.weights.state import read_trm
    from trm_repro.weights.twin import different_values

    (folder / "x.ckpt").write_bytes(data)
    state = read_trm(folder / "x.ckpt")
    assert isinstance([*state.oddities(), *state.conversions()], list)
    different_values(folder / "x.ckpt", BUNDLE / "model.safetensors")


def torch_checkpoint(data: bytes, folder: Path) -> None:
    from trm_repro.engine.checkpoint import load

    (folder / "x.ckpt").write_bytes(data)
    load(folder / "x.ckpt", every_byte=True)


def safetensors(data: bytes, folder: Path) -> None:
    from trm_repro.weights.stored import read_content
    from trm_repro.weights.twin import different_values

    (folder / "x.safetensors").write_bytes(data)
    read_content(folder / "x.safetensors")
    different_values(BUNDLE / "model.ckpt", folder / "x.safetensors")


def identifiers(data: bytes, folder: Path) -> None:
    from trm_repro.weights.identifiers import count, variants

    count(data)
    variants(data)


def boards(data: bytes, folder: Path) -> None:
    from trm_repro.puzzles.boards import read_boards
    from trm_repro.puzzles.sudoku import SUDOKU

    (folder / "train.csv").write_bytes(data)
    read_boards(folder / "train.csv", SUDOKU)


def board_lines() -> list[bytes]:
    answer = "".join(str((3 * (row % 3) + row // 3 + column) % 9 + 1) for row in range(9) for column in range(9))
    row = f"x,{answer.replace('9', '.')},{answer},3\n"
    return [("source,question,answer,rating\n" + row * 3).encode()]


# ---- what a run and a machine say ----


def metrics(data: bytes, folder: Path) -> None:
    from trm_repro.report.series import CURVES, thin
    from trm_repro.runs.curves import read_curves
    from trm_repro.runs.metrics import read_evaluations, read_tail, series
    from trm_repro.training.state import speed

    path = folder / "metrics.jsonl"
    path.write_bytes(data)
    recent = read_tail(path)
    read_evaluations(path)
    list(series(recent, "train/lm_loss"))
    speed(recent)
    max((int(entry["step"]) for entry in recent), default=0)
    for curve in read_curves(path, CURVES)[0].values():
        thin(*curve)


def metric_lines() -> list[bytes]:
    lines: list[dict[str, Any]] = [{"step": 0, "time": "2026-01-31T12:00:03Z", "num_params": 1234}]
    for step in range(1, 8):
        time = f"2026-01-31T12:00:{step:02d}Z"
        lines.append({"step": step, "time": time, "train/lm_loss": 3 - step / 9, "train/count": 1.0, "train/lr": 1e-3})
    lines.append({"step": 7, "time": "2026-01-31T12:00:09Z", "all.accuracy": 0.7, "ARC/pass@2": 0.25})
    return ["".join(json.dumps(line) + "\n" for line in lines).encode()]


def records(data: bytes, folder: Path) -> None:
    from trm_repro.runs.layout import Run
    from trm_repro.runs.stamps import last_attempts

    run = Run(folder, "x", "arc2-paper", {})
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "commands.jsonl").write_bytes(data)
    last_attempts(run, "commands.jsonl")


def record_lines() -> list[bytes]:
    entry = {
        "step": "05-train",
        "argv": ["a"],
        "cwd": ".",
        "env": {},
        "started": "2026-01-31T12:00:00Z",
        "exit_code": 0,
    }
    return [(json.dumps(entry) + "\n").encode() * 3]


def stamp(data: bytes, folder: Path) -> None:
    from trm_repro.runs.stamps import read_stamp

    (folder / "x.stamp").write_bytes(data)
    read_stamp(folder / "x.stamp")


def stamps() -> list[bytes]:
    text = (ROOT / "docs/format.md").read_text()
    return [text[text.index("trm-repro stamp v1") :].partition("```")[0].encode()]


def printed(data: bytes, folder: Path) -> None:
    from trm_repro.training.printed import printed_metrics

    for line in data.decode(errors="replace").splitlines():
        printed_metrics(line)


def nvidia_smi(data: bytes, folder: Path) -> None:
    from trm_repro.errors import ReproError
    from trm_repro.machine import hardware
    from trm_repro.machine.locks import choose

    text = data.decode(errors="replace")
    with mock.patch.object(hardware, "output", lambda command: text):
        found = hardware.gpus()
        hardware.compilers()
        hardware.health()
        hardware.topology()
    with contextlib.suppress(ReproError):
        choose(found, [])


SMI = b"""\
NVIDIA H100 80GB HBM3, 81559, 580.65.06, 9.0, 4, 0, 97
NVIDIA A100-SXM4-40GB, [N/A], 550.90.07, 8.0, [Unknown Error], 1, [Not Supported]
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-3a5c)
Cuda compilation tools, release 12.6, V12.6.20
GPU 00000000:01:00.0
    Fabric
        State : Completed
GPU0 X NV18
"""
PRINTED = b"""\
{'all': {'accuracy': np.float32(0.5), 'exact_accuracy': 0.0436}, 'ARC/pass@1': 0.08, 'ARC/pass@2': 0.1014} 220708
{'all': {'accuracy': 0.5, 'count': 120}, 'ARC/pass@2': 0.5}
"""

PARSERS: dict[str, Parser] = {
    "tasks": Parser(
        once(lambda: [task_texts()[0]]), lambda data, folder: read_tasks(data, task_texts()[1], folder), mutate_json
    ),
    "solutions": Parser(
        once(lambda: [task_texts()[1]]), lambda data, folder: read_tasks(task_texts()[0], data, folder), mutate_json
    ),
    "submission": Parser(golden("submission.json"), submission, mutate_json),
    "submission check": Parser(once(lambda: [task_texts()[0]]), submission_check, mutate_json, 0.5),
    "recipe": Parser(
        once(lambda: [path.read_bytes() for path in sorted((ROOT / "recipes").rglob("*.yaml"))]), recipe, mutate_yaml
    ),
    "sweep": Parser(
        once(lambda: [path.read_bytes() for path in sorted((ROOT / "recipes/sweeps").glob("*.yaml"))]),
        sweep,
        mutate_yaml,
        0.5,
    ),
    "all_config.yaml": Parser(golden("all_config.yaml"), config, mutate_yaml),
    "all_config.yaml, engine": Parser(golden("all_config.yaml"), arch, mutate_yaml, 0.5),
    "knobs": Parser(once(knob_lines), knobs),
    "manifest": Parser(golden("manifest.json"), manifest, mutate_json),
    "report": Parser(golden("manifest.json"), report, mutate_json, 0.1),
    "attestation.json": Parser(
        once(lambda: [(attestation() / "attestation.json").read_bytes()]),
        attested("attestation.json"),
        mutate_json,
        0.5,
    ),
    "statement": Parser(
        once(lambda: [(attestation() / "statement.json").read_bytes()]), attested("statement.json"), mutate_json, 0.2
    ),
    **{
        f"bundle, {name}": Parser(golden(name), bundle(name), mutate, 0.1)
        for name, mutate in {
            "manifest.json": mutate_json,
            "all_config.yaml": mutate_yaml,
            "submission.json": mutate_json,
            "identifiers.json": mutate_json,
            "README.md": mutate_bytes,
            "model.ckpt": mutate_checkpoint,
            "model.safetensors": mutate_safetensors,
        }.items()
    },
    **{
        f"audit, {file}": Parser(seeds, audited(file), mutate, 0.05)
        for file, seeds, mutate in (
            ("all_config.yaml", golden("all_config.yaml"), mutate_yaml),
            ("submission.json", golden("submission.json"), mutate_json),
            ("identifiers.json", golden("identifiers.json"), mutate_json),
            ("README.md", golden("README.md"), mutate_bytes),
            (".eval_results/x.yaml", once(lambda: [RESULTS]), mutate_yaml),
            ("SHA256SUMS", golden("SHA256SUMS"), mutate_bytes),
            ("step_70", golden("model.ckpt"), mutate_checkpoint),
        )
    },
    "SHA256SUMS": Parser(golden("SHA256SUMS", "dataset.sha256"), sums),
    "archive": Parser(once(archives), archive),
    "checkpoint": Parser(golden("model.ckpt"), checkpoint, mutate_checkpoint),
    "checkpoint, torch": Parser(golden("model.ckpt"), torch_checkpoint, mutate_checkpoint, 0.2),
    "safetensors": Parser(golden("model.safetensors"), safetensors, mutate_safetensors),
    "identifiers": Parser(golden("identifiers.json"), identifiers, mutate_json, 0.5),
    "boards": Parser(once(board_lines), boards),
    "metrics": Parser(once(metric_lines), metrics, mutate_lines),
    "records": Parser(once(record_lines), records, mutate_lines),
    "stamp": Parser(once(stamps), stamp),
    "printed metrics": Parser(once(lambda: [PRINTED]), printed),
    "nvidia-smi": Parser(once(lambda: [SMI]), nvidia_smi),
}
