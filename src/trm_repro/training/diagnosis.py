"""Why a training failed, read from the end of its output, and the legitimate next move.

A move is legitimate when the run stays the recipe's: more of the machine, a repaired environment, the same command again.
Never a changed flag. Fewer GPUs are no remedy for lack of memory: the batch is split by their number.

``CAUSES`` is ordered from root causes to symptoms: when one process runs out of memory the others report NCCL errors, and
when the system kills one there may be nothing but its exit code. The first cause that any of the lines fits is the diagnosis.

``ALARMS`` are lines of upstream after which it goes on as if nothing had happened, or crashes hours later: they end a run at
once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A kind of failure: its name, the lines it shows in, what it means, and what to do."""

    name: str
    pattern: re.Pattern[str]
    means: str
    remedy: str


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter, in a sentence with the line that says so, and what to do."""

    name: str
    finding: str
    remedy: str


def _cause(name: str, pattern: str, means: str, remedy: str) -> Cause:
    return Cause(name, re.compile(pattern), means, remedy)


# A progress bar ends without a newline: what is printed next stands on its line.
BARS = re.compile(r"^(?:[^|]{0,40}?\d+%\|[^|]*\| *\S+/\S+ \[[^\]]*\]|\s*\d+it \[[^\]]*\])+")

AGAIN = "then run the same command again: make all"

CAUSES = (
    _cause(
        "out of GPU memory",
        r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED",
        "a GPU has too little memory for its share of the batch",
        "end other programs on the GPUs (nvidia-smi lists them), or use more GPUs, or larger ones. The batch is split "
        "among them, so fewer GPUs need more memory each; flags are never changed",
    ),
    _cause(
        "/dev/shm too small",
        r"out of shared memory|[Bb]us error|unable to (?:open|allocate|mmap) shared memory|unable to write to file </torch_",
        "the processes exchange data through /dev/shm, and it is full",
        f"give it at least 1 GB a GPU (docker run --shm-size=16g, or --ipc=host; mount -o remount,size=16G /dev/shm), {AGAIN}",
    ),
    _cause(
        "disk full",
        r"No space left on device|Disk quota exceeded|PytorchStreamWriter failed writing|Errno 28\b",
        "nothing more could be written; a checkpoint of that moment is cut off",
        f"free disk (make status and make plan say how much is needed; attempts set aside can go), {AGAIN}",
    ),
    _cause(
        "missing extension",
        r"No module named 'adam_atan2_backend'|adam_atan2_backend.*(?:undefined symbol|cannot open shared object)",
        "the optimiser's CUDA part is not installed, or was built for another torch",
        "make it again: make step-3 FORCE=1, then make all",
    ),
    _cause(
        "no compiler",
        r"Failed to find C compiler|Python\.h: No such file|InductorError|BackendCompilerFailed|cannot find -lcuda",
        "torch.compile could not build its kernels",
        f"install a C compiler and Python's headers (gcc, python3.10-dev), {AGAIN}",
    ),
    _cause(
        "missing module",
        r"ModuleNotFoundError: No module named|ImportError: ",
        "the training environment lacks something",
        "make it again: make step-3 FORCE=1, then make all",
    ),
    _cause(
        "Weights & Biases refuses",
        r"No API key configured|wandb.*(?:API key|api_key).*(?:invalid|must|not)|wandb\.errors\.\w+: |CommError",
        "the key is missing or wrong, or its server was not reached",
        f"unset WANDB_API_KEY (metrics stay on this machine), or put a valid one in place, {AGAIN}",
    ),
    _cause(
        "port in use",
        r"EADDRINUSE|[Aa]ddress already in use|failed to listen on any local network address",
        "torchrun could not open its port: another program has it",
        f"end the other training on this machine, {AGAIN}",
    ),
    _cause(
        "too many open files",
        r"Too many open files",
        "the limit of open files is too low",
        f"raise it (ulimit -n 65536), {AGAIN}",
    ),
    _cause(
        "no process group",
        r"Default process group has not been initialized",
        "upstream's ARC evaluator works under torchrun only",
        "start the training through this runbook; it uses torchrun for one GPU too",
    ),
    _cause(
        "configuration refused",
        r"Could not override|Could not append to config|Error merging override|ValidationError",
        "a word of the command is not one that the program knows",
        "remove EXTRA_TRAIN_ARGS; the recipe's own words are known to work at its pin",
    ),
    _cause(
        "GPU or driver",
        r"driver version is insufficient|no kernel image|no CUDA-capable device|[Uu]ncorrectable ECC|Xid|fallen off the bus|"
        r"illegal memory access|unspecified launch failure|invalid device ordinal",
        "the driver does not fit, or a GPU is failing",
        f"look at nvidia-smi and dmesg; take another machine or driver if it happens again. Otherwise {AGAIN}",
    ),
    _cause(
        "killed",
        r"Signal 9 \(SIGKILL\)|exitcode\s*:\s*-9\b|^Killed$|exit code 137\b",
        "the system ended a process, most likely for lack of memory (dmesg, or the container's limit, says so)",
        f"give the machine or the container more memory, and let nothing else run beside it, {AGAIN}",
    ),
    _cause(
        "NCCL",
        r"NCCL (?:error|WARN)|DistBackendError|ProcessGroupNCCL|collective operation timeout|nccl\w*Error",
        "the GPUs lost contact; often another process failed first, and its lines stand above",
        f"look at the first error in the log, at nvidia-smi and /dev/shm; {AGAIN}. NCCL_DEBUG=INFO shows more, and is recorded",
    ),
)

ALARMS = (
    _cause(
        "no test split",
        "NO EVAL DATA FOUND",
        "upstream cannot read the dataset's test split; it would train for hours and crash at its first evaluation",
        "build the dataset again: make step-4 FORCE=1, then make all",
    ),
    _cause(
        "no evaluator",
        "No evaluator found",
        "upstream goes on without its evaluator: no pass@K, no submission, and exit code 0",
        "test_puzzles.json or identifiers.json is missing or broken: make step-4 FORCE=1, then make all",
    ),
    _cause(
        "missing predictions",
        "has no predictions",
        "a test input was never predicted: its entry is left out, and later ones of the task move to its place",
        "the test split does not belong to test_puzzles.json: make step-4 FORCE=1, then make all",
    ),
    _cause(
        "puzzle table reset",
        "Resetting puzzle embedding",
        "the loaded checkpoint belongs to a dataset with other puzzles; its table was replaced by its mean",
        "load a checkpoint of this dataset, or start from the beginning: unset RESUME",
    ),
)


def diagnose(lines: Iterable[str], exit_code: int) -> Diagnosis:
    """Why a training ended badly.

    Args:
        lines: the end of its output.
        exit_code: as a shell reports it; 128 + n for signal n.
    """
    lines = [BARS.sub("", line.rstrip(), count=1) for line in lines]
    for cause in (*ALARMS, *CAUSES):
        for line in lines:
            if cause.pattern.search(line):
                return _found(cause, line)
    if exit_code == 137:
        return _found(next(cause for cause in CAUSES if cause.name == "killed"), f"exit code {exit_code}")
    errors = [line for line in lines if re.match(r"\w[\w.]*(?:Error|Exception|Interrupt)\b", line)]
    last = errors[0] if errors else next((line for line in reversed(lines) if line.strip()), "no output")
    return Diagnosis(
        "unknown",
        f"exit code {exit_code}: {last.strip()}",
        "read the log from its end; flags are never changed to get past",
    )


def _found(cause: Cause, line: str) -> Diagnosis:
    return Diagnosis(cause.name, f"{cause.name}: {cause.means} (it said: {line.strip()[:200]})", cause.remedy)
