"""What one GPU says of this engine in its first eight minutes: is it right, how fast is it, what would make it faster.

    bench/gpu                                      # on a bare machine with PyTorch: finds or makes what else it needs
    bench/gpu --upstream CHECKOUT                  # upstream's model beside it
    bench/gpu --parts first_steps --dataset DIR    # losses of the first 300 steps, on the paper's dataset: six minutes
    bench/gpu --device cpu --tiny                  # that it runs whole: its numbers say nothing

Parts, each a process of its own with a limit of its own; one that fails or takes too long is reported, what it had found is
kept, and the rest goes on. bench/results/GPU.md and .json are written after each. --parts chooses; the others stay in the table
as an earlier call found them, if it was of the same commit on the same device with the same PyTorch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "tests/unit")]

Rows = Iterator[dict[str, Any]]
EXAMPLE_FLOP = 0.38e12  # a training step of one example, machine/budget.py


def golden(arguments: argparse.Namespace) -> Rows:
    """Losses of the training steps that tests/golden has from upstream, here: float32 without TF32, and bfloat16."""
    import torch
    from engine_support import Golden

    from trm_repro.engine.world import World

    torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device(arguments.device)
    for case, tolerance in (
        ("attention_rope", 1e-4),
        ("wide_swiglu", 1e-4),
        ("learned_positions", 1e-4),
        ("bfloat16", 2e-2),
    ):
        recorded = Golden(case)
        training, worst = recorded.training(World(0, 1, device)), 0.0
        size = recorded.facts["train"]["global_batch_size"]
        for step, expected in enumerate(recorded.facts["train_metrics"]):
            found = training.train_step(recorded.batch(step).to(device))["train/lm_loss"] * size
            worst = max(worst, abs(found - expected["lm_loss"]) / max(1.0, abs(expected["lm_loss"])))
        yield {
            "case": case,
            "steps": step + 1,
            "largest error of a loss": worst,
            "required": tolerance,
            "ok": worst < tolerance,
        }


def resume(arguments: argparse.Namespace) -> Rows:
    """A run, one stopped half-way and resumed, and one more run: the second is as near to the first as the third is.

    Not compiled, which is most of the time of so small runs. Then the last evaluation again, by the verb that evaluates a
    checkpoint: two paths, one number.
    """
    from engine_support import arguments as words_of
    from engine_support import metrics, write_dataset

    from trm_repro.engine.resume import TrainingStates
    from trm_repro.runs.checkpoints import final_checkpoint

    own = [*map(os.path.abspath, sys.path[:3]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(own), "WANDB_API_KEY": ""}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = write_dataset(work / "toy")
        losses: dict[str, list[float]] = {}

        def train(run: str, *more: str) -> Path:
            changes = {"device": arguments.device, "compile": False, "arch.forward_dtype": "float32"}
            changes |= {"checkpoint_every_n_steps": 3}
            words = [sys.executable, "-m", "trm_repro.engine.pretrain", *words_of(data, run, **changes), *more]
            subprocess.run(
                words, cwd=work, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            folder = work / f"checkpoints/Toy-ACT-torch/{run}"
            losses[run] = [line["train/lm_loss"] for line in metrics(folder) if "train/lm_loss" in line]
            return folder

        folder = train("one")
        whole, logged = list(losses["one"]), metrics(folder)
        shutil.rmtree(TrainingStates(folder, keep=2).newest())
        train("one", "++resume=True")
        train("again")
        resumed, repeated = (
            max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(whole, losses[run], strict=True))
            for run in ("one", "again")
        )
        near = resumed <= 10 * max(repeated, 1e-6)
        exact = {"resumed against whole": resumed, "repeated against whole": repeated}
        yield {"case": "resume", **exact, "ok": near and (arguments.device != "cpu" or not resumed)}
        words = [sys.executable, "-m", "trm_repro", "evaluate", "--checkpoint", str(final_checkpoint(folder))]
        words += ["--dataset", str(data), "--device", arguments.device, "--output-dir", "alone"]
        subprocess.run(words, cwd=work, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        alone = json.loads((work / "alone/evaluation.json").read_text())["checkpoints"][0]
        trained = next(line for line in reversed(logged) if "all.exact_accuracy" in line)
        pairs = {key: (trained[f"all.{key}"], alone[key]) for key in ("accuracy", "exact_accuracy")}
        same = all(abs(a - b) < 1e-5 for a, b in pairs.values())
        yield {
            "case": "evaluation in training and alone",
            **{key: list(pair) for key, pair in pairs.items()},
            "ok": same,
        }


def adam(arguments: argparse.Namespace) -> Rows:
    """The optimiser's step against adam-atan2's kernel, where that is installed: milliseconds, and how far apart after ten."""
    import torch
    from bench.engine import timed

    from trm_repro.engine.optim import AdamATan2, FlatParameters

    size, device = 1000 if arguments.tiny else 7_000_000, torch.device(arguments.device)
    torch.manual_seed(0)
    start, gradients = torch.randn(size, device=device), [torch.randn(size, device=device) for _ in range(10)]
    mine = torch.nn.Parameter(start.clone())
    flat = FlatParameters([mine])
    ours = AdamATan2(flat, betas=(0.9, 0.95), weight_decay=0.1)
    took: dict[str, float] = {}

    def run(name: str, step: Callable[[torch.Tensor], None]) -> None:
        times = []
        for gradient in gradients:
            times.append(timed(lambda gradient=gradient: step(gradient), device))
        took[name] = statistics.median(times) * 1e3

    def our_step(gradient: Any) -> None:
        flat.grad[:size].copy_(gradient)  # what pads it to whole vectors has no gradient
        ours.step(1e-4)

    run("ours", our_step)
    try:
        from adam_atan2 import AdamATan2 as Theirs
    except ImportError:
        yield {"case": "AdamATan2", "ours, ms": took["ours"], "note": "adam-atan2 is not installed", "ok": True}
        return
    other = torch.nn.Parameter(start.clone())
    theirs = Theirs([other], lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)

    def their_step(gradient: Any) -> None:
        other.grad = gradient.clone()
        theirs.step()

    run("theirs", their_step)
    apart = float((mine - other).abs().max())
    yield {
        "case": "AdamATan2",
        "ours, ms": took["ours"],
        "theirs, ms": took["theirs"],
        "apart": apart,
        "ok": apart < 1e-5,
    }


class Paper:
    """The paper's network in training on random data: whole steps, with optimisers and average."""

    def __init__(self, arguments: argparse.Namespace, batch: int, *, compiled: bool, outer: int = 3) -> None:
        import torch

        from trm_repro.engine.act import Batch
        from trm_repro.engine.config import ArchConfig, PretrainConfig
        from trm_repro.engine.data import Metadata
        from trm_repro.engine.train import Training
        from trm_repro.engine.world import World

        torch.manual_seed(0)
        self.device = torch.device(arguments.device)
        small = {"hidden_size": 32, "num_heads": 2, "puzzle_emb_ndim": 32, "H_cycles": outer, "L_cycles": 1}
        self.arch = ArchConfig(**(small if arguments.tiny else {"H_cycles": outer, "L_cycles": 4}))
        self.tokens, self.table = (36, 50) if arguments.tiny else (900, 1_191_730)
        settings = {"lr": 1e-4, "lr_warmup_steps": 2000, "weight_decay": 0.1, "puzzle_emb_lr": 1e-2}
        self.config = PretrainConfig(
            arch=self.arch, data_paths=["unused"], global_batch_size=batch, epochs=10**6, ema=True,
            puzzle_emb_weight_decay=0.1, **settings,
        )  # fmt: skip
        self.model = self.arch.build(12, self.tokens, self.table).to(self.device)
        data = Metadata(0, 0, 0, 12, self.tokens, self.table, 1, float(batch), 1, ())
        self.training = Training(self.config, self.model, data, World(0, 1, self.device), compiled=compiled)
        draw = torch.Generator().manual_seed(0)
        tokens = [torch.randint(0, 12, (batch, self.tokens), generator=draw).int() for _ in range(2)]
        numbers = torch.randint(1, self.table, (batch,), generator=draw).int()
        self.batch = Batch(*tokens, numbers).to(self.device)
        self.kept: list[Any] = []  # the sums of steps that nobody waited for

    def step(self) -> float:
        """A training step; its loss, if that is asked of the GPU."""
        found = self.training.train_step(self.batch)
        return found.get("train/lm_loss", float("nan")) if found else float("nan")

    def forward_and_backward(self) -> None:
        """The step without its optimisers, which is what can be measured of upstream's."""
        training = self.training
        assert training.carry is not None
        vectors = self.model.puzzle_vectors(training.carry.batch.puzzle_identifiers).requires_grad_()
        _, training.carry = training._forward_backward(training.carry, vectors)
        training.flat.grad.zero_()

    def measure(self, steps: int) -> tuple[float, list[float]]:
        """Seconds of a step, the median after two that do not count, and the losses of all."""
        from bench.engine import timed

        from trm_repro.engine.loss import METRICS

        losses = [self.step() for _ in range(2)]
        times = [timed(lambda: losses.append(self.step()), self.device) for _ in range(steps)]
        if self.kept:
            losses[-1] = float(self.kept[-1][METRICS.index("lm_loss")]) / len(self.batch.inputs)
        return statistics.median(times), losses


def steps(arguments: argparse.Namespace) -> Rows:
    """Whole training steps of the paper's network, bfloat16, compiled; upstream's forward and backward; peak memory."""
    import torch
    from bench.engine import timed

    from trm_repro.machine.budget import KNOWN, gpu_memory

    for batch in (2, 4) if arguments.tiny else (96, 192):
        torch.compiler.reset()
        cuda = arguments.device == "cuda"
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        paper = Paper(arguments, batch, compiled=cuda)
        took, losses = paper.measure(3 if arguments.tiny else 10)
        row = {
            "case": f"{batch} examples, ours",
            "seconds a step": took,
            "examples/s": batch / took,
            "loss": losses[-1],
        }
        if not arguments.tiny:
            row["TFLOP/s"] = batch * EXAMPLE_FLOP / took / 1e12
        if cuda:
            low, high = gpu_memory(KNOWN["arc2concept-aug-1000"], batch)
            row |= {
                "peak, GB": torch.cuda.max_memory_allocated() / 1e9,
                "preflight's estimate, GB": [low / 1e9, high / 1e9],
            }
        yield row | {"ok": losses[-1] == losses[-1]}
        took = statistics.median(timed(paper.forward_and_backward, paper.device) for _ in range(5))
        note = "forward and backward, without the optimisers"
        yield {
            "case": f"{batch} examples, ours",
            "seconds a step": took,
            "examples/s": batch / took,
            "note": note,
            "ok": True,
        }
        del paper
        if not arguments.upstream:
            continue
        from bench import upstream
        from bench.engine import Upstream

        upstream.use(arguments.upstream)
        arch = Paper(arguments, 1, compiled=False)
        config = arch.arch.sized(12, arch.tokens, arch.table)
        theirs = Upstream(config, batch, torch.device(arguments.device), compiled=cuda)
        for _ in range(2):
            theirs.train()
        took = statistics.median(timed(theirs.train, torch.device(arguments.device)) for _ in range(5))
        yield {
            "case": f"{batch} examples, upstream's",
            "seconds a step": took,
            "examples/s": batch / took,
            "note": note,
            "ok": True,
        }
        del theirs, arch


def loss_in_float32(logits: Any) -> Any:
    """Log-probabilities of stablemax in float32, for a nearly sure token too: from the sum of the *other* classes."""
    import torch

    x = logits.float()
    s = torch.where(x < 0, 1 / (1 - x.clamp(max=0)), x + 1)  # its other branch must have a gradient too
    zero = torch.zeros_like(s[..., :1])
    before = torch.cat([zero, torch.cumsum(s, -1)[..., :-1]], -1)
    after = torch.cat([torch.cumsum(s.flip(-1), -1)[..., :-1].flip(-1), zero], -1)
    return -torch.log1p((before + after) / s)


def candidates(arguments: argparse.Namespace) -> Rows:
    """What might be faster, one by one, with its error: the loss after the same steps against the step as it is.

    One outer cycle in place of three, the one with gradients: what is compiled anew each time is a third.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from trm_repro.engine import loss as losses_of
    from trm_repro.engine.optim import AdamATan2
    from trm_repro.engine.train import supervision_step

    batch, count, cuda = (2, 3, False) if arguments.tiny else (96, 6, arguments.device == "cuda")

    def compiled(mode: str) -> Callable[[Paper], None]:
        def change(paper: Paper) -> None:
            paper.training._supervision_step = torch.compile(supervision_step, dynamic=False, mode=mode)

        return change

    def with_optimiser(paper: Paper) -> None:
        step = torch.compile(AdamATan2.step, dynamic=True)
        paper.training.optimiser.step = lambda lr: step(paper.training.optimiser, torch.tensor(lr))  # type: ignore[method-assign]

    def whole(paper: Paper) -> None:
        training = paper.training  # which of its parameters train is a flag, which no graph can hold
        training.flat.train = torch.compiler.disable(training.flat.train)  # type: ignore[method-assign]
        training.train_step = torch.compile(training.train_step)  # type: ignore[method-assign]

    def no_metrics(paper: Paper) -> None:
        paper.training._metrics = lambda sums, trains: paper.kept.append(sums) or {}  # type: ignore[method-assign]

    def nothing(paper: Paper) -> None:
        pass

    @contextlib.contextmanager
    def float32_loss() -> Iterator[None]:
        own = losses_of.LOG_PROBABILITIES["stablemax_cross_entropy"]
        losses_of.LOG_PROBABILITIES["stablemax_cross_entropy"] = loss_in_float32
        yield
        losses_of.LOG_PROBABILITIES["stablemax_cross_entropy"] = own

    backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    tried: list[tuple[str, Any, Callable[[Paper], None]]] = [
        ("as it is", contextlib.nullcontext(), nothing),
        ("as it is, again", contextlib.nullcontext(), nothing),
        ("no host sync for the metrics", contextlib.nullcontext(), no_metrics),
        ("loss in float32, compensated", float32_loss(), nothing),
        *(
            (f"attention: {backend.name.lower()}", sdpa_kernel(backend), nothing)
            for backend in backends[: 4 if cuda else 0]
        ),
        ("attention: math", sdpa_kernel(SDPBackend.MATH), nothing),
        ("optimiser's step compiled", contextlib.nullcontext(), with_optimiser),
        ("CUDA graphs (reduce-overhead)", contextlib.nullcontext(), compiled("reduce-overhead")),
        ("max-autotune, no CUDA graphs", contextlib.nullcontext(), compiled("max-autotune-no-cudagraphs")),
        ("whole step compiled, backward and optimiser too", torch._dynamo.config.patch(compiled_autograd=True), whole),
    ]
    # its key is the graph before attention becomes a kernel: it would give every backend the first one's
    torch._functorch.config.enable_autograd_cache = False
    reference: tuple[float, float] | None = None
    for name, context, change in tried:
        if (not cuda and "(" in name) or (not cuda and "max-autotune" in name):
            yield {"case": name, "note": "needs CUDA", "ok": True}
            continue
        torch.compiler.reset()
        try:
            with context:
                paper = Paper(arguments, batch, compiled=cuda, outer=1)
                change(paper)
                took, seen = paper.measure(count)
        except Exception as error:  # one candidate's failure is an answer
            yield {"case": name, "note": f"{type(error).__name__}: {str(error).splitlines()[0][:150]}", "ok": False}
            continue
        reference = reference or (took, seen[-1])
        row = {
            "case": name,
            "seconds a step": took,
            "examples/s": batch / took,
            "of the step as it is": took / reference[0],
        }
        error = abs(seen[-1] - reference[1]) / abs(reference[1])
        known = math.isfinite(error)
        yield row | {"error of the loss": error if known else "not a number", "ok": known}
        del paper


def first_steps(arguments: argparse.Namespace) -> Rows:
    """The loss of the first 300 steps of arc2-paper's configuration, on one GPU, its batch of 768 in parts if need be."""
    import torch

    from trm_repro.engine.config import ArchConfig, PretrainConfig
    from trm_repro.engine.data import Sampler, Split
    from trm_repro.engine.train import Training
    from trm_repro.engine.world import World

    device, tiny = torch.device(arguments.device), arguments.tiny
    with tempfile.TemporaryDirectory() as name:
        folder, what = arguments.dataset, f"of {arguments.dataset}"
        if tiny:
            from engine_support import write_dataset

            folder, what = write_dataset(Path(name) / "toy"), "a toy"
        elif not folder:
            from trm_repro.arc.builder import Options, build
            from trm_repro.arc.tasks import write_arc_agi_2

            write_arc_agi_2(Path(name) / "tasks")
            folder, what = (
                Path(name) / "set",
                "ARC-AGI-2 without ConceptARC, 100 augmentations: not the paper's dataset",
            )
            options = Options(str(Path(name) / "tasks/arc-agi"), ("training2", "evaluation2"), ("evaluation2",), 100)
            build(options, folder)
        split, batch = Split(folder, "train"), 8 if tiny else 768
        small = {"hidden_size": 32, "num_heads": 2, "puzzle_emb_ndim": 32, "H_cycles": 2, "L_cycles": 1}
        arch = ArchConfig(**(small if tiny else {"L_layers": 2, "H_cycles": 3, "L_cycles": 4}))
        parts = 2 if tiny else 4
        config = PretrainConfig(
            arch=arch, data_paths=[str(folder)], global_batch_size=batch, epochs=100_000, eval_interval=10_000, lr=1e-4,
            lr_warmup_steps=2000, weight_decay=0.1, puzzle_emb_lr=1e-2, puzzle_emb_weight_decay=0.1, ema=True,
            gradient_accumulation=parts, seed=0,
        )  # fmt: skip
        facts = split.metadata
        torch.manual_seed(config.seed)
        model = arch.build(facts.vocab_size, facts.seq_len, facts.num_puzzle_identifiers).to(device)
        training = Training(config, model, facts, World(0, 1, device), compiled=device.type == "cuda" and not tiny)
        sampler = Sampler(split, seed=0, global_batch_size=batch, epochs=config.interval, rank=0, world_size=1)
        sampler.begin(1)
        note = f"dataset: {what}; global batch {batch} in {parts} parts (gradient_accumulation)"
        began = time.monotonic()
        for step in range(1, (6 if tiny else 300) + 1):
            drawn = sampler.next()
            assert drawn is not None
            found = training.train_step(drawn.to(device))
            assert found is not None
            if step == 1 or step % (2 if tiny else 10) == 0:
                row = {
                    "case": f"step {step}",
                    "lm_loss": found["train/lm_loss"],
                    "q_halt_loss": found["train/q_halt_loss"],
                }
                yield row | {"seconds so far": time.monotonic() - began, "note": note if step == 1 else "", "ok": True}


# part: its seconds on a GPU, the last one's what is left. On an H100, golden took 11, adam 7, compiling one of the four
# networks of `steps` 40 to 60, and first_steps 50 + 300 x 0.91: that is a call of its own.
PARTS = {golden: 30, adam: 15, resume: 60, steps: 220, candidates: 155, first_steps: 400}
BY_NAME = {part.__name__: part for part in PARTS}
PER_CPU = 20  # times as long on a CPU, which may have other work
STARTED = [sys.executable, "-m", "bench.gpu"]


def main() -> int:
    """Runs the parts; 1 if one of them failed, took too long, or found what must not be."""
    parser = argparse.ArgumentParser(
        prog="bench/gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=list(BY_NAME), default=list(BY_NAME)[:-1], metavar="PART")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="toy sizes")
    parser.add_argument("--minutes", type=float, default=8, help="for all of it (default: %(default)s)")
    parser.add_argument("--upstream", type=Path, metavar="CHECKOUT")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="the paper's, for the first 300 steps")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results", metavar="FOLDER")
    parser.add_argument("--lines", type=Path, help=argparse.SUPPRESS)  # a part's own process: where its rows go
    arguments = parser.parse_args()
    if arguments.lines:
        with arguments.lines.open("a") as file:
            for row in BY_NAME[arguments.parts[0]](arguments):
                print(json.dumps(row), file=file, flush=True)
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a part ends with us
    facts = _facts(arguments)
    ends, done = time.monotonic() + 60 * arguments.minutes, []
    earlier = _earlier(arguments.output, facts, arguments.parts)
    for name in arguments.parts:
        left = ends - time.monotonic()
        own = PARTS[BY_NAME[name]] * (1 if arguments.device == "cuda" else PER_CPU)
        limit = left if name == arguments.parts[-1] else min(left, own)
        print(f"{name}: {limit:.0f} s at most", file=sys.stderr, flush=True)
        done.append(_run(name, limit))
        _write(arguments.output, facts, earlier + done)
    print(_table(facts, done))
    return int(any(part["end"] != "done" or not all(row["ok"] for row in part["rows"]) for part in done))


def _facts(arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: PyTorch sees no CUDA device\nhint: bench/gpu --device cpu --tiny shows that the script runs")
    called = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or platform.machine()
    git = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    facts = {"device": called, "torch": torch.__version__, "CUDA": torch.version.cuda, "tiny": arguments.tiny}
    return facts | {"commit": git.stdout.strip() or "unknown"}


def _earlier(folder: Path, facts: dict[str, Any], again: list[str]) -> list[dict[str, Any]]:
    """The parts that an earlier call found under the same facts and that are not measured again."""
    path = folder / "GPU.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    same = found and facts == {key: value for key, value in found.items() if key != "parts"}
    return [part for part in found["parts"] if part["part"] not in again] if same else []


def _run(name: str, limit: float) -> dict[str, Any]:
    """One part in a process group of its own, ended with all that it started when its time is over."""
    began, date = time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with tempfile.TemporaryDirectory() as folder:
        lines, log = Path(folder) / "lines", Path(folder) / "log"
        lines.touch()
        words = [*STARTED, *sys.argv[1:], "--parts", name, "--lines", str(lines)]
        with log.open("wb") as said:
            own = subprocess.Popen(
                words, cwd=ROOT, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True
            )
            try:
                code = own.wait(max(limit, 1.0))
                last = next(
                    (line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), ""
                )
                end = "done" if code == 0 else f"failed with {code}: {last[:300]}"
            except subprocess.TimeoutExpired:
                end = f"over its limit of {limit:.0f} s"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(own.pid, signal.SIGKILL)
                own.wait()
        rows = [json.loads(line) for line in lines.read_text().splitlines() if line.endswith("}")]
    return {"part": name, "date": date, "end": end, "seconds": time.monotonic() - began, "rows": rows}


def _write(folder: Path, facts: dict[str, Any], done: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = sorted(done, key=lambda part: list(BY_NAME).index(part["part"]))
    (folder / "GPU.json").write_text(json.dumps({**facts, "parts": done}, indent=1) + "\n")
    (folder / "GPU.md").write_text(_table(facts, done))


def _table(facts: dict[str, Any], done: list[dict[str, Any]]) -> str:
    """What was found, in Markdown."""
    lines = [
        f"# {facts['device']}",
        "",
        f"Commit {facts['commit']}, PyTorch {facts['torch']}, CUDA {facts['CUDA']}",
    ]
    if facts["tiny"]:
        lines += ["", "**Toy sizes (`--tiny`): that it runs; the numbers say nothing.**"]
    for part in done:
        what = (BY_NAME[part["part"]].__doc__ or part["part"]).strip().splitlines()[0]
        lines += ["", f"## {part['part']}", "", f"{what} {part['end']}, {part['seconds']:.0f} s, {part['date']}.", ""]
        keys = list(dict.fromkeys(key for row in part["rows"] for key in row))
        if keys:
            lines += [f"| {' | '.join(keys)} |", "|" + "---|" * len(keys)]
            lines += [f"| {' | '.join(_said(row.get(key)) for key in keys)} |" for row in part["rows"]]
    return "\n".join([*lines, ""])


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " / ".join(map(_said, value))
    return "" if value is None else str(value).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
