"""artifacts/RUN_NAME is laid out for people, and checked by sha256sum alone; the examples of docs/format.md hold."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from proof_support import HERE, make_run, the_manifest

from trm_repro.cli import main
from trm_repro.cli.common import locate
from trm_repro.files import read_json, write_json, write_text
from trm_repro.provenance.arrange import arrange
from trm_repro.provenance.schema import parse_manifest
from trm_repro.runs.stamps import read_stamp


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "artifacts/tiny"
    write_json(folder / "manifest.json", the_manifest(make_run(tmp_path)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRM_DIR", str(tmp_path / ".repro/work"))
    assert main(["statement", "write", "artifacts/tiny/manifest.json"]) == 0
    arrange(folder, read_json(folder / "manifest.json"), locate)
    return folder


def test_everything_has_a_plain_name(artifacts: Path) -> None:
    found = {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*") if path.is_file()}
    assert found == {
        *("manifest.json", "statement.json", "SHA256SUMS", "weights/model.ckpt", "weights/all_config.yaml"),
        *("data/identifiers.json", "data/test_puzzles.json", "results/submission.json", "results/metrics.jsonl"),
        *(f"logs/{step}.log" for step in ("01-sanity", "02-clone", "03-venv", "04-dataset", "05-train")),
    }
    assert re.search(r"evaluator_ARC_step_70/submission\.json$", str((artifacts / "results/submission.json").resolve()))


def test_sha256sum_checks_it_and_finds_a_change(artifacts: Path) -> None:
    def check() -> subprocess.CompletedProcess[str]:
        words = ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"]
        return subprocess.run(words, cwd=artifacts, capture_output=True, text=True, check=False)

    assert check().returncode == 0
    (artifacts / "results/submission.json").resolve().write_text("{}")
    assert check().returncode == 1 and "results/submission.json" in check().stdout


def test_arranging_again_leaves_nothing_behind(artifacts: Path) -> None:
    (artifacts / "weights/model.ckpt").rename(artifacts / "weights/old.ckpt")
    arrange(artifacts, read_json(artifacts / "manifest.json"), locate)
    assert not (artifacts / "weights/old.ckpt").exists() and (artifacts / "weights/model.ckpt").is_file()


# ---- docs/format.md ----


def examples(kind: str) -> list[str]:
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", (HERE / "docs/format.md").read_text(), re.DOTALL | re.MULTILINE)
    return [text for language, text in fences if language == kind]


def test_the_documented_manifest_is_one() -> None:
    found = [text for text in examples("json") if '"format": "trm-repro/manifest' in text]
    assert len(found) == 1
    parse_manifest(found[0].encode())


def test_the_documented_statement_is_one() -> None:
    from google.protobuf.json_format import Parse
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement

    (found,) = (text for text in examples("json") if '"_type"' in text)
    Statement.copy_from_pb(Parse(found, statement_pb2.Statement())).validate()
    assert list(json.loads(found)) == sorted(json.loads(found)), "canonical JSON has sorted keys"


def test_the_documented_stamp_is_one(tmp_path: Path) -> None:
    (found,) = (text for text in examples("") if text.startswith("trm-repro stamp"))
    write_text(tmp_path / "x.stamp", found)
    stamp = read_stamp(tmp_path / "x.stamp")
    assert stamp and stamp.step == "04-dataset" and len(stamp.outputs) == 1
