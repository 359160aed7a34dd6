"""What a run needs of its machine, beside what is there."""

import dataclasses
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trm_repro.digests import digest_file
from trm_repro.errors import UsageError
from trm_repro.machine import hardware as machine
from trm_repro.machine import rehearsals
from trm_repro.machine import survey as module
from trm_repro.machine.hardware import Gpu, Nvcc
from trm_repro.machine.preflight import GB, Line, lines, table
from trm_repro.machine.survey import Survey
from trm_repro.recipes.read import read_recipe

PAPER = read_recipe(Path("recipes"), "arc2-paper")
H100 = Gpu("NVIDIA H100 80GB HBM3", 81559 << 20, "580.65.06", (9, 0), 4 << 20)
ENVIRON = {"MAX_GPUS_TO_USE": "8", "ENV_LOCK": "locks", "CUDA_LOCK": "auto", "PY": "python3.10", "CHECK_REMOTE": "0"}
GOOD = Survey(
    gpus=[H100] * 4, compilers=[], cores=64, memory=200 * GB, shm=64 * GB, disk=500 * GB, files=65536, clock=2.0, newest=1.0,
    skew=None, wandb=None, port="", host="", cxx="/usr/bin/c++", headers=True, built=False, installed=False,
    rehearsed="2026-01-31T12:00:00Z", environ=ENVIRON,
)  # fmt: skip


def line(what: str, recipe: Any = PAPER, **changes: Any) -> Line:
    return next(found for found in lines(recipe, dataclasses.replace(GOOD, **changes)) if found.what == what)


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
    ],
)
def test_what_falls_short_is_said_with_a_remedy(what: str, state: str, changes: dict[str, Any]) -> None:
    found = line(what, **changes)
    assert (found.state, bool(found.remedy)) == (state, True)


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
    text = table(lines(PAPER, dataclasses.replace(GOOD, memory=GB, disk=GB, cores=1)))
    assert text.splitlines()[-1] == "falls short: memory, disk"
    assert "→ free some" in text


def test_a_rehearsal_on_a_laptop_needs_no_gpu() -> None:
    recipe = read_recipe(Path("recipes"), "arc2-rehearsal")
    found = lines(recipe, dataclasses.replace(GOOD, gpus=[], memory=4 * GB, disk=5 * GB, shm=0, headers=None))
    assert {each.state for each in found} == {"ok"}
    assert "GPUs" not in [each.what for each in found]


def test_a_plan_without_gpus_is_one_for_as_many_as_may_be_used() -> None:
    """As what step 1 says in its first line, and what `make plan` prints."""
    assert line("GPUs", gpus=[]).why.startswith("8 process(es) share a batch of 768")
    assert line("cores", gpus=[]).needed == "16"
    assert line("GPUs", gpus=[H100] * 2).why.startswith("2 process(es)")


def test_the_packages_of_a_rehearsal_on_a_cpu_are_looked_at_where_it_installs_any() -> None:
    light, locked = (read_recipe(Path("recipes"), name) for name in (rehearsals.CPU, rehearsals.LOCKED))
    assert not {"CUDA", "C++ compiler", "GPUs", "cores"} & {found.what for found in lines(light, GOOD)}
    assert {"CUDA", "C++ compiler"} <= {found.what for found in lines(locked, GOOD)}
    assert line("C++ compiler", locked, cxx="").state == "problem"


@pytest.mark.parametrize(
    ("engine", "light", "gpus", "recipe"),
    [
        ("", "", True, rehearsals.OURS),
        ("reference", "", False, rehearsals.OURS),
        ("upstream", "", True, rehearsals.GPU),
        ("upstream", "", False, rehearsals.CPU),
        ("upstream", "1", False, rehearsals.CPU),
        ("upstream", "0", False, rehearsals.LOCKED),
        ("upstream", "0", True, rehearsals.GPU),
    ],
)
def test_the_rehearsal_that_fits_the_machine(engine: str, light: str, gpus: bool, recipe: str) -> None:
    assert rehearsals.fitting(engine, light, gpus=gpus) == recipe
    found = read_recipe(Path("recipes"), recipe)
    assert found.train.gpu == (recipe == rehearsals.GPU) and not found.faithful


@pytest.mark.parametrize("asked", [{"engine": "upstrem"}, {"engine": "upstream", "light": "no"}])
def test_another_word_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        rehearsals.fitting(**{"engine": "", "light": "", **asked}, gpus=False)


def test_the_dress_rehearsal_that_fits_is_named() -> None:
    assert "arc2-rehearsal-upstream-cpu" in line("dress rehearsal", rehearsed="", gpus=[]).remedy
    assert line("dress rehearsal", rehearsed="").remedy.endswith("arc2-rehearsal-upstream)")


def test_this_machine_can_be_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ = with_environ(
        TRM_DIR=str(tmp_path / "no" / "such"),
        VENV_DIR=str(tmp_path),
        PY=sys.executable,
        TARGET_DATASET="nothing",  # whose rehearsals did not succeed here
        WANDB_API_KEY="",
    )
    facts = module.survey(PAPER, environ)
    assert facts.memory > GB and facts.disk > 0 and facts.shm > 0 and facts.files > 0 and facts.cores > 0
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


@pytest.mark.parametrize("recipe", rehearsals.DRESS)
def test_a_rehearsal_counts_and_with_the_real_packages_only_with_these(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = with_environ(TARGET_DATASET="arc2")
    lock = Path("cu130.txt")
    lock.write_text("torch==1\n")
    Path("recipes").mkdir()
    Path(f"recipes/{recipe}.yaml").write_text("run_name: the_rehearsal\n")
    run = Path(".repro/runs/the_rehearsal")
    run.mkdir(parents=True)
    stamp = "trm-repro stamp v1\nstep 08-handoff\nfinished 2026-01-31T12:00:00Z\n"
    stamp += "".join(f"in  {0:064d}  {name}\n" for name in ("script", "recipe", "knobs", "code", "previous"))
    listing = Path(".repro/env_arc2_the_rehearsal.txt")
    listing.write_text(f"Python 3.10.13\nlock: locks\n{digest_file(lock).sha256}  cu130.txt\n")
    assert rehearsals.succeeded(environ, [lock]) == ""
    (run / "08-handoff.stamp").write_text(stamp)
    found = rehearsals.succeeded(environ, [lock])
    assert found.startswith("2026-01-31T12:00:00Z, on ") and found.endswith(f"({recipe})")
    lock.write_text("torch==2\n")
    assert rehearsals.succeeded(environ, [lock]) == (found if recipe == rehearsals.CPU else "")


def test_gpus_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(
        '#!/bin/sh\ncase $1 in *compute_cap*) exit 2;; esac\necho "Tesla V100, 16384, 418.39"\necho "A, [N/A], 418.39"\n'
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpus() == [Gpu("Tesla V100", 16384 << 20, "418.39"), Gpu("A", None, "418.39")]
    smi.write_text('#!/bin/sh\necho "NVIDIA H100, 81559, 580.65.06, 9.0, 12, 3, 97"\n')
    assert machine.gpus() == [Gpu("NVIDIA H100", 81559 << 20, "580.65.06", (9, 0), 12 << 20, index=3, busy=97)]
    smi.write_text('#!/bin/sh\necho "NVIDIA H100, 81559, 580.65.06, 9.0, [N/A], [N/A], [N/A]"\n')
    assert machine.gpus() == [Gpu("NVIDIA H100", 81559 << 20, "580.65.06", (9, 0))]
    smi.write_text("#!/bin/sh\necho NVIDIA H100, 81559, 580.65.06, 9.0, 12; exit 6\n")
    assert machine.gpus() == []


def test_a_program_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA H100, 81559, 580.65.06, 9.0, 12, 0, 0'\nexec sleep 60\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(machine, "PATIENCE", 0.2)
    monkeypatch.setattr(machine, "HUNG", set())
    began = time.monotonic()
    assert machine.gpus() == []
    assert time.monotonic() - began < 30
    smi.write_text(smi.read_text().replace("exec sleep 60", ""))
    assert machine.gpus() == [], "it is not asked again, so that nothing waits for it twice"


def test_compilers_are_found_by_cuda_home_and_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, release in (("a", "12.6"), ("b", "13.0")):
        (tmp_path / name / "bin").mkdir(parents=True)
        nvcc = tmp_path / name / "bin" / "nvcc"
        nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\n")
        nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("PATH", str(tmp_path / "b" / "bin"))
    assert machine.compilers()[:2] == [Nvcc(tmp_path / "a", (12, 6)), Nvcc(tmp_path / "b", (13, 0))]


def test_a_container_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CGROUP_ROOT", str(tmp_path))
    whole = machine.memory()
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory() == whole
    (tmp_path / "memory.max").write_text("1000\n")
    assert machine.memory() == 1000
