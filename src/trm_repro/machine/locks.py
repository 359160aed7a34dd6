"""The training environment: which lock fits this machine, and whether what is installed is that lock.

A lock is ``locks/CUDA.txt`` (``cu130``, ``cu126``), or ``locks/CUDA-FAMILY.txt`` where an upstream family has its own: every
package of the environment with its digests, as `uv pip compile` writes it. CUDA 13 needs driver 580 or newer, CUDA 12
driver 525 or newer; the newest that the driver can run is taken. `adam-atan2` is compiled here, after torch: with cu130 by
the compiler that the lock itself installs, with cu126 by an nvcc 12 of the machine.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.machine.hardware import Gpu, Nvcc, dotted, version
from trm_repro.recipes.schema import Recipe

# lock → the first driver that runs it (NVIDIA's CUDA release notes, "minimum required driver")
DRIVERS = {"cu130": (580,), "cu126": (525, 60)}
# What adam-atan2 0.0.3 compiles for by itself; TORCH_CUDA_ARCH_LIST does not change it.
BUILT_IN = {(8, 0), (8, 6), (8, 9), (9, 0)}
INSTALLERS = {"pip"}


@dataclass(frozen=True)
class Choice:
    """The lock for a machine, why it, and what adam-atan2 is compiled with.

    ``cuda_home`` is empty where the lock brings the compiler; ``architectures`` is in the form of TORCH_CUDA_ARCH_LIST;
    ``nvcc_flags`` are for GPUs that adam-atan2 does not think of by itself.
    """

    lock: str
    why: str
    cuda_home: str
    architectures: str
    nvcc_flags: str


def choose(gpus: Sequence[Gpu], compilers: Sequence[Nvcc], *, wanted: str = "auto", compiles: bool = True) -> Choice:
    """The lock for a machine with these GPUs and CUDA compilers.

    Args:
        gpus: the GPUs found; without any, the lock of a new machine is taken.
        compilers: the machine's own CUDA compilers.
        wanted: CUDA_LOCK: ``auto``, or the lock to take whatever the driver.
        compiles: whether CUDA code will be compiled in the environment.

    Raises:
        UsageError: there is no such lock.
        MissingPrerequisite: the driver is too old for every lock, or the lock needs a compiler that is not there.
    """
    if wanted != "auto" and wanted not in DRIVERS:
        raise UsageError(f"CUDA_LOCK is '{wanted}'", hint=f"use auto, {' or '.join(DRIVERS)}")
    if wanted != "auto":
        lock, why = wanted, "CUDA_LOCK says so"
    elif not gpus:
        lock, why = "cu130", "no driver here to go by; this is what a new machine takes"
    else:
        driver = min((gpu.driver for gpu in gpus), key=version)
        lock = next((name for name, first in DRIVERS.items() if version(driver) >= first), "")
        if not lock:
            raise MissingPrerequisite(
                f"the NVIDIA driver {driver} is older than {dotted(DRIVERS['cu126'])}, which CUDA 12 needs",
                hint="install a newer driver; ENV_LOCK=none takes torch from TORCH_INDEX_URL instead",
            )
        why = f"driver {driver}, and {lock} needs {dotted(DRIVERS[lock])}"
    home = ""
    if lock == "cu126" and compiles:
        twelve = [nvcc for nvcc in compilers if nvcc.version[0] == 12]
        if not twelve:
            seen = ", ".join(dotted(nvcc.version) for nvcc in compilers) or "none"
            raise MissingPrerequisite(
                f"the lock cu126 ({why}) needs an nvcc of CUDA 12 to build adam-atan2; found: {seen}",
                hint="install the CUDA 12.6 toolkit and set CUDA_HOME to it, or a driver from 580 on (then cu130 needs none)",
            )
        home = str(twelve[0].home)
    found = sorted({gpu.capability for gpu in gpus if gpu.capability}) or sorted(BUILT_IN)
    if lock == "cu126" and found[-1] >= (10, 0):
        raise MissingPrerequisite(
            f"GPUs of compute capability {dotted(found[-1])} need CUDA 13; the lock would be cu126 ({why})",
            hint="install a driver from 580 on, and leave CUDA_LOCK at auto",
        )
    new = [capability for capability in found if capability not in BUILT_IN]
    return Choice(
        lock=lock,
        why=why,
        cuda_home=home,
        architectures=";".join(map(dotted, found)),
        nvcc_flags=" ".join(f"-gencode=arch=compute_{a}{b},code=sm_{a}{b}" for a, b in new),
    )


def lock_files(folder: Path, lock: str, recipe: Recipe) -> list[Path]:
    """The files of a lock: the family's own if it has one; then adam-atan2's, where the recipe imports its CUDA part.

    Raises:
        MissingPrerequisite: one is not there.
    """
    own = folder / f"{lock}-{recipe.upstream.name if recipe.upstream else ''}.txt"
    files = [own if own.exists() else folder / f"{lock}.txt"]
    if "adam_atan2_backend" in recipe.environment.imports:
        files.append(folder / "adam-atan2.txt")
    for path in files:
        if not path.exists():
            raise MissingPrerequisite(f"{path} is not there", hint="make locks")
    return files


def canonical(name: str) -> str:
    """The one spelling of a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_versions(lines: Iterable[str]) -> dict[str, str]:
    """``{name: version}`` of the ``name==version`` lines of a lock or of `pip list --format=freeze`."""
    found = {}
    for line in lines:
        if match := re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line):
            found[canonical(match[1])] = match[2]
    return found


def check_installed(locked: Mapping[str, str], installed: Mapping[str, str]) -> None:
    """Checks that an environment holds what its locks name and nothing else (pip itself aside).

    A local version, such as torch's ``2.7.0+cu126``, satisfies the lock's ``2.7.0``.

    Raises:
        InvariantBroken: it does not; each package that is missing, extra or of another version is named.
    """
    problems = [f"{name} is missing" for name in sorted(locked.keys() - installed.keys())]
    problems += [f"{name} is extra" for name in sorted(installed.keys() - locked.keys() - INSTALLERS)]
    problems += [
        f"{name} is {installed[name]}, locked {version}"
        for name, version in sorted(locked.items())
        if name in installed and installed[name].partition("+")[0] != version.partition("+")[0]
    ]
    if problems:
        raise InvariantBroken(
            "the environment is not what its lock says: " + "; ".join(problems),
            hint="delete VENV_DIR (or set it to a new folder) and run step 3 again",
        )


def imported_modules(folder: Path, files: Iterable[str]) -> list[str]:
    """The top-level modules that a source tree imports and neither holds itself, as a file or a link, nor finds in Python.

    Imports inside a ``try`` are the author's to do without, and are left out.

    Args:
        folder: the tree.
        files: its tracked files, relative to it.
    """
    paths = [Path(name) for name in files]
    own = {part for path in paths for part in (*path.parts[:-1], path.stem)}
    own |= {path.stem for path in folder.iterdir() if path.is_symlink()}
    found: set[str] = set()
    for path in paths:
        if path.suffix == ".py":
            found |= _imports(ast.parse((folder / path).read_bytes(), str(path)))
    return sorted(found - own - sys.stdlib_module_names)


def _imports(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Try):
        return set()
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]} if not node.level else set()
    return set().union(*(_imports(child) for child in ast.iter_child_nodes(node)))
