"""What a run takes, as arithmetic: steps, bytes, GPU memory, floating-point operations, hours. Nothing is measured here.

Each number says where it comes from. Sizes are bytes (GB is 10⁹), times hours, and estimates that rest on few observations
are ranges.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

from trm_repro.recipes.published import Result, published
from trm_repro.recipes.schema import Recipe
from trm_repro.runs.schedule import CONTAINER, Settings, checkpoint_bytes

GB = 10**9


@dataclass(frozen=True)
class Data:
    """Sizes of a dataset that upstream's builder makes: seed 42, 1000 augmentations."""

    groups: int
    identifiers: int
    train_examples: int
    test_examples: int

    @property
    def mean_examples(self) -> float:
        """Training examples of a puzzle, on average."""
        return self.train_examples / (self.identifiers - 1)

    @property
    def bytes(self) -> int:
        """On disk: inputs and labels of 900 cells each; 8 of indices and 40 of names an identifier."""
        return (self.train_examples + self.test_examples) * 2 * 900 + 48 * self.identifiers

    @property
    def table(self) -> int:
        """The puzzle vectors: 512 float32 each."""
        return self.identifiers * 512 * 4

    @property
    def checkpoint(self) -> int:
        """A checkpoint file of the paper's network; ARC has 12 tokens."""
        return checkpoint_bytes(self.identifiers, 12, Settings()) + CONTAINER

    @property
    def builder_memory(self) -> int:
        """Upstream's builder: 21.8 GB were seen for 1,191,730 identifiers, 18.36 kB each also for smaller sets."""
        return 18_360 * self.identifiers


# replayed, and for the first also built, with upstream's builder
KNOWN = {
    "arc2concept-aug-1000": Data(1280, 1_191_730, 5_163_277, 170_393),
    "arc1concept-aug-1000": Data(960, 876_406, 3_633_410, 385_815),
}

# One training pass of one example through TRM with H_cycles 3 and L_cycles 4 takes 0.38 TFLOP: the network is applied 15 times
# forward, 3 × (4 + 1), and 5 times backward, which costs twice as much: 25 units.
APPLICATION = 0.38e12 / 25
EVALUATION_PASSES = 16  # halt_max_steps; evaluation never halts early


@dataclass(frozen=True)
class Cycles:
    """How often TRM applies its network to an example."""

    high: int = 3
    low: int = 4

    @property
    def forward(self) -> int:
        """Applications in a pass."""
        return self.high * (self.low + 1)

    @property
    def backward(self) -> int:
        """Those that gradients go through: the last of the high cycles."""
        return self.low + 1

    @property
    def train_flop(self) -> float:
        """Floating-point operations of a training pass of one example."""
        return (self.forward + 2 * self.backward) * APPLICATION

    @property
    def evaluation_flop(self) -> float:
        """Floating-point operations of an evaluation pass of one example."""
        return self.forward * APPLICATION


PAPER = Cycles()

# GPU memory with 5 applications backward: an evaluation with EMA holds the puzzle table three times; CUDA, code and the network
# take about 1.5 GB. An example keeps what the backward pass needs: 10 layers × 916 tokens × 24 kB = 0.22 GB counted;
# 0.273 GB if all of the 35 GB that others saw at 96 examples a GPU belong to it.
GPU_FIXED = 1.5 * GB
GPU_EXAMPLE = (0.22 * GB, 0.273 * GB)

# dense bfloat16 TFLOP/s as NVIDIA's data sheets have it; the first name that occurs in nvidia-smi's counts
PEAK = {
    "B300": 2250e12,
    "GB200": 2500e12,
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H100": 989e12,
    "H800": 989e12,
    "H20": 148e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A40": 150e12,
    "A10": 125e12,
    "RTX 6000 Ada": 364e12,
    "A6000": 155e12,
    "5090": 210e12,
    "4090": 165e12,
    "3090": 71e12,
}


def peak(gpu: str) -> float | None:
    """A GPU's dense bfloat16 peak in FLOP/s, by its name; None if it is not in the table, or is a MIG slice."""
    if " MIG " in gpu:
        return None
    return next((flop for name, flop in PEAK.items() if name in gpu), None)


def setting(recipe: Recipe, name: str, default: int) -> int:
    """A number among the training command's words, such as ``epochs=50000``; upstream's default if it is not there."""
    words = recipe.train_command(processes=1, run_name="any")
    return next(
        (int(word.partition("=")[2]) for word in reversed(words) if word.lstrip("+").startswith(f"{name}=")), default
    )


def known_data(recipe: Recipe) -> Data | None:
    """The sizes of a recipe's dataset, where they are known."""
    return KNOWN.get(PurePosixPath(recipe.dataset.folder).name)


def cycles(recipe: Recipe) -> Cycles:
    """What a recipe's training command says, or upstream's default."""
    return Cycles(setting(recipe, "arch.H_cycles", 3), setting(recipe, "arch.L_cycles", 6))


def work(data: Data, *, steps: int, batch: int, evaluations: int, cycles: Cycles = PAPER) -> float:
    """Floating-point operations of a run."""
    training = steps * batch * cycles.train_flop
    return training + evaluations * data.test_examples * EVALUATION_PASSES * cycles.evaluation_flop


def gpu_memory(data: Data, examples: int, cycles: Cycles = PAPER) -> tuple[float, float]:
    """Bytes of GPU memory for a number of examples a GPU: the least that is known to be needed, and what others saw."""
    each = examples * cycles.backward / PAPER.backward
    low, high = (3 * data.table + GPU_FIXED + example * each for example in GPU_EXAMPLE)
    return low, high


def published_work(run: Result) -> float:
    """Floating-point operations of a published run on ARC-AGI-2."""
    return work(KNOWN["arc2concept-aug-1000"], steps=run.steps, batch=run.batch, evaluations=run.evaluations)


def published_runs() -> dict[Result, float]:
    """The ARC-AGI-2 runs whose work and hours are known; the share of their GPUs' peak that they reached by our count."""
    return {
        run: published_work(run) / (run.hours * 3600 * run.gpus * flop)
        for run in published("arc2")
        if run.steps and run.hours and (flop := peak(run.gpu))
    }


def hours(total: float, *, gpus: int, gpu_peak: float, shares: Collection[float]) -> tuple[float, float]:
    """The duration on ``gpus`` GPUs if the best and the worst of these shares of their peak is reached."""
    low, high = (total / (gpus * gpu_peak * share * 3600) for share in (max(shares), min(shares)))
    return low, high
