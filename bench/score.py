"""How long scoring takes a prediction: ours, upstream's evaluator, and the floor of reading the predictions once.

    python -m bench.score
    python -m bench.score --upstream DIR --upstream-python PYTHON

Predictions are made for a real test split (ARC-AGI-2's evaluation tasks, 1000 augmentations: 170,393 examples): the true
output, with one cell changed in some share of the rows, so that votes and ties, many and few candidates occur. Measured is
``Votes.add`` of all predictions in batches of an evaluation's rank, then pass@K and the submission; the *floor* is one
pass of ``max`` over predictions and inputs, which reads every byte once. Several passes accumulate, as upstream's do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bench.turns import interpreter

from trm_repro.arc.builder import Options, build
from trm_repro.arc.layout import read_split
from trm_repro.arc.scoring import Votes
from trm_repro.arc.tasks import write_arc_agi_2

Predictions = tuple[npt.NDArray[Any], ...]  # identifiers, inputs, predictions, logits

# Upstream's evaluator in a process group of one, on the predictions in the file named; prints seconds and results.
UPSTREAM = """
import json, sys, time
import numpy as np, torch, torch.distributed as dist
from evaluators.arc import ARC
from dataset.common import PuzzleDatasetMetadata
folder, file = sys.argv[1:]
dist.init_process_group("gloo", init_method="tcp://localhost:29577", rank=0, world_size=1)
metadata = PuzzleDatasetMetadata(**json.load(open(folder + "/test/dataset.json")))
evaluator = ARC(folder, metadata)
data = {key: torch.from_numpy(value) for key, value in np.load(file).items()}
began = time.perf_counter()
evaluator.begin_eval()
for start in range(0, len(data["preds"]), 768):
    part = {key: value[start : start + 768] for key, value in data.items()}
    evaluator.update_batch(part, part)
results = evaluator.result(None, 0, 1)
print(json.dumps([time.perf_counter() - began, results]))
"""


def predictions(folder: Path, wrong: float, seed: int) -> Predictions:
    """Predictions for the test split of ``folder``, a share ``wrong`` of them with one cell changed."""
    split = read_split(folder, "test")
    random = np.random.default_rng(seed)
    preds = np.array(split.labels)
    rows = np.flatnonzero(random.random(len(preds)) < wrong)
    preds[rows, random.integers(0, 8, len(rows))] = random.integers(2, 12, len(rows))
    identifiers = np.repeat(split.puzzle_identifiers, np.diff(split.puzzle_indices))
    return identifiers, np.array(split.inputs), preds, random.normal(size=len(preds)).astype(np.float32)


def score(votes: Votes, given: Predictions, batch: int) -> dict[int, float]:
    """One evaluation."""
    for start in range(0, len(given[0]), batch):
        votes.add(*(column[start : start + batch] for column in given))
    votes.submission()
    return votes.pass_at_k()


def main() -> None:
    """Builds the data, measures, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-aug", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=5, help="evaluations that accumulate in one Votes")
    parser.add_argument("--batch", type=int, default=1 << 30, help="rows an add (default: all at once)")
    parser.add_argument("--wrong", type=float, default=0.7, help="share of predictions with a changed cell")
    parser.add_argument("--upstream", type=Path, help="a checkout of upstream")
    parser.add_argument(
        "--upstream-python", type=interpreter, default=sys.executable, help="a Python that has what it imports"
    )
    parser.add_argument("--json", type=Path, help="write all measurements here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-score-") as name:
        work = Path(name)
        write_arc_agi_2(work / "tasks")
        options = Options(str(work / "tasks/arc-agi"), ("evaluation2",), ("evaluation2",), arguments.num_aug)
        build(options, work / "set")
        result = measure(arguments, work)
    for key, value in result.items():
        print(f"{key:<44}{value:.3f}" if isinstance(value, float) else f"{key:<44}{value}")
    if arguments.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
        arguments.json.write_text(json.dumps(machine | result, indent=2) + "\n")


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All measurements, in microseconds a prediction."""
    names = json.loads((work / "set/identifiers.json").read_text())
    puzzles = json.loads((work / "set/test_puzzles.json").read_text())
    given = predictions(work / "set", arguments.wrong, 0)
    n = len(given[0])
    began = time.perf_counter()
    score(Votes(puzzles, names), tuple(column[:8] for column in given), 8)
    compiling = time.perf_counter() - began
    ours, busy, floors, ratios, theirs = [], [], [], [], []
    for _ in range(arguments.rounds):
        began = time.perf_counter()
        given[1].max(), given[2].max()
        floors.append((time.perf_counter() - began) / n * 1e6)
        votes = Votes(puzzles, names)
        began, before = time.perf_counter(), time.process_time()
        found = score(votes, given, arguments.batch)
        ours.append((time.perf_counter() - began) / n * 1e6)
        busy.append((time.process_time() - before) / n * 1e6)
    result: dict[str, Any] = {
        "predictions": n,
        "first call, compiling or loading, s": compiling,
        "µs a prediction": statistics.median(ours),
        "best round": min(ours),
        "CPU of all threads, µs a prediction": statistics.median(busy),
        "floor, reading the bytes once": statistics.median(floors),
        "pass@2": found[2],
    }
    if arguments.upstream:
        file = work / "predictions.npz"
        keys = ("puzzle_identifiers", "inputs", "preds", "q_halt_logits")
        np.savez(file, **dict(zip(keys, given, strict=True)))  # type: ignore[arg-type]
        for _ in range(min(3, arguments.rounds)):
            began = time.perf_counter()
            score(Votes(puzzles, names), given, arguments.batch)
            mine = time.perf_counter() - began
            command = [arguments.upstream_python, "-c", UPSTREAM, str(work / "set"), str(file)]
            output = subprocess.run(command, cwd=arguments.upstream, capture_output=True, text=True)
            if output.returncode:
                sys.exit(output.stderr)
            seconds, results = json.loads(output.stdout.splitlines()[-1])
            theirs.append(seconds / n * 1e6)
            ratios.append(seconds / mine)
            if results != {f"ARC/pass@{k}": share for k, share in found.items()}:
                sys.exit(f"upstream scores {results}, ours {found}")
        result |= {
            "upstream, µs a prediction": statistics.median(theirs),
            "times faster": statistics.median(ratios),
            "equal": "yes",
        }
    votes = Votes(puzzles, names)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(arguments.passes):
        fresh = predictions(work / "set", arguments.wrong, number)
        score(votes, fresh, arguments.batch)
    result[f"passes accumulated: {arguments.passes}; peak grew by, MB"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ) / 1000
    return result


if __name__ == "__main__":
    main()
