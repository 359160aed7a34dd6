"""What a run needs of its machine, beside what is there."""

import dataclasses
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trm_repro.machine import hardware as machine
from trm_repro.machine import survey as module
from trm_repro.machine.folders import Place, Space
from trm_repro.machine.hardware import Gpu, Graphics, Nvcc
from trm_repro.machine.limits import Limit
from trm_repro.machine.network import Reached
from trm_repro.machine.preflight import GB, NEEDED
from trm_repro.machine.survey import Survey
from trm_repro.machine.words import Line, lines, table
from trm_repro.recipes.read import read_recipe

PAPER = read_recipe(Path("recipes"), "arc2-paper")
H100 = Gpu("NVIDIA H100 80GB HBM3", 81559 << 20, "580.65.06", (9, 0), 4 << 20)
ENVIRON = {"MAX_GPUS_TO_USE": "8", "ENV_LOCK": "locks", "CUDA_LOCK": "auto", "PY": "python3.10", "CHECK_REMOTE": "0"}


def seen(gpus: list[Gpu]) -> Graphics:
    numbered = [dataclasses.replace(gpu, index=number) for number, gpu in enumerate(gpus)]
    return Graphics(numbered, numbered, "" if gpus else "there is no nvidia-smi", "" if gpus else "missing")


HEALTHY = {
    "Persistence Mode": ["Enabled"], "Compute Mode": ["Default"],
    "ECC Mode/Current": ["Enabled"], "ECC Mode/Pending": ["Enabled"],
    "Remapped Rows/Pending": ["No"], "Clocks Event Reasons/HW Slowdown": ["Not Active"],
    "Fabric/State": ["Completed"], "Fabric/Status": ["Success"], "GPU Recovery Action": ["None"],
}  # fmt: skip
PLACES = [Place(name, Path("/data"), "ext4", dict.fromkeys(needed, "")) for name, needed in NEEDED.items()]
GOOD = Survey(
    environ=ENVIRON, architecture="x86_64", graphics=seen([H100] * 4), others=["NVIDIA"], health=[HEALTHY] * 4,
    links=[["X", "NV18", "NV18", "NV18"]] * 4, manager=True, compilers=[], cores=Limit(64, "the machine's"),
    memory=Limit(200 * GB, "the machine's"), free_memory=190 * GB, address_space=None, file_size=None, cpu_seconds=None,
    processes=None, files=65536, files_most=65536, shm=Space(64 * GB, 1 << 20), shm_kind="tmpfs", shm_tried="",
    disk=Space(500 * GB, 10**7), venv_disk=None, places=PLACES, clock=2.0, newest=1.0, skew=None, wandb=None, servers=None,
    port="", host="",
    cxx="/usr/bin/c++", headers=True, built=False, installed=False, rehearsed="2026-01-31T12:00:00Z",
)  # fmt: skip


def changed(**changes: Any) -> Survey:
    """The good machine with something else; shorthands: the visible GPUs, sizes without what sets them, a folder's faults."""
    if "gpus" in changes:
        changes["graphics"] = seen(changes.pop("gpus"))
    for name in ("memory", "cores"):
        if isinstance(changes.get(name), int):
            changes[name] = Limit(changes[name], "the machine's")
    for name in ("shm", "disk"):
        if isinstance(changes.get(name), int):
            changes[name] = Space(changes[name], 10**7)
    if "health" in changes and isinstance(changes["health"], dict):
        changes["health"] = [HEALTHY | changes["health"]] * 4
    if "place" in changes:
        name, kind, faults = changes.pop("place")
        changes["places"] = [
            dataclasses.replace(p, kind=kind, tried={**p.tried, **faults}) if p.name == name else p for p in PLACES
        ]
    return dataclasses.replace(GOOD, **changes)


def line(what: str, recipe: Any = PAPER, **changes: Any) -> Line:
    return next(found for found in lines(recipe, changed(**changes)) if found.what == what)


def with_environ(**changes: str) -> Mapping[str, str]:
    return {**ENVIRON, **changes}


def test_a_good_machine_has_no_finding_and_every_line_says_why() -> None:
    found = lines(PAPER, GOOD)
    assert {each.state for each in found} == {"ok"}
    assert all(each.found and each.why for each in found)
    assert "falls short" not in table(found)


@pytest.mark.parametrize(
    ("what", "state", "changes"),
    [
        ("GPUs", "problem", {"gpus": []}),
        ("GPUs", "warning", {"gpus": [H100, dataclasses.replace(H100, name="NVIDIA A100-SXM4-80GB")]}),
        ("GPU generation", "problem", {"gpus": [dataclasses.replace(H100, capability=(7, 0))]}),
        ("GPU memory", "problem", {"gpus": [H100] * 2}),
        ("GPU memory", "warning", {"gpus": [dataclasses.replace(H100, memory=60 * GB)] * 4}),
        ("GPUs free", "warning", {"gpus": [dataclasses.replace(H100, used=3 * GB)] * 4}),
        ("CUDA", "problem", {"gpus": [dataclasses.replace(H100, driver="470.82")] * 4}),
        ("CUDA", "problem", {"gpus": [dataclasses.replace(H100, driver="550.90")] * 4}),
        ("CUDA", "warning", {"environ": with_environ(ENV_LOCK="none")}),
        ("C++ compiler", "problem", {"cxx": ""}),
        ("Python headers", "problem", {"headers": False}),
        ("memory", "problem", {"memory": 23 * GB}),
        ("memory", "warning", {"memory": 13 * GB, "built": True}),
        ("memory", "warning", {"memory": 13 * GB, "environ": with_environ(DATASET_BUILDER="fast")}),
        ("disk", "problem", {"disk": 44 * GB}),
        ("/dev/shm", "problem", {"shm": 64 * 10**6}),
        ("/dev/shm", "warning", {"shm": 512 * 10**6}),
        ("cores", "warning", {"cores": 7}),
        ("open files", "problem", {"files": 256}),
        ("clock", "problem", {"clock": 0.5}),
        ("clock", "problem", {"skew": -301.0}),
        ("ports", "problem", {"port": "localhost cannot be used"}),
        ("ports", "warning", {"host": "this machine's own name does not resolve"}),
        ("W&B key", "problem", {"wandb": "401"}),
        ("dress rehearsal", "warning", {"rehearsed": ""}),
        ("memory", "unknown", {"memory": None}),
        ("memory", "warning", {"free_memory": 10 * GB}),
        ("address space", "problem", {"address_space": 64 * GB}),
        ("file size", "problem", {"file_size": GB}),
        ("processor time", "problem", {"cpu_seconds": 3600}),
        ("processes", "warning", {"processes": Limit(100, "ulimit -u")}),
        ("disk", "unknown", {"disk": Space(None)}),
        ("disk", "problem", {"disk": Space(10 * GB, 10**7, "quota")}),
        ("files on the disk", "problem", {"disk": Space(500 * GB, 100)}),
        ("folders", "problem", {"place": ("VENV_DIR", "ext4", {"run programs": "Permission denied"})}),
        ("folders", "problem", {"place": ("the repository", "nfs4", {"lock": "No locks available"})}),
        ("folders", "problem", {"place": ("TRM_DIR", "cifs", {"link": "Operation not supported"})}),
        ("folders", "problem", {"place": ("TRM_DIR", "ext4", {"git": "it belongs to another user"})}),
        ("folders", "problem", {"place": ("the temporary folder", "ext4", {"sockets": "too long"})}),
        ("folders", "warning", {"place": ("TRM_DIR", "vfat", {"tell names apart by case": "one file"})}),
        ("folders", "warning", {"place": ("TRM_DIR", "fuse.gcsfuse", {})}),
        ("folders", "problem", {"places": [Place("TRM_DIR", Path("/mnt/x"), "nfs4", silent=True)]}),
        ("folders", "problem", {"places": [Place("TRM_DIR", Path("/" + "x" * 4000), "ext4", {"write": ""})]}),
        ("folders", "unknown", {"places": [Place("TRM_DIR", Path("/data"), "ext4")]}),
        ("/dev/shm", "problem", {"shm_tried": "Permission denied"}),
        ("/dev/shm", "problem", {"shm": Space(64 * GB, 3)}),
        ("/dev/shm", "warning", {"shm_kind": "overlay"}),
        ("/dev/shm", "unknown", {"shm": Space(None)}),
        ("cores", "warning", {"cores": Limit(1.5, "the quota of the control group /x")}),
        ("processor", "warning", {"architecture": "aarch64"}),
        ("processor", "problem", {"architecture": "aarch64", "gpus": [dataclasses.replace(H100, driver="550.90")] * 4}),
        ("processor", "problem", {"architecture": "ppc64le"}),
        ("GPU generation", "unknown", {"gpus": [dataclasses.replace(H100, capability=None)] * 4}),
        ("GPU memory", "unknown", {"gpus": [dataclasses.replace(H100, memory=None)] * 4}),
        ("GPU memory", "unknown", {"gpus": [H100, dataclasses.replace(H100, memory=None), H100, H100]}),
        ("GPU memory", "problem", {"gpus": [H100, dataclasses.replace(H100, memory=16 * GB), H100, H100]}),
        ("GPUs free", "unknown", {"gpus": [dataclasses.replace(H100, used=None)] * 4}),
        (
            "GPUs free",
            "warning",
            {"gpus": [dataclasses.replace(H100, used=None), dataclasses.replace(H100, used=9 * GB)] * 2},
        ),
        ("GPU health", "unknown", {"health": None}),
        ("GPU health", "warning", {"health": {"ECC Mode/Pending": ["Disabled"]}}),
        ("GPU health", "warning", {"health": {"Remapped Rows/Pending": ["Yes"]}}),
        ("GPU health", "warning", {"health": {"GPU Recovery Action": ["Reset"]}}),
        ("GPU health", "warning", {"health": {"Clocks Throttle Reasons/HW Slowdown/HW Thermal Slowdown": ["Active"]}}),
        ("GPU health", "problem", {"health": {"ECC Errors/Volatile/SRAM Uncorrectable Parity": ["3"]}}),
        ("GPU health", "problem", {"health": {"Compute Mode": ["Prohibited"]}}),
        ("NVLink fabric", "problem", {"health": {"Fabric/State": ["In Progress"], "Fabric/Status": ["N/A"]}}),
        (
            "NVLink fabric",
            "problem",
            {"health": {"Fabric/State": ["Completed"], "Fabric/Status": ["Insufficient Resources"]}},
        ),
        ("NVLink fabric", "unknown", {"health": {"Fabric/State": ["N/A"]}, "manager": False}),
        ("GPU links", "unknown", {"links": None}),
        ("CUDA", "unknown", {"gpus": []}),
        ("clock", "unknown", {"newest": 0.0}),
        (
            "network",
            "problem",
            {"servers": [Reached("Kaggle", "https://www.kaggle.com/", "http://…@p:3128", "timed out")]},
        ),
    ],
)
def test_what_falls_short_is_said_with_a_remedy(what: str, state: str, changes: dict[str, Any]) -> None:
    found = line(what, **changes)
    assert (found.state, bool(found.remedy)) == (state, True)


def test_an_environment_on_a_disk_of_its_own_is_no_burden_on_the_other() -> None:
    apart = changed(venv_disk=Space(7 * GB, 60_000), disk=Space(40 * GB, 2000))
    assert {each.state for each in lines(PAPER, apart) if "disk" in each.what} == {"ok"}
    small = [each for each in lines(PAPER, changed(venv_disk=Space(5 * GB, 40_000))) if "disk" in each.what]
    assert [each.state for each in small] == ["ok", "problem", "ok", "problem"]
    assert "VENV_DIR" in small[1].why


def test_a_full_disk_is_said_once_and_not_called_a_fault_of_its_file_system() -> None:
    faults = dict.fromkeys(("read", "rename", "map"), "No space left on device")
    found = [each for each in lines(PAPER, changed(place=("TRM_DIR", "ext4", faults))) if each.what == "folders"]
    assert [(each.state, "free some" in each.remedy) for each in found] == [("problem", True), ("ok", False)]


def test_a_folder_that_does_not_answer_does_not_undo_what_was_tried_in_others() -> None:
    places = [*PLACES[1:], dataclasses.replace(PLACES[0], tried={}, silent=True)]
    assert [each.state for each in lines(PAPER, changed(places=places)) if each.what == "folders"] == ["problem", "ok"]


def test_no_lock_is_a_problem_where_the_seeds_commands_would_not_make_the_environment() -> None:
    found = line("CUDA", read_recipe(Path("recipes"), "nvarc-pretrain"), environ=with_environ(ENV_LOCK="none"))
    assert (found.state, bool(found.remedy)) == ("problem", True)


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("memory", {"memory": 24 * GB}),
        ("disk", {"disk": 30 * GB, "built": True, "installed": True}),
        ("GPU memory", {"gpus": [H100] * 8}),
        (
            "CUDA",
            {"gpus": [dataclasses.replace(H100, driver="550.90")] * 4, "compilers": [Nvcc(Path("/cuda"), (12, 6))]},
        ),
        ("CUDA", {"environ": with_environ(ENV_LOCK="none"), "compilers": [Nvcc(Path("/cuda"), (12, 6))]}),
        ("clock", {"skew": 12.0}),
        ("W&B key", {"wandb": ""}),
        ("NVLink fabric", {"health": {"Fabric/State": ["N/A"]}}),
        ("GPU links", {"links": [["X", "SYS", "SYS", "SYS"]] * 4}),
        ("network", {"servers": [Reached("Kaggle", "https://www.kaggle.com/")]}),
    ],
)
def test_what_suffices_is_ok(what: str, changes: dict[str, Any]) -> None:
    assert line(what, **changes).state == "ok"


def test_numbers_carry_their_arithmetic() -> None:
    assert "1,191,730 identifiers × 18.36 kB" in line("memory").why
    assert "768 / 4 = 192 examples" in line("GPU memory").why
    assert line("GPU memory").needed == "51.1 GB to 61.2 GB"
    assert "10 checkpoints of 2.5 GB" in line("disk").why
    assert line("disk").needed == "44.8 GB"


def test_the_table_names_all_problems_in_its_last_line() -> None:
    text = table(lines(PAPER, changed(memory=GB, disk=GB, cores=1)))
    assert text.splitlines()[-1] == "falls short: memory, disk"
    assert "→ free some" in text


def test_a_rehearsal_on_a_laptop_needs_no_gpu() -> None:
    recipe = read_recipe(Path("recipes"), "arc2-rehearsal")
    found = lines(recipe, changed(gpus=[], memory=4 * GB, disk=5 * GB, shm=0, headers=None))
    assert {each.state for each in found} == {"ok"}
    assert "GPUs" not in [each.what for each in found]


def test_this_machine_can_be_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ = with_environ(
        TRM_DIR=str(tmp_path / "no" / "such"),
        VENV_DIR=str(tmp_path),
        PY=sys.executable,
        TARGET_DATASET="nothing",  # whose rehearsals did not succeed here
        WANDB_API_KEY="",
        TMPDIR=str(tmp_path / "full"),  # which Python would pass over
    )
    facts = module.survey(PAPER, environ)
    assert (
        facts.memory and facts.memory.amount > GB and facts.disk.free and facts.shm.free and facts.files and facts.cores
    )
    assert [(place.name, how) for place in facts.places for how in place.tried.values() if how] == []
    assert {place.name for place in facts.places} == set(NEEDED)
    assert tmp_path / "full" in {place.path for place in facts.places}
    assert not list(tmp_path.iterdir()), "what was tried out is removed again"
    assert facts.clock > facts.newest > 0
    assert (facts.port, facts.skew, facts.wandb, facts.built, facts.rehearsed) == ("", None, None, False, "")
    assert facts.headers is not None


def test_a_python_that_does_not_run_has_no_headers_line() -> None:
    assert module._python_headers("no-such-python") is None
    assert "Python headers" not in [each.what for each in lines(PAPER, dataclasses.replace(GOOD, headers=None))]


def test_ports_that_cannot_be_used_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Cannot assign requested address")

    monkeypatch.setattr(module.socket, "create_server", refuse)
    monkeypatch.setattr(module.socket, "getaddrinfo", refuse)
    assert "Cannot assign" in module._port_problem()
    assert "does not resolve" in module._host_problem()


def test_a_refused_wandb_key_is_noticed_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        def __init__(self, api_key: str, timeout: int) -> None:
            if api_key != "right":
                raise ValueError(f"key {api_key} refused")
            self.viewer = "me"

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(Api=Api))
    assert module._wandb_problem("right") == ""
    assert module._wandb_problem("secret") == "key … refused"


def test_compilers_are_found_by_cuda_home_and_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, release in (("a", "12.6"), ("b", "13.0")):
        (tmp_path / name / "bin").mkdir(parents=True)
        nvcc = tmp_path / name / "bin" / "nvcc"
        nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\n")
        nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("PATH", str(tmp_path / "b" / "bin"))
    assert machine.compilers()[:2] == [Nvcc(tmp_path / "a", (12, 6)), Nvcc(tmp_path / "b", (13, 0))]


def test_every_finding_has_words_that_its_facts_fill() -> None:
    for survey in (
        GOOD,
        changed(gpus=[], memory=None, disk=Space(None)),
        changed(health=None, links=None, manager=False),
    ):
        assert all(
            each.found and each.why and "{" not in each.found + each.why + each.remedy for each in lines(PAPER, survey)
        )


def test_the_table_fits_a_terminal() -> None:
    found = lines(PAPER, changed(gpus=[], memory=GB, place=("VENV_DIR", "nfs4", {"run programs": "Permission denied"})))
    text = table(found)
    assert max(map(len, text.splitlines()[:-1])) <= 80
    assert text.splitlines()[-1] == "falls short: GPUs, memory, folders"
