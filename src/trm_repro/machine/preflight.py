"""What a run needs of its machine, beside what :mod:`trm_repro.machine.survey` saw there. This module only judges;
:mod:`trm_repro.machine.words` says it.

A finding's state is ``ok``, ``warning`` (the run can start, and may suffer), ``problem`` (it cannot succeed) or ``unknown``
(nobody says, and what was not seen is not called ok). The guard G-MACHINE stops a run on problems. A new fact is one line of
:data:`RULES`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from trm_repro.errors import ReproError
from trm_repro.machine import budget
from trm_repro.machine.budget import GB
from trm_repro.machine.folders import LONGEST, Place
from trm_repro.machine.hardware import Graphics, dotted
from trm_repro.machine.locks import choose
from trm_repro.machine.survey import Survey
from trm_repro.recipes.schema import Recipe

MB = 10**6

# The training environment as it lies on the disk: 5.3 GB with cu130, and as much again while pip unpacks it.
ENVIRONMENT = 6 * GB
ENVIRONMENT_FILES = 50_000  # torch alone has 14,273
# Loaders for training and evaluation keep up to 8 batches each in /dev/shm: 2 × 8 × 768 examples × 7.2 kB = 89 MB, more than
# a container's usual 64 MB. NCCL puts its buffers there too; its manual asks for 1 GB.
SHM_LEAST, SHM_ADVISED = 256 * MB, GB
FILES = 1024  # each batch in flight holds a few file handles, each process some hundred
PROCESSES = 512  # a process has some 50 threads, two loaders, and compiles with 32 helpers
PATH_MAX = 4095

REMOTE_KINDS = re.compile(
    r"nfs|cifs|smb|9p|lustre|gpfs|beegfs|ceph|gluster|afs|weka|virtiofs|fuse|drvfs|vboxsf", re.IGNORECASE
)
OBJECT_STORES = re.compile(r"s3|gcsfuse|goofys|rclone|blobfuse|ossfs|geesefs", re.IGNORECASE)
# What each folder must allow, of folders.TRIALS; what does not stop a run is a warning.
NEEDED = {
    "the repository": {"write", "read", "lock", "rename"},
    "TRM_DIR": {"write", "read", "rename", "link", "map", "long names", "git"},
    "VENV_DIR": {"write", "read", "run programs", "link"},
    "the temporary folder": {"write", "read", "run programs", "sockets"},
    "Triton's cache": {"write", "read", "run programs", "rename"},
}
ADVISED = {"TRM_DIR": {"tell names apart by case", "own new files"}}
SLOWED = ("HW Slowdown", "HW Thermal Slowdown", "HW Power Brake Slowdown", "SW Thermal Slowdown")
ARM = ("aarch64", "arm64")


@dataclass(frozen=True)
class Finding:
    """One thing that the run needs.

    Attributes:
        what: its name, by which the words for it are found.
        state: ok, warning, problem or unknown.
        facts: what the words are filled with.
        case: which words, where there are several.
    """

    what: str
    state: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    case: str = ""


Rule = Callable[[Recipe, Survey], Iterable[Finding]]


def findings(recipe: Recipe, survey: Survey) -> list[Finding]:
    """What the recipe's run needs, compared with what was found."""
    rules = [*(GPU_RULES if recipe.train.gpu else ()), *RULES]
    return [finding for rule in rules for finding in rule(recipe, survey)]


def _state(good: bool, otherwise: str = "problem") -> str:
    return "ok" if good else otherwise


def _one(what: str, state: str, case: str = "", /, **facts: Any) -> list[Finding]:
    return [Finding(what, state, facts, case)]


def _processes(recipe: Recipe, survey: Survey) -> int:
    most = int(survey.environ.get("MAX_GPUS_TO_USE") or recipe.max_gpus_to_use)
    return recipe.process_count(min(len(survey.gpus), most)) or 1


# ---- GPUs ----


def _gpus(recipe: Recipe, survey: Survey) -> list[Finding]:
    seen, choice = survey.graphics, survey.graphics.choice
    case, state = "", _state(len({gpu.name for gpu in seen.visible}) == 1, "warning")
    if not seen.visible:
        found = no_gpus(seen, survey.others, survey.environ)
        case, state = found.case, found.state
    elif seen.complaint:
        case, state = "complaint", "warning"
    elif choice.wrong:
        case, state = "wrong choice", "warning"
    elif choice.unordered:
        case, state = "unordered", "warning"
    elif " MIG " in seen.visible[0].name:
        case, state = "slice", "warning"
    facts = dict(processes=_processes(recipe, survey), batch=recipe.train.batch, gpu=recipe.needs.gpu or "any")
    return _one("GPUs", state, case, **facts, **_of_graphics(seen, survey.others, survey.environ))


def _of_graphics(seen: Graphics, others: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    choice = seen.choice
    return dict(
        count=len(seen.visible),
        installed=len(seen.installed),
        names=" and ".join(sorted({gpu.name for gpu in seen.visible})),
        chosen=f", by CUDA_VISIBLE_DEVICES='{choice.variable}'" if choice.variable is not None else "",
        others=" and ".join(others),
        given=environ.get("NVIDIA_VISIBLE_DEVICES", ""),
        said=seen.told or choice.wrong or "it names none",
        hidden=f"; {choice.hidden} more not visible to the same program" if choice.hidden else "",
    )


def no_gpus(seen: Graphics, others: Sequence[str], environ: Mapping[str, str]) -> Finding:
    """Why no GPU can be used, where none is visible."""
    if seen.installed and seen.choice.undivided:
        case = "no slice"
    elif seen.installed and not seen.complaint:
        case = "hidden"
    elif seen.complaint and seen.why != "missing":
        case = "complaint"
    elif environ.get("NVIDIA_VISIBLE_DEVICES") in ("none", "void"):
        case = "not given"
    elif "NVIDIA" in others:
        case = "no driver"
    else:
        case = "foreign" if others else "none"
    facts = dict(processes="the", batch="the recipe", gpu="GPUs")
    return Finding("GPUs", "problem", facts | _of_graphics(seen, others, environ), case)


def _capability(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    found = [gpu.capability for gpu in survey.gpus]
    if known := [capability for capability in found if capability]:
        yield from _one("GPU generation", _state(min(known) >= (8, 0)), capability=dotted(min(known)))
    elif found:
        yield from _one("GPU generation", "unknown", capability="unknown")


def _gpu_memory(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    data = budget.known_data(recipe)
    if not survey.gpus or not data:
        return
    sizes = [gpu.memory for gpu in survey.gpus]
    known, processes = [size for size in sizes if size], _processes(recipe, survey)
    examples = recipe.train.batch // processes
    low, high = budget.gpu_memory(data, examples, budget.cycles(recipe))
    facts: dict[str, Any] = dict(
        low=low, high=high, batch=recipe.train.batch, processes=processes, examples=examples, table=data.table
    )
    smallest = min(known, default=0)
    if known and smallest < low:
        yield from _one("GPU memory", "problem", smallest=smallest, **facts)
    elif len(known) < len(sizes):
        yield from _one(
            "GPU memory", "unknown", "unknown", memory=survey.memory.amount if survey.memory else 0, **facts
        )
    else:
        yield from _one("GPU memory", _state(smallest >= high, "warning"), smallest=smallest, **facts)


def _gpus_free(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    used = [gpu.used for gpu in survey.gpus]
    programs = sorted({name for _, facts in _health(survey) for name in facts.get("Processes/Process ID/Name", [])})
    by = f" by {', '.join(PurePath(program).name for program in programs)}" if programs else ""
    known = [size for size in used if size is not None]
    if known and (max(known) >= GB or len(known) == len(used)):
        yield from _one("GPUs free", _state(max(known) < GB, "warning"), used=max(known), by=by)
    elif used:
        yield from _one("GPUs free", "unknown", "unknown")


def _health(survey: Survey) -> Iterator[tuple[int | None, Mapping[str, list[str]]]]:
    """What nvidia-smi -q says of each visible GPU, beside its number."""
    for gpu in survey.gpus:
        for position, facts in enumerate(survey.health or []):
            uuid = facts.get("GPU UUID", [""])[0]
            if uuid == gpu.uuid if uuid and gpu.uuid.startswith("GPU-") else position == gpu.index:
                yield gpu.index, facts


def _troubles(facts: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """What is wrong with a GPU, as (case, words)."""

    def has(pattern: str, *values: str) -> list[str]:
        return [path for path, said in facts.items() if re.fullmatch(pattern, path) and set(values) & set(said)]

    if has("Remapped Rows/Pending|Retired Pages/Pending.*", "Yes"):
        yield "pending", "memory rows wait to be remapped"
    if has("Remapped Rows/Remapping Failure Occurred", "Yes"):
        yield "broken", "a memory row could not be remapped"
    current, pending = (facts.get(f"ECC Mode/{name}", [""])[0] for name in ("Current", "Pending"))
    if {current, pending} == {"Enabled", "Disabled"}:
        yield "pending", f"ECC is {current}, and {pending} from the next start on"
    for path, said in facts.items():
        counts = [int(value) for value in said if value.isdigit()]
        if re.fullmatch(r"ECC Errors/Volatile/.*(Uncorrectable|Double Bit).*", path) and any(counts):
            yield "broken", f"{max(counts)} uncorrectable memory errors"
    if (action := facts.get("GPU Recovery Action", ["None"])[0]) not in ("None", "N/A"):
        yield "pending", f"it asks for: {action}"
    slowed = [name for name in SLOWED if has(rf"Clocks (Event|Throttle) Reasons/(.*/)?{name}", "Active")]
    if slowed:
        yield "slowed", " and ".join(slowed)
    if has("Compute Mode", "Prohibited"):
        yield "prohibited", "its compute mode is Prohibited"


def _gpu_health(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    if not survey.gpus:
        return
    seen = list(_health(survey))
    if not seen:
        yield from _one("GPU health", "unknown", "unknown")
        return
    found = [(case, f"GPU {number}: {words}") for number, facts in seen for case, words in _troubles(facts)]
    for case in dict.fromkeys(case for case, _ in found):
        state = "problem" if case in ("broken", "prohibited") else "warning"
        yield from _one(
            "GPU health", state, case, said="; ".join(dict.fromkeys(words for other, words in found if other == case))
        )
    modes = {mode for _, facts in seen for mode in facts.get("Persistence Mode", [])}
    if not found:
        yield from _one("GPU health", "ok", persistence=" and ".join(sorted(modes)).lower() or "unknown")


def _fabric(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    said = [
        (facts.get("Fabric/State", ["N/A"])[0], facts.get("Fabric/Status", ["N/A"])[0]) for _, facts in _health(survey)
    ]
    said = [pair for pair in said if pair[0] not in ("N/A", "Not Supported")]
    if said:
        bad = [pair for pair in said if pair[0] != "Completed" or pair[1] not in ("Success", "N/A")]
        words = ", ".join(word for word in (bad or said)[0] if word != "N/A")
        yield from _one("NVLink fabric", _state(not bad), said=words)
    elif survey.manager is not None and survey.gpus:
        yield from _one(
            "NVLink fabric", "ok" if survey.manager else "unknown", "manager" if survey.manager else "unknown"
        )


def _links(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    if len(survey.gpus) < 2:
        return
    rows, numbers = survey.links or [], [gpu.index for gpu in survey.gpus if gpu.index is not None]
    kinds = sorted(
        {
            rows[one][other]
            for one in numbers
            for other in numbers
            if one != other and one < len(rows) and other < len(rows[one])
        }
    )
    if not kinds:
        yield from _one("GPU links", "unknown", "unknown")
    else:
        yield from _one(
            "GPU links", "ok", kinds=", ".join(kinds), by="NVLink" if all(k.startswith("NV") for k in kinds) else "PCIe"
        )


# ---- what is compiled and installed ----


def _architecture(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    if recipe.environment.name != "training" or survey.environ.get("ENV_LOCK") == "none":
        return
    machine = survey.architecture
    if machine in ("x86_64", "AMD64"):
        yield from _one("processor", "ok", machine=machine)
    elif machine in ARM and _lock(recipe, survey) == "cu130":
        yield from _one("processor", "warning", "arm", machine=machine)
    else:
        yield from _one("processor", "problem", "arm, old driver" if machine in ARM else "", machine=machine)


def _lock(recipe: Recipe, survey: Survey) -> str:
    try:
        wanted = survey.environ.get("CUDA_LOCK", "auto")
        return choose(survey.gpus, survey.compilers, wanted=wanted, compiles=recipe.compiles).lock
    except ReproError:
        return ""


def _cuda(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    if survey.environ.get("ENV_LOCK") == "none":
        if not recipe.environment.unlocked:
            yield from _one("CUDA", "problem", "no commands")
        else:
            nvcc = ", ".join(dotted(nvcc.version) for nvcc in survey.compilers)
            yield from _one("CUDA", _state(bool(nvcc), "warning"), "unlocked", nvcc=nvcc or "none")
        return
    try:
        wanted = survey.environ.get("CUDA_LOCK", "auto")
        choice = choose(survey.gpus, survey.compilers, wanted=wanted, compiles=recipe.compiles)
    except ReproError as error:
        yield from _one("CUDA", "problem", "no lock", said=str(error), remedy=error.hint or "")
        return
    compiler = f"nvcc 12 in {choice.cuda_home}" if choice.cuda_home else "which brings its own nvcc"
    # the lock of a machine whose driver nobody has seen is a guess
    yield from _one("CUDA", _state(bool(survey.gpus), "unknown"), lock=choice.lock, compiler=compiler, why=choice.why)


def _compiler(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    if survey.environ.get("ENV_LOCK") == "none":
        return
    yield from _one("C++ compiler", _state(bool(survey.cxx)), found=survey.cxx or "none")
    if (there := survey.headers) is not None:
        found = "there" if there else "none"
        yield from _one("Python headers", _state(there), found=found, python=survey.environ.get("PY", ""))


# ---- the machine ----


def _memory(recipe: Recipe, survey: Survey) -> list[Finding]:
    data, limit = budget.known_data(recipe), survey.memory
    builds = data and not survey.built and survey.environ.get("DATASET_BUILDER") != "fast"
    facts: dict[str, Any] = {"identifiers": data.identifiers, "data": data.bytes} if data else {}
    case = "built"
    if not data:
        needed, case = recipe.needs.memory * GB, "recipe"
    elif builds:
        needed, case = data.builder_memory + 2 * GB, "builder"
    else:
        needed = data.bytes + 4 * GB
    if limit is None:
        return _one("memory", "unknown", case, found="unknown", needed=needed, **facts)
    # page cache that is missing slows a training down; a builder without memory is killed
    state = _state(limit.amount >= needed, "problem" if builds or not data else "warning")
    found = _gb(limit.amount) + ("" if limit.by == "the machine's" else f", {limit.by}")
    if state == "ok" and survey.free_memory is not None and survey.free_memory < needed:
        state, case, found = "warning", "in use", f"{found}, of which {_gb(survey.free_memory)} are free now"
    return _one("memory", state, case, found=found, needed=needed, **facts)


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB"


def _address_space(recipe: Recipe, survey: Survey) -> list[Finding]:
    most = survey.address_space
    return [] if most is None else _one("address space", "problem" if recipe.train.gpu else "warning", most=most)


def _disk(recipe: Recipe, survey: Survey) -> list[Finding]:
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
    free, quota = survey.disk.free, survey.disk.quota
    state = "unknown" if free is None else _state(free >= needed)
    by = f", by a quota ({quota})" if quota else ""
    return _one("disk", state, found="unknown" if free is None else f"{_gb(free)} free{by}", needed=needed, why=why)


def _inodes(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    needed = 1000 + (ENVIRONMENT_FILES if recipe.train.gpu and not survey.installed else 0)
    if (free := survey.disk.files) is not None:
        yield from _one(
            "files on the disk", _state(free >= needed), free=free, needed=needed, why=f"{needed:,} at most"
        )
    elif survey.disk.free is None:
        yield from _one("files on the disk", "unknown", "unknown", needed=needed)


def _folders(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    good = []
    for place in survey.places:
        kind = place.kind or "of unknown type"
        found = list(_of_folder(place))
        for case, state, said in found:
            yield from _one("folders", state, case, name=place.name, path=place.path, kind=kind, said=said)
        if not found:
            good.append(f"{place.name} ({kind})")
    if good:
        tried = all(place.tried for place in survey.places)
        remote = "" if not any(REMOTE_KINDS.search(place.kind) for place in survey.places) else "remote"
        yield from _one("folders", "ok" if tried else "unknown", remote if tried else "plan", names=", ".join(good))


def _of_folder(place: Place) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a folder: (case, state, what it does not do)."""
    if place.silent:
        yield "silent", "problem", ""
    for name, how in place.tried.items():
        if how and name in NEEDED[place.name]:
            case = {"run programs": "noexec", "git": "owner", "sockets": "sockets", "write": "write"}.get(name, "fault")
            yield case, "problem", how if name in ("git", "sockets") else f"cannot {name}: {how}"
        elif how and name in ADVISED.get(place.name, ()):
            yield {"own new files": "owner"}.get(name, "case"), "warning", how
    if OBJECT_STORES.search(place.kind):
        yield "object store", "warning", "an object store that looks like a folder"
    if (length := len(bytes(place.path)) + LONGEST) > PATH_MAX:
        yield "long", "problem", f"paths in it would have {length} bytes, and {PATH_MAX} is the most"


def _shm(recipe: Recipe, survey: Survey) -> list[Finding]:
    if survey.shm_tried:
        return _one("/dev/shm", "problem", "write", found=survey.shm_tried)
    free = survey.shm.free
    if free is None:
        return _one("/dev/shm", "unknown", found="unknown")
    if survey.shm.files is not None and survey.shm.files < FILES:
        return _one("/dev/shm", "problem", "files", found=f"room for {survey.shm.files} files")
    state = "problem" if free < SHM_LEAST else _state(free >= SHM_ADVISED, "warning")
    if state == "ok" and survey.shm_kind not in ("tmpfs", ""):
        return _one("/dev/shm", "warning", "disk", found=f"{_gb(free)} free, of type {survey.shm_kind}")
    return _one("/dev/shm", state, found=f"{_gb(free)} free")


def _cores(recipe: Recipe, survey: Survey) -> list[Finding]:
    have, needed = survey.cores.amount, 2 * _processes(recipe, survey)
    by = "" if survey.cores.by == "the machine's" else f", {survey.cores.by}"
    return _one("cores", _state(have >= needed, "warning"), have=f"{have:g}{by}", needed=needed)


def _ulimits(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    case = "" if survey.files_most >= FILES else "hard"
    yield from _one("open files", _state(survey.files >= FILES), case, have=survey.files, needed=FILES)
    data = budget.known_data(recipe)
    if (most := survey.file_size) is not None:
        needed = max(data.checkpoint, data.bytes) if data else GB
        yield from _one("file size", _state(most >= needed), most=most, needed=needed)
    if (seconds := survey.cpu_seconds) is not None:
        yield from _one("processor time", "problem" if recipe.train.gpu else "warning", seconds=seconds)
    if recipe.train.gpu and (limit := survey.processes) is not None:
        state = _state(limit.amount >= PROCESSES * _processes(recipe, survey), "warning")
        yield from _one(
            "processes", state, most=f"{limit.amount:.0f}", by=limit.by, needed=PROCESSES * _processes(recipe, survey)
        )


def _clock(recipe: Recipe, survey: Survey) -> list[Finding]:
    if (skew := survey.skew) is not None:
        return _one("clock", _state(abs(skew) <= 300), "server", skew=skew)
    after = survey.clock >= survey.newest
    asked = (
        "no server could be asked"
        if survey.environ.get("CHECK_REMOTE") == "1"
        else "CHECK_REMOTE=1 compares it with a server's"
    )
    now = time.strftime("%FT%TZ", time.gmtime(survey.clock))
    state = _state(after) if survey.newest else "unknown"
    said = (
        f"{'after' if after else 'before'} this repository's last commit"
        if survey.newest
        else "nothing to compare it with"
    )
    return _one("clock", state, now=now, said=said, asked=asked)


def _ports(recipe: Recipe, survey: Survey) -> list[Finding]:
    state = "problem" if survey.port else _state(not survey.host, "warning")
    return _one("ports", state, found=survey.port or survey.host or "a free one can be reached")


def _servers(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    for server in survey.servers or []:
        via = f" through the proxy {server.proxy}" if server.proxy else ""
        case = "" if not server.problem else "issuer" if server.issuer else "refused"
        facts = dict(what=server.what, where=server.where, via=via, problem=server.problem, issuer=server.issuer)
        yield from _one("network", _state(not server.problem), case, **facts)


def _wandb(recipe: Recipe, survey: Survey) -> list[Finding]:
    refused = survey.wandb
    return [] if refused is None else _one("W&B key", _state(not refused), found=refused or "accepted")


def _rehearsal(recipe: Recipe, survey: Survey) -> list[Finding]:
    if recipe.engine != "upstream" or not recipe.faithful:
        return []
    found = f"succeeded {survey.rehearsed}" if survey.rehearsed else "none has succeeded here"
    return _one("dress rehearsal", _state(bool(survey.rehearsed), "warning"), found=found)


GPU_RULES: tuple[Rule, ...] = (
    *(_gpus, _capability, _gpu_memory, _gpus_free, _gpu_health, _fabric, _links),
    *(_architecture, _cuda, _compiler),
)
RULES: tuple[Rule, ...] = (
    *(_memory, _address_space, _disk, _inodes, _folders, _ulimits, _clock, _ports, _servers, _wandb),
    *(lambda recipe, survey: _shm(recipe, survey) if recipe.train.gpu else [],),
    *(lambda recipe, survey: _cores(recipe, survey) if recipe.train.gpu else [],),
    _rehearsal,
)
