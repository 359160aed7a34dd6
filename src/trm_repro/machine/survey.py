"""Looking at the machine, for :mod:`trm_repro.machine.preflight` to judge: everything that a run depends on, measured before
anything is spent. A new fact is one line of :class:`Survey`: its name, its type, and how it is measured.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import resource
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import psutil

from trm_repro.errors import ReproError
from trm_repro.machine import folders, hardware, limits, network, rehearsals
from trm_repro.machine.ask import output, within
from trm_repro.machine.folders import Place, Space
from trm_repro.machine.hardware import Gpu, Graphics, Nvcc
from trm_repro.machine.limits import Limit, ulimit
from trm_repro.machine.locks import choose, lock_files
from trm_repro.machine.network import Reached
from trm_repro.recipes.schema import Recipe

SHM = Path("/dev/shm")


@dataclass(frozen=True)
class Here:
    """What is surveyed for whom: the recipe, the knobs; ``trying``: whether files may be made and removed again."""

    recipe: Recipe
    environ: Mapping[str, str]
    trying: bool = True

    @property
    def remote(self) -> bool:
        """Whether servers are asked."""
        return self.environ.get("CHECK_REMOTE") == "1"

    @functools.cached_property
    def graphics(self) -> Graphics:
        """The GPUs, asked for once."""
        return hardware.graphics(self.environ)

    @functools.cached_property
    def compilers(self) -> Sequence[Nvcc]:
        """The CUDA compilers."""
        return hardware.compilers()


def _fact(measure: Callable[[Here], Any]) -> Any:
    return field(metadata={"measure": measure})


@dataclass(frozen=True)
class Survey:
    """What was measured. Sizes are bytes; what nobody says, or was not looked at, is None.

    ``skew`` is the clock's lead in seconds over a server's, asked for with CHECK_REMOTE, ``wandb`` why Weights & Biases does
    not take the key (empty: it does); ``built`` says whether the dataset is there, ``installed`` whether the environment is;
    ``rehearsed`` is which dress rehearsal succeeded here and when; ``venv_disk`` is None where VENV_DIR lies on TRM_DIR's
    disk; ``shm_tried`` is why no file can be made in /dev/shm; ``manager`` whether NVIDIA's fabric manager is among the
    processes, where there are NVLink switches.
    """

    # ruff: noqa: RUF009 (a field that says how it is measured is no mutable default)
    environ: Mapping[str, str] = _fact(lambda here: here.environ)
    architecture: str = _fact(lambda here: platform.machine())
    graphics: Graphics = _fact(lambda here: here.graphics)
    others: Sequence[str] = _fact(lambda here: hardware.other_gpus())
    health: Sequence[Mapping[str, list[str]]] | None = _fact(lambda here: _of_gpus(here, hardware.health))
    links: Sequence[Sequence[str]] | None = _fact(lambda here: _of_gpus(here, hardware.topology))
    manager: bool | None = _fact(lambda here: _fabric_manager())
    compilers: Sequence[Nvcc] = _fact(lambda here: here.compilers)
    cores: Limit = _fact(lambda here: limits.cores())
    memory: Limit | None = _fact(lambda here: limits.memory())
    free_memory: int | None = _fact(lambda here: limits.free_memory())
    address_space: int | None = _fact(lambda here: ulimit(resource.RLIMIT_AS))
    file_size: int | None = _fact(lambda here: ulimit(resource.RLIMIT_FSIZE))
    cpu_seconds: int | None = _fact(lambda here: ulimit(resource.RLIMIT_CPU))
    processes: Limit | None = _fact(lambda here: limits.processes())
    files: int = _fact(lambda here: resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    files_most: int = _fact(lambda here: resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    shm: Space = _fact(lambda here: folders.space(SHM) if SHM.is_dir() else Space(0))
    shm_kind: str = _fact(lambda here: folders.mounted(SHM)[2])
    shm_tried: str = _fact(lambda here: _write_problem(SHM) if here.trying else "")
    disk: Space = _fact(lambda here: folders.space(Path(here.environ["TRM_DIR"])))
    venv_disk: Space | None = _fact(lambda here: _venv_disk(here))
    places: Sequence[Place] = _fact(lambda here: _places(here))
    clock: float = _fact(lambda here: time.time())
    newest: float = _fact(lambda here: float(output(["git", "log", "-1", "--format=%ct"]).strip() or 0))
    skew: float | None = _fact(lambda here: _skew() if here.remote else None)
    wandb: str | None = _fact(
        lambda here: _wandb_problem(here.environ.get("WANDB_API_KEY", "")) if here.remote else None
    )
    servers: Sequence[Reached] | None = _fact(
        lambda here: network.reach(here.recipe, here.environ) if here.remote else None
    )
    port: str = _fact(lambda here: _port_problem())
    host: str = _fact(lambda here: _host_problem())
    cxx: str = _fact(lambda here: shutil.which("c++") or shutil.which("g++") or "")
    headers: bool | None = _fact(lambda here: _python_headers(here.environ.get("PY", "")))
    built: bool = _fact(lambda here: _is_there(here.environ["TRM_DIR"], here.recipe.dataset.folder, "identifiers.json"))
    installed: bool = _fact(lambda here: _is_there(here.environ["VENV_DIR"], "bin", "torchrun"))
    rehearsed: str = _fact(lambda here: rehearsals.succeeded(here.environ, _locks(here)))

    @property
    def gpus(self) -> Sequence[Gpu]:
        """The GPUs that the training would see."""
        return self.graphics.visible


def survey(recipe: Recipe, environ: Mapping[str, str], *, trying: bool = True) -> Survey:
    """Looks at the machine. Nothing outside of it is asked unless CHECK_REMOTE is 1.

    Args:
        recipe: what is to be run.
        environ: the knobs.
        trying: make small files in the folders that the run will use, and remove them again.
    """
    here = Here(recipe, environ, trying)
    return Survey(**{fact.name: fact.metadata["measure"](here) for fact in fields(Survey)})


def _of_gpus(here: Here, measure: Callable[[], Any]) -> Any:
    return measure() if here.recipe.train.gpu and here.graphics.visible else None


def _is_there(*parts: str) -> bool:
    try:
        return within(folders.PATIENCE, Path(*parts).exists)
    except TimeoutError:  # a line of its own says that the folder does not answer
        return False


def _locks(here: Here) -> Sequence[Path]:
    """The locks that the environment will be made of; none where none fits, which a line of its own says."""
    if here.environ["ENV_LOCK"] == "locks":
        with contextlib.suppress(ReproError):
            choice = choose(
                here.graphics.visible,
                here.compilers,
                wanted=here.environ["CUDA_LOCK"],
                compiles=here.recipe.compiles,
            )
            return lock_files(Path("locks"), choice.lock, here.recipe)
    return ()


def _places(here: Here) -> list[Place]:
    named = {"the repository": Path.cwd(), "TRM_DIR": Path(here.environ["TRM_DIR"])}
    if here.recipe.train.gpu:
        named |= {
            "VENV_DIR": Path(here.environ["VENV_DIR"]),
            "the temporary folder": Path(here.environ.get("TMPDIR") or tempfile.gettempdir()),
            ".repro": Path.cwd() / ".repro",  # the training compiles its kernels there
        }
    return [folders.look(name, path, trying=here.trying) for name, path in named.items()]


def _venv_disk(here: Here) -> Space | None:
    folder = Path(here.environ["VENV_DIR"])
    return None if folders.device(folder) == folders.device(Path(here.environ["TRM_DIR"])) else folders.space(folder)


def _write_problem(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"some bytes")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _fabric_manager() -> bool | None:
    """Whether NVIDIA's fabric manager runs; None where there are no NVLink switches that it would set up."""
    if not list(Path("/dev").glob("nvidia-nvswitch[0-9]*")):
        return None
    return any(process.info["name"] == "nv-fabricmanager" for process in psutil.process_iter(["name"]))


def _skew() -> float | None:
    """The clock's lead over a server's, in seconds; None if it cannot be reached."""
    import email.utils
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(
            urllib.request.Request("https://www.kaggle.com", method="HEAD"), timeout=10
        ) as answer:
            date = answer.headers["Date"]
    except urllib.error.HTTPError as error:
        date = error.headers["Date"]
    except OSError:
        return None
    return time.time() - email.utils.parsedate_to_datetime(date).timestamp() if date else None


def _wandb_problem(key: str) -> str | None:
    """Why Weights & Biases does not take an API key; empty if it does, None without a key."""
    if not key:
        return None
    import wandb

    try:
        wandb.Api(api_key=key, timeout=15).viewer  # noqa: B018 (asking for it signs in)
    except Exception as error:  # its own, requests' and urllib's
        return " ".join(str(error).replace(key, "…").split())[:200]
    return ""


def _port_problem() -> str:
    """Why a process here cannot reach another at localhost; empty if it can."""
    try:
        with socket.create_server(("localhost", 0)) as server:
            socket.create_connection(("localhost", server.getsockname()[1]), timeout=5).close()
    except OSError as error:
        return f"localhost cannot be used: {error}"
    return ""


def _host_problem() -> str:
    try:
        socket.getaddrinfo(socket.getfqdn(), None)
    except OSError as error:
        return f"this machine's own name does not resolve: {error}"
    return ""


def _python_headers(python: str) -> bool | None:
    """Whether an interpreter's C headers are there; None where it does not run (G-PYTHON says so)."""
    answer = output(
        [python, "-c", "import sysconfig, os; print(os.path.exists(sysconfig.get_path('include') + '/Python.h'))"]
    )
    return answer.strip() == "True" if answer else None
