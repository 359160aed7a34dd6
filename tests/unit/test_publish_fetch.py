"""Fetching weights: our bundles and other people's checkpoints, from Kaggle, the hub and the disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hub_server
import kaggle_server
import pytest
from hub_server import HubServer, Repository
from kaggle_server import Dataset, KaggleServer
from notebook_support import lay_out
from publish_support import make_bundle

from trm_repro.errors import InvariantBroken
from trm_repro.files import read_json
from trm_repro.provenance.bundle import SETTINGS
from trm_repro.publish.fetch import inside

KAGGLE, HUB = "kaggle:ada/trm-weights", "hf:ada/trm-weights"


@dataclass
class Box:
    """A machine that fetches; both servers are up."""

    place: Path
    kaggle: KaggleServer
    hub: HubServer
    published: dict[str, bytes]

    def publish(self, files: dict[str, bytes]) -> None:
        self.kaggle.datasets["ada/trm-weights"] = Dataset("t", True, "other", [files])
        self.hub.repositories["ada/trm-weights"] = Repository(True, [{**files, ".gitattributes": b"x"}])

    def fetch(self, *words: str, **knobs: str) -> subprocess.CompletedProcess[str]:
        return self.run("fetch-weights", *words, **knobs)

    def run(self, *words: str, **knobs: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        environment |= {"KAGGLE_API_TOKEN": kaggle_server.TOKEN, "HF_TOKEN": hub_server.TOKEN}
        # the hub first: it needs no proxy, Kaggle's server is one, and is not asked for 127.0.0.1
        environment |= (
            self.hub.environment(self.place) | self.kaggle.environment(self.place) | {"no_proxy": "127.0.0.1"}
        )
        return subprocess.run(
            [sys.executable, "-m", "trm_repro", *words],
            cwd=self.place,
            env=environment | {"NO_PROXY": "127.0.0.1"} | knobs,
            capture_output=True,
            text=True,
            timeout=120,
        )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a server shows of a bundle: its files, without Kaggle's settings."""
    kaggle = lay_out(tmp_path_factory.mktemp("kaggle"))
    bundle = kaggle / "input/trm-arc2-weights-tiny-run"
    return {path.name: path.read_bytes() for path in bundle.iterdir() if path.name not in SETTINGS}


@pytest.fixture
def box(tmp_path: Path, published: dict[str, bytes]) -> Iterator[Box]:
    (tmp_path / "tmp").mkdir()
    with KaggleServer() as kaggle, HubServer() as hub:
        made = Box(tmp_path, kaggle, hub, published)
        made.publish(published)
        yield made


@pytest.mark.parametrize("source", [KAGGLE, HUB])
def test_a_bundle_comes_whole(box: Box, source: str) -> None:
    done = box.fetch(source)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ".repro/weights/trm-weights/model.ckpt\n"
    folder = box.place / ".repro/weights/trm-weights"
    here = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".gitattributes"}
    assert here == box.published
    assert "note:" not in done.stderr
    if source.startswith("kaggle:"):
        assert re.search(r"fetching ada/trm-weights: (\d+)/\1 MB, 100 %", done.stderr)
    receipt = read_json(box.place / ".repro/weights/trm-weights.fetched.json")
    assert receipt["source"] == source and receipt["notes"] == []
    assert receipt["revision"] in ("version 1", f"commit {Repository.oid(0)}")


def test_the_engine_finds_what_came(box: Box) -> None:
    from trm_repro.engine.checkpoint import read_weights
    from trm_repro.engine.config import read_arch

    path = box.place / box.fetch(HUB).stdout.strip()
    assert read_arch(path.with_name("all_config.yaml")).hidden_size == 64 and "H_init" in read_weights(path)


def test_a_revision_can_be_named(box: Box) -> None:
    old = box.hub.repositories["ada/trm-weights"]
    old.commits.append({"README.md": b"all gone"})
    assert box.fetch(HUB).returncode == 4
    done = box.fetch(f"{HUB}@{old.oid(0)}", "--output", "elsewhere")
    assert done.returncode == 0 and done.stdout == "elsewhere/model.ckpt\n"


@pytest.mark.parametrize("source", [KAGGLE, HUB])
def test_a_bundle_with_a_changed_file_is_refused(box: Box, source: str) -> None:
    box.publish(box.published | {"submission.json": b"{}"})
    done = box.fetch(source)
    assert done.returncode == 4 and "different: submission.json" in done.stderr
    assert not (box.place / ".repro/weights/trm-weights").exists()


def test_a_bundle_with_a_missing_file_is_refused(box: Box) -> None:
    box.publish({name: data for name, data in box.published.items() if name != "identifiers.json"})
    done = box.fetch(KAGGLE)
    assert done.returncode == 4 and "missing: identifiers.json" in done.stderr


def test_identifiers_must_belong_to_the_weights(box: Box) -> None:
    files = {name: box.published[name] for name in ("model.ckpt", "all_config.yaml")}
    box.publish(files | {"identifiers.json": b'["<blank>"]'})
    done = box.fetch(HUB)
    assert done.returncode == 4 and "1 identifiers, but 3 puzzle vectors" in done.stderr


def test_a_foreign_checkpoint_comes_with_notes_on_what_cannot_be_known(box: Box) -> None:
    weights = dict.fromkeys(("step_10", "step_723914"), box.published["model.ckpt"])
    others = {"step_723914_adapters": b"less", "step_723915_all_preds.0": b"no weights", "trm.py": b"pass"}
    box.publish(weights | others)
    done = box.fetch(HUB)
    assert done.returncode == 0 and done.stdout.endswith("/step_723914\n")
    for missing in ("SHA256SUMS", "all_config.yaml", "identifiers.json"):
        assert f"note: there is no {missing}" in done.stderr


@pytest.mark.parametrize("source", [KAGGLE, HUB])
def test_of_several_runs_one_is_named_and_nothing_else_is_downloaded(box: Box, source: str) -> None:
    box.publish({f"{run}/step_{step}": box.published["model.ckpt"] for run, step in (("arc1", 9), ("arc2", 7))})
    done = box.fetch(source)
    assert done.returncode == 4 and "2 runs lie side by side: arc1 (step_9), arc2 (step_7)" in done.stderr
    for place in ("arc2", "arc2/step_7"):
        done = box.fetch(f"{source}/{place}", "--output", place.replace("/", "-"))
        assert done.stdout == f"{place.replace('/', '-')}/arc2/step_7\n", done.stderr
        assert not list(box.place.rglob("step_9"))
    assert "no arc3 among" in box.fetch(f"{source}/arc3").stderr


@pytest.mark.parametrize("name", ["maze_hard_step_32550", "step_259320_arc_ag1_attn_type_h3l4"])
def test_the_names_others_use(box: Box, name: str) -> None:
    box.publish({name: box.published["model.ckpt"]})
    assert box.fetch(KAGGLE).stdout.endswith(f"/{name}\n")


def test_a_checkpoint_that_would_run_code_is_refused(box: Box) -> None:
    import io

    import torch

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch /tmp/trm-repro-was-here",)

    buffer = io.BytesIO()
    torch.save({"model.inner.H_init": Evil()}, buffer)
    box.publish({"step_1": buffer.getvalue()})
    done = box.fetch(HUB)
    assert done.returncode == 4 and not Path("/tmp/trm-repro-was-here").exists()


@pytest.mark.parametrize("files", [{"README.md": b"nothing here"}, {"step_1": b"not a checkpoint"}])
def test_no_checkpoint(box: Box, files: dict[str, bytes]) -> None:
    box.publish(files)
    assert box.fetch(KAGGLE).returncode == 4


def test_a_folder_and_a_file_of_this_disk(box: Box, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "repository").folder
    done = box.fetch(str(bundle), "--output", "copy")
    assert done.returncode == 0, done.stderr
    done = box.fetch(str(bundle / "model.ckpt"), "--output", "one")
    assert done.returncode == 0 and (box.place / "one/all_config.yaml").exists(), done.stderr


def test_what_is_there_is_not_replaced(box: Box) -> None:
    box.fetch(KAGGLE)
    again = box.fetch(KAGGLE)
    assert again.returncode == 2 and "is there already" in again.stderr


def test_an_interrupted_fetch_goes_on_where_it_broke(box: Box) -> None:
    box.kaggle.fail("DownloadDataset", status=500)
    names = sorted(box.published)
    assert box.fetch(KAGGLE).returncode == 5
    box.kaggle.requests.clear()
    staged = box.place / ".repro/weights/.trm-weights.part"
    (staged / names[0]).write_bytes(box.published[names[0]])
    assert box.fetch(KAGGLE).returncode == 0
    assert box.kaggle.count("DownloadDataset") == len(names) - 1


def test_what_came_of_an_older_version_is_not_used(box: Box) -> None:
    box.publish({"step_1": box.published["model.ckpt"], "trm.py": b"old"})
    box.kaggle.fail("DownloadDataset", status=500, times=2)
    assert box.fetch(KAGGLE).returncode == 5
    (box.place / ".repro/weights/.trm-weights.part/trm.py").write_bytes(b"old")
    box.kaggle.faults.clear()
    box.kaggle.datasets["ada/trm-weights"].versions.append({"step_1": box.published["model.ckpt"], "trm.py": b"new"})
    assert box.fetch(KAGGLE).returncode == 0
    assert (box.place / ".repro/weights/trm-weights/trm.py").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("kaggle:ada/nothing", 3),
        ("hf:ada/nothing", 5),
        ("hf:ada/trm-weights@nosuch", 5),
        ("kaggle:weights", 2),
        ("hf:weights", 2),
        ("no/such/path", 3),
    ],
)
def test_sources_that_are_not_there(box: Box, source: str, code: int) -> None:
    done = box.fetch(source)
    assert done.returncode == code and "hint: " in done.stderr, done.stderr
    assert not any((box.place / ".repro").rglob(".*"))


def test_a_name_that_leads_out_of_the_folder_is_refused(box: Box) -> None:
    out = box.place / "out"
    box.publish({"step_1": box.published["model.ckpt"], str(out): b"x"})
    done = box.fetch(KAGGLE)
    assert done.returncode == 4 and "which is no place in a folder: nothing was fetched" in done.stderr
    assert not out.exists() and not list(box.place.rglob("step_1"))


@pytest.mark.parametrize(
    "name", ["/a", "../a", "a/../../b", "a//b", "./a", "a\\b", "a\nb", "a\x1b[2Jb", "a" * 1001, ""]
)
def test_what_is_no_place_in_a_folder(name: str) -> None:
    with pytest.raises(InvariantBroken, match="no place in a folder"):
        inside(["step_1", name])
    assert inside(["a/b c/[x]*ü.pt", ".gitattributes", ".git/config"]) == ["a/b c/[x]*ü.pt", ".gitattributes"]


def test_nothing_of_a_token_is_written(box: Box) -> None:
    for source in (KAGGLE, HUB):
        done = box.fetch(source, "--output", source.partition(":")[0])
        assert done.returncode == 0, done.stderr
        for secret in (kaggle_server.TOKEN, hub_server.TOKEN):
            assert secret not in done.stdout + done.stderr
            for path in box.place.rglob("*"):
                assert not path.is_file() or secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("source", [pytest.param(KAGGLE, marks=pytest.mark.deep), HUB])
def test_an_audit_brings_one_runs_weights_and_all_that_tells_of_them(box: Box, source: str) -> None:
    ours = {name: box.published[name] for name in ("all_config.yaml", "identifiers.json", "submission.json")}
    steps = dict.fromkeys(("step_7", "step_70"), box.published["model.ckpt"])
    box.publish({**ours, **steps, "trm.py": b"pass", "step_70_all_preds.0": b"large"})
    done = box.run("audit", source)
    assert done.returncode == 3 and "weights: step_70 holds weights of a TRM" in done.stdout, done.stderr
    assert f"audit of {source} (" in done.stdout
    assert ("commit " in done.stdout) or ("version 1" in done.stdout)
    here = {path.name for path in (box.place / f".repro/audit/{source.replace(':', '-').replace('/', '-')}").iterdir()}
    assert here - {".gitattributes"} == {"all_config.yaml", "identifiers.json", "submission.json", "step_70", "trm.py"}
    box.publish({})
    assert box.run("audit", source).stdout == done.stdout  # it is not brought again


@pytest.mark.deep
def test_an_audit_of_what_is_no_checkpoint_says_so_and_of_several_runs_asks_which(box: Box) -> None:
    box.publish({"README.md": b"# x", "step_1": b"<!doctype html>"})
    done = box.run("audit", HUB)
    assert done.returncode == 1 and "a web page, in place of a checkpoint" in done.stdout
    box.publish({f"{run}/step_{step}": box.published["model.ckpt"] for run, step in (("arc1", 9), ("arc2", 7))})
    done = box.run("audit", f"{KAGGLE}")
    assert done.returncode == 4 and "2 runs lie side by side" in done.stderr
    assert "step_7 holds weights" in box.run("audit", f"{KAGGLE}/arc2").stdout
