"""How long a training step and an evaluation step take, and how far that is from the machine's own matrix product.

    python -m bench.engine [--upstream CHECKOUT] [--batch 1] [--threads 2] [--json FILE]

A training step here is forward, loss and backward of one supervision step; the optimisers, the average and the carry are
timed apart (`optimisers`). An evaluation step is one supervision step of an evaluation without gradient. With --upstream,
upstream's model does the same on the same shapes in the same run, in turns with ours (bench/upstream.py). Times are the
fastest of --repeat turns.

FLOPs are counted from the shapes: 2 for each multiply-add of a linear layer or of attention; a backward pass costs twice
its forward pass. The physical floor is FLOPs / peak, where the peak is the fastest product of (4096, D) and (4096, D)
matrices that this machine does in that dtype.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bench import upstream

from trm_repro.engine import onednn
from trm_repro.engine.act import Batch, Carry, fresh_carry, load_rows
from trm_repro.engine.config import ArchConfig
from trm_repro.engine.model import DTYPES, TRM, ModelConfig, State
from trm_repro.engine.optim import AdamATan2, FlatParameters, WeightAverage, sign_descent
from trm_repro.engine.train import supervision_step
from trm_repro.runs.schedule import swiglu_width


def flops(config: ModelConfig, batch: int) -> tuple[int, int]:
    """Floating-point operations of a training step and of an evaluation step."""
    D, L = config.hidden_size, config.positions
    inner = swiglu_width(D, config.expansion)
    a_token = 2 * (4 * D * D + 3 * D * inner) + 4 * L * D  # qkv and output, SwiGLU; scores and their sum
    layer = batch * L * a_token
    cycle = layer * config.L_layers * (config.L_cycles + 1)
    heads = batch * L * 2 * D * config.vocab_size
    forward = cycle * config.H_cycles + heads
    return forward + 2 * (cycle + heads), forward


def peak(dtype: torch.dtype, device: torch.device) -> float:
    """The machine's own matrix product, in FLOP/s."""
    n = 4096
    a, b = (torch.randn(n, 2048, device=device).to(dtype) for _ in range(2))
    products: list[Callable[[], Any]] = [lambda: torch.nn.functional.linear(a, b)]
    if onednn.suits_linear(a):
        products.append(lambda: onednn.linear(a, b))
    return 2 * n * n * 2048 / min(fastest(product, 5, device) for product in products)


def fastest(work: Callable[[], Any], repeat: int, device: torch.device) -> float:
    """Seconds of the fastest of ``repeat`` calls, after one that does not count."""
    work()
    best = float("inf")
    for _ in range(repeat):
        best = min(best, timed(work, device))
    return best


def timed(work: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def make_batch(config: ModelConfig, batch: int, device: torch.device) -> Batch:
    generator = torch.Generator().manual_seed(0)
    shape = (batch, config.seq_len)
    tokens = (torch.randint(0, config.vocab_size, shape, generator=generator).int() for _ in range(2))
    return Batch(*tokens, torch.arange(batch, dtype=torch.int32)).to(device)


class Ours:
    """This engine: one training step and one evaluation step."""

    name = "trm-repro"

    def __init__(self, config: ModelConfig, batch: int, device: torch.device, *, compiled: bool) -> None:
        torch.manual_seed(0)
        self.model = TRM(config).to(device)
        self.batch = make_batch(config, batch, device)
        self.flat = FlatParameters(self.model.parameters())
        self.adam = AdamATan2(self.flat, betas=(0.9, 0.95), weight_decay=0.1)
        self.average = WeightAverage(self.flat, 0.999)
        self.carry: Carry = load_rows(self.model, fresh_carry(self.model, self.batch), self.batch)
        self.supervise = torch.compile(supervision_step, dynamic=False) if compiled else supervision_step
        self.think = torch.compile(TRM.think, dynamic=False) if compiled else TRM.think
        self.minimum = torch.full_like(self.carry.steps, 16)

    def train(self) -> None:
        batch = self.batch
        self.vectors = self.model.puzzle_vectors(batch.puzzle_identifiers).requires_grad_()
        steps = self.carry.steps + 1
        loss, _, state, _ = self.supervise(
            self.model, self.carry.state, batch.inputs, batch.labels, self.vectors, steps, self.minimum, upstream.LOSS
        )
        (loss / len(steps)).backward()
        self.carry = Carry(state, steps, self.carry.halted, batch)

    def optimise(self) -> None:
        grad = self.vectors.grad
        assert grad is not None
        table = self.model.puzzle_emb.weights
        sign_descent(table, self.batch.puzzle_identifiers, grad, lr=1e-2, weight_decay=0.1)
        self.adam.step(1e-4)
        self.flat.grad.zero_()
        self.average.update()

    @torch.no_grad()
    def evaluate(self) -> None:
        batch = self.batch
        e = self.model.embed(batch.inputs, self.model.puzzle_vectors(batch.puzzle_identifiers))
        self.model.read(self.think(self.model, State(*self.carry.state), e))


class Upstream:
    """Upstream's model: the same two steps."""

    name = "upstream"

    def __init__(self, config: ModelConfig, batch: int, device: torch.device, *, compiled: bool) -> None:
        torch.manual_seed(0)
        model = upstream.build(config, batch, device)
        self.model = torch.compile(model) if compiled else model
        self.batch = upstream.batch_of(make_batch(config, batch, device))
        with device:
            self.carry = model.initial_carry(self.batch)
        self.size = batch
        self.mode = ""

    def _switch(self, mode: str) -> None:
        if mode != self.mode:
            self.model.train(mode == "train")
            self.mode = mode

    def train(self) -> None:
        self._switch("train")
        self.carry, loss, *_ = self.model(carry=self.carry, batch=self.batch, return_keys=[])
        (loss / self.size).backward()
        self.model.zero_grad()

    @torch.inference_mode()
    def evaluate(self) -> None:
        self._switch("eval")
        self.model(carry=self.carry, batch=self.batch, return_keys=[])


def measure(
    arguments: argparse.Namespace, dtype: str, device: torch.device, engines: list[Any]
) -> list[dict[str, Any]]:
    """Rows of the table for one dtype."""
    arch = ArchConfig(
        H_cycles=arguments.H_cycles,
        L_cycles=arguments.L_cycles,
        hidden_size=arguments.hidden_size,
        num_heads=arguments.num_heads,
        puzzle_emb_ndim=arguments.hidden_size,
        forward_dtype=dtype,
    )
    config = arch.sized(12, arguments.seq_len, max(1000, arguments.batch))
    train_flops, eval_flops = flops(config, arguments.batch)
    top = peak(DTYPES[dtype], device)
    rows = []
    subjects = []
    torch._dynamo.reset()  # of the last dtype; between these it would make each but the last compile again, in its first turn
    for compiled, engine in itertools.product((False, True), engines):
        if compiled and arguments.eager_only:
            continue
        subject = engine(config, arguments.batch, device, compiled=compiled)
        began = time.perf_counter()
        subject.train()
        subject.evaluate()
        print(
            f"{dtype} {engine.name} compiled={compiled}: ready in {time.perf_counter() - began:.1f} s", file=sys.stderr
        )
        subjects.append((subject, compiled, {"train": [], "evaluate": []}))
    for _ in range(arguments.repeat):
        for what in ("train", "evaluate"):
            for subject, _, times in subjects:
                times[what].append(timed(getattr(subject, what), device))
    for subject, compiled, times in subjects:
        row = {
            "engine": subject.name,
            "mode": "compiled" if compiled else "eager",
            "dtype": dtype,
            "train_s": min(times["train"]),
            "train_turns": times["train"],
            "evaluate_turns": times["evaluate"],
            "evaluate_s": min(times["evaluate"]),
            "train_utilisation": train_flops / min(times["train"]) / top,
            "evaluate_utilisation": eval_flops / min(times["evaluate"]) / top,
            "floor_train_s": train_flops / top,
            "floor_evaluate_s": eval_flops / top,
            "peak_gflops": top / 1e9,
        }
        if isinstance(subject, Ours):
            row["optimisers_s"] = fastest(subject.optimise, 3, device)
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["engine     mode      dtype     train s  of peak  floor s  evaluate s  of peak  floor s  optimisers s"]
    for row in rows:
        optimisers = f"{row['optimisers_s']:12.4f}" if "optimisers_s" in row else " " * 12
        lines.append(
            f"{row['engine']:10} {row['mode']:9} {row['dtype']:9} {row['train_s']:7.3f}  {row['train_utilisation']:6.0%} "
            f"{row['floor_train_s']:8.3f} {row['evaluate_s']:11.3f}  {row['evaluate_utilisation']:6.0%} "
            f"{row['floor_evaluate_s']:8.3f}  {optimisers}"
        )
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        best = {
            (name, what): min(row[what] for row in rows if row["dtype"] == dtype and row["engine"] == name)
            for name in {row["engine"] for row in rows}
            for what in ("train_s", "evaluate_s")
        }
        if ("upstream", "train_s") in best:
            train, evaluate = (best["upstream", w] / best["trm-repro", w] for w in ("train_s", "evaluate_s"))
            lines.append(
                f"{dtype}: best mode against upstream's best: training {train:.2f} ×, evaluation {evaluate:.2f} ×"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, metavar="CHECKOUT")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seq-len", type=int, default=900)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--num-heads", type=int, default=8)
    parser.add_argument("--H-cycles", type=int, default=3)
    parser.add_argument("--L-cycles", type=int, default=4)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=list(DTYPES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--eager-only", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    engines: list[Any] = [Ours]
    if arguments.upstream:
        upstream.use(arguments.upstream)
        engines.append(Upstream)
    device = torch.device(arguments.device)
    processor = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{processor}, {arguments.threads} threads, PyTorch {torch.__version__}, batch {arguments.batch}")
    rows = [row for dtype in arguments.dtypes for row in measure(arguments, dtype, device, engines)]
    print(table(rows))
    if arguments.json:
        settings = {key: str(value) for key, value in vars(arguments).items()}
        facts = {"processor": processor, "torch": torch.__version__, "settings": settings, "rows": rows}
        arguments.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
