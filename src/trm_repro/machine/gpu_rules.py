"""What a run needs of its GPUs, and of what is compiled and installed for them, for :mod:`trm_repro.machine.preflight`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from trm_repro.errors import ReproError
from trm_repro.machine import budget
from trm_repro.machine.budget import GB
from trm_repro.machine.finding import Finding, Rule, one, process_count, state_of
from trm_repro.machine.hardware import Graphics, dotted
from trm_repro.machine.locks import choose
from trm_repro.machine.survey import Survey
from trm_repro.recipes.schema import Recipe

SLOWED = ("HW Slowdown", "HW Thermal Slowdown", "HW Power Brake Slowdown", "SW Thermal Slowdown")
ARM = ("aarch64", "arm64")


# ---- GPUs ----


def _gpus(recipe: Recipe, survey: Survey) -> list[Finding]:
    seen, choice = survey.graphics, survey.graphics.choice
    case, state = "", state_of(len({gpu.name for gpu in seen.visible}) == 1, "warning")
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
    facts = dict(processes=process_count(recipe, survey), batch=recipe.train.batch, gpu=recipe.needs.gpu or "any")
    return one("GPUs", state, case, **facts, **_of_graphics(seen, survey.others, survey.environ))


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
    if seen.installed and seen.choice.undivided and not seen.complaint:
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
        yield from one("GPU generation", state_of(min(known) >= (8, 0)), capability=dotted(min(known)))
    elif found:
        yield from one("GPU generation", "unknown", capability="unknown")


def _gpu_memory(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    data = budget.known_data(recipe)
    if not survey.gpus or not data:
        return
    sizes = [gpu.memory for gpu in survey.gpus]
    known, processes = [size for size in sizes if size], process_count(recipe, survey)
    examples = recipe.train.batch // processes
    low, high = budget.gpu_memory(data, examples, budget.cycles(recipe))
    facts: dict[str, Any] = dict(
        low=low, high=high, batch=recipe.train.batch, processes=processes, examples=examples, table=data.table
    )
    smallest = min(known, default=0)
    if known and smallest < low:
        yield from one("GPU memory", "problem", smallest=smallest, **facts)
    elif len(known) < len(sizes):
        yield from one("GPU memory", "unknown", "unknown", memory=survey.memory.amount if survey.memory else 0, **facts)
    else:
        yield from one("GPU memory", state_of(smallest >= high, "warning"), smallest=smallest, **facts)


def _gpus_free(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    used = [gpu.used for gpu in survey.gpus]
    programs = sorted({name for _, facts in _health(survey) for name in facts.get("Processes/Process ID/Name", [])})
    by = f" by {', '.join(PurePath(program).name for program in programs)}" if programs else ""
    known = [size for size in used if size is not None]
    if known and (max(known) >= GB or len(known) == len(used)):
        yield from one("GPUs free", state_of(max(known) < GB, "warning"), used=max(known), by=by)
    elif used:
        yield from one("GPUs free", "unknown", "unknown")


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
        yield from one("GPU health", "unknown", "unknown")
        return
    found = [(case, f"GPU {number}: {words}") for number, facts in seen for case, words in _troubles(facts)]
    for case in dict.fromkeys(case for case, _ in found):
        state = "problem" if case in ("broken", "prohibited") else "warning"
        yield from one(
            "GPU health", state, case, said="; ".join(dict.fromkeys(words for other, words in found if other == case))
        )
    modes = {mode for _, facts in seen for mode in facts.get("Persistence Mode", [])}
    if not found:
        yield from one("GPU health", "ok", persistence=" and ".join(sorted(modes)).lower() or "unknown")


def _fabric(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    said = [
        (facts.get("Fabric/State", ["N/A"])[0], facts.get("Fabric/Status", ["N/A"])[0]) for _, facts in _health(survey)
    ]
    said = [pair for pair in said if pair[0] not in ("N/A", "Not Supported")]
    if said:
        bad = [pair for pair in said if pair[0] != "Completed" or pair[1] not in ("Success", "N/A")]
        words = ", ".join(word for word in (bad or said)[0] if word != "N/A")
        yield from one("NVLink fabric", state_of(not bad), said=words)
    elif survey.manager is not None and survey.gpus:
        yield from one(
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
        yield from one("GPU links", "unknown", "unknown")
    else:
        yield from one(
            "GPU links", "ok", kinds=", ".join(kinds), by="NVLink" if all(k.startswith("NV") for k in kinds) else "PCIe"
        )


# ---- what is compiled and installed ----


def _architecture(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    if recipe.environment.name != "training" or survey.environ.get("ENV_LOCK") == "none":
        return
    machine = survey.architecture
    if machine in ("x86_64", "AMD64"):
        yield from one("processor", "ok", machine=machine)
    elif machine in ARM and _lock(recipe, survey) == "cu130":
        yield from one("processor", "warning", "arm", machine=machine)
    else:
        yield from one("processor", "problem", "arm, old driver" if machine in ARM else "", machine=machine)


def _lock(recipe: Recipe, survey: Survey) -> str:
    try:
        wanted = survey.environ.get("CUDA_LOCK", "auto")
        return choose(survey.gpus, survey.compilers, wanted=wanted, compiles=recipe.compiles).lock
    except ReproError:
        return ""


def _cuda(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    if survey.environ.get("ENV_LOCK") == "none":
        if not recipe.environment.unlocked:
            yield from one("CUDA", "problem", "no commands")
        else:
            nvcc = ", ".join(dotted(nvcc.version) for nvcc in survey.compilers)
            yield from one("CUDA", state_of(bool(nvcc), "warning"), "unlocked", nvcc=nvcc or "none")
        return
    try:
        wanted = survey.environ.get("CUDA_LOCK", "auto")
        choice = choose(survey.gpus, survey.compilers, wanted=wanted, compiles=recipe.compiles)
    except ReproError as error:
        yield from one("CUDA", "problem", "no lock", said=str(error), remedy=error.hint or "")
        return
    compiler = f"nvcc 12 in {choice.cuda_home}" if choice.cuda_home else "which brings its own nvcc"
    # the lock of a machine whose driver nobody has seen is a guess
    yield from one("CUDA", state_of(bool(survey.gpus), "unknown"), lock=choice.lock, compiler=compiler, why=choice.why)


def _compiler(recipe: Recipe, survey: Survey) -> Iterator[Finding]:
    if survey.environ.get("ENV_LOCK") == "none":
        return
    yield from one("C++ compiler", state_of(bool(survey.cxx)), found=survey.cxx or "none")
    if (there := survey.headers) is not None:
        found = "there" if there else "none"
        yield from one("Python headers", state_of(there), found=found, python=survey.environ.get("PY", ""))


GPU_RULES: tuple[Rule, ...] = (
    *(_gpus, _capability, _gpu_memory, _gpus_free, _gpu_health, _fabric, _links),
    *(_architecture, _cuda, _compiler),
)
