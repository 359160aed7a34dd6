"""Sigstore signatures of a statement: no key to keep; an identity instead, for which its issuer vouches.

The signed file is ``statement.json``; the signature lies beside it as ``statement.json.sigstore.json``, a sigstore bundle:
the signature, a certificate that names the identity (an address, a workflow) and its issuer, and the proof that both stand
in a public log. Signing needs the network. Checking does not: certificate and log are checked against the root of trust
that the library brings or has cached, or against one that is named. Whose identity is to be believed is not ours to say.

The library is an extra: ``pip install 'trm-repro[sigstore]'``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite
from trm_repro.files import write_text

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.models import Bundle, ClientTrustConfig

SUFFIX = ".sigstore.json"  # where sigstore's own command line looks for it
ISSUER = "1.3.6.1.4.1.57264.1.1"  # the extension of a certificate that names the issuer


@dataclass(frozen=True)
class Signatory:
    """Who must have signed.

    Attributes:
        identity: an address, or the URI of a workflow; empty if anybody may.
        issuer: the URL of who has to vouch for it.
        instance: the client trust configuration of another sigstore than the public one.
    """

    identity: str = ""
    issuer: str = ""
    instance: Path | None = None


NOBODY = Signatory()


def sign(statement: Path, instance: Path | None = None) -> Path:
    """Signs a statement with the identity at hand: the CI job's, or that of whoever signs in with a browser.

    Raises:
        MissingPrerequisite: sigstore is not installed, or there is no such statement or instance.
        CommandFailed: there is no identity or no network, or a service refused.
    """
    _installed()
    from sigstore.oidc import IdentityToken, Issuer, detect_credential
    from sigstore.sign import SigningContext

    if not statement.is_file():
        raise MissingPrerequisite(f"{statement}: no such file", hint="trm-repro statement write MANIFEST")
    signature = statement.with_name(statement.name + SUFFIX)
    try:
        config = _instance(instance, offline=False)
        ambient = detect_credential()
        token = IdentityToken(ambient) if ambient else Issuer(config.signing_config.get_oidc_url()).identity_token()
        with SigningContext.from_trust_config(config).signer(token) as signer:
            bundle = signer.sign_artifact(statement.read_bytes())
    except Exception as error:  # sigstore's clients raise classes that it does not export
        if type(error).__module__.partition(".")[0] not in ("sigstore", "requests"):
            raise
        raise CommandFailed(
            f"{statement}: sigstore could not sign: {type(error).__name__}: {error or error.__cause__}",
            hint="it needs the network, and an identity: a CI job's, or a browser to sign in with",
        ) from None
    write_text(signature, bundle.to_json())
    return signature


def check(statement: Path, expected: Signatory) -> tuple[str, str]:
    """Checks the sigstore signature beside a statement, without a network.

    Returns:
        the identity that signed, and its issuer.

    Raises:
        MissingPrerequisite: sigstore is not installed or too old, or its root of trust cannot be read.
        InvariantBroken: the signature is not one of this statement, or not by whom it must be.
    """
    _installed()
    from sigstore.errors import Error
    from sigstore.verify import Verifier, policy

    bundle = _bundle(statement.with_name(statement.name + SUFFIX))
    try:
        verifier = Verifier(trusted_root=_instance(expected.instance, offline=True).trusted_root)
    except (Error, OSError, ValueError) as error:
        raise MissingPrerequisite(f"sigstore's root of trust cannot be read: {error}") from None
    who = policy.Identity(identity=expected.identity, issuer=expected.issuer) if expected.identity else None
    try:
        verifier.verify_artifact(statement.read_bytes(), bundle, who or policy.UnsafeNoOp())
        return _named(bundle.signing_certificate)
    except Exception as error:  # a damaged certificate or log entry can raise nearly anything
        raise InvariantBroken(f"{statement.name}{SUFFIX}: not a signature to believe: {error}") from None


def trust(instance: Path | None) -> str:
    """The client trust configuration to check with, as JSON: of an instance, or the public one that is at hand.

    Raises:
        MissingPrerequisite: sigstore is not installed, or it cannot be read.
    """
    _installed()
    from sigstore.errors import Error

    try:
        return str(_instance(instance, offline=True)._inner.to_json())
    except (Error, OSError, ValueError) as error:
        raise MissingPrerequisite(f"sigstore's root of trust cannot be read: {error}") from None


def named(path: Path) -> tuple[str, str]:
    """The identity and the issuer that a sigstore bundle names; whether to believe it is not asked.

    Raises:
        MissingPrerequisite: sigstore is not installed or too old.
        InvariantBroken: it is no sigstore bundle.
    """
    _installed()
    bundle = _bundle(path)
    try:
        return _named(bundle.signing_certificate)
    except Exception as error:  # a damaged certificate can raise nearly anything
        raise InvariantBroken(f"{path.name}: its certificate cannot be read: {error}") from None


def _installed() -> None:
    try:
        import sigstore.verify  # noqa: F401
    except ImportError as error:
        from trm_repro.extras import missing

        raise missing("sigstore", "this signature", "sigstore") or error from None


def _instance(path: Path | None, *, offline: bool) -> ClientTrustConfig:
    """The public sigstore, or the one whose client trust configuration is in a file."""
    from sigstore.models import ClientTrustConfig

    if path is None:
        return ClientTrustConfig.production(offline=offline)
    try:
        return ClientTrustConfig.from_json(path.read_text())
    except (OSError, ValueError) as error:
        raise MissingPrerequisite(f"{path}: not a client trust configuration of sigstore: {error}") from None


def _bundle(path: Path) -> Bundle:
    from sigstore.models import Bundle, IncompatibleEntry, InvalidBundle

    data = path.read_bytes()
    try:
        form = json.loads(data)["mediaType"]
        if form in [known.value for known in Bundle.BundleType]:
            return Bundle.from_json(data)
    except IncompatibleEntry as error:
        form = str(error)
    except (InvalidBundle, LookupError, TypeError, ValueError) as error:
        raise InvariantBroken(f"{path.name}: not a sigstore bundle: {error}") from None
    raise MissingPrerequisite(f"{path.name}: this version of sigstore cannot read it: {form}")


def _named(certificate: Certificate) -> tuple[str, str]:
    """The identity in a certificate, and its issuer."""
    from cryptography.x509 import ObjectIdentifier, RFC822Name, SubjectAlternativeName, UniformResourceIdentifier

    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    kinds = (RFC822Name, UniformResourceIdentifier)
    issuer = certificate.extensions.get_extension_for_oid(ObjectIdentifier(ISSUER)).value
    return ", ".join(name for kind in kinds for name in names.get_values_for_type(kind)), issuer.public_bytes().decode()
