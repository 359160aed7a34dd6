"""Publishing to Kaggle: the real client, against a server on loopback that can fail in every way Kaggle does.

Each test runs ``trm-repro publish kaggle`` in a process of its own, with a home folder of its own.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kaggle_server import KEY, OWNER, TOKEN, Dataset, KaggleServer
from publish_support import make_bundle

from trm_repro.errors import InvariantBroken
from trm_repro.files import read_json, write_json
from trm_repro.provenance.bundle import METADATA, write_sums
from trm_repro.publish.credentials import find_credentials

ID = "ada/trm-arc2-weights-tiny-run"
BASIC = base64.b64encode(f"{OWNER}:{KEY}".encode()).decode()  # as the key stands in a request
SECRETS = (KEY, TOKEN, BASIC, "planted-signature")


@dataclass
class Box:
    """A user's machine: a home, a bundle, and the way to the server."""

    home: Path
    bundle: Path
    server: KaggleServer

    def environment(self, **knobs: str) -> dict[str, str]:
        base = {"PATH": os.environ["PATH"], "KAGGLE_USERNAME": OWNER, "KAGGLE_API_TOKEN": TOKEN, "LC_ALL": "C.UTF-8"}
        return base | self.server.environment(self.home) | knobs

    def start(self, *words: str, **knobs: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "trm_repro", *words],
            env=self.environment(**knobs),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **knobs: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, **knobs)
        out, err = process.communicate(timeout=120)
        for secret in SECRETS:
            assert secret not in out + err
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def publish(self, **knobs: str) -> subprocess.CompletedProcess[str]:
        receipt = str(self.home / "receipt.json")
        return self.run("publish", "kaggle", "--bundle", str(self.bundle), "--receipt", receipt, **knobs)

    def publish_model(self, **knobs: str) -> subprocess.CompletedProcess[str]:
        receipt = str(self.home / "receipt.json")
        words = ("publish", "kaggle", "--model", "--bundle", str(self.bundle), "--receipt", receipt)
        return self.run(*words, **knobs)

    def uploads(self) -> int:
        return self.server.count("StartBlobUpload")

    def holds_the_bundle(self, ref: str = ID) -> bool:
        here = {path.name: path.read_bytes() for path in self.bundle.iterdir() if not path.name.startswith("dataset-")}
        return self.server.datasets[ref].files == here


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("repository")).folder


@pytest.fixture
def box(made: Path, tmp_path: Path) -> Iterator[Box]:
    home = tmp_path / "home"
    (home / "tmp").mkdir(parents=True)
    with KaggleServer() as server:
        yield Box(home, Path(shutil.copytree(made, tmp_path / "bundle")), server)


def test_the_client_imports_with_what_we_declare() -> None:
    import kaggle.cli

    assert kaggle.__version__ == "2.2.4"


def test_creates_a_private_dataset_and_writes_a_receipt(box: Box) -> None:
    done = box.publish()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"https://www.kaggle.com/datasets/{ID} revision 1, compared by sizes\n"
    dataset = box.server.datasets[ID]
    assert dataset.private and dataset.license == "CC-BY-4.0" and dataset.title == "TRM ARC-AGI-2 Weights (tiny_run)"
    assert box.holds_the_bundle()
    receipt = read_json(box.home / "receipt.json")
    assert (receipt["id"], receipt["revision"], receipt["compared"]) == (ID, "1", "sizes")
    assert set(receipt["files"]) == set(dataset.files)


def test_sets_the_cover_without_publishing_the_dataset(box: Box) -> None:
    assert box.publish().returncode == 0
    dataset = box.server.datasets[ID]
    assert dataset.settings["image"]["token"] in box.server.blobs
    assert dataset.private  # the client's update makes it public unless told otherwise


def test_a_refused_cover_is_a_warning(box: Box) -> None:
    box.server.fail("UpdateDatasetMetadata", status=500, body={"code": 500, "message": "no"})
    done = box.publish()
    assert done.returncode == 0 and "warning: the page has no cover" in done.stderr


def test_the_same_bundle_again_does_nothing_and_says_so(box: Box) -> None:
    box.publish()
    sent = box.uploads()
    again = box.publish()
    assert again.returncode == 0 and "nothing to do" in again.stderr and "revision 1" in again.stdout
    assert box.uploads() == sent and box.server.count("CreateDatasetVersion") == 0


def test_a_changed_bundle_becomes_a_version_and_the_old_one_stays(box: Box) -> None:
    box.publish()
    (box.bundle / "submission.json").write_text("{}")
    write_sums(box.bundle)
    done = box.publish()
    assert done.returncode == 0 and "revision 2" in done.stdout
    assert len(box.server.datasets[ID].versions) == 2 and box.holds_the_bundle()


@pytest.mark.deep
def test_a_change_of_equal_size_is_noticed(box: Box) -> None:
    box.publish()
    config = box.bundle / "all_config.yaml"
    config.write_text(config.read_text().replace("4", "8"))
    write_sums(box.bundle)
    assert "revision 2" in box.publish().stdout


def test_public_only_when_asked(box: Box) -> None:
    assert box.publish(KAGGLE_PUBLIC="1").returncode == 0
    assert not box.server.datasets[ID].private


@pytest.mark.deep
@pytest.mark.parametrize("public", ["0", "1"])
def test_visibility_is_never_changed_by_a_version(box: Box, public: str) -> None:
    box.server.datasets[ID] = Dataset("t", private=public == "1", license="CC0-1.0", versions=[{"old": b""}])
    done = box.publish(KAGGLE_PUBLIC=public)
    assert done.returncode == 4 and "KAGGLE_PUBLIC asks for" in done.stderr
    assert box.uploads() == 0


@pytest.mark.parametrize("knobs", [{"KAGGLE_PUBLIC": "yes"}, {"PUBLISH_VERIFY": "everything"}])
def test_a_mistyped_knob_is_a_usage_error(box: Box, knobs: dict[str, str]) -> None:
    assert box.publish(**knobs).returncode == 2
    assert box.server.requests == []


def test_download_compares_every_byte(box: Box) -> None:
    done = box.publish(PUBLISH_VERIFY="download")
    assert done.returncode == 0 and "compared by digests" in done.stdout
    assert box.server.count("DownloadDataset") == len(box.server.datasets[ID].files)


def test_download_finds_bytes_that_changed_on_the_way_and_a_rerun_repairs(box: Box) -> None:
    right = (box.bundle / "model.ckpt").read_bytes()
    box.server.spoil = {"model.ckpt": bytes(len(right))}
    done = box.publish(PUBLISH_VERIFY="download")
    assert done.returncode == 4 and "different: model.ckpt: expected sha256" in done.stderr
    assert box.publish(PUBLISH_VERIFY="download").returncode == 0
    assert box.holds_the_bundle()


@pytest.mark.deep
def test_files_that_kaggle_zips_on_the_way_are_compared_unzipped(box: Box) -> None:
    box.server.zipped = {"submission.json", "SHA256SUMS"}
    assert box.publish(PUBLISH_VERIFY="download").returncode == 0


# -- every way to fail: the message, the exit code, nothing lost, and a second run that completes ---------------------


@pytest.mark.deep
@pytest.mark.parametrize(
    ("method", "how", "code", "message"),
    [
        ("ListDatasets", {"status": 401}, 3, "does not accept the credentials (401)"),
        (
            "CreateDataset",
            {"status": 403, "body": {"code": 403, "message": "phone number"}},
            5,
            "forbids it (403): phone",
        ),
        ("StartBlobUpload", {"status": 404, "body": {"code": 404, "message": "gone"}}, 5, "no such thing (404): gone"),
        ("CreateDataset", {"status": 429, "headers": {"Retry_After": "0"}, "times": 20}, 5, "too many requests (429)"),
        (
            "GetDatasetStatus",
            {"status": 429, "headers": {"Retry_After": "0"}, "times": 20},
            5,
            "too many requests (429)",
        ),
        ("CreateDataset", {"status": 500, "body": {"code": 500, "message": "oops"}}, 5, "answered 500: oops"),
        ("GetDatasetStatus", {"status": 500}, 5, "answered 500"),
        ("CreateDataset", {"status": 200, "body": {"status": "error", "error": "Bad tag"}}, 5, "refused: Bad tag"),
        ("CreateDataset", {"status": 200, "body": {}}, 5, "refused: without a reason"),
        ("CreateDataset", {"status": 200, "body": {"code": 500, "message": "in the body"}}, 5, "in the body"),
        (
            "CreateDataset",
            {"status": 200, "body": {"status": "error", "error": "over quota"}},
            5,
            "refused: over quota",
        ),
        ("ListDatasetFiles", {"status": 200, "body": {"errorMessage": "not now"}}, 5, "Kaggle says: not now"),
        (
            "PUT model.ckpt",
            {"status": 500, "times": 2},
            5,
            "model.ckpt: Kaggle did not take the file; no version was made",
        ),
    ],
)
def test_failures(box: Box, method: str, how: dict[str, object], code: int, message: str) -> None:
    box.server.fail(method, **how)
    done = box.publish()
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "hint: " in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == "" and not (box.home / "receipt.json").exists()
    if method != "ListDatasetFiles":
        assert box.server.datasets == {}
    box.server.faults.clear()
    again = box.publish()
    assert again.returncode == 0, again.stderr
    assert box.holds_the_bundle()


def test_a_quota_refusal_says_what_to_do(box: Box) -> None:
    box.server.fail("CreateDataset", status=200, body={"status": "error", "error": "exceeds your private quota"})
    assert "hint: free space" in box.publish().stderr


def test_a_429_is_waited_for(box: Box) -> None:
    for method in ("ListDatasets", "GetDatasetStatus", "StartBlobUpload", "CreateDataset", "ListDatasetFiles"):
        box.server.fail(method, status=429, headers={"Retry_After": "0"})
    assert box.publish().returncode == 0


def test_a_connection_dropped_mid_upload_goes_on_where_it_broke(box: Box) -> None:
    box.server.fail("PUT model.ckpt", drop_after=100)
    done = box.publish()
    assert done.returncode == 0, done.stderr
    assert box.holds_the_bundle()


@pytest.mark.deep
def test_an_upload_that_never_ends_leaves_no_dataset_and_a_rerun_goes_on_where_it_broke(box: Box) -> None:
    half = (box.bundle / "model.ckpt").stat().st_size // 2
    box.server.fail("PUT model.ckpt", times=3, status=503)
    done = box.publish()
    assert done.returncode == 5 and "no version was made" in done.stderr
    assert box.server.datasets == {}
    box.server.starts.clear()
    assert box.publish().returncode == 0
    assert box.holds_the_bundle()
    assert dict(box.server.starts)["model.ckpt"] >= half


@pytest.mark.deep
def test_an_upload_whose_session_expired_meanwhile_is_begun_anew(box: Box) -> None:
    box.server.fail("PUT model.ckpt", times=3, status=503)
    assert box.publish().returncode == 5
    for blob in box.server.blobs.values():
        blob["expired"] = True
    done = box.publish()
    assert done.returncode == 0, done.stderr
    assert box.holds_the_bundle()


def test_killed_mid_upload_a_rerun_completes(box: Box) -> None:
    release = threading.Event()
    box.server.fail("PUT model.ckpt", hold=release)
    process = box.start("publish", "kaggle", "--bundle", str(box.bundle))
    deadline = time.monotonic() + 60
    while box.server.faults[0].times and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=100)
    release.set()
    assert box.server.datasets == {}
    assert box.publish().returncode == 0 and box.holds_the_bundle()


@pytest.mark.deep
def test_a_slow_dataset_is_waited_for(box: Box) -> None:
    box.server.slow = 2
    done = box.publish()
    assert done.returncode == 0 and "waiting for" in done.stderr


@pytest.mark.deep
def test_a_version_that_shows_late_is_not_taken_for_the_old_one(box: Box) -> None:
    box.publish()
    (box.bundle / "submission.json").write_text("{}")
    write_sums(box.bundle)
    box.server.lag = 2
    done = box.publish()
    assert done.returncode == 0 and "revision 2" in done.stdout, done.stderr
    assert box.holds_the_bundle()


@pytest.mark.deep
def test_a_dataset_that_is_not_ready_in_time_is_not_uploaded_twice(box: Box) -> None:
    box.server.slow = 10**6
    done = box.publish(PUBLISH_TIMEOUT="1")
    assert done.returncode == 5 and "not ready in time" in done.stderr and "PUBLISH_TIMEOUT" in done.stderr
    sent = box.uploads()
    box.server.datasets[ID].pending = 2
    assert box.publish().returncode == 0
    assert box.uploads() == sent


@pytest.mark.deep
def test_a_dataset_kaggle_could_not_make_is_told_and_made_again(box: Box) -> None:
    box.server.outcome = "FAILED"
    done = box.publish()
    assert done.returncode == 5 and "could not make version 1" in done.stderr and "quota" in done.stderr
    box.server.outcome = "READY"
    assert "revision 2" in box.publish().stdout


@pytest.mark.deep
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"identifiers.json": None}, "missing: identifiers.json"),
        ({"identifiers.json": b"short"}, "different: identifiers.json: 44 bytes here, 5 there"),
        ({"stray.csv": b"x"}, "extra: stray.csv"),
    ],
)
def test_what_the_server_shows_is_compared_and_a_rerun_repairs(
    box: Box, spoil: dict[str, bytes | None], message: str
) -> None:
    box.server.spoil = spoil
    done = box.publish()
    assert done.returncode == 4 and message in done.stderr
    assert not (box.home / "receipt.json").exists()
    assert "revision 2" in box.publish().stdout and box.holds_the_bundle()


def test_the_quota_is_checked_before_anything_is_sent(box: Box) -> None:
    box.server.datasets["ada/big"] = Dataset(
        "big", True, "other", [{"x": b""}], settings={"pretended_bytes": 200 * 10**9}
    )
    done = box.publish()
    assert done.returncode == 4 and "exceed Kaggle's quota" in done.stderr
    assert box.uploads() == 0
    assert box.publish(KAGGLE_PUBLIC="1").returncode == 0  # the quota is of private datasets


def test_a_broken_bundle_is_not_sent(box: Box) -> None:
    write_json(box.bundle / METADATA, read_json(box.bundle / METADATA) | {"title": "short"})
    assert box.publish().returncode == 4
    assert box.server.requests == []


def test_without_a_network(box: Box) -> None:
    done = box.publish(http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")
    assert done.returncode == 5 and "no connection to Kaggle" in done.stderr


def test_an_unfaithful_run_is_published_only_when_asked(box: Box, tmp_path: Path) -> None:
    box.bundle = make_bundle(tmp_path / "unfaithful", faithful=False).folder
    done = box.publish()
    assert done.returncode == 4 and "the recipe is not faithful" in done.stderr and box.server.requests == []
    assert box.publish(PUBLISH_UNFAITHFUL="1").returncode == 0


def test_a_bundle_for_somebody_else_is_not_sent(box: Box) -> None:
    done = box.publish(KAGGLE_DATASET_SLUG="another-slug")
    assert done.returncode == 4 and "package the run again" in done.stderr and box.uploads() == 0


# -- credentials ------------------------------------------------------------------------------------------------------


def give(box: Box, kind: str, mode: int = 0o600) -> dict[str, str]:
    """Puts credentials of a kind in place; returns the variables that go with them."""
    folder = box.home / ".kaggle"
    folder.mkdir(exist_ok=True)
    name, text = {
        "token": ("", ""),
        "token file": ("elsewhere", TOKEN),
        "access_token": ("access_token", TOKEN),
        "key": ("", ""),
        "kaggle.json": ("kaggle.json", json.dumps({"username": OWNER, "key": KEY})),
    }[kind]
    if name:
        (folder / name).write_text(text)
        (folder / name).chmod(mode)
    token = {"token": TOKEN, "token file": str(folder / "elsewhere")}.get(kind, "")
    return {"KAGGLE_API_TOKEN": token, "KAGGLE_KEY": KEY if kind == "key" else ""}


KINDS = ["token", "token file", "access_token", "key", "kaggle.json"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_credentials_signs_in(box: Box, kind: str) -> None:
    knobs = give(box, kind)
    assert box.run("publish", "credentials", **knobs).returncode == 0
    assert box.server.requests == []
    assert box.run("publish", "credentials", "--remote", **knobs).returncode == 0
    assert box.server.count("ListDatasets") == 1


@pytest.mark.parametrize(("kind", "mode"), [("token file", 0o604), ("access_token", 0o640), ("kaggle.json", 0o644)])
def test_a_secret_file_that_others_can_read_is_refused(box: Box, kind: str, mode: int) -> None:
    done = box.run("publish", "credentials", **give(box, kind, mode))
    assert done.returncode == 4 and f"mode is {mode:o}" in done.stderr and "hint: chmod 600" in done.stderr


def test_no_credentials(box: Box) -> None:
    done = box.run("publish", "credentials", KAGGLE_API_TOKEN="")
    assert done.returncode == 3 and "KAGGLE_API_TOKEN" in done.stderr and "kaggle.json" in done.stderr


def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(box: Box) -> None:
    for token in ("KGAT_hidden\nx", "KGAT hidden", "KGAT_hiddenü"):
        with pytest.raises(InvariantBroken, match="the secret holds a space") as error:
            find_credentials({"KAGGLE_API_TOKEN": token}, Path("/nowhere"))
        assert "hidden" not in str(error.value)
    done = box.run("publish", "credentials", "--remote", KAGGLE_API_TOKEN="KGAT_hidden\nx")
    assert done.returncode == 4 and "hidden" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["", "<your_kaggle_username>"])
def test_no_owner(box: Box, name: str) -> None:
    done = box.run("publish", "credentials", KAGGLE_USERNAME=name)
    assert done.returncode == 3 and "KAGGLE_USERNAME" in done.stderr


@pytest.mark.parametrize("kind", ["token", "kaggle.json"])
def test_the_owner_of_the_credentials_must_be_kaggle_username(box: Box, kind: str) -> None:
    done = box.run("publish", "credentials", "--remote", **(give(box, kind) | {"KAGGLE_USERNAME": "grace"}))
    assert done.returncode == 4 and "belongs to ada, but KAGGLE_USERNAME is grace" in done.stderr


def test_a_revoked_token_is_refused_although_other_credentials_are_there(box: Box) -> None:
    knobs = give(box, "kaggle.json") | {"KAGGLE_API_TOKEN": "KGAT_revoked"}
    done = box.run("publish", "credentials", "--remote", **knobs)
    assert done.returncode == 3 and "expired or revoked" in done.stderr


def test_a_wrong_key_is_refused(box: Box) -> None:
    done = box.run("publish", "credentials", "--remote", KAGGLE_API_TOKEN="", KAGGLE_KEY="wrong")
    assert done.returncode == 3 and "(401)" in done.stderr


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"username": "ada"}'])
def test_a_damaged_kaggle_json_is_told_without_its_content(box: Box, text: str) -> None:
    knobs = give(box, "kaggle.json")
    (box.home / ".kaggle/kaggle.json").write_text(text)
    done = box.run("publish", "credentials", **knobs)
    assert done.returncode == 4 and (not text or text not in done.stderr)


@pytest.mark.parametrize("kind", KINDS)
def test_planted_secrets_are_nowhere(box: Box, kind: str) -> None:
    knobs = give(box, kind) | {"VERBOSE": "1"}  # with VERBOSE the client prints every request, secrets included
    secret = KEY if kind in ("key", "kaggle.json") else TOKEN
    box.server.fail("StartBlobUpload", status=500, body={"code": 500, "message": f"you are {secret}"})
    for code in (5, 0):
        assert box.publish(**knobs).returncode == code  # run() searches what was printed
    given = {path for path in (box.home / ".kaggle").iterdir()}
    for path in box.home.parent.rglob("*"):
        if path.is_file() and path not in given:
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in SECRETS), path


# ---- as a model ----


def test_a_model_is_made_once_and_then_left_alone(box: Box) -> None:
    done = box.publish_model(PUBLISH_VERIFY="download")
    assert done.returncode == 0, done.stderr
    (ref,) = box.server.datasets
    assert box.holds_the_bundle(ref) and box.server.models == {ID: True}
    assert box.server.licenses[ref] == "Attribution 4.0 International (CC BY 4.0)"
    receipt = read_json(box.home / "receipt.json")
    assert (receipt["where"], receipt["revision"], receipt["compared"]) == ("kaggle-model", "1", "digests")
    assert receipt["url"].endswith(f"/models/{ID}")
    sent = box.uploads()
    again = box.publish_model()
    assert again.returncode == 0 and "nothing to do" in again.stderr and box.uploads() == sent


@pytest.mark.deep
def test_a_changed_bundle_is_a_new_version_of_the_model(box: Box) -> None:
    assert box.publish_model(KAGGLE_PUBLIC="1").returncode == 0
    (box.bundle / "all_config.yaml").write_text("arch:\n  hidden_size: 8\n")
    write_sums(box.bundle)
    box.server.slow = 1  # the new version lists nothing yet
    done = box.publish_model(KAGGLE_PUBLIC="1")
    (ref,) = box.server.datasets
    assert done.returncode == 0 and len(box.server.datasets[ref].versions) == 2 and box.holds_the_bundle(ref), (
        done.stderr
    )
    assert read_json(box.home / "receipt.json")["revision"] == "2" and box.server.models == {ID: False}
    refused = box.publish_model()
    assert refused.returncode == 4 and "KAGGLE_PUBLIC asks for private" in refused.stderr


@pytest.mark.deep
def test_a_page_without_a_variation_gets_one(box: Box) -> None:
    box.server.fail("CreateModelInstance", times=1, status=400, body={"code": 400, "message": "not today"})
    first = box.publish_model()
    assert first.returncode == 5 and "not today" in first.stderr and box.server.models and not box.server.datasets
    assert box.publish_model().returncode == 0 and box.server.count("CreateModel") == 1


@pytest.mark.deep
def test_what_a_model_shows_is_compared(box: Box) -> None:
    box.server.spoil = {"all_config.yaml": None}
    done = box.publish_model()
    assert done.returncode == 4 and "missing: all_config.yaml" in done.stderr
    assert box.publish_model().returncode == 0 and box.holds_the_bundle(next(iter(box.server.datasets)))


@pytest.mark.parametrize("error", ["the storage quota is exceeded", "a model of this title exists"])
def test_a_refusal_in_a_200_answer_of_models_is_believed(box: Box, error: str) -> None:
    box.server.fail("CreateModel", status=200, body={"error": error, "errorCode": 400})
    done = box.publish_model()
    assert done.returncode == 5 and error in done.stderr and not box.server.datasets


def test_a_license_that_models_have_not(box: Box) -> None:
    metadata = read_json(box.bundle / METADATA)
    write_json(box.bundle / METADATA, metadata | {"licenses": [{"name": "other"}]})
    write_sums(box.bundle)
    done = box.publish_model()
    assert done.returncode == 4 and "no license “other” for models" in done.stderr and not box.server.models
