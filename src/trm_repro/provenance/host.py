"""Facts of the machine a run was made on. No name of machine or user is among them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
MIB = 1 << 20  # nvidia-smi counts memory in MiB


def host() -> dict[str, Any]:
    """System, processor, memory in bytes, GPUs with driver, the driver's CUDA version."""
    return {
        "system": platform.system(),
        "os": _release(Path("/etc/os-release")),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": [gpu for line in _output(QUERY).splitlines() if (gpu := _gpu(line))],
        "cuda": _cuda(_output(["nvidia-smi"])),
    }


def _output(command: list[str]) -> str:
    """What a program prints; empty where it is missing or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout


def _gpu(line: str) -> dict[str, Any] | None:
    words = [word.strip() for word in line.split(",")]
    if len(words) != 3:
        return None
    memory = int(words[1]) * MIB if words[1].isdigit() else None
    return {"name": words[0], "memory_bytes": memory, "driver": words[2]}


def _cuda(screen: str) -> str | None:
    found = re.search(r"CUDA Version: *([0-9.]+)", screen)
    return found[1] if found else None


def _field(path: Path, name: str) -> str:
    """The first value of ``name : value`` in a file of /proc."""
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return ""


def _release(path: Path) -> str:
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip('"')
    return platform.platform()
