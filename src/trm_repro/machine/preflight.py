"""What a run needs of its machine, beside what is there: one line each, measured before anything is spent.

A line says what was found, what is needed, why (with the arithmetic of the number), and what to do about it. Its state is
``ok``, ``warning`` (the run can start, and may suffer) or ``problem`` (it cannot succeed). The guard G-MACHINE stops a run
on problems; this module only measures. :func:`measure` looks at the machine, :func:`lines` is a function of what it saw.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trm_repro.digests import digest_file
from trm_repro.errors import ReproError
from trm_repro.machine import budget
from trm_repro.machine.hardware import Gpu, Nvcc, compilers, dotted, free_space, gpus, memory, output
from trm_repro.machine.locks import choose, lock_files
from trm_repro.recipes.schema import Recipe

GB = 10**9
MB = 10**6

# The training environment as it lies on the disk: 5.3 GB with cu130, and as much again while pip unpacks it.
ENVIRONMENT = 6 * GB
# Loaders for training and evaluation keep up to 8 batches each in /dev/shm: 2 × 8 × 768 examples × 7.2 kB = 89 MB, more than
# a container's usual 64 MB. NCCL puts its buffers there too; its manual asks for 1 GB.
SHM_LEAST, SHM_ADVISED = 256 * MB, GB
FILES = 1024  # each batch in flight holds a few file handles, each process some hundred
REHEARSAL = "arc2_rehearsal_upstream"


@dataclass(frozen=True)
class Facts:
    """What was measured. Sizes are bytes; what was not looked at is None.

    ``skew`` is the clock's lead in seconds over a server's, asked for with CHECK_REMOTE, ``wandb`` why
    Weights & Biases does not take the key (empty: it does); ``built`` says whether the dataset
    is there, ``installed`` whether the environment is; ``rehearsed`` is when a dress rehearsal succeeded here.
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


@dataclass(frozen=True)
class Line:
    """One thing that the run needs."""

    what: str
    found: str
    needed: str
    why: str
    remedy: str = ""
    state: str = "ok"


def measure(recipe: Recipe, environ: Mapping[str, str]) -> Facts:
    """Looks at the machine. Nothing is written, and nothing outside the machine is asked unless CHECK_REMOTE is 1."""
    trm_dir, remote = Path(environ["TRM_DIR"]), environ["CHECK_REMOTE"] == "1"
    locks: list[Path] = []
    if environ["ENV_LOCK"] == "locks":
        with contextlib.suppress(ReproError):  # a line of its own says that no lock fits
            locks = lock_files(
                Path("locks"),
                choose(gpus(), compilers(), wanted=environ["CUDA_LOCK"], compiles=recipe.compiles).lock,
                recipe,
            )
    return Facts(
        gpus=gpus(),
        compilers=compilers(),
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
        rehearsed=_rehearsed(environ, locks),
        environ=environ,
    )


def lines(recipe: Recipe, facts: Facts) -> list[Line]:
    """What the recipe's run needs, compared with what was found."""
    found = [_memory(recipe, facts), _disk(recipe, facts), _files(facts), _clock(facts), _ports(facts)]
    if recipe.train.gpu:
        found = [*_gpu_lines(recipe, facts), *_build_lines(recipe, facts), *found, _shm(facts), _cores(recipe, facts)]
    if facts.wandb is not None:
        why, remedy = (
            "upstream stops when it is refused",
            "take the key from your account's settings, or unset WANDB_API_KEY",
        )
        found.append(Line("W&B key", facts.wandb or "accepted", "", why, remedy, _state(not facts.wandb)))
    if recipe.engine == "upstream" and recipe.faithful:
        found.append(_rehearsal(facts))
    return found


def table(found: Sequence[Line]) -> str:
    """The lines as text; the last one names what falls short, if anything does."""
    texts = []
    for line in found:
        needed = f", needed {line.needed}" if line.needed else ""
        texts.append(f"{line.state:8} {line.what}: {line.found}{needed} ({line.why})")
        if line.state != "ok":
            texts.append(f"{'':8}   → {line.remedy}")
    short = [line.what for line in found if line.state == "problem"]
    if short:
        texts.append("falls short: " + ", ".join(short))
    return "\n".join(texts)


def _state(good: bool, otherwise: str = "problem") -> str:
    return "ok" if good else otherwise


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB"


def _processes(recipe: Recipe, facts: Facts) -> int:
    most = int(facts.environ.get("MAX_GPUS_TO_USE") or recipe.max_gpus_to_use)
    return recipe.process_count(min(len(facts.gpus), most)) or 1


def _gpu_lines(recipe: Recipe, facts: Facts) -> list[Line]:
    processes = _processes(recipe, facts)
    names = sorted({gpu.name for gpu in facts.gpus})
    count = Line(
        "GPUs",
        f"{len(facts.gpus)} × {' and '.join(names)}" if facts.gpus else "none",
        "1 at least",
        f"{processes} process(es) share a batch of {recipe.train.batch}; the recipe is made for {recipe.needs.gpu or 'any'}",
        "run on a machine with GPUs of one kind; without any: make rehearse",
        "problem" if not facts.gpus else _state(len(names) == 1, "warning"),
    )
    if not facts.gpus:
        return [count]
    examples = recipe.train.batch // processes
    data = budget.known_data(recipe)
    found = [count]
    capability = min((gpu.capability for gpu in facts.gpus if gpu.capability), default=None)
    if capability:
        found.append(
            Line(
                "GPU generation",
                f"compute capability {dotted(capability)}",
                "8.0",
                "bfloat16 in hardware; adam-atan2 is compiled for 8.0, 8.6, 8.9, 9.0 and what is found here",
                "use Ampere (A100) or newer",
                _state(capability >= (8, 0)),
            )
        )
    smallest = min((gpu.memory for gpu in facts.gpus if gpu.memory), default=None)
    if smallest and data:
        low, high = budget.gpu_memory(data, examples, budget.cycles(recipe))
        found.append(
            Line(
                "GPU memory",
                f"{_gb(smallest)} each",
                f"{_gb(low)} to {_gb(high)}",
                f"{recipe.train.batch} / {processes} = {examples} examples × 0.22 to 0.27 GB"
                f" + 3 × {_gb(data.table)} of puzzle vectors + 1.5 GB; an estimate",
                "more GPUs or larger ones: the batch is split among them, so fewer GPUs make it worse; no flag is changed",
                "problem" if smallest < low else _state(smallest >= high, "warning"),
            )
        )
    used = max((gpu.used for gpu in facts.gpus if gpu.used is not None), default=None)
    if used is not None:
        found.append(
            Line(
                "GPUs free",
                f"{_gb(used)} in use",
                "under 1 GB",
                "what others hold is missing to the training",
                "nvidia-smi names the processes; end them if they are yours",
                _state(used < GB, "warning"),
            )
        )
    return found


def _build_lines(recipe: Recipe, facts: Facts) -> list[Line]:
    if facts.environ.get("ENV_LOCK") == "none" and not recipe.environment.unlocked:
        why = "without a lock, no commands are known that make this recipe's environment"
        return [Line("CUDA", "ENV_LOCK=none", "ENV_LOCK=locks", why, "leave ENV_LOCK alone", "problem")]
    if facts.environ.get("ENV_LOCK") == "none":
        seen = "nvcc " + (", ".join(dotted(nvcc.version) for nvcc in facts.compilers) or "none")
        remedy = "install that CUDA toolkit, or leave ENV_LOCK alone"
        why = "ENV_LOCK=none: adam-atan2 is compiled by it"
        return [Line("CUDA", seen, "nvcc of torch's CUDA", why, remedy, _state(bool(facts.compilers), "warning"))]
    try:
        choice = choose(
            facts.gpus, facts.compilers, wanted=facts.environ.get("CUDA_LOCK", "auto"), compiles=recipe.compiles
        )
        compiler = f"nvcc 12 in {choice.cuda_home}" if choice.cuda_home else "which brings its own nvcc"
        found = [Line("CUDA", f"{choice.lock}, {compiler}", "", choice.why)]
    except ReproError as error:
        found = [Line("CUDA", str(error), "", "a lock that the driver runs", error.hint or "", "problem")]
    needs = "adam-atan2 is compiled when it is installed, torch.compile's kernels in every run"
    found.append(Line("C++ compiler", facts.cxx or "none", "one", needs, "install g++", _state(bool(facts.cxx))))
    remedy = f"install those of PY={facts.environ.get('PY', '')} (Debian: python3.10-dev)"
    if facts.headers is None:
        return found
    seen = "there" if facts.headers else "none"
    return [*found, Line("Python headers", seen, "Python.h", needs, remedy, _state(facts.headers))]


def _memory(recipe: Recipe, facts: Facts) -> Line:
    data = budget.known_data(recipe)
    remedy = "use a machine with more memory"
    builds = data and not facts.built and facts.environ.get("DATASET_BUILDER") != "fast"
    if not data:
        needed, why = recipe.needs.memory * GB, "the recipe says so"
    elif builds:
        needed = data.builder_memory + 2 * GB
        why = f"upstream's builder: {data.identifiers:,} identifiers × 18.36 kB, and 2 GB for the rest"
        remedy = "DATASET_BUILDER=fast writes the same bytes in 0.6 GB; or use a machine with more memory"
    else:
        needed, why = data.bytes + 4 * GB, f"{_gb(data.bytes)} of data that are read at random, and 4 GB for the rest"
    # page cache that is missing slows a training down; a builder without memory is killed
    worst = "problem" if builds or not data else "warning"
    return Line("memory", _gb(facts.memory), _gb(needed), why, remedy, _state(facts.memory >= needed, worst))


def _disk(recipe: Recipe, facts: Facts) -> Line:
    data = budget.known_data(recipe)
    if not data:
        needed, why = recipe.needs.disk * GB, "the recipe says so"
    else:
        count = max(1, len(recipe.expected.steps))
        parts = {
            "environment": 0 if facts.installed else ENVIRONMENT,
            "dataset": 0 if facts.built else data.bytes,
            f"{count} checkpoints of {_gb(data.checkpoint)}": count * data.checkpoint,
            "the published copy": data.checkpoint,
            "logs": 2 * GB,
        }
        needed = sum(parts.values())
        why = " + ".join(f"{name} {_gb(size)}" for name, size in parts.items() if size)
    remedy = "free some, or set TRM_DIR (and VENV_DIR) to a larger disk"
    return Line("disk", f"{_gb(facts.disk)} free", _gb(needed), why, remedy, _state(facts.disk >= needed))


def _shm(facts: Facts) -> Line:
    state = "problem" if facts.shm < SHM_LEAST else _state(facts.shm >= SHM_ADVISED, "warning")
    why = "loaders pass batches through it, NCCL its buffers; containers get 64 MB unless asked"
    return Line("/dev/shm", f"{_gb(facts.shm)} free", "1 GB", why, "docker run --ipc=host, or --shm-size=8g", state)


def _cores(recipe: Recipe, facts: Facts) -> Line:
    needed = 2 * _processes(recipe, facts)
    why = "each process keeps one busy and has two loader workers"
    return Line(
        "cores", str(facts.cores), str(needed), why, "use a machine with more", _state(facts.cores >= needed, "warning")
    )


def _files(facts: Facts) -> Line:
    why = "loader workers hold some for each batch in flight"
    return Line("open files", str(facts.files), str(FILES), why, f"ulimit -n {FILES}", _state(facts.files >= FILES))


def _clock(facts: Facts) -> Line:
    remedy = "set the clock (ntpdate, chrony); TLS and uploads refuse a wrong one"
    if facts.skew is not None:
        why = "compared with a server's"
        return Line("clock", f"{facts.skew:+.0f} s off", "within 300 s", why, remedy, _state(abs(facts.skew) <= 300))
    after = "after" if facts.clock >= facts.newest else "before"
    found = f"{time.strftime('%FT%TZ', time.gmtime(facts.clock))}, {after} this repository's last commit"
    asked = facts.environ["CHECK_REMOTE"] == "1"
    why = "no server could be asked" if asked else "CHECK_REMOTE=1 compares it with a server's"
    return Line("clock", found, "", why, remedy, _state(after == "after"))


def _ports(facts: Facts) -> Line:
    problem = facts.port or facts.host
    why = "torchrun's processes meet on a free port of this machine, by its name"
    remedy = "let /etc/hosts name localhost and this machine's own name (127.0.0.1), and allow connections on lo"
    state = "problem" if facts.port else _state(not facts.host, "warning")
    return Line("ports", problem or "a free one can be reached", "", why, remedy, state)


def _rehearsal(facts: Facts) -> Line:
    why = "minutes on this machine, with this environment, instead of days until the first surprise"
    found = f"succeeded {facts.rehearsed}" if facts.rehearsed else "none has succeeded here"
    return Line(
        "dress rehearsal", found, "", why, "make rehearse ENGINE=upstream", _state(bool(facts.rehearsed), "warning")
    )


def _newest_commit() -> float:
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 and done.stdout.strip() else 0.0


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


def _rehearsed(environ: Mapping[str, str], locks: Sequence[Path]) -> str:
    """When the dress rehearsal succeeded with the environment that this run will have; empty if it did not."""
    from trm_repro.runs.stamps import read_stamp

    stamp = read_stamp(Path(".repro/runs") / REHEARSAL / "08-handoff.stamp")
    listing = Path(f".repro/env_{environ['TARGET_DATASET']}_{REHEARSAL}.txt")
    if stamp is None or not listing.exists():
        return ""
    text = listing.read_text()
    same = [f"lock: {environ['ENV_LOCK']}", *(f"{digest_file(path).sha256}  {path}" for path in locks)]
    return stamp.finished if all(line in text for line in same) else ""
