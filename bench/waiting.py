"""What it costs a process of the engine to wait in OpenMP, on a machine with nothing else to do and on a busy one.

    python -m bench.waiting [--repeat 3] [--work predict evaluate …] [--ways ours passive spinning …] [--busy 0 2]

Each work is a whole process as a user starts it, on made-up tasks: a task predicted from Python, ``trm-repro evaluate``, a
training with the rehearsal's small network, one with the paper's, and the notebook's prediction. They run in turns, alone and
beside so many processes that compute, under each way of waiting: as the engine chooses, and as PyTorch's OpenMP does unasked
(``GOMP_SPINCOUNT=300000``). A row has the medians: seconds, seconds of processor (user and system), and the share of the
machine that all else took meanwhile, the processes beside it included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench.turns import busy

WAYS = {
    "ours": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "spinning": {"GOMP_SPINCOUNT": "300000"},
    **{f"spin-{count}": {"GOMP_SPINCOUNT": str(count)} for count in (0, 300, 1000, 3000, 10000, 30000)},
}
SMALL = "arch.hidden_size=64 arch.num_heads=2 arch.halt_max_steps=2 arch.L_cycles=4 arch.forward_dtype=float32"
PAPER = "arch.L_cycles=4"
TRAIN = (
    "-m trm_repro.engine.pretrain arch=trm data_paths=[data] evaluators=[] evaluate=False keep_checkpoints=0 "
    "lr_warmup_steps=1 device=cpu wandb=False"
)
PREDICT = """
import json
from pathlib import Path
from trm_repro.engine import load_checkpoint, predict
identifiers = json.loads(Path("bundle/identifiers.json").read_text())
predict(load_checkpoint("bundle/model.ckpt"), json.loads(Path("tasks.json").read_text()), identifiers)
"""
SOLVE = """
from pathlib import Path
from trm_repro.notebook import solve
bundle, dataset = Path("bundle"), Path("data")
model, _ = solve.load(bundle, dataset)
solve.predict(model, dataset, seconds=3600, batch=4)
"""
EVALUATE = "-m trm_repro evaluate --checkpoint bundle/model.ckpt --dataset data --device cpu --batch-size 4"
WORK = {
    "predict": ["-c", PREDICT],
    "evaluate": EVALUATE.split(),
    "train": f"{TRAIN} {SMALL} global_batch_size=4 epochs=4 eval_interval=4 ++checkpoint_path=OUT".split(),
    "train-paper": f"{TRAIN} {PAPER} global_batch_size=1 epochs=2 eval_interval=2 ++checkpoint_path=OUT".split(),
    "notebook": ["-c", SOLVE],
}


def prepare(folder: Path) -> None:
    """Made-up tasks, their dataset, and a bundle: a network trained for a step."""
    random = np.random.RandomState(0)

    def pair() -> dict[str, object]:
        grid = random.randint(0, 10, (12, 12))
        return {"input": grid.tolist(), "output": np.flipud(grid).tolist()}

    tasks = {f"{n:08x}": {"train": [pair(), pair()], "test": [pair()]} for n in range(2)}
    solutions = {name: [p.pop("output") for p in task["test"]] for name, task in tasks.items()}
    (folder / "arc_made_challenges.json").write_text(json.dumps(tasks))
    (folder / "arc_made_solutions.json").write_text(json.dumps(solutions))
    (folder / "tasks.json").write_text(json.dumps(tasks))
    words = "dataset arc --input-file-prefix arc --output-dir data --subsets made --test-set-name made --num-aug 2"
    run(folder, ["-m", "trm_repro", *words.split()], {})
    run(folder, f"{TRAIN} {SMALL} global_batch_size=4 epochs=4 eval_interval=4 ++checkpoint_path=bundle".split(), {})
    (checkpoint,) = (folder / "bundle").glob("step_*")
    checkpoint.rename(folder / "bundle/model.ckpt")
    (folder / "bundle/identifiers.json").write_bytes((folder / "data/identifiers.json").read_bytes())


def run(folder: Path, words: list[str], environ: dict[str, str]) -> tuple[float, float, float]:
    """Seconds, seconds of processor, and the share of the machine that others took."""
    out = f"out-{time.monotonic_ns()}"
    words = [word.replace("OUT", out) for word in words]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    began, machine = time.monotonic(), busy_seconds()
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, *words], cwd=folder, env=clean | environ, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: {words} failed:\n{log.read_text()[-3000:]}")
    wall, own = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    return wall, own, (busy_seconds() - machine - own) / (wall * (os.cpu_count() or 1))


def busy_seconds() -> float:
    """Seconds of processor that the whole machine has used."""
    user, nice, system, _idle, _wait, irq, soft, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--work", nargs="+", default=list(WORK), choices=WORK)
    parser.add_argument("--ways", nargs="+", default=["spinning", "ours"], choices=WAYS)
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 2], help="processes beside it")
    arguments = parser.parse_args()
    print("work         beside  way        seconds  of processor  others")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for work in arguments.work:
            for others in arguments.busy:
                taken: dict[str, list[tuple[float, float, float]]] = {way: [] for way in arguments.ways}
                with busy(others):
                    for _ in range(arguments.repeat):
                        for way in arguments.ways:
                            taken[way].append(run(folder, WORK[work], WAYS[way]))
                for way, rows in taken.items():
                    wall, own, share = (statistics.median(column) for column in zip(*rows, strict=True))
                    print(f"{work:12} {others:6}  {way:10} {wall:7.1f} {own:13.1f} {share:7.0%}", flush=True)


if __name__ == "__main__":
    main()
