"""How much memory, processor and address space a process here may use: the machine's, or less where something limits it.

Read by psutil and from the kernel's own files, never from a program's translated words. Every control group from this
process' own up to the root counts, of both versions; so do the limits of ``ulimit``. Swap is no memory. Sizes are bytes.
``PROC_ROOT`` and ``CGROUP_ROOT`` are other places for the kernel's files.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

NO_LIMIT = 1 << 60  # version 1 writes a number near 2^63 where there is none


@dataclass(frozen=True)
class Limit:
    """An amount, and what sets it."""

    amount: float
    by: str


def memory() -> Limit | None:
    """The memory that a process here may use; None where nobody says."""
    found = []
    if total := _virtual_memory("total"):
        found.append(Limit(total, "the machine's"))
    for name, folder in groups("memory"):
        names = ("memory.max", "memory.high", "memory.limit_in_bytes")
        sizes = [size for file in names if (size := _number(folder / file)) is not None]
        found += [Limit(min(sizes), f"the limit of the control group {name}")] if sizes else []
    for name, folder in groups("memory"):  # groups above those that a container shows count in this
        size = _field(folder / "memory.stat", "hierarchical_memory_limit")
        found += [Limit(size, f"a limit above the control group {name}")] if size is not None else []
    found += [Limit(size, "ulimit -v") for size in [ulimit(resource.RLIMIT_AS)] if size is not None]
    found += [Limit(size, "ulimit -d") for size in [ulimit(resource.RLIMIT_DATA)] if size is not None]
    return min(found, key=lambda limit: limit.amount, default=None)


def free_memory() -> int | None:
    """What of that is free now: what only caches files counts as free. None where nobody says."""
    found = [free] if (free := _virtual_memory("available")) is not None else []
    for _, folder in groups("memory"):
        for most, now, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _number(folder / most), _number(folder / now)
            if limit is not None and used is not None:
                found.append(max(0, limit - used + (_field(folder / "memory.stat", cache) or 0)))
    return min(found, default=None)


def cores() -> Limit:
    """The processors that a process here may use, in cores: a quota may leave a part of one."""
    whole = os.cpu_count() or 1
    found = [Limit(whole, "the machine's")]
    if hasattr(os, "sched_getaffinity"):
        found.append(Limit(len(os.sched_getaffinity(0)), "those given to this process"))
    for name, folder in groups("cpu"):
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if (words := _text(folder / "cpu.max").split())[1:] and words[0].isdigit():
            quota, period = int(words[0]), int(words[1])
        if quota and period and quota > 0:
            found.append(Limit(quota / period, f"the quota of the control group {name}"))
    return min(found, key=lambda limit: limit.amount)


def processes() -> Limit | None:
    """How many processes and threads this user, or this control group, may have; None where there is no limit."""
    found = [Limit(most, "ulimit -u") for most in [ulimit(resource.RLIMIT_NPROC)] if most is not None and os.geteuid()]
    for name, folder in groups("pids"):
        most = _number(folder / "pids.max")
        found += [Limit(most, f"the limit of the control group {name}")] if most is not None else []
    return min(found, key=lambda limit: limit.amount, default=None)


def ulimit(which: int) -> int | None:
    """A soft limit of ``ulimit``; None where there is none."""
    most = resource.getrlimit(which)[0]
    return None if most in (resource.RLIM_INFINITY, -1) or most >= NO_LIMIT else most


def groups(controller: str) -> Iterator[tuple[str, Path]]:
    """This process' control groups of a controller, its own first and the root last, as (name, folder)."""
    proc = Path(os.environ.get("PROC_ROOT", "/proc"))
    for line in _text(proc / "self/cgroup").splitlines() or ["0::/", f"1:{controller}:/"]:
        _, controllers, own = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for base, root in _mounts(proc, controllers, controller):
            inside = _below(base) if root.startswith("/..") else own if root == "/" else own.removeprefix(root)
            path = Path("/" if ".." in inside.split("/") else f"/{inside.strip('/')}")
            for group in (path, *path.parents):
                if (folder := base / str(group).lstrip("/")).is_dir():
                    yield str(group), folder


def _below(base: Path) -> str:
    """This process' group in a mount that begins above its namespace, whose files do not name it: it lists the process."""
    me = str(os.getpid())
    found = (path.parent for path in base.rglob("cgroup.procs") if me in _text(path).split())
    return f"/{next(found, base).relative_to(base)}"


def _mounts(proc: Path, controllers: str, controller: str) -> list[tuple[Path, str]]:
    """Where a hierarchy is mounted, and which of its groups is its root there."""
    if place := os.environ.get("CGROUP_ROOT"):
        names = {controllers, controller} if controllers else {"", "unified"}
        return [(Path(place) / name, "/") for name in sorted(names)]
    found = []
    for line in _text(proc / "self/mountinfo").splitlines():
        front, _, back = line.partition(" - ")
        kind, _, options = (*back.split(), "", "")[:3]
        fits = kind == "cgroup2" if not controllers else kind == "cgroup" and controller in options.split(",")
        if fits:
            words = [re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), word) for word in front.split()]
            found.append((Path(words[4]), words[3]))
    return found


def _virtual_memory(name: str) -> int | None:
    with contextlib.suppress(OSError, KeyError, ValueError, RuntimeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what else of the file is missing is not asked for
        psutil.PROCFS_PATH = os.environ.get("PROC_ROOT", "/proc")
        return int(getattr(psutil.virtual_memory(), name))
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """A limit's number; None where there is no file, or no limit."""
    words = _text(path).split()
    number = int(words[0]) if words and re.fullmatch(r"-?\d+", words[0]) else None
    return None if number is None or number >= NO_LIMIT else number


def _field(path: Path, name: str) -> int | None:
    found = re.search(rf"^{name} (\d+)$", _text(path), re.MULTILINE)
    return int(found[1]) if found and int(found[1]) < NO_LIMIT else None
