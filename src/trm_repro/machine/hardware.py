"""What this machine has: GPUs, compilers, memory, disk. Measured when asked, nothing cached, nothing assumed.

Sizes are bytes. What cannot be found out is None, never a guess. A program that does not answer in time counts as one that
is not there, and is not asked again: nvidia-smi hangs on a broken driver, and no step and no look at a training may hang
with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20  # nvidia-smi counts memory in MiB
FIELDS = ("name", "memory.total", "driver_version", "compute_cap", "memory.used", "index", "utilization.gpu")
NEW = "compute_cap"  # the field that old drivers do not know
PATIENCE = 30.0  # seconds that a program has to answer
HUNG: set[str] = set()  # programs that did not answer this process


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi describes it.

    Attributes:
        name: its model.
        memory: bytes.
        driver: the version of the machine's driver.
        capability: its compute capability, such as (9, 0).
        used: bytes of memory in use.
        index: nvidia-smi's number for it.
        busy: the share of time that it works, in per cent.
    """

    name: str
    memory: int | None
    driver: str
    capability: tuple[int, int] | None = None
    used: int | None = None
    index: int | None = None
    busy: int | None = None


@dataclass(frozen=True)
class Nvcc:
    """A CUDA compiler: where its toolkit lies, and its version."""

    home: Path
    version: tuple[int, ...]


def output(command: list[str]) -> str:
    """What a program prints; empty where it is missing, fails or does not answer in time."""
    if command[0] in HUNG or not shutil.which(command[0]):
        return ""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        said, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        HUNG.add(command[0])
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # what hangs in a driver does not die of it
            process.wait(1)
        return ""
    return "" if process.returncode else said


def gpus() -> list[Gpu]:
    """The GPUs; none on a machine without nvidia-smi or without a driver."""
    for fields in (FIELDS, tuple(field for field in FIELDS if field != NEW)):
        listed = output(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"])
        rows = (dict(zip(fields, map(str.strip, line.split(",")), strict=False)) for line in listed.splitlines())
        if found := [_gpu(row) for row in rows if len(row) >= 3]:
            return found
    return []


def _gpu(row: Mapping[str, str]) -> Gpu:
    capability = version(row.get(NEW, ""))
    total, used = (_number(row.get(field, "")) for field in ("memory.total", "memory.used"))
    return Gpu(
        name=row["name"],
        memory=None if total is None else total * MIB,
        driver=row["driver_version"],
        capability=(capability[0], capability[1]) if len(capability) == 2 else None,
        used=None if used is None else used * MIB,
        index=_number(row.get("index", "")),
        busy=_number(row.get("utilization.gpu", "")),
    )


def _number(text: str) -> int | None:
    found = re.match(r"[0-9]{1,18}(?![0-9])", text)
    return int(found[0]) if found else None


def version(text: str) -> tuple[int, ...]:
    """The numbers at the start of a version, such as (580, 65, 6) of ``580.65.06``; empty if there are none."""
    found = re.match(r"[0-9]{1,9}(\.[0-9]{1,9})*(?![0-9])", text.strip())
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
    sizes = [size for row in rows if row[:1] == ["Mem:"] and row[1:] and (size := _number(row[1])) is not None]
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
    return (_number(words[-1]) or 0) if words[1:] else 0
