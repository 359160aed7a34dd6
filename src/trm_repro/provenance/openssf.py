"""OpenSSF model signing: one signature of a bundle's files, which the tools of that standard read.

It lies among the files as ``model.sig``: a sigstore bundle around an in-toto statement with the digest of each of them, by a
key or by an identity, as in :mod:`~trm_repro.provenance.keyless`. It leaves out what lists digests or only tells Kaggle how
to show the dataset, and what the hub and its client lay beside; it says so itself, so that ``model_signing verify`` needs
no list. The key is an elliptic-curve one in PEM (``ssh-keygen -t ecdsa -m PEM``), so that one key signs the statement, too.

The library is in the extra ``trm-repro[sigstore]``.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import io
import json
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.provenance import keyless, signature
from trm_repro.provenance.bundle import FURNITURE, KAGGLE_SUMS, SETTINGS, SUMS
from trm_repro.provenance.statement import FILE as STATEMENT

FILE = "model.sig"
OUTSIDE = (FILE, SUMS, KAGGLE_SUMS, *SETTINGS, *FURNITURE)  # what it does not sign
PREDICATE = "https://model_signing/signature/v1.0"
PRIVATE = (b"-----BEGIN EC PRIVATE KEY-----", b"-----BEGIN PRIVATE KEY-----")


@dataclass(frozen=True)
class Signer:
    """Who signed.

    Attributes:
        said: who, for people.
        vouched: whether the reader had named them.
    """

    said: str
    vouched: bool


def can_sign(key: Path) -> bool:
    """Whether a key is of the form that model signing takes; other SSH keys sign the statement alone."""
    return key.is_file() and key.read_bytes().lstrip().startswith(PRIVATE)


def sign(folder: Path, key: Path | None, instance: Path | None = None) -> Path:
    """Signs the files of a folder, with a key or else with the identity at hand; returns the signature's path.

    Raises:
        MissingPrerequisite: the library is not installed, or there is no such instance of sigstore.
        UsageError: the key is none that can sign so.
        CommandFailed: there is no identity or no network, or a service refused.
    """
    _installed()
    from model_signing import hashing, signing

    if key and not can_sign(key):
        raise UsageError(
            f"{key}: not an elliptic-curve private key in PEM, without a passphrase",
            hint="make one with: ssh-keygen -t ecdsa -m PEM -N '' -f FILE",
        )
    path = folder / FILE
    config = signing.Config()  # type: ignore[no-untyped-call]
    files = hashing.Config()  # type: ignore[no-untyped-call]
    config.set_hashing_config(files.set_ignored_paths(paths=OUTSIDE))
    try:
        if key:
            config.use_elliptic_key_signer(private_key=key)
        else:
            config.use_sigstore_signer(use_ambient_credentials=True, trust_config=instance)
        config.sign(folder, path)
    except Exception as error:  # of three libraries, some of classes that they do not export
        path.unlink(missing_ok=True)
        hint = None if key else "it needs the network, and an identity: a CI job's, or a browser to sign in with"
        raise CommandFailed(f"{folder}: cannot be signed: {type(error).__name__}: {error}", hint=hint) from None
    return path


def check(
    folder: Path, names: Collection[str], *, key: Path | None, signers: Path | None, expected: keyless.Signatory
) -> Signer:
    """Checks ``model.sig`` against every file of a bundle, without a network.

    Args:
        folder: the bundle.
        names: of its files.
        key: the public key that it has to be made with. Without it, a key must be the one that signed the statement.
        signers: a file of allowed signers, for the statement's signature.
        expected: whose it has to be if it was made with sigstore.

    Raises:
        MissingPrerequisite: it cannot be checked: for want of the library or of the key, or its form is not known.
        InvariantBroken: it is not one of these files, leaves some out, or is not by whom it must be.
    """
    held = _read(folder / FILE)
    material = held["verificationMaterial"]
    if "publicKey" in material:
        public, signer = _key(folder, str(material["publicKey"].get("hint", "")), key, signers)
    elif "certificate" in material:
        if key:
            raise InvariantBroken(f"{FILE}: made with sigstore, not with {key}")
        public, signer = b"", _identity(folder, expected)
    else:
        raise MissingPrerequisite(f"{FILE}: made in a way that is not known here", hint="model_signing verify --help")
    _installed()
    from model_signing import verifying

    with tempfile.TemporaryDirectory(prefix="trm-repro-") as temporary, contextlib.redirect_stdout(io.StringIO()):
        config, file = verifying.Config(), Path(temporary, "trust")  # type: ignore[no-untyped-call]
        if public:
            file.write_bytes(public)
            config.use_elliptic_key_verifier(public_key=file)
        else:
            who, issuer = signer.said.removeprefix("signed by ").split(", says ")
            file.write_text(keyless.trust(expected.instance))
            config.use_sigstore_verifier(identity=who, oidc_issuer=issuer, trust_config=file)
        try:
            config.verify(folder, folder / FILE)
        except Exception as error:  # what a stranger wrote into it can make the library raise anything
            raise InvariantBroken(f"{FILE}: not a signature to believe: {error or type(error).__name__}") from None
    if left_out := set(names) - _signed(held) - set(OUTSIDE):
        raise InvariantBroken(f"{FILE}: leaves out {', '.join(sorted(left_out))}")
    return signer


def _installed() -> None:
    try:
        import model_signing.verifying  # noqa: F401
    except ImportError as error:
        from trm_repro.extras import missing

        raise missing("model_signing", "this signature", "sigstore") or error from None


def _read(path: Path) -> dict[str, Any]:
    """The signature, of whose form no more is believed than that its parts are there."""
    try:
        held = json.loads(path.read_bytes())
        payload = json.loads(base64.b64decode(held["dsseEnvelope"]["payload"], validate=True))
        form, _ = str(payload["predicateType"]), held["verificationMaterial"].keys()
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InvariantBroken(f"{path.name}: not a signature of model signing: {error}") from None
    if form != PREDICATE:
        raise MissingPrerequisite(f"{path.name}: its form is not known here: {form}")
    return dict(held)


def _signed(held: dict[str, Any]) -> set[str]:
    payload = json.loads(base64.b64decode(held["dsseEnvelope"]["payload"]))
    return {str(entry["name"]) for entry in payload["predicate"]["resources"]}


def _key(folder: Path, hint: str, key: Path | None, signers: Path | None) -> tuple[bytes, Signer]:
    """The public key to check with, in PEM, and whose it is."""
    if key:
        try:
            return _pem(key.read_bytes()), Signer(f"signed with {key}", True)
        except OSError as error:
            raise MissingPrerequisite(f"{key}: {error.strerror}") from None
    for public in _statements_key(folder):
        if hashlib.sha256(public).hexdigest() == hint:
            whose = signature.check(folder / STATEMENT, signers)
            said = f"signed with the key that signed the statement{f', of {whose.identity}' if whose.identity else ''}"
            return public, Signer(said, bool(whose.identity))
    raise MissingPrerequisite(
        f"{FILE}: made with a key that is not here: the SHA-256 of its PEM is {hint or 'not said'}",
        hint="name the signer's public key: --model-key FILE",
    )


def _pem(data: bytes) -> bytes:
    """A public key in PEM, from PEM or from a line of OpenSSH's.

    Raises:
        MissingPrerequisite: it is none.
    """
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_public_key,
        load_ssh_public_key,
    )

    try:
        public = load_pem_public_key(data) if data.lstrip().startswith(b"-----") else load_ssh_public_key(data)
    except Exception as error:  # cryptography's own classes, and ValueError
        raise MissingPrerequisite(f"not a public key in PEM or OpenSSH's form: {error}") from None
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _statements_key(folder: Path) -> Iterator[bytes]:
    """The elliptic-curve key in the SSH signature of the statement, if it has one.

    The form is PROTOCOL.sshsig's: magic, version, then the key, behind its length.
    """
    try:
        lines = (folder / (STATEMENT + signature.SUFFIX)).read_text().split("\n")
        blob = base64.b64decode("".join(line for line in lines if not line.startswith("-----")))
        key = blob[14 : 14 + int.from_bytes(blob[10:14], "big")]
        kind = key[4 : 4 + int.from_bytes(key[:4], "big")]
        if blob[:6] == b"SSHSIG" and kind.startswith(b"ecdsa-"):
            yield _pem(kind + b" " + base64.b64encode(key))
    except (OSError, UnicodeDecodeError, binascii.Error, MissingPrerequisite):
        return


def _identity(folder: Path, expected: keyless.Signatory) -> Signer:
    """Whose sigstore signature it must be: the one that is asked for, or else the one that it names."""
    identity, issuer = keyless.named(folder / FILE)
    if expected.identity:
        return Signer(f"signed by {expected.identity}, says {expected.issuer}", True)
    return Signer(f"signed by {identity}, says {issuer}", False)
