"""What the steps note while they work: one JSON object a line, appended, never rewritten.

``commands.jsonl``: every wrapped command with its words, folder, times and exit code. ``guards.jsonl``: every guard's
outcome. The manifest takes from them what belongs to the attempt that succeeded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Variables that change what a wrapped command computes or where it runs. Secrets are never among them.
OF_INTEREST = (
    "PYTHONHASHSEED",
    "PYTHONPATH",
    "PYTHONOPTIMIZE",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "DISABLE_COMPILE",
    "WANDB_MODE",
    "WANDB_DISABLED",
    "HYDRA_FULL_ERROR",
    "CUDA_HOME",
    "TORCH_CUDA_ARCH_LIST",
    "NVCC_APPEND_FLAGS",
)
PREFIXES = ("NCCL_", "TORCH_", "TORCHINDUCTOR_", "PYTORCH_")


def environment_of_interest(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables worth recording beside a command."""
    return {name: value for name, value in sorted(environ.items()) if name in OF_INTEREST or name.startswith(PREFIXES)}


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Adds one line to a record file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All entries of a record file, in order; a last line cut off by a kill is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries
