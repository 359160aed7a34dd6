"""The seed's checklist is ticked from facts only; the summary says what was done; deviations are those of the run's kind."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from proof_support import HERE, make_run, the_manifest

from trm_repro.arc.score import Share
from trm_repro.cli import main
from trm_repro.files import write_json, write_text
from trm_repro.provenance.checklist import Box, checklist
from trm_repro.provenance.deviations import applying
from trm_repro.provenance.scrub import locate
from trm_repro.recipes.read import read_recipe
from trm_repro.runs.layout import Run
from trm_repro.runs.summary import summary


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def manifest(run: Run) -> dict[str, Any]:
    """What a faithful run with upstream would have: every box can be ticked."""
    manifest = the_manifest(run)
    manifest["upstream"] = {"url": "x", "commit": "a" * 40, "tree": "b" * 40}
    manifest["recipe"]["resolved"].update(faithful=True, upstream=manifest["upstream"])
    folder = next(entry["path"] for entry in manifest["outputs"] if entry["role"] == "config").rpartition("/")[0]
    for name in ("COMMANDS.txt", "TRM_COMMIT.txt"):
        write_text(run.repository / folder / name, "")
        manifest["outputs"].append({"role": "command", "path": f"{folder}/{name}", "sha256": "0" * 64, "bytes": 1})
    write_text(run.repository / "artifacts/tiny/MANIFEST.txt", "RUN_DIR=x\n")
    return manifest


def boxes(
    manifest: dict[str, Any], run: Run, published: str = "packaged in x; uploaded as Kaggle dataset ada/trm"
) -> list[Box]:
    return checklist(manifest, lambda path: locate(path, run.repository, run.repository / ".repro/work"), published)


def test_all_eight_boxes_of_the_seed_in_its_order(manifest: dict[str, Any], run: Run) -> None:
    found = boxes(manifest, run)
    assert [box.ticked for box in found] == [True] * 8, "\n".join(map(str, found))
    starts = ("TARGET_DATASET", "TRM cloned", "data/toy", "training", "final", "environment", "Kaggle", "artifacts")
    assert all(box.claim.startswith(start) for box, start in zip(found, starts, strict=True))
    assert all(text for box in found for _, text in box.facts) and str(found[0]).startswith("[x] ")


@pytest.mark.parametrize(
    ("box", "change"),
    [
        (0, lambda m: m["run"].update(target_dataset="arc1")),
        (0, lambda m: guard(m, "G-TARGET-DATASET", "overridden")),
        (1, lambda m: m.update(upstream=None)),
        (1, lambda m: guard(m, "G-UPSTREAM-PIN", "overridden")),
        (2, lambda m: guard(m, "G-BUILDER-COMMAND", "overridden")),
        (2, lambda m: fast(m)),
        (3, lambda m: guard(m, "G-TRAIN-COMMAND", "overridden")),
        (4, lambda m: m.update(outputs=[e for e in m["outputs"] if e["role"] != "final-checkpoint"])),
        (4, lambda m: m.update(outputs=[e for e in m["outputs"] if not e["path"].endswith("COMMANDS.txt")])),
        (4, lambda m: move(m, "final-checkpoint")),
        (5, lambda m: m.update(inputs=[e for e in m["inputs"] if e["role"] != "environment"])),
        (5, lambda m: move(m, "environment")),
        (7, lambda m: m["run"].update(name="another")),
    ],
)
def test_a_box_is_empty_when_its_fact_is_missing(manifest: dict[str, Any], run: Run, box: int, change: Any) -> None:
    changed = copy.deepcopy(manifest)
    change(changed)
    assert not boxes(changed, run)[box].ticked
    assert re.match(r"\[ \] .*\n.*not so: .", str(boxes(changed, run)[box]))


def test_a_rehearsals_boxes_say_what_is_not_so(run: Run) -> None:
    """Its guards hold, for a command that is not the seed's: a tick and its evidence may not say the opposite."""
    manifest = the_manifest(run)
    found = boxes(manifest, run)
    assert [box.ticked for box in found[:4]] == [True, False, False, False]
    for box in found:
        assert box.ticked is ("not so: " not in str(box)), box
    assert str(found[1]).endswith("not so: engine reference: upstream is not used")
    assert "G-BUILDER-COMMAND holds; not so: by the recipe toy, whose command is another; by its own" in str(found[2])
    assert (
        "G-TRAIN-COMMAND holds; not so: by the recipe toy, whose command is another: added: global_batch_size=16"
        in str(found[3])
    )


def test_the_words_are_those_that_ran(run: Run) -> None:
    """Not those of the recipe, where another command ran."""
    manifest = the_manifest(run)
    [train] = [entry for entry in manifest["commands"] if entry["step"] == "05-train"]
    train["argv"] = [*(word for word in train["argv"] if word != "ema=True"), "lr=7"]
    said = str(boxes(manifest, run)[3])
    assert "missing: ema=True" in said and "added: lr=7" in said and "added: global_batch_size=16" in said


def fast(manifest: dict[str, Any]) -> None:
    manifest["knobs"]["DATASET_BUILDER"] = {"value": "fast", "default": "exact"}
    manifest["recipe"]["resolved"]["dataset"]["digests"] = "digests/x.json"


def move(manifest: dict[str, Any], role: str) -> None:
    """The manifest names a file that is not there any more."""
    for entry in [*manifest["inputs"], *manifest["outputs"]]:
        if entry["role"] == role:
            entry["path"] = "$TRM_DIR/gone.txt"


def guard(manifest: dict[str, Any], name: str, outcome: str) -> None:
    for entry in manifest["guards"]:
        if entry["guard"] == name:
            entry["outcome"] = outcome


def test_what_was_only_packaged_is_not_published(manifest: dict[str, Any], run: Run) -> None:
    assert not boxes(manifest, run, "packaged; nothing was sent")[6].ticked
    assert not boxes(manifest, run, "")[6].ticked
    assert not boxes(manifest, run, "packaged in x; uploaded as ada/trm on Hugging Face")[6].ticked


def test_the_summary(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(run.repository / "artifacts/tiny/manifest.json", the_manifest(run))
    write_text(run.repository / "artifacts/tiny/report.html", "")
    scores = {"pass@2 per test input": Share(3, 5, "test inputs").as_json()}
    write_json(run.repository / "artifacts/tiny/verdict.json", {"tasks": "TASKS", "scores": scores, "unknown": 2})
    for name, value in {**run.environ, "TRM_DIR": str(run.repository / ".repro/work")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(run.repository)
    assert main(["step", "summary"]) == 0
    said = capsys.readouterr().out
    for words in (
        "tiny: A toy, for tests",
        "04-dataset",
        "at first, 1.",
        "scores, of TASKS:",
        "  pass@2 per test input  60.000 %  3 of 5 test inputs  95 % interval 23.07 to 88.24 %",
        "  2 test inputs without a known answer: counted in no number",
        "faithful: no: the recipe toy",
    ):
        assert words in said, said
    assert "report: artifacts/tiny/report.html" in said
    toy = "At toy scale (global_batch_size=16, epochs=20, eval_interval=10 …) scores stay near 0"
    assert toy in said and "next: on a machine with 4 to 8 GPUs, `make plan`" in said


def test_only_a_run_at_toy_scale_is_called_one(run: Run) -> None:
    """The reference engine trains real recipes as well, and the pinned upstream rehearses."""
    manifest = the_manifest(run)
    train = manifest["recipe"]["resolved"]["train"]
    manifest["run"]["engine"], train["gpu"] = "upstream", True
    path = run.repository / "artifacts/tiny/manifest.json"
    write_json(path, manifest)
    assert "next: on this machine, `make plan`" in summary(run, lambda path: run.repository / path)
    manifest["run"]["engine"], train["scale"] = "reference", []
    write_json(path, manifest)
    said = summary(run, lambda path: run.repository / path)
    assert "At toy scale" not in said and "next:" not in said


def test_the_summary_invents_no_loss(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """NVARC's training logs none; its evaluation prints scores alone."""
    manifest = the_manifest(run)
    metrics = run.repository / "scores.jsonl"
    write_text(metrics, '{"step": 3, "ARC/pass@2": 0.5}\n')
    manifest["outputs"] = [{"role": "metrics", "path": "scores.jsonl"}]
    write_json(run.repository / "artifacts/tiny/manifest.json", manifest)
    assert "training loss: not on record" in summary(run, lambda path: run.repository / path)


def test_deviations_are_those_of_the_runs_kind(tmp_path: Path) -> None:
    recipe = read_recipe(HERE / "recipes", "arc2-paper")
    write_text(
        tmp_path / "list.md",
        "# Deviations\n\n## D-01 One\n\nApplies to: upstream, reference.\n\n## D-02 Two\n\nApplies to: reference.\n",
    )
    assert applying(recipe, tmp_path / "list.md") == [{"id": "D-01", "title": "One"}]


def test_the_list_of_deviations_can_be_read_whole() -> None:
    text = (HERE / "docs/deviations.md").read_text()
    numbers = [line.split()[1] for line in text.splitlines() if line.startswith("## D-")]
    assert len(numbers) == len(set(numbers)) and text.count("\nApplies to: ") == len(numbers)
