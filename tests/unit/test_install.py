"""The wheel alone, in an empty environment: a stranger's install. It needs the package registry that pip is configured for."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests/golden/bundles/v1"
LARGEST = 500  # MB
UNWANTED = ("torch", "hydra", "matplotlib", "kaggle", "huggingface_hub", "nbformat", "pytest")


def run(*words, cwd, **more):
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TRM_"))}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environ, capture_output=True, text=True, timeout=900, **more
    )


def wheel(folder):
    """The wheel of a copy of what is tracked, built by the tool environment's setuptools."""
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        source.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source)
    for name in ("src", "recipes"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
        )
    done = run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("trm_repro-*.whl")
    return built


def installed_alone(folder):
    """A new environment with the wheel and what it asks for; says what that took."""
    built = wheel(folder)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
    began = time.monotonic()
    done = run(folder / "venv/bin/pip", "install", "--quiet", built, cwd=folder)
    if done.returncode and ("No matching distribution" in done.stderr or "connection" in done.stderr.lower()):
        pytest.skip(f"no package registry: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    size = sum(path.lstat().st_size for path in (folder / "venv/lib").rglob("*") if path.is_file())
    print(f"\nthe wheel alone: {size / 1e6:.0f} MB in {time.monotonic() - began:.0f} s")
    assert size < LARGEST * 1e6  # torch alone would be more
    return folder


def verb(alone, *words):
    return run(alone / "venv/bin/trm-repro", *words, cwd=alone)


def the_base_holds_nothing_that_computes_models_or_publishes(alone):
    names = {path.name for path in alone.glob("venv/lib/python3*/site-packages/*")}
    assert {"trm_repro", "numpy", "numba"} <= names and not names & set(UNWANTED)


def a_stranger_verifies_compares_and_reads_recipes_in_an_empty_folder(alone):
    done = verb(alone, "verify", BUNDLE)
    assert done.returncode == 0 and done.stdout.startswith("CONSISTENT"), done.stdout + done.stderr
    assert "installed without its recipes" not in done.stdout
    shutil.copytree(BUNDLE, alone / "altered", copy_function=shutil.copy)
    with (alone / "altered/submission.json").open("a") as file:
        file.write(" ")
    altered = verb(alone, "verify", "altered")
    assert altered.returncode == 1 and altered.stdout.startswith("ALTERED"), altered.stdout
    compared = verb(alone, "compare", BUNDLE, BUNDLE)
    assert compared.returncode == 0 and "BIT-IDENTICAL" in compared.stdout
    assert "arc2-paper" in verb(alone, "recipe", "list").stdout
    assert json.loads(verb(alone, "recipe", "show", "arc2-paper").stdout)["target_dataset"] == "arc2"


def tasks_datasets_and_submissions_need_no_more(alone):
    asked = json.loads((BUNDLE / "submission.json").read_text())
    pair = {"input": [[1, 2], [3, 4]], "output": [[4, 3], [2, 1]]}
    tasks = {task: {"train": [pair], "test": [pair] * len(found)} for task, found in asked.items()}
    (alone / "tasks.json").write_text(json.dumps(tasks))
    for words in (
        "tasks info tasks.json",
        "tasks write tasks.json --subset evaluation --output-dir kaggle",
        "dataset arc --input-file-prefix kaggle/arc-agi --subsets evaluation --test-set-name evaluation --num-aug 3 "
        "--output-dir data",
        "dataset verify data",
        "dataset info data --recipe arc2-rehearsal",
        f"submission check {BUNDLE / 'submission.json'} --tasks tasks.json",
    ):
        done = verb(alone, *words.split())
        assert done.returncode == 0, words + done.stdout + done.stderr


def what_is_missing_is_installed_by_the_words_that_say_so(alone):
    done = verb(alone, "dataset", "show", "data", "e8686506")
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1, done.stderr
    assert run("bash", "-c", done.stderr.partition("; to install: ")[2], cwd=alone).returncode == 0
    done = verb(alone, "dataset", "show", "data", "e8686506")
    assert done.returncode == 0 and (alone / "e8686506.png").is_file(), done.stderr
    done = verb(alone, "evaluate", "--checkpoint", BUNDLE / "model.ckpt", "--dataset", "data")
    assert done.returncode == 3 and "-m pip install" in done.stderr and "torch>=2.8" in done.stderr


@pytest.mark.deep
@pytest.mark.timeout(1200)
def test_the_wheel_alone_does_what_the_base_promises_and_says_how_to_get_more(tmp_path):
    alone = installed_alone(tmp_path)
    the_base_holds_nothing_that_computes_models_or_publishes(alone)
    a_stranger_verifies_compares_and_reads_recipes_in_an_empty_folder(alone)
    tasks_datasets_and_submissions_need_no_more(alone)
    what_is_missing_is_installed_by_the_words_that_say_so(alone)
