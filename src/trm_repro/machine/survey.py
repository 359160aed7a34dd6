"""Looking at the machine, for :mod:`trm_repro.machine.preflight` to judge: everything that a run depends on, measured before
anything is spent.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trm_repro.errors import ReproError
from trm_repro.machine import rehearsals
from trm_repro.machine.hardware import Gpu, Nvcc, compilers, free_space, gpus, memory, output
from trm_repro.machine.locks import choose, lock_files
from trm_repro.recipes.schema import Recipe


@dataclass(frozen=True)
class Survey:
    """What was measured. Sizes are bytes; what was not looked at is None.

    ``skew`` is the clock's lead in seconds over a server's, asked for with CHECK_REMOTE, ``wandb`` why
    Weights & Biases does not take the key (empty: it does); ``built`` says whether the dataset
    is there, ``installed`` whether the environment is; ``rehearsed`` is which dress rehearsal succeeded here
    and when.
    """

    gpus: Sequence[Gpu]
    compilers: Sequence[Nvcc]
    cores: int
    memory: int
    shm: int
    disk: int
    files: int
    clock: float
    newest: float
    skew: float | None
    wandb: str | None
    port: str
    host: str
    cxx: str
    headers: bool | None
    built: bool
    installed: bool
    rehearsed: str
    environ: Mapping[str, str]


def survey(recipe: Recipe, environ: Mapping[str, str]) -> Survey:
    """Looks at the machine. Nothing is written, and nothing outside the machine is asked unless CHECK_REMOTE is 1."""
    trm_dir, remote = Path(environ["TRM_DIR"]), environ["CHECK_REMOTE"] == "1"
    found, nvccs, locks = gpus(), compilers(), []
    if environ["ENV_LOCK"] == "locks":
        with contextlib.suppress(ReproError):  # a line of its own says that no lock fits
            choice = choose(found, nvccs, wanted=environ["CUDA_LOCK"], compiles=recipe.compiles)
            locks = lock_files(Path("locks"), choice.lock, recipe)
    return Survey(
        gpus=found,
        compilers=nvccs,
        cores=len(os.sched_getaffinity(0)),
        memory=memory(),
        shm=free_space(Path("/dev/shm")),
        disk=free_space(trm_dir),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        clock=time.time(),
        newest=_newest_commit(),
        skew=_skew() if remote else None,
        wandb=_wandb_problem(environ["WANDB_API_KEY"]) if remote and environ["WANDB_API_KEY"] else None,
        port=_port_problem(),
        host=_host_problem(),
        cxx=shutil.which("c++") or shutil.which("g++") or "",
        headers=_python_headers(environ.get("PY", "")),
        built=(trm_dir / recipe.dataset.folder / "identifiers.json").exists(),
        installed=(Path(environ["VENV_DIR"]) / "bin" / "torchrun").exists(),
        rehearsed=rehearsals.succeeded(environ, locks),
        environ=environ,
    )


def _newest_commit() -> float:
    return float(output(["git", "log", "-1", "--format=%ct"]).strip() or 0)


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


def _wandb_problem(key: str) -> str:
    """Why Weights & Biases does not take an API key; empty if it does."""
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
