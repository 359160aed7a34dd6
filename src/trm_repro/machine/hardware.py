"""What this machine has: GPUs, compilers, memory, disk. Measured when asked, nothing cached, nothing assumed.

Sizes are bytes. What cannot be found out is None, never a guess.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20  # nvidia-smi counts memory in MiB
FIELDS = ("name", "memory.total", "driver_version", "compute_cap", "memory.used")


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi describes it; ``capability`` is its compute capability, such as (9, 0)."""

    name: str
    memory: int | None
    driver: str
    capability: tuple[int, int] | None = None
    used: int | None = None


@dataclass(frozen=True)
class Nvcc:
    """A CUDA compiler: where its toolkit lies, and its version."""

    home: Path
    version: tuple[int, ...]


def output(command: list[str]) -> str:
    """What a program prints; empty where it is missing or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout


def gpus() -> list[Gpu]:
    """The GPUs; none on a machine without nvidia-smi or without a driver. Old drivers do not know all of the fields."""
    for count in (len(FIELDS), 3):
        listed = output(["nvidia-smi", f"--query-gpu={','.join(FIELDS[:count])}", "--format=csv,noheader,nounits"])
        if found := [gpu for line in listed.splitlines() if (gpu := _gpu(line))]:
            return found
    return []


def _gpu(line: str) -> Gpu | None:
    words = [word.strip() for word in line.split(",")]
    if len(words) < 3:
        return None
    capability = version(words[3]) if len(words) > 3 else ()
    return Gpu(
        name=words[0],
        memory=_mebibytes(words[1]),
        driver=words[2],
        capability=(capability[0], capability[1]) if len(capability) == 2 else None,
        used=_mebibytes(words[4]) if len(words) > 4 else None,
    )


def _mebibytes(text: str) -> int | None:
    found = re.match(r"\d+", text)
    return int(found[0]) * MIB if found else None


def version(text: str) -> tuple[int, ...]:
    """The numbers at the start of a version, such as (580, 65, 6) of ``580.65.06``; empty if there are none."""
    found = re.match(r"\d+(\.\d+)*", text.strip())
    return tuple(map(int, found[0].split("."))) if found else ()


def dotted(numbers: Iterable[int]) -> str:
    """The usual form of a version."""
    return ".".join(map(str, numbers))


def compilers() -> list[Nvcc]:
    """The CUDA compilers of this machine: CUDA_HOME's, the one on PATH, those in the usual places."""
    on_path = shutil.which("nvcc")
    homes = [Path(os.environ["CUDA_HOME"])] if os.environ.get("CUDA_HOME") else []
    homes += [Path(on_path).resolve().parent.parent] if on_path else []
    homes += sorted(Path("/usr/local").glob("cuda*"), reverse=True)
    found: dict[Path, Nvcc] = {}
    for home in homes:
        said = re.search(r"release (\d+(?:\.\d+)*)", output([str(home / "bin" / "nvcc"), "--version"]))
        if said:
            found.setdefault(home.resolve(), Nvcc(home, version(said[1])))
    return list(found.values())


def memory() -> int:
    """The memory that processes here may use: the machine's, or less where a container is limited."""
    rows = [line.split() for line in output(["free", "-b"]).splitlines()]
    sizes = [int(row[1]) for row in rows if row[:1] == ["Mem:"]]
    groups = Path(os.environ.get("CGROUP_ROOT", "/sys/fs/cgroup"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int((groups / limit).read_text()))
    return min(sizes, default=0)


def free_space(folder: Path) -> int:
    """The free bytes where a folder lies, or will lie once it is made."""
    while not folder.exists():
        folder = folder.parent
    words = output(["df", "-B1", "--output=avail", str(folder)]).split()
    return int(words[-1]) if words[1:] else 0
