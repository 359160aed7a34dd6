"""The manifest is complete, derived from facts, and holds nothing private."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from proof_support import HERE, make_run, the_manifest

from trm_repro.digests import digest_bytes
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_json, write_json, write_text
from trm_repro.provenance import faithful
from trm_repro.provenance.host import host
from trm_repro.provenance.manifest import build_manifest, count_rows
from trm_repro.provenance.schema import parse_manifest
from trm_repro.provenance.scrub import Scrubber, locate
from trm_repro.recipes.read import read_recipe
from trm_repro.runs.records import append

SECRETS = {"WANDB_API_KEY": "wandb-4f5e6d7c", "KAGGLE_KEY": "kaggle-99887766", "HF_TOKEN": "hf_planted_token"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return the_manifest(make_run(tmp_path_factory.mktemp("run")))


def entries(manifest: dict[str, Any], side: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in manifest[side]:
        found.setdefault(entry["role"], []).append(entry)
    return found


def test_manifest_has_the_documented_structure(manifest: dict[str, Any]) -> None:
    assert parse_manifest(json.dumps(manifest).encode()) == manifest


def test_every_key_is_documented(manifest: dict[str, Any]) -> None:
    text = (HERE / "docs/format.md").read_text()
    keys = set(manifest)
    for part in ("run", "tool", "recipe", "seeds", "host"):
        keys |= manifest[part].keys()
    for part in ("inputs", "commands", "guards", "deviations", "steps"):
        keys |= manifest[part][0].keys()
    assert not {key for key in keys if f"`{key}`" not in text}
    roles = {entry["role"] for side in ("inputs", "outputs") for entry in manifest[side]}
    assert not {role for role in roles if f"`{role}`" not in text}


def test_inputs_and_outputs_are_all_there_with_digest_bytes_and_rows(manifest: dict[str, Any]) -> None:
    inputs, outputs = entries(manifest, "inputs"), entries(manifest, "outputs")
    # four complete task files, four selected ones
    assert len(inputs["arc-tasks"]) == 8
    assert [entry["path"] for entry in inputs["lock"]] == ["locks/tool.txt"]
    assert inputs["environment"][0]["path"] == ".repro/env_arc2_tiny.txt"
    assert {Path(entry["path"]).name for entry in outputs["dataset"]} >= {"all__inputs.npy", "dataset.json"}
    assert outputs["identifiers"][0]["rows"] == 145  # 16 tasks and 8 variants each, and <blank>
    assert outputs["test-puzzles"][0]["rows"] == 4
    examples = next(e for e in outputs["dataset"] if e["path"].endswith("train/all__inputs.npy"))
    assert examples["rows"] == 558
    assert len(outputs["final-checkpoint"]) == len(outputs["checkpoint"]) == 1
    assert len(outputs["submission"]) == 2 and len(outputs["log"]) == 5
    assert outputs["config"] and outputs["metrics"] and outputs["source"]


def test_seeds_metrics_and_times(manifest: dict[str, Any]) -> None:
    assert manifest["seeds"] == {"dataset": 42, "training": 0, "PYTHONHASHSEED": "0"}
    assert manifest["metrics"]["ARC/pass@2"] == 0.5 and "time" not in manifest["metrics"]
    assert manifest["run"]["started"] == "2026-01-31T12:00:00Z" and manifest["run"]["finished"]
    assert [step["step"] for step in manifest["steps"]] == [
        *("01-sanity", "02-clone", "03-venv", "04-dataset", "05-train"),
    ]


def test_no_metric_is_of_answers_that_nobody_knows(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = tmp_path / ".repro/work/data/toy/test_puzzles.json"
    puzzles = read_json(path)
    for puzzle in puzzles.values():
        puzzle["test"] = [{**pair, "output": [[0]]} for pair in puzzle["test"]]
    write_json(path, puzzles)
    assert not [name for name in the_manifest(run)["metrics"] if name.startswith(("ARC/", "all."))]


def test_installed_distributions_have_versions_and_record_digests(manifest: dict[str, Any]) -> None:
    found = {entry["name"]: entry for entry in manifest["versions"]["tool"]["distributions"]}
    numpy = metadata.distribution("numpy")
    assert found["numpy"]["version"] == numpy.version
    path = Path(str(numpy.locate_file(f"numpy-{numpy.version}.dist-info/RECORD")))
    assert found["numpy"]["record"] == digest_bytes(path.read_bytes()).sha256
    assert found["numpy"]["files"] > 100 and found["numpy"]["sha256"]
    assert manifest["versions"]["tool"]["interpreter"]["bytes"] > 0
    assert manifest["versions"]["training"] is None, "the tool environment trained"


def test_host_has_no_name_and_reads_the_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stub = tmp_path / "nvidia-smi"
    write_text(
        stub,
        "#!/bin/sh\n"
        'if [ "$1" = "" ]; then echo "| NVIDIA-SMI 570.1  Driver Version: 570.1  CUDA Version: 12.8 |"; exit; fi\n'
        "echo 'NVIDIA H100 80GB HBM3, 81559, 570.1'\necho 'NVIDIA H100 80GB HBM3, 81559, 570.1'\n",
    )
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = host()
    assert found["cuda"] == "12.8"
    assert found["gpus"] == [{"name": "NVIDIA H100 80GB HBM3", "memory_bytes": 81559 << 20, "driver": "570.1"}] * 2
    assert found["cores"] and found["memory_bytes"] > 1 << 30
    import socket

    assert socket.gethostname() not in json.dumps(found)
    write_text(stub, "#!/bin/sh\nexit 9\n")
    stub.chmod(0o755)
    assert host()["gpus"] == [] and host()["cuda"] is None


def test_no_secret_no_user_no_home_path(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "ada" / "repo", environ={**SECRETS, "HOME": str(tmp_path / "ada"), "KAGGLE_USERNAME": "zoro9"}
    )
    leak = " ".join(
        [*SECRETS.values(), f"{tmp_path}/ada/.kaggle", f"{tmp_path}/ada/repo/recipes", "https://u:pw@host/x"]
    )
    append(
        run.folder / "guards.jsonl",
        {"step": "05-train", "guard": "G-X", "outcome": "holds", "detail": leak, "started": "2026-01-31T12:00:09Z"},
    )
    append(
        run.folder / "commands.jsonl",
        {
            "step": "05-train",
            "argv": ["echo", leak],
            "cwd": str(tmp_path / "ada/elsewhere"),
            "env": {"NCCL_X": leak, "PYTHONPATH": f"{tmp_path}/ada/lib"},
            "started": "2026-01-31T12:00:09Z",
            "finished": "2026-01-31T12:00:10Z",
            "exit_code": 0,
        },
    )
    knobs = {name: (value, "") for name, value in SECRETS.items()}
    knobs |= {"KAGGLE_USERNAME": ("zoro9", ""), "VENV_DIR": (f"{tmp_path}/ada/venv", ""), "TRM_REMOTE": (leak, "")}
    text = json.dumps(the_manifest(run, knobs))
    for private in (*SECRETS.values(), str(tmp_path), "zoro9", "pw@"):
        assert private not in text
    assert (
        "~/.kaggle" in text and "recipes" in text and '"value": "~/venv"' in text and "https://********@host/x" in text
    )
    for name in SECRETS:
        assert f'"{name}"' not in text


def test_a_users_name_in_any_path_is_taken_out(tmp_path: Path) -> None:
    scrubber = Scrubber(Path("/srv/repo"), Path("/scratch/ada/trm"), {"HOME": "/home/ada", "USER": "ada"})
    assert scrubber.text("/scratch/ada/venv:/data/ada") == "/scratch/USER/venv:/data/USER"
    assert scrubber.text("/scratch/ada/trm/data/ada/x /srv/repo/data/ada/x") == "$TRM_DIR/data/ada/x data/ada/x"
    assert scrubber.text("https://host/ada/x /scratch/adam data/ada") == "https://host/ada/x /scratch/adam data/ada"
    run = make_run(tmp_path, environ={"USER": "ada"})
    knobs = {"HF_REPO_ID": ("ada/weights", ""), "VENV_DIR": ("/scratch/ada/venv", "")}
    assert "ada" not in json.dumps(the_manifest(run, knobs)["knobs"])


def test_the_machine_is_the_one_that_trained(tmp_path: Path) -> None:
    """Step 6 may run elsewhere, on a node without GPUs."""
    run = make_run(tmp_path)
    trained = {**host(), "kernel": "of the node with GPUs"}
    file = run.folder / "commands.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    write_text(file, "".join(json.dumps({**line, "host": trained}) + "\n" for line in lines))
    manifest = the_manifest(run)
    assert manifest["host"] == {**trained, "torch": None} and "host" not in manifest["commands"][-1]
    parse_manifest(json.dumps(manifest).encode())


def test_paths_are_relative_whatever_the_place(tmp_path: Path) -> None:
    scrubber = Scrubber(Path("/srv/repo"), Path("/data/trm"), {"HOME": "/root"})
    assert scrubber.path("artifacts/x") == "artifacts/x"
    assert scrubber.path("/srv/repo") == "."
    assert scrubber.path("/data/trm/data/a") == "$TRM_DIR/data/a"
    for path in ("/srv/repo/artifacts/x", "/data/trm/data/a"):
        assert locate(scrubber.path(path), scrubber.repository, scrubber.work) == Path(path), "the way back"
    with pytest.raises(UsageError, match="TRM_DIR, which is not known"):
        locate("$TRM_DIR/data/a", scrubber.repository, None)
    assert (
        scrubber.text("/srv/repository /srv/repo-2 /data/root/x /root/y")
        == "/srv/repository /srv/repo-2 /data/root/x ~/y"
    )
    assert scrubber.value({"a": float("nan"), "b": [float("inf"), 1.5]}) == {"a": None, "b": [None, 1.5]}


def test_a_run_that_goes_on_has_a_manifest_without_end_or_final_checkpoint(tmp_path: Path) -> None:
    manifest = the_manifest(make_run(tmp_path, until=4))
    assert manifest["run"]["finished"] is None
    assert "final-checkpoint" not in entries(manifest, "outputs") and manifest["metrics"] == {}
    assert any("05-train" in reason for reason in manifest["reasons"])
    parse_manifest(json.dumps(manifest).encode())


def test_what_later_steps_noted_is_of_an_earlier_manifest(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    before = the_manifest(run)
    last = {
        name: json.loads((run.folder / name).read_text().splitlines()[-1])
        for name in ("commands.jsonl", "guards.jsonl")
    }
    for name, entry in last.items():
        append(run.folder / name, {**entry, "step": "07-publish"})
    assert the_manifest(run) == before


def test_a_run_that_has_not_begun_has_none(tmp_path: Path) -> None:
    run = make_run(tmp_path, until=3)
    for stamp in run.folder.glob("*.stamp"):
        stamp.unlink()
    with pytest.raises(MissingPrerequisite, match="has not begun") as error:
        the_manifest(run)
    assert error.value.hint is not None and error.value.hint.startswith("make all RECIPE=toy")


def test_rows(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1, "y": 2})
    write_text(tmp_path / "a.jsonl", "{}\n{}\n{}\n")
    write_text(tmp_path / "a.txt", "1\n")
    assert [count_rows(tmp_path / name) for name in ("a.json", "a.jsonl", "a.txt")] == [2, 3, None]


# ---- faithful ----


@pytest.fixture
def faithful_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(manifest)
    changed["tool"] |= {"commit": "0" * 40, "clean": True}
    changed["recipe"]["resolved"]["faithful"] = True
    return changed


def test_faithful_when_every_fact_says_so(faithful_manifest: dict[str, Any]) -> None:
    assert faithful.reasons(faithful_manifest) == []


def test_the_rehearsal_is_not_faithful(manifest: dict[str, Any]) -> None:
    assert manifest["faithful"] is False
    assert any("not a faithful one" in reason for reason in manifest["reasons"])


@pytest.mark.parametrize("outcome", ["overridden", "broken"])
def test_a_guard_that_did_not_hold_ends_faithfulness(faithful_manifest: dict[str, Any], outcome: str) -> None:
    faithful_manifest["guards"][3] |= {"outcome": outcome, "detail": "the reason"}
    name = faithful_manifest["guards"][3]["guard"]
    assert faithful.reasons(faithful_manifest) == [f"{name} was {outcome}: the reason"]


def test_silence_about_a_guard_ends_faithfulness(faithful_manifest: dict[str, Any]) -> None:
    faithful_manifest["guards"] = [g for g in faithful_manifest["guards"] if g["guard"] != "G-TRAIN-COMMAND"]
    assert faithful.reasons(faithful_manifest) == ["no record that G-TRAIN-COMMAND held"]


@pytest.mark.parametrize(
    ("step", "change"),
    [
        ("05-train", lambda argv: [*argv, "lr=2e-4"]),
        ("05-train", lambda argv: [word for word in argv if word != "ema=True"]),
        ("04-dataset", lambda argv: [*argv[:-1], "9"]),
    ],
)
def test_another_command_ends_faithfulness(faithful_manifest: dict[str, Any], step: str, change: Any) -> None:
    entry = next(entry for entry in faithful_manifest["commands"] if entry["step"] == step)
    entry["argv"] = change(entry["argv"])
    (reason,) = faithful.reasons(faithful_manifest)
    assert step in reason and re.search("missing|added", reason)


def test_our_own_builder_is_as_good_where_digests_prove_it(faithful_manifest: dict[str, Any]) -> None:
    entry = next(entry for entry in faithful_manifest["commands"] if entry["step"] == "04-dataset")
    faithful_manifest["recipe"]["resolved"]["dataset"]["program"] = ["python", "-m", "dataset.build_arc_dataset"]
    assert "missing: python" in faithful.reasons(faithful_manifest)[0]
    faithful_manifest["knobs"]["DATASET_BUILDER"] = {"value": "fast", "default": "exact"}
    assert faithful.reasons(faithful_manifest), "without digests nothing is proven"
    faithful_manifest["recipe"]["resolved"]["dataset"]["digests"] = "digests/x.json"
    assert faithful.reasons(faithful_manifest) == [], entry["argv"]


def test_a_command_that_failed_ends_faithfulness(faithful_manifest: dict[str, Any]) -> None:
    faithful_manifest["commands"][-1]["exit_code"] = 1
    (reason,) = faithful.reasons(faithful_manifest)
    assert "nothing ran to its end" in reason


def test_another_commit_of_upstream_is_what_the_manifest_says(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    work = tmp_path / "clone"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run([*git, "init", "--quiet", str(work)], check=True)
    subprocess.run([*git, "-C", str(work), "commit", "--quiet", "--allow-empty", "--message=x"], check=True)
    shutil.copytree(tmp_path / ".repro/work", work, dirs_exist_ok=True)
    recipe = read_recipe(run.repository / "recipes", "arc2-paper")
    found = build_manifest(run, recipe, work=work, knobs={})
    head = subprocess.run(["git", "-C", str(work), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert recipe.upstream and found["upstream"]["commit"] == head.stdout.strip() != recipe.upstream.commit
    assert f"upstream was at {head.stdout.strip()}, the recipe's pin is {recipe.upstream.commit}" in found["reasons"]
    assert build_manifest(run, recipe, work=tmp_path, knobs={})["upstream"]["commit"] == recipe.upstream.commit


def test_a_changed_tool_ends_faithfulness(faithful_manifest: dict[str, Any]) -> None:
    faithful_manifest["tool"]["clean"] = False
    (reason,) = faithful.reasons(faithful_manifest)
    assert "uncommitted changes" in reason


# ---- reading ----


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda m: m.pop("seeds"), InvariantBroken, "seeds"),
        (lambda m: m["outputs"][0].update(sha256="x"), InvariantBroken, r"outputs\.0\.sha256"),
        (lambda m: m.update(faithful="yes"), InvariantBroken, "faithful"),
        (lambda m: m.update(surprise=1), InvariantBroken, "surprise"),
        (lambda m: m.update(format="trm-repro/manifest/v9"), MissingPrerequisite, "manifest/v9"),
        (lambda m: m.update(format="else"), InvariantBroken, "not a manifest"),
    ],
)
def test_a_malformed_manifest_is_refused_by_key(manifest: dict[str, Any], change: Any, error: type, words: str) -> None:
    changed = copy.deepcopy(manifest)
    change(changed)
    with pytest.raises(error, match=words):
        parse_manifest(json.dumps(changed).encode())


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(InvariantBroken, match="not valid JSON"):
        parse_manifest(b"{")
