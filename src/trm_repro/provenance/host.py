"""Facts of the machine a run was made on. No name of machine or user is among them."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trm_repro.machine.ask import output
from trm_repro.machine.hardware import gpus


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
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.memory, "driver": gpu.driver} for gpu in gpus()],
        "cuda": _cuda(output(["nvidia-smi"])),
    }


def machine(host: Mapping[str, Any]) -> str:
    """What computed, in a few words, from the ``host`` of a manifest."""
    gpus = host["gpus"]
    return f"{len(gpus)} × {gpus[0]['name']}" if gpus else f"CPU, {host['cores']} cores"


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
