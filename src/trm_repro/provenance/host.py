"""Facts of the machine a run was made on. No name of machine or user is among them."""

from __future__ import annotations

import contextlib
import json
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


TORCH = "torch.json"  # what the tap leaves beside the checkpoints
SLACK = 0.1  # of a GPU's memory: the driver keeps some, which nvidia-smi counts


def with_torch(host: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A machine as torch saw it in the training process, where that was written down; what nvidia-smi said stays beside it.

    Args:
        host: the machine as nvidia-smi has it.
        folder: the checkpoint folder.
    """
    said = read_torch(folder / TORCH)
    if not said:
        return {**host, "torch": None}
    driver = said["driver"] or next((gpu["driver"] for gpu in host["gpus"]), "")
    seen = [{"name": gpu["name"], "memory_bytes": gpu["memory_bytes"], "driver": driver} for gpu in said["devices"]]
    return {**host, "gpus": seen or host["gpus"], "torch": said, "nvidia_smi": host["gpus"]}


def read_torch(path: Path) -> dict[str, Any] | None:
    """What the tap wrote down of torch; None where there is nothing, or nothing of that form."""
    found = None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        held = json.loads(path.read_bytes())
        texts = {key: held[key] and str(held[key]) for key in ("torch", "cuda", "driver_cuda", "driver")}
        found = {
            **texts,
            "cudnn": held["cudnn"] and int(held["cudnn"]),
            "devices": [
                {
                    "name": str(gpu["name"]),
                    "capability": str(gpu["capability"]),
                    "memory_bytes": int(gpu["memory_bytes"]),
                    "uuid": gpu["uuid"] and str(gpu["uuid"]),
                }
                for gpu in held["devices"]
            ],
            "processes": int(held["processes"]),
            "compile_disabled_by": [str(name) for name in held["compile_disabled_by"]],
            "compiled_frames": int(held["compiled_frames"]),
        }
    return found


def disagreements(host: Mapping[str, Any]) -> list[str]:
    """Where torch, in the training process, and nvidia-smi tell of other GPUs, a sentence each."""
    said, listed = host.get("torch"), host.get("nvidia_smi") or []
    if not said or not said["devices"]:
        return []
    names = [gpu["name"] for gpu in said["devices"]]
    others = [gpu["name"] for gpu in listed]
    lines = []
    if len(names) > len(others) or set(names) - set(others):
        lines.append(f"torch computed on {_counted(names)}, nvidia-smi lists {_counted(others)}")
    sizes = [gpu["memory_bytes"] for gpu in listed if gpu["memory_bytes"] and gpu["name"] in names]
    for gpu in said["devices"]:
        if sizes and not any(abs(size - gpu["memory_bytes"]) <= SLACK * size for size in sizes):
            lines.append(f"torch sees {gpu['memory_bytes']:,} bytes on {gpu['name']}, nvidia-smi {max(sizes):,}")
            break
    drivers = sorted({gpu["driver"] for gpu in listed})
    if said["driver"] and listed and drivers != [said["driver"]]:
        lines.append(f"the kernel has driver {said['driver']}, nvidia-smi says {', '.join(drivers)}")
    if said["driver_cuda"] and host["cuda"] and said["driver_cuda"] != host["cuda"]:
        lines.append(f"the driver knows CUDA {said['driver_cuda']}, nvidia-smi says {host['cuda']}")
    return lines


def _counted(names: list[str]) -> str:
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names)) or "none"


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
