"""What a run needs of its machine, beside what :mod:`trm_repro.machine.survey` saw there: one line each.

A line says what was found, what is needed, why (with the arithmetic of the number), and what to do about it. Its state is
``ok``, ``warning`` (the run can start, and may suffer) or ``problem`` (it cannot succeed). The guard G-MACHINE stops a run
on problems; this module only judges.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trm_repro.errors import ReproError
from trm_repro.machine import budget
from trm_repro.machine.budget import GB
from trm_repro.machine.hardware import dotted
from trm_repro.machine.locks import choose
from trm_repro.machine.rehearsals import fitting
from trm_repro.machine.survey import Survey
from trm_repro.recipes.schema import Recipe

MB = 10**6

# The training environment as it lies on the disk: 5.3 GB with cu130, and as much again while pip unpacks it.
ENVIRONMENT = 6 * GB
# Loaders for training and evaluation keep up to 8 batches each in /dev/shm: 2 × 8 × 768 examples × 7.2 kB = 89 MB, more than
# a container's usual 64 MB. NCCL puts its buffers there too; its manual asks for 1 GB.
SHM_LEAST, SHM_ADVISED = 256 * MB, GB
FILES = 1024  # each batch in flight holds a few file handles, each process some hundred


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that the run needs."""

    what: str
    found: str
    needed: str = ""
    why: str
    remedy: str = ""
    state: str = "ok"


def lines(recipe: Recipe, survey: Survey) -> list[Line]:
    """What the recipe's run needs, compared with what was found."""
    found = [_memory(recipe, survey), _disk(recipe, survey), _files(survey), _clock(survey), _ports(survey)]
    if recipe.environment.name == "training":
        found = [*_build_lines(recipe, survey), *found]
    if recipe.train.gpu:
        found = [*_gpu_lines(recipe, survey), *found, _shm(survey), _cores(recipe, survey)]
    if (refused := survey.wandb) is not None:
        why, remedy = (
            "upstream stops when it is refused",
            "take the key from your account's settings, or unset WANDB_API_KEY",
        )
        found.append(
            Line(what="W&B key", found=refused or "accepted", why=why, remedy=remedy, state=_state(not refused))
        )
    if recipe.engine == "upstream" and recipe.faithful:
        found.append(_rehearsal(survey))
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


def _processes(recipe: Recipe, survey: Survey) -> int:
    most = int(survey.environ.get("MAX_GPUS_TO_USE") or recipe.max_gpus_to_use)
    return recipe.process_count(min(len(survey.gpus) or most, most))


def _gpu_lines(recipe: Recipe, survey: Survey) -> Iterator[Line]:
    processes, batch = _processes(recipe, survey), recipe.train.batch
    names = sorted({gpu.name for gpu in survey.gpus})
    yield Line(
        what="GPUs",
        found=f"{len(survey.gpus)} × {' and '.join(names)}" if survey.gpus else "none",
        needed="1 at least",
        why=f"{processes} process(es) share a batch of {batch}; the recipe is made for {recipe.needs.gpu or 'any'}",
        remedy="run on a machine with GPUs of one kind; without any: make rehearse, or make rehearse ENGINE=upstream",
        state="problem" if not survey.gpus else _state(len(names) == 1, "warning"),
    )
    if capability := min((gpu.capability for gpu in survey.gpus if gpu.capability), default=None):
        yield Line(
            what="GPU generation",
            found=f"compute capability {dotted(capability)}",
            needed="8.0",
            why="bfloat16 in hardware; adam-atan2 is compiled for 8.0, 8.6, 8.9, 9.0 and what is found here",
            remedy="use Ampere (A100) or newer",
            state=_state(capability >= (8, 0)),
        )
    smallest, data = min((gpu.memory for gpu in survey.gpus if gpu.memory), default=None), budget.known_data(recipe)
    if smallest and data:
        examples = batch // processes
        low, high = budget.gpu_memory(data, examples, budget.cycles(recipe))
        yield Line(
            what="GPU memory",
            found=f"{_gb(smallest)} each",
            needed=f"{_gb(low)} to {_gb(high)}",
            why=f"{batch} / {processes} = {examples} examples × 0.22 to 0.27 GB"
            f" + 3 × {_gb(data.table)} of puzzle vectors + 1.5 GB; an estimate",
            remedy="more GPUs or larger ones: the batch is split among them, so fewer GPUs make it worse; no flag is changed",
            state="problem" if smallest < low else _state(smallest >= high, "warning"),
        )
    used = max((gpu.used for gpu in survey.gpus if gpu.used is not None), default=None)
    if used is not None:
        yield Line(
            what="GPUs free",
            found=f"{_gb(used)} in use",
            needed="under 1 GB",
            why="what others hold is missing to the training",
            remedy="nvidia-smi names the processes; end them if they are yours",
            state=_state(used < GB, "warning"),
        )


def _build_lines(recipe: Recipe, survey: Survey) -> Iterator[Line]:
    if survey.environ.get("ENV_LOCK") == "none":
        yield _unlocked(recipe, survey)
        return
    try:
        wanted = survey.environ.get("CUDA_LOCK", "auto")
        choice = choose(survey.gpus, survey.compilers, wanted=wanted, compiles=recipe.compiles)
        compiler = f"nvcc 12 in {choice.cuda_home}" if choice.cuda_home else "which brings its own nvcc"
        yield Line(what="CUDA", found=f"{choice.lock}, {compiler}", why=choice.why)
    except ReproError as error:
        why, remedy = "a lock that the driver runs", error.hint or ""
        yield Line(what="CUDA", found=str(error), why=why, remedy=remedy, state="problem")
    why, cxx = "adam-atan2 is compiled when it is installed, torch.compile's kernels in every run", survey.cxx
    remedy = "install g++"
    yield Line(what="C++ compiler", found=cxx or "none", needed="one", why=why, remedy=remedy, state=_state(bool(cxx)))
    if (there := survey.headers) is not None:
        seen = "there" if there else "none"
        remedy = f"install those of PY={survey.environ.get('PY', '')} (Debian: python3.10-dev)"
        yield Line(what="Python headers", found=seen, needed="Python.h", why=why, remedy=remedy, state=_state(there))


def _unlocked(recipe: Recipe, survey: Survey) -> Line:
    if not recipe.environment.unlocked:
        seen, needed, state = "ENV_LOCK=none", "ENV_LOCK=locks", "problem"
        why, remedy = (
            "without a lock, no commands are known that make this recipe's environment",
            "leave ENV_LOCK alone",
        )
    else:
        seen = "nvcc " + (", ".join(dotted(nvcc.version) for nvcc in survey.compilers) or "none")
        needed, state = "nvcc of torch's CUDA", _state(bool(survey.compilers), "warning")
        why, remedy = (
            "ENV_LOCK=none: adam-atan2 is compiled by it",
            "install that CUDA toolkit, or leave ENV_LOCK alone",
        )
    return Line(what="CUDA", found=seen, needed=needed, why=why, remedy=remedy, state=state)


def _memory(recipe: Recipe, survey: Survey) -> Line:
    data = budget.known_data(recipe)
    remedy = "use a machine with more memory"
    builds = data and not survey.built and survey.environ.get("DATASET_BUILDER") != "fast"
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
    state = _state(survey.memory >= needed, worst)
    return Line(what="memory", found=_gb(survey.memory), needed=_gb(needed), why=why, remedy=remedy, state=state)


def _disk(recipe: Recipe, survey: Survey) -> Line:
    data = budget.known_data(recipe)
    if not data:
        needed, why = recipe.needs.disk * GB, "the recipe says so"
    else:
        count = max(1, len(recipe.expected.steps))
        parts = {
            "environment": 0 if survey.installed else ENVIRONMENT,
            "dataset": 0 if survey.built else data.bytes,
            f"{count} checkpoints of {_gb(data.checkpoint)}": count * data.checkpoint,
            "the published copy": data.checkpoint,
            "logs": 2 * GB,
        }
        needed = sum(parts.values())
        why = " + ".join(f"{name} {_gb(size)}" for name, size in parts.items() if size)
    remedy, state = "free some, or set TRM_DIR (and VENV_DIR) to a larger disk", _state(survey.disk >= needed)
    return Line(what="disk", found=f"{_gb(survey.disk)} free", needed=_gb(needed), why=why, remedy=remedy, state=state)


def _shm(survey: Survey) -> Line:
    state = "problem" if survey.shm < SHM_LEAST else _state(survey.shm >= SHM_ADVISED, "warning")
    why = "loaders pass batches through it, NCCL its buffers; containers get 64 MB unless asked"
    remedy = "docker run --ipc=host, or --shm-size=8g"
    return Line(what="/dev/shm", found=f"{_gb(survey.shm)} free", needed="1 GB", why=why, remedy=remedy, state=state)


def _cores(recipe: Recipe, survey: Survey) -> Line:
    have, needed = survey.cores, 2 * _processes(recipe, survey)
    why, remedy = "each process keeps one busy and has two loader workers", "use a machine with more"
    state = _state(have >= needed, "warning")
    return Line(what="cores", found=str(have), needed=str(needed), why=why, remedy=remedy, state=state)


def _files(survey: Survey) -> Line:
    why, remedy, state = (
        "loader workers hold some for each batch in flight",
        f"ulimit -n {FILES}",
        _state(survey.files >= FILES),
    )
    return Line(what="open files", found=str(survey.files), needed=str(FILES), why=why, remedy=remedy, state=state)


def _clock(survey: Survey) -> Line:
    remedy = "set the clock (ntpdate, chrony); TLS and uploads refuse a wrong one"
    if (skew := survey.skew) is not None:
        why, state = "compared with a server's", _state(abs(skew) <= 300)
        found, needed = f"{skew:+.0f} s off", "within 300 s"
        return Line(what="clock", found=found, needed=needed, why=why, remedy=remedy, state=state)
    after = "after" if survey.clock >= survey.newest else "before"
    found = f"{time.strftime('%FT%TZ', time.gmtime(survey.clock))}, {after} this repository's last commit"
    asked = survey.environ["CHECK_REMOTE"] == "1"
    why = "no server could be asked" if asked else "CHECK_REMOTE=1 compares it with a server's"
    return Line(what="clock", found=found, why=why, remedy=remedy, state=_state(after == "after"))


def _ports(survey: Survey) -> Line:
    problem = survey.port or survey.host
    why = "torchrun's processes meet on a free port of this machine, by its name"
    remedy = "let /etc/hosts name localhost and this machine's own name (127.0.0.1), and allow connections on lo"
    state = "problem" if survey.port else _state(not survey.host, "warning")
    return Line(what="ports", found=problem or "a free one can be reached", why=why, remedy=remedy, state=state)


def _rehearsal(survey: Survey) -> Line:
    why = "upstream itself through all steps, minutes on this machine, instead of days until the first surprise"
    found = f"succeeded {survey.rehearsed}" if survey.rehearsed else "none has succeeded here"
    where = f"here it is {fitting('upstream', '', gpus=bool(survey.gpus))}"
    remedy, state = f"make rehearse ENGINE=upstream ({where})", _state(bool(survey.rehearsed), "warning")
    return Line(what="dress rehearsal", found=found, why=why, remedy=remedy, state=state)
