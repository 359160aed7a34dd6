"""What a run of many GPUs gathers on one process, with ranks that are only processes on this machine.

    python -m bench.scale --ranks 2 8 16 64 --examples 340786

Each rank has its part of an evaluation's predictions (900 tokens, a logit and a place each), which rank 0 collects: by
``World.collect``, in pieces of a bounded size, and as PyTorch's ``gather_object`` does, in one message a rank, padded to the
longest. Seconds, and how far rank 0's memory rose above what it was before. The votes are then counted once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from trm_repro.engine.evaluate import Predictions
from trm_repro.engine.world import ROOM, World


def memory() -> tuple[int, int]:
    """Bytes resident now, and at most since the start or the last reset."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, most = (int(status[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
    return now, most


def whole(world: World, value: Any) -> list[Any]:
    """As PyTorch has it."""
    values = [None] * world.size if world.leads else None
    dist.gather_object(value, values)
    return values or []


def rank(number: int, ranks: int, port: str, examples: int, how: str, file: str) -> None:
    """One process of the world."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    dist.init_process_group("gloo", rank=number, world_size=ranks)
    world = World(number, ranks, torch.device("cpu"))
    mine = np.arange(number, examples, ranks)
    own = Predictions(mine, np.full((len(mine), 900), number % 12, np.uint8), np.zeros(len(mine), np.float32))
    world.wait()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, began = memory()[0], time.perf_counter()
    parts = world.collect(own) if how == "pieces" else whole(world, own)
    took, most = time.perf_counter() - began, memory()[1]
    world.wait()
    if world.leads:
        assert sum(len(part.examples) for part in parts) == examples
        Path(file).write_text(json.dumps([took, most - before]))
    dist.destroy_process_group()


def measure(ranks: int, examples: int, how: str) -> tuple[float, int]:
    """Seconds, and bytes above those before."""
    with socket.socket() as free, tempfile.NamedTemporaryFile() as file:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        fork = multiprocessing.get_context("fork")
        started = [fork.Process(target=rank, args=(n, ranks, port, examples, how, file.name)) for n in range(ranks)]
        for process in started:
            process.start()
        for process in started:
            process.join(600)
            if process.exitcode != 0:
                for other in started:
                    other.kill()
                raise SystemExit(f"a rank of {ranks} ended with {process.exitcode}")
        took, rose = json.loads(Path(file.name).read_text())
    return took, rose


def main() -> None:
    """Measures in turns and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 8, 16])
    parser.add_argument("--examples", type=int, default=340_786, help="2,000 augmentations (default: %(default)s)")
    arguments = parser.parse_args()
    data = arguments.examples * 912
    print(f"{arguments.examples:,} examples, {data / 1e6:.0f} MB in all; pieces of {ROOM / 1e6:.0f} MB in all")
    print(f"{'ranks':>6} {'how':<14} {'seconds':>8} {'rank 0 rose by, MB':>20}")
    for ranks in arguments.ranks:
        for how in ("pieces", "gather_object"):
            took, rose = measure(ranks, arguments.examples, how)
            print(f"{ranks:>6} {how:<14} {took:>8.2f} {rose / 1e6:>20.0f}", flush=True)


if __name__ == "__main__":
    main()
