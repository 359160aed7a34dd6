"""Which rehearsal fits a machine, and which of upstream's has succeeded on it."""

import types
from pathlib import Path

import pytest

from trm_repro.digests import digest_file
from trm_repro.errors import UsageError
from trm_repro.machine import rehearsals
from trm_repro.machine.finding import process_count
from trm_repro.recipes.read import read_recipe


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


@pytest.mark.parametrize("recipe", rehearsals.DRESS)
def test_a_rehearsal_counts_and_with_the_real_packages_only_with_these(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"TARGET_DATASET": "arc2", "ENV_LOCK": "locks"}
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


def test_a_plan_without_gpus_is_one_for_as_many_processes_as_may_be_used() -> None:
    """As step 1 says in its first line, and `make plan` in its commands."""
    paper = read_recipe(Path("recipes"), "arc2-paper")
    for gpus, count in (([], 8), ([1, 2], 2), ([1] * 9, 8)):
        survey = types.SimpleNamespace(gpus=gpus, environ={"MAX_GPUS_TO_USE": "8"})
        assert process_count(paper, survey) == count  # type: ignore[arg-type]
