"""A sigstore signature counts only if it is this statement's, by whom it must be, under the root of trust at hand.

The real client signs against a sigstore on loopback (``sigstore_server.py``), and the real verifier checks what came of it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from proof_support import make_bundle, make_run
from sigstore_server import ISSUER, WORKFLOW, SigstoreServer

from trm_repro.cli import main
from trm_repro.files import read_json, write_bytes, write_json, write_text
from trm_repro.provenance.attest import attest, read_attestation
from trm_repro.provenance.bundle import write_sums
from trm_repro.provenance.keyless import Signatory
from trm_repro.provenance.statement import make_statement
from trm_repro.provenance.verify import ALTERED, CANNOT_TELL, CONSISTENT, VERIFIED, Answer, verify

NAME = "statement.json.sigstore.json"


@pytest.fixture(scope="module")
def sigstore() -> Iterator[SigstoreServer]:
    with SigstoreServer() as server:
        yield server


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, sigstore: SigstoreServer) -> Path:
    """A bundle, signed by the command line in a CI job, and the configuration of the sigstore it was signed with."""
    root = tmp_path_factory.mktemp("run")
    bundle = make_bundle(make_run(root), root / "bundle")
    write_text(root / "instance.json", sigstore.config)
    words = ["statement", "sign", str(bundle / "statement.json"), "--sigstore"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sigstore.environ.items():
            patch.setenv(name, value)
        assert main([*words, "--trust-config", str(root / "instance.json")]) == 0
    write_sums(bundle)
    return bundle


@pytest.fixture
def bundle(signed: Path, tmp_path: Path) -> Path:
    shutil.copyfile(signed.parent / "instance.json", tmp_path / "instance.json")
    return Path(shutil.copytree(signed, tmp_path / "bundle"))


def expected(bundle: Path, identity: str = WORKFLOW, issuer: str = ISSUER) -> Signatory:
    return Signatory(identity, issuer, bundle.parent / "instance.json")


def said(verdict: Answer) -> tuple[str, str]:
    found = next(finding for finding in verdict.findings if finding.check == "sigstore")
    return found.outcome, "\n".join(found.lines)


def test_a_signature_by_whom_it_must_be(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", str(bundle), "--trust-config", str(bundle.parent / "instance.json")]
    assert main([*words, "--identity", WORKFLOW, "--issuer", ISSUER]) == 0
    shown = capsys.readouterr().out
    assert f"signed by {WORKFLOW}, says {ISSUER}" in shown and "nobody but" not in shown


def test_sigstores_own_command_line_agrees(bundle: Path) -> None:
    words = [sys.executable, "-m", "sigstore", "--trust-config", str(bundle.parent / "instance.json")]
    words += ["verify", "identity", "--offline", "--cert-identity", WORKFLOW, "--cert-oidc-issuer", ISSUER]
    done = subprocess.run([*words, str(bundle / "statement.json")], capture_output=True, text=True)
    assert done.returncode == 0 and "OK: " in done.stderr, done.stderr


def test_no_network_is_needed(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert verify(bundle, expected=expected(bundle)).word == VERIFIED


def test_nobody_asked_is_nobody_vouching(bundle: Path) -> None:
    verdict = verify(bundle, expected=expected(bundle, "", ""))
    assert verdict.word == CONSISTENT and str(verdict).startswith("CONSISTENT, vouched for by nobody: ")
    assert said(verdict) == (
        "skipped",
        f"signed by {WORKFLOW}, says {ISSUER}; nobody was asked who has to (--identity, --issuer)",
    )


@pytest.mark.parametrize(
    ("identity", "issuer", "words"),
    [
        ("eve@example.org", ISSUER, "do not match eve@example.org"),
        (WORKFLOW, "https://tokens.eve.example", "expected 'https://tokens.eve.example'"),
    ],
)
def test_somebody_else(bundle: Path, identity: str, issuer: str, words: str) -> None:
    verdict = verify(bundle, expected=expected(bundle, identity, issuer))
    assert verdict.word == ALTERED and said(verdict)[0] == "wrong" and words in said(verdict)[1]


def test_another_statement(bundle: Path) -> None:
    manifest = read_json(bundle / "manifest.json")
    manifest["host"]["cpu"] = "another"
    write_json(bundle / "manifest.json", manifest)
    write_bytes(bundle / "statement.json", make_statement((bundle / "manifest.json").read_bytes()))
    write_sums(bundle)
    verdict = verify(bundle, expected=expected(bundle, "", ""))
    assert verdict.word == ALTERED and "digest mismatch" in said(verdict)[1]


def test_another_sigstore(bundle: Path) -> None:
    with SigstoreServer() as other:
        write_text(bundle.parent / "instance.json", other.config)
    verdict = verify(bundle, expected=expected(bundle))
    assert verdict.word == ALTERED and "certificate chain" in said(verdict)[1]


def test_the_public_sigstore_does_not_know_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its root of trust is the one that the library brings; HOME has none."""
    monkeypatch.setenv("HOME", str(bundle.parent))
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    verdict = verify(bundle)
    assert verdict.word == ALTERED and "certificate chain" in said(verdict)[1]


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edited(path: Path) -> None:
        held = read_json(path)
        change(held)
        write_json(path, held)

    return edited


def entry(held: dict[str, Any]) -> dict[str, Any]:
    return dict(held["verificationMaterial"]["tlogEntries"][0])


@pytest.mark.parametrize(
    ("word", "words", "change"),
    [
        (ALTERED, "not a sigstore bundle", lambda path: write_text(path, "hello")),
        (ALTERED, "not a sigstore bundle", edit(lambda held: held.pop("mediaType"))),
        (ALTERED, "not a sigstore bundle", edit(lambda held: held["verificationMaterial"].pop("certificate"))),
        (ALTERED, "log entry", edit(lambda held: entry(held)["inclusionProof"].update(logIndex="1", treeSize="2"))),
        (ALTERED, "promise", edit(lambda held: entry(held)["inclusionPromise"].update(signedEntryTimestamp="AAAA"))),
        (ALTERED, "Signature is invalid", edit(lambda held: held["messageSignature"].update(signature="AAAA"))),
        (CANNOT_TELL, "cannot read it", edit(lambda held: held.update(mediaType="application/of.the.future"))),
        (CANNOT_TELL, "cannot read it", edit(lambda held: entry(held)["kindVersion"].update(version="9"))),
    ],
)
def test_what_is_no_signature(bundle: Path, word: str, words: str, change: Any) -> None:
    change(bundle / NAME)
    write_sums(bundle)
    verdict = verify(bundle, expected=expected(bundle))
    assert verdict.word == word and words in said(verdict)[1], str(verdict)


def test_a_signature_that_cannot_be_checked_is_not_passed_over(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sigstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sigstore", None)
    verdict = verify(bundle)
    assert verdict.word == CANNOT_TELL and verdict.exit_code == 3
    outcome, lines = said(verdict)
    assert outcome == "unknown" and "needs sigstore (the extra sigstore), not installed here" in lines
    assert re.search(r"-m pip install .*'sigstore>=4'", lines)


def test_not_signed(bundle: Path) -> None:
    (bundle / NAME).unlink()
    write_sums(bundle)
    assert verify(bundle).word == CONSISTENT and said(verify(bundle)) == ("skipped", "not signed with sigstore")
    verdict = verify(bundle, expected=expected(bundle))
    assert verdict.word == CANNOT_TELL and f"{WORKFLOW} does not vouch for it" in str(verdict)


@pytest.mark.parametrize("content", [None, "hello", "{}"])
def test_an_instance_that_is_none(bundle: Path, content: str | None) -> None:
    (bundle.parent / "instance.json").unlink()
    if content is not None:
        write_text(bundle.parent / "instance.json", content)
    verdict = verify(bundle, expected=expected(bundle))
    assert verdict.word == CANNOT_TELL and "not a client trust configuration" in str(verdict)


def test_an_identity_needs_an_issuer(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(bundle), "--identity", "ada@example.org"]) == 2
    assert "--identity and --issuer go together" in capsys.readouterr().err


def test_an_attestation_keeps_it(bundle: Path, tmp_path: Path) -> None:
    place = attest(bundle, tmp_path / "attestations", by="ada", expected=expected(bundle))
    assert (place / NAME).read_bytes() == (bundle / NAME).read_bytes()
    assert NAME in read_attestation(place).record["files"]


# ---- signing ----


def sign(bundle: Path) -> int:
    (bundle / NAME).unlink(missing_ok=True)
    instance = str(bundle.parent / "instance.json")
    return main(["statement", "sign", str(bundle / "statement.json"), "--sigstore", "--trust-config", instance])


@pytest.mark.parametrize(
    ("path", "words"),
    [("/api/v2/signingCert", "FulcioClientError: "), ("/api/v1/log/entries", "500: not today")],
)
def test_a_service_refuses(
    bundle: Path,
    sigstore: SigstoreServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    path: str,
    words: str,
) -> None:
    for name, value in sigstore.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sigstore, "refuses", path)
    assert sign(bundle) == 5 and not (bundle / NAME).exists()
    shown = capsys.readouterr().err
    assert words in shown and "hint: it needs the network" in shown and "planted" not in shown


def test_no_network(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    with SigstoreServer() as gone:
        write_text(bundle.parent / "instance.json", gone.config)
    assert sign(bundle) == 5 and not (bundle / NAME).exists()
    assert "NetworkError" in capsys.readouterr().err


def test_no_statement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["statement", "sign", str(tmp_path / "statement.json"), "--sigstore"]) == 3
    assert "no such file" in capsys.readouterr().err
