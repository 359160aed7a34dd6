"""What a run needs of its machine, beside what :mod:`trm_repro.machine.survey` saw there. This module only judges;
:mod:`trm_repro.machine.words` says it.

A finding's state is ``ok``, ``warning`` (the run can start, and may suffer), ``problem`` (it cannot succeed) or ``unknown``
(nobody says, and what was not seen is not called ok). The guard G-MACHINE stops a run on problems. A new fact is one line of
:data:`RULES`.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from typing import Any

from trm_repro.machine import budget
from trm_repro.machine.budget import GB
from trm_repro.machine.finding import Finding, Rule, gb, one, process_count, state_of
from trm_repro.machine.folders import LONGEST, Place, Space
from trm_repro.machine.gpu_rules import GPU_RULES
from trm_repro.machine.rehearsals import fitting
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
    ".repro": {"write", "read", "run programs", "rename"},
}
FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
ADVISED = {"TRM_DIR": {"tell names apart by case", "own new files"}}


def findings(recipe: Recipe, survey: Survey) -> list[Finding]:
    """What the recipe's run needs, compared with what was found."""
    rules = [*(GPU_RULES if recipe.train.gpu else ()), *RULES]
    return [finding for rule in rules for finding in rule(recipe, survey)]


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
        return one("memory", "unknown", case, found="unknown", needed=needed, **facts)
    # page cache that is missing slows a training down; a builder without memory is killed
    state = state_of(limit.amount >= needed, "problem" if builds or not data else "warning")
    found = gb(limit.amount) + ("" if limit.by == "the machine's" else f", {limit.by}")
    if state == "ok" and survey.free_memory is not None and survey.free_memory < needed:
        state, case, found = "warning", "in use", f"{found}, of which {gb(survey.free_memory)} are free now"
    return one("memory", state, case, found=found, needed=needed, **facts)


def _address_space(recipe: Recipe, survey: Survey) -> list[Finding]:
    most = survey.address_space
    return [] if most is None else one("address space", "problem" if recipe.train.gpu else "warning", most=most)


def _disk(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    data = budget.known_data(recipe)
    environment = 0 if survey.installed else ENVIRONMENT
    if not data:
        needed, why = recipe.needs.disk * GB, "the recipe says so"
    else:
        count = max(1, len(recipe.expected.steps))
        parts = {
            "environment": 0 if survey.venv_disk else environment,
            "dataset": 0 if survey.built else data.bytes,
            f"{count} checkpoints of {gb(data.checkpoint)}": count * data.checkpoint,
            "the published copy": data.checkpoint,
            "logs": 2 * GB,
        }
        needed = sum(parts.values())
        why = " + ".join(f"{name} {gb(size)}" for name, size in parts.items() if size)
    yield _room(survey.disk, needed, why)
    if data and survey.venv_disk and environment:
        yield _room(survey.venv_disk, environment, "the environment, in VENV_DIR")


def _room(disk: Space, needed: float, why: str) -> Finding:
    by = f", by a quota ({disk.quota})" if disk.quota else ""
    state = "unknown" if disk.free is None else state_of(disk.free >= needed)
    found = "unknown" if disk.free is None else f"{gb(disk.free)} free{by}"
    return Finding("disk", state, {"found": found, "needed": needed, "why": why})


def _inodes(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    environment = ENVIRONMENT_FILES if recipe.train.gpu and not survey.installed else 0
    for disk, needed in ((survey.disk, 1000 + environment * (not survey.venv_disk)), (survey.venv_disk, environment)):
        if disk and needed and disk.files is not None:
            yield from one("files on the disk", state_of(disk.files >= needed), free=disk.files, needed=needed)
        elif disk and needed and disk.free is None:
            yield from one("files on the disk", "unknown", "unknown", needed=needed)


def _folders(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    good, tried = [], True
    for place in survey.places:
        kind = place.kind or "of unknown type"
        found = list(_of_folder(place))
        for case, state, said in found:
            yield from one("folders", state, case, name=place.name, path=place.path, kind=kind, said=said)
        if not found:
            good.append(f"{place.name} ({kind})")
            tried = tried and bool(place.tried)
    if good:
        remote = "" if not any(REMOTE_KINDS.search(place.kind) for place in survey.places) else "remote"
        yield from one("folders", "ok" if tried else "unknown", remote if tried else "plan", names=", ".join(good))


def _of_folder(place: Place) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a folder: (case, state, what it does not do)."""
    if place.silent:
        yield "silent", "problem", ""
    if full := next((how for how in place.tried.values() if how in FULL), ""):
        yield "full", "problem", full
    for name, how in place.tried.items():
        if how in FULL:
            continue
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
        return one("/dev/shm", "problem", "write", found=survey.shm_tried)
    free = survey.shm.free
    if free is None:
        return one("/dev/shm", "unknown", found="unknown")
    if survey.shm.files is not None and survey.shm.files < FILES:
        return one("/dev/shm", "problem", "files", found=f"room for {survey.shm.files} files")
    state = "problem" if free < SHM_LEAST else state_of(free >= SHM_ADVISED, "warning")
    if state == "ok" and survey.shm_kind not in ("tmpfs", ""):
        return one("/dev/shm", "warning", "disk", found=f"{gb(free)} free, of type {survey.shm_kind}")
    return one("/dev/shm", state, found=f"{gb(free)} free")


def _cores(recipe: Recipe, survey: Survey) -> list[Finding]:
    have, needed = survey.cores.amount, 2 * process_count(recipe, survey)
    by = "" if survey.cores.by == "the machine's" else f", {survey.cores.by}"
    return one("cores", state_of(have >= needed, "warning"), have=f"{have:g}{by}", needed=needed)


def _ulimits(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    case = "" if survey.files_most >= FILES else "hard"
    yield from one("open files", state_of(survey.files >= FILES), case, have=survey.files, needed=FILES)
    data = budget.known_data(recipe)
    if (most := survey.file_size) is not None:
        needed = max(data.checkpoint, data.bytes) if data else GB
        yield from one("file size", state_of(most >= needed), most=most, needed=needed)
    if (seconds := survey.cpu_seconds) is not None:
        yield from one("processor time", "problem" if recipe.train.gpu else "warning", seconds=seconds)
    if recipe.train.gpu and (limit := survey.processes) is not None:
        state = state_of(limit.amount >= PROCESSES * process_count(recipe, survey), "warning")
        yield from one(
            "processes",
            state,
            most=f"{limit.amount:.0f}",
            by=limit.by,
            needed=PROCESSES * process_count(recipe, survey),
        )


def _clock(recipe: Recipe, survey: Survey) -> list[Finding]:
    if (skew := survey.skew) is not None:
        return one("clock", state_of(abs(skew) <= 300), "server", skew=skew)
    after = survey.clock >= survey.newest
    asked = (
        "no server could be asked"
        if survey.environ.get("CHECK_REMOTE") == "1"
        else "CHECK_REMOTE=1 compares it with a server's"
    )
    now = time.strftime("%FT%TZ", time.gmtime(survey.clock))
    state = state_of(after) if survey.newest else "unknown"
    said = (
        f"{'after' if after else 'before'} this repository's last commit"
        if survey.newest
        else "nothing to compare it with"
    )
    return one("clock", state, now=now, said=said, asked=asked)


def _ports(recipe: Recipe, survey: Survey) -> list[Finding]:
    state = "problem" if survey.port else state_of(not survey.host, "warning")
    return one("ports", state, found=survey.port or survey.host or "a free one can be reached")


def _servers(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    for server in survey.servers or []:
        via = f" through the proxy {server.proxy}" if server.proxy else ""
        case = "" if not server.problem else "issuer" if server.issuer else "refused"
        facts = dict(what=server.what, where=server.where, via=via, problem=server.problem, issuer=server.issuer)
        yield from one("network", state_of(not server.problem), case, **facts)


def _wandb(recipe: Recipe, survey: Survey) -> list[Finding]:
    refused = survey.wandb
    return [] if refused is None else one("W&B key", state_of(not refused), found=refused or "accepted")


def _rehearsal(recipe: Recipe, survey: Survey) -> list[Finding]:
    if recipe.engine != "upstream" or not recipe.faithful:
        return []
    found = f"succeeded {survey.rehearsed}" if survey.rehearsed else "none has succeeded here"
    fits = fitting("upstream", "", gpus=bool(survey.gpus))
    return one("dress rehearsal", state_of(bool(survey.rehearsed), "warning"), found=found, fits=fits)


RULES: tuple[Rule, ...] = (
    *(_memory, _address_space, _disk, _inodes, _folders, _ulimits, _clock, _ports, _servers, _wandb),
    *(lambda recipe, survey: _shm(recipe, survey) if recipe.train.gpu else [],),
    *(lambda recipe, survey: _cores(recipe, survey) if recipe.train.gpu else [],),
    _rehearsal,
)
