"""Publishing to the Hugging Face hub: the real client against a hub on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from hub_server import TOKEN, HubServer, Repository
from publish_support import make_bundle

from trm_repro.files import read_json
from trm_repro.provenance.bundle import SETTINGS, write_sums
from trm_repro.publish.evaluations import FILE

ID = "ada/trm-arc2"


@dataclass
class Box:
    """A user's machine: a home, a bundle, and the way to the hub."""

    home: Path
    bundle: Path
    hub: HubServer

    def run(self, *words: str, **knobs: str) -> subprocess.CompletedProcess[str]:
        base = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HF_TOKEN": TOKEN, "HF_REPO_ID": ID}
        done = subprocess.run(
            [sys.executable, "-m", "trm_repro", *words],
            env=base | self.hub.environment(self.home) | knobs,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert TOKEN not in done.stdout + done.stderr
        return done

    def publish(self, **knobs: str) -> subprocess.CompletedProcess[str]:
        receipt = str(self.home / "receipt.json")
        return self.run("publish", "hf", "--bundle", str(self.bundle), "--receipt", receipt, **knobs)

    def holds_the_bundle(self) -> bool:
        here = {path.name: path.read_bytes() for path in self.bundle.iterdir() if path.name not in SETTINGS}
        there = {name: data for name, data in self.hub.repositories[ID].files.items() if name != ".gitattributes"}
        return here == there


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("repository")).folder


@pytest.fixture
def box(made: Path, tmp_path: Path) -> Iterator[Box]:
    (tmp_path / "home").mkdir()
    with HubServer() as hub:
        yield Box(tmp_path / "home", Path(shutil.copytree(made, tmp_path / "bundle")), hub)


def test_creates_a_private_model_in_one_commit_and_records_the_revision(box: Box) -> None:
    done = box.publish()
    assert done.returncode == 0, done.stderr
    repository = box.hub.repositories[ID]
    assert repository.private and len(repository.commits) == 2 and box.holds_the_bundle()
    receipt = read_json(box.home / "receipt.json")
    assert receipt["revision"] == repository.oid(1) and receipt["where"] == "huggingface"
    assert receipt["revision"] in done.stdout


def test_the_card_the_hub_gets_has_a_model_index(box: Box) -> None:
    from huggingface_hub import ModelCard

    box.publish()
    card = ModelCard(box.hub.repositories[ID].files["README.md"].decode())
    assert [result.metric_value for result in card.data.eval_results] == [0.078, 0.05]


@pytest.mark.deep
def test_a_leaderboard_is_told_the_number_in_the_hubs_own_form(box: Box) -> None:
    from huggingface_hub import parse_eval_result_entries

    other = ".eval_results/somebody.yaml"  # merged from what somebody proposed
    assert box.publish().returncode == 0
    box.hub.repositories[ID].commits.append(box.hub.repositories[ID].files | {other: b"- {}\n"})
    assert box.publish(HF_BENCHMARK="ada/arc-agi-2:evaluation").returncode == 0
    files = dict(box.hub.repositories[ID].files)
    assert files.pop(other) == b"- {}\n"
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[FILE]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("ada/arc-agi-2", "evaluation", 7.8)
    assert entry.source_url == f"{box.hub.endpoint}/{ID}" and entry.verify_token is None
    assert "pass@2 per task, in per cent" in entry.notes and "vote of all checkpoints" in entry.notes
    again = box.publish(HF_BENCHMARK="ada/arc-agi-2:evaluation")
    assert "nothing to do" in again.stderr and len(box.hub.repositories[ID].commits) == 4
    assert "nothing to do" in box.publish().stderr, "it stays as it is when nobody asks"
    fetched = box.run("fetch-weights", f"hf:{ID}", "--output", str(box.home / "here"))
    assert fetched.returncode == 0 and "extra" not in fetched.stderr, fetched.stderr


def test_a_benchmark_that_is_none(box: Box) -> None:
    done = box.publish(HF_BENCHMARK="ada/arc-agi-2")
    assert done.returncode == 2 and "owner/dataset:task_id" in done.stderr and ID not in box.hub.repositories


def test_the_same_bundle_again_does_nothing_and_says_so(box: Box) -> None:
    box.publish()
    again = box.publish()
    assert again.returncode == 0 and "nothing to do" in again.stderr
    assert box.hub.count("POST /api/models/ada/trm-arc2/commit") == 1


def test_a_changed_bundle_is_one_more_commit_and_leaves_nothing_behind(box: Box) -> None:
    box.publish()
    (box.bundle / "all_config.yaml").write_text("arch:\n  hidden_size: 8\n")
    (box.bundle / "dataset.sha256").rename(box.bundle / "statement.json.sig")
    metadata = (box.bundle / "dataset-metadata.json").read_text().replace("dataset.sha256", "statement.json.sig")
    (box.bundle / "dataset-metadata.json").write_text(metadata)
    write_sums(box.bundle)
    done = box.publish()
    assert done.returncode == 0, done.stderr
    assert len(box.hub.repositories[ID].commits) == 3 and box.holds_the_bundle()


def test_public_only_when_asked(box: Box) -> None:
    assert box.publish(HF_PUBLIC="1").returncode == 0
    assert not box.hub.repositories[ID].private


def test_visibility_is_never_changed(box: Box) -> None:
    box.hub.repositories[ID] = Repository(private=False)
    done = box.publish()
    assert done.returncode == 4 and "HF_PUBLIC asks for private" in done.stderr
    assert box.hub.count("/commit/") == 0


def test_a_repository_that_holds_something_else_is_left_alone(box: Box) -> None:
    box.hub.repositories[ID] = Repository(private=True, commits=[{"thesis.tex": b"years"}])
    done = box.publish()
    assert done.returncode == 4 and "thesis.tex" in done.stderr and box.hub.count("/commit/") == 0


@pytest.mark.deep
@pytest.mark.parametrize("name", ["all_config.yaml", "model.ckpt"])
@pytest.mark.parametrize("what", ["missing", "size", "bytes"])
def test_what_the_hub_shows_is_compared_and_a_rerun_repairs(box: Box, name: str, what: str) -> None:
    data = (box.bundle / name).read_bytes()
    box.hub.spoil = {name: {"missing": None, "size": data + b"x", "bytes": data[:-1] + b"x"}[what]}
    done = box.publish()
    assert done.returncode == 4 and f": {name}" in done.stderr
    assert not (box.home / "receipt.json").exists()
    assert box.publish().returncode == 0 and box.holds_the_bundle()


@pytest.mark.deep
@pytest.mark.parametrize(
    ("what", "status", "code", "message"),
    [
        ("/api/whoami-v2", 401, 3, "does not accept the token"),
        ("/api/repos/create", 403, 5, "forbids it (403)"),
        ("/api/repos/create", 409, 5, "answered 409"),
        ("/tree/", 404, 5, "404"),
        ("/commit/", 413, 5, "answered 413: over quota"),
        ("PUT /lfs/", 403, 5, "forbids it (403)"),
    ],
)
def test_failures(box: Box, what: str, status: int, code: int, message: str) -> None:
    box.hub.fail(what, status, "over quota")
    done = box.publish()
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "hint: " in done.stderr and "Traceback" not in done.stderr
    assert not (box.home / "receipt.json").exists()
    box.hub.faults.clear()
    again = box.publish()
    assert again.returncode == 0 and box.holds_the_bundle(), again.stderr


def test_what_arrived_before_a_failure_is_not_sent_again(box: Box) -> None:
    box.hub.fail("/commit/", 413)
    box.publish()
    sent = box.hub.count("PUT /lfs/")
    assert sent > 0
    assert box.publish().returncode == 0
    assert box.hub.count("PUT /lfs/") == sent


def test_a_server_that_is_busy_is_asked_again(box: Box) -> None:
    box.hub.fail("/preupload/", 503)
    assert box.publish().returncode == 0


def test_without_a_network(box: Box) -> None:
    done = box.publish(HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 5 and "no connection to the hub" in done.stderr


def test_without_a_token(box: Box) -> None:
    done = box.publish(HF_TOKEN="")
    assert done.returncode == 3 and "HF_TOKEN" in done.stderr and box.hub.requests == []


def test_without_a_repository(box: Box) -> None:
    assert box.publish(HF_REPO_ID="").returncode == 2


def test_an_illegal_name(box: Box) -> None:
    done = box.publish(HF_REPO_ID="a/b/c")
    assert done.returncode == 4 and "owner/name" in done.stderr


def test_an_unfaithful_run_is_published_only_when_asked(box: Box, tmp_path: Path) -> None:
    box.bundle = make_bundle(tmp_path / "unfaithful", faithful=False).folder
    assert box.publish().returncode == 4 and box.hub.requests == []
    assert box.publish(PUBLISH_UNFAITHFUL="1").returncode == 0


def test_the_planted_token_is_nowhere(box: Box) -> None:
    box.hub.fail("/api/repos/create", 403, f"you are {TOKEN}")
    done = subprocess.run(
        [sys.executable, "-m", "trm_repro", "publish", "hf", "--bundle", str(box.bundle)],
        env={"PATH": os.environ["PATH"], "HF_TOKEN": TOKEN, "HF_REPO_ID": ID} | box.hub.environment(box.home),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 5 and TOKEN not in done.stdout + done.stderr
    assert box.publish(HF_DEBUG="1").returncode == 0
    for path in box.home.parent.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path
