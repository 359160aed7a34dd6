"""Two processes train and evaluate, again and again, beside busy loops: is every end a good one?

The work of a process group may be done and its end still fail, when threads are slow: only many ends show it. Each of
the two ranks is a fork of this process, which has imported everything, and ends as any interpreter does.

    .venv/bin/python tests/two_processes.py --runs 200 --busy 3
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("unit")))

import torch._dynamo  # noqa: F401
from engine_support import arguments, write_dataset

from trm_repro import cli
from trm_repro.engine import checkpoint, pretrain, scorecard  # noqa: F401

LIMIT = 300  # seconds for one run


def rank(number, size, port, words, log):
    """What a rank does, in a fork: ends by SystemExit, through the interpreter's own end."""
    local = {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
    if size > 1:
        os.environ.update(local, MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    for stream in (1, 2):
        os.dup2(log, stream)
    if words[0] == "evaluate":
        sys.exit(cli.main(words))
    sys.argv = words
    pretrain.main()
    sys.exit(0)


def ends(size, words, log):
    """Runs the ranks to their ends; their exit codes, negative for a signal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for number in range(size):
        pids.append(os.fork())
        if not pids[-1]:
            rank(number, size, port, words, log)
    codes, deadline = {}, time.monotonic() + LIMIT
    while len(codes) < size:
        for pid in pids:
            if pid not in codes and (found := os.waitpid(pid, os.WNOHANG))[0]:
                codes[pid] = os.waitstatus_to_exitcode(found[1])
            elif pid not in codes and time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    return [codes[pid] for pid in pids]


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--runs", type=int, default=200)
parser.add_argument("--busy", type=int, default=3, help="busy loops beside them (default: %(default)s)")
asked = parser.parse_args()
folder = Path(tempfile.mkdtemp())
os.environ["OMP_NUM_THREADS"] = "1"
os.chdir(folder)
log = os.open(folder / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)
small = {"epochs": 2, "eval_interval": 2}
train = lambda name: ["pretrain", *arguments(folder / "toy", name, **small)]  # noqa: E731
write_dataset(folder / "toy")
assert ends(1, train("base"), log) == [0], (folder / "log").read_text()
weights = str(next(iter(checkpoint.steps_in(folder / "checkpoints/Toy-ACT-torch/base").values())))
evaluate = ["evaluate", "--checkpoint", weights, "--dataset", str(folder / "toy"), "--device", "cpu"]
busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(asked.busy)]
bad = 0
for run in range(1, asked.runs + 1):
    begin = os.fstat(log).st_size
    codes = ends(2, train(f"run{run}") if run % 2 else evaluate, log)
    if codes != [0, 0]:
        bad += 1
        print(f"run {run}: {codes}", os.pread(log, 1 << 16, begin).decode()[-2000:], sep="\n", flush=True)
    if run % 20 == 0:
        print(f"{run} runs so far, {bad} failed", flush=True)
for loop in busy:
    loop.kill()
shutil.rmtree(folder)
print(f"{asked.runs} runs, {bad} failed")
sys.exit(bool(bad))
