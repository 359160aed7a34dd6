"""OpenSSF model signing: its own command line believes what we sign, and we believe nothing that it does not."""

from __future__ import annotations

import base64
import json
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
from trm_repro.files import read_json, write_json, write_text
from trm_repro.provenance.attest import attest
from trm_repro.provenance.bundle import write_sums
from trm_repro.provenance.keyless import Signatory
from trm_repro.provenance.openssf import FILE, OUTSIDE
from trm_repro.provenance.verify import ALTERED, CANNOT_TELL, CONSISTENT, VERIFIED, Answer, verify


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose statement and whose files are signed with one key, as SIGNING_KEY does; another key beside it."""
    root = tmp_path_factory.mktemp("run")
    for name in ("key", "other"):
        command = ["ssh-keygen", "-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-C", "", "-f", str(root / name)]
        subprocess.run(command, check=True)
    run = make_run(root)
    bundle = make_bundle(run, root / "bundle")
    assert main(["statement", "sign", str(run.artifacts / "statement.json"), "--key", str(root / "key")]) == 0
    words = ["publish", "package", "--manifest", str(run.artifacts / "manifest.json"), "--output", str(bundle)]
    words += ["--repository", str(root), "--username", "ada", "--signing-key", str(root / "key")]
    assert main(words) == 0
    write_text(root / "signers", f"ada@example.org {(root / 'key.pub').read_text()}")
    return bundle


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    for name in ("key", "key.pub", "other", "other.pub", "signers"):
        shutil.copy(made.parent / name, tmp_path / name)
    return Path(shutil.copytree(made, tmp_path / "bundle"))


@pytest.fixture(scope="module")
def sigstore() -> Iterator[SigstoreServer]:
    with SigstoreServer() as server:
        yield server


def said(verdict: Answer) -> tuple[str, str]:
    found = next(finding for finding in verdict.findings if finding.check == "openssf")
    return found.outcome, "\n".join(found.lines)


def their_own(*words: str) -> subprocess.CompletedProcess[str]:
    """The standard's own command line."""
    return subprocess.run([sys.executable, "-m", "model_signing", *words], capture_output=True, text=True, timeout=120)


def pem(bundle: Path, name: str) -> str:
    """A public key as the standard's command line reads it."""
    done = subprocess.run(
        ["ssh-keygen", "-e", "-m", "PKCS8", "-f", str(bundle.parent / f"{name}.pub")], capture_output=True, text=True
    )
    write_text(bundle.parent / f"{name}.pem", done.stdout)
    return str(bundle.parent / f"{name}.pem")


def test_their_own_command_line_agrees(bundle: Path) -> None:
    words = ["verify", "key", str(bundle), "--signature", str(bundle / FILE), "--public_key"]
    done = their_own(*words, pem(bundle, "key"))
    assert done.returncode == 0 and "succeeded" in done.stdout + done.stderr, done.stderr
    assert their_own(*words, pem(bundle, "other")).returncode == 1
    for name in (".cache/huggingface", ".eval_results"):  # as the hub and its client lay them there
        (bundle / name).mkdir(parents=True)
        write_text(bundle / name / "some.yaml", "of the hub\n")
    write_text(bundle / ".gitattributes", "* text\n")
    (bundle / "dataset-metadata.json").unlink()  # Kaggle does not serve it
    assert their_own(*words, pem(bundle, "key")).returncode == 0
    assert said(verify(bundle, model_key=bundle.parent / "key.pub"))[0] == "ok"
    write_text(bundle / "README.md", "altered")
    assert their_own(*words, pem(bundle, "key")).returncode == 1


def test_every_file_but_the_lists_is_signed(bundle: Path) -> None:
    payload = json.loads(base64.b64decode(read_json(bundle / FILE)["dsseEnvelope"]["payload"]))
    signed = {entry["name"] for entry in payload["predicate"]["resources"]}
    assert signed == {path.name for path in bundle.iterdir()} - set(OUTSIDE) and "model.ckpt" in signed
    assert FILE in (bundle / "SHA256SUMS").read_text()


def test_who_vouches(bundle: Path, tmp_path: Path) -> None:
    nobody = verify(bundle)
    assert nobody.word == CONSISTENT and not nobody.vouchers
    assert said(nobody)[0] == "skipped" and "the key that signed the statement; nobody was asked" in said(nobody)[1]
    named = verify(bundle, model_key=bundle.parent / "key.pub")
    assert named.word == VERIFIED and said(named)[0] == "ok" and FILE in named.vouched
    assert said(verify(bundle, model_key=Path(pem(bundle, "key"))))[0] == "ok"
    signers = verify(bundle, signers=bundle.parent / "signers")
    assert said(signers) == ("ok", "signed with the key that signed the statement, of ada@example.org")
    assert attest(bundle, tmp_path / "attestations", by="ada", model_key=bundle.parent / "key.pub").is_dir()


def test_another_key_is_an_alteration(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(bundle), "--model-key", str(bundle.parent / "other.pub")]) == 1
    assert "not a signature to believe: Key mismatch" in capsys.readouterr().out


def test_a_key_that_is_not_at_hand_is_not_passed_over(bundle: Path) -> None:
    assert main(["publish", "sign", str(bundle), "--key", str(bundle.parent / "other")]) == 0
    verdict = verify(bundle)
    assert (verdict.word, said(verdict)[0]) == (CANNOT_TELL, "unknown") and "--model-key FILE" in said(verdict)[1]
    assert verify(bundle, model_key=bundle.parent / "other.pub").word == VERIFIED
    for key, words in ((bundle / "none", "No such file"), (bundle / "README.md", "not a public key")):
        verdict = verify(bundle, model_key=key)
        assert verdict.word == CANNOT_TELL and words in said(verdict)[1]


def test_not_signed(bundle: Path) -> None:
    (bundle / FILE).unlink()
    write_sums(bundle)
    assert verify(bundle).word == CONSISTENT and said(verify(bundle)) == ("skipped", f"there is no {FILE}")
    assert verify(bundle, model_key=bundle.parent / "key.pub").word == CANNOT_TELL


def test_without_the_library(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "model_signing"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "model_signing", None)
    verdict = verify(bundle)
    assert verdict.word == CANNOT_TELL and "'model-signing<2,>=1.1'" in said(verdict)[1]
    assert main(["publish", "sign", str(bundle), "--key", str(bundle.parent / "key")]) == 3
    assert "needs model-signing (the extra sigstore), not installed here" in capsys.readouterr().err


def payload(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], None]:
    def changed(held: dict[str, Any]) -> None:
        inside = json.loads(base64.b64decode(held["dsseEnvelope"]["payload"]))
        change(inside)
        held["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(inside).encode()).decode()

    return changed


@pytest.mark.parametrize(
    ("word", "words", "change"),
    [
        (ALTERED, "not a signature of model signing", lambda held: held.clear()),
        (ALTERED, "not a signature of model signing", lambda held: held.update(verificationMaterial=7)),
        (ALTERED, "not a signature of model signing", lambda held: held["dsseEnvelope"].update(payload="hello")),
        (ALTERED, "not a signature to believe", lambda held: held["dsseEnvelope"].update(signatures=[])),
        (ALTERED, "not a signature to believe", payload(lambda inside: inside["predicate"]["resources"].pop())),
        (CANNOT_TELL, "its form is not known here", payload(lambda inside: inside.update(predicateType="https://new"))),
        (CANNOT_TELL, "in a way that is not known", lambda held: held.update(verificationMaterial={"seal": {}})),
        (CANNOT_TELL, "a key that is not here", lambda held: held["verificationMaterial"].update(publicKey={})),
    ],
)
def test_what_is_no_signature(bundle: Path, word: str, words: str, change: Callable[[dict[str, Any]], object]) -> None:
    held = read_json(bundle / FILE)
    change(held)
    write_json(bundle / FILE, held)
    write_sums(bundle)
    verdict = verify(bundle)
    assert verdict.word == word and words in said(verdict)[1], str(verdict)


def test_files_that_are_others_or_not_signed(bundle: Path) -> None:
    write_text(bundle / "LICENSE.upstream", "a licence\n")
    write_sums(bundle)
    assert "Extra files found" in said(verify(bundle))[1]
    words = ["sign", "key", str(bundle), "--signature", str(bundle / FILE), "--private_key", str(bundle.parent / "key")]
    for name in (*OUTSIDE, "model.ckpt"):
        words += ["--ignore-paths", str(bundle / name)]
    assert their_own(*words).returncode == 0
    write_sums(bundle)
    verdict = verify(bundle)
    assert verdict.word == ALTERED and said(verdict)[1] == f"{FILE}: leaves out model.ckpt"


@pytest.mark.parametrize(
    "content", ["hello", None, "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----"]
)
def test_a_key_that_cannot_sign(bundle: Path, capsys: pytest.CaptureFixture[str], content: str | None) -> None:
    key = bundle.parent / "odd"
    if content:
        write_text(key, content)
    before = (bundle / FILE).read_bytes()
    assert main(["publish", "sign", str(bundle), "--key", str(key)]) in (2, 5)
    assert "Traceback" not in capsys.readouterr().err
    assert not (bundle / FILE).exists() or (bundle / FILE).read_bytes() == before


def test_by_an_identity(bundle: Path, sigstore: SigstoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(bundle.parent / "instance.json", sigstore.config)
    instance = str(bundle.parent / "instance.json")
    with monkeypatch.context() as patch:
        for name, value in sigstore.environ.items():
            patch.setenv(name, value)
        assert main(["publish", "sign", str(bundle), "--sigstore", "--trust-config", instance]) == 0
    words = ["verify", "sigstore", str(bundle), "--signature", str(bundle / FILE), "--trust_config", instance]
    done = their_own(*words, "--identity", WORKFLOW, "--identity_provider", ISSUER)
    assert done.returncode == 0, done.stderr

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", refuse)
    nobody = said(verify(bundle, expected=Signatory(instance=Path(instance))))
    assert nobody[0] == "skipped" and nobody[1].startswith(f"signed by {WORKFLOW}, says {ISSUER}; nobody was asked")
    named = verify(bundle, expected=Signatory(WORKFLOW, ISSUER, Path(instance)))
    assert said(named) == ("ok", f"signed by {WORKFLOW}, says {ISSUER}")
    eve = verify(bundle, expected=Signatory("eve@example.org", ISSUER, Path(instance)))
    assert eve.word == ALTERED and "eve@example.org" in said(eve)[1]
    public = verify(bundle)
    assert public.word == ALTERED and "not a signature to believe" in said(public)[1], "the public one does not know it"
    assert verify(bundle, model_key=bundle.parent / "key.pub").word == ALTERED
