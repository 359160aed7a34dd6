"""Two processes train and evaluate under torchrun, again and again, beside busy loops: is every end a good one?

The work of a process group may be done and its end still fail, when threads are slow: only many ends show it.

    .venv/bin/python tests/two_processes.py --runs 200 --busy 3
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("unit")))

from engine_support import arguments, run, write_dataset

from trm_repro.runs.checkpoints import final_checkpoint

SMALL = {"epochs": 2, "eval_interval": 2}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--busy", type=int, default=3, help="busy loops beside them (default: %(default)s)")
    asked = parser.parse_args()
    bad, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "toy")
        run(folder, arguments(folder / "toy", "base", **SMALL))
        weights = final_checkpoint(folder / "checkpoints/Toy-ACT-torch/base")
        evaluate = ["evaluate", "--checkpoint", str(weights), "--dataset", str(folder / "toy"), "--device", "cpu"]
        loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(asked.busy)]
        try:
            for number in range(1, asked.runs + 1):
                try:
                    if number % 2:
                        run(folder, evaluate, ("trm_repro",), torchrun=2)
                    else:
                        run(folder, arguments(folder / "toy", f"run{number}", **SMALL), torchrun=2)
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    bad += 1
                    print(f"run {number}: {error}", flush=True)
                if number % 20 == 0:
                    print(f"{number} runs, {bad} failed, {time.monotonic() - began:.0f} s", flush=True)
        finally:
            for loop in loops:
                loop.kill()
    print(f"{asked.runs} runs, {bad} failed")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
