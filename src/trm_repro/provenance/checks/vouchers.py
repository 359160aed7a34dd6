"""Who vouches for it: the statement, its signatures, the files' own, an attestation."""

from __future__ import annotations

from pathlib import Path

from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import read_bytes, read_json
from trm_repro.provenance import keyless, openssf
from trm_repro.provenance.bundle import FROM_ROLE, SUMS, TEXT
from trm_repro.provenance.checks.context import Context, Outcome, answer
from trm_repro.provenance.signature import SUFFIX, check
from trm_repro.provenance.statement import FILE as STATEMENT
from trm_repro.provenance.statement import make_statement

SUFFIXES = (SUFFIX, keyless.SUFFIX)
# What a statement speaks of, and a signature with it; of the rest only SHA256SUMS does, which anybody can write again.
COVERED = {*FROM_ROLE.values(), "manifest.json", STATEMENT, "dataset.sha256", "model.safetensors"}
UNREAD = {
    SUMS,
    "kaggle.sha256",
    "dataset-metadata.json",
    "dataset-cover-image.png",
    *(f"{STATEMENT}{s}" for s in SUFFIXES),
}


def statement(context: Context) -> Outcome:
    """The statement is the one that follows from the manifest, byte by byte."""
    if not context.has(STATEMENT):
        return "wrong", [f"missing: {STATEMENT}"]
    expected = make_statement(context.read("manifest.json"))
    same = context.read(STATEMENT) == expected
    wrong = [] if same else [f"{STATEMENT}: not the statement that follows from manifest.json"]
    return answer(wrong, "follows from the manifest; made by the run itself (SLSA build level 1)")


def signature(context: Context) -> Outcome:
    """The statement is signed with an SSH key, by one of the allowed signers if there are any."""
    if not context.has(STATEMENT + SUFFIX):
        if context.signers:
            return "unknown", ["not signed with an SSH key, so none of the allowed signers vouches for it"]
        return "skipped", ["not signed with an SSH key"]
    signer = check(context.folder / STATEMENT, context.signers)
    if not signer.identity:
        return "skipped", [f"signed with {signer.key}; nobody was asked whose key that is (--signers FILE)"]
    context.vouchers.append(f"{signer.identity} ({signer.key})")
    return "ok", [f"signed by {signer.identity} with {signer.key}", *_uncovered(context)]


def _uncovered(context: Context) -> list[str]:
    """The files that a signature says nothing of, and that are more than a list or a picture."""
    names = sorted(name for name in context.digests if name not in COVERED and name not in UNREAD)
    return [f"it covers what the manifest names; nobody vouches for {', '.join(names)}"] if names else []


def sigstore(context: Context) -> Outcome:
    """The statement is signed with sigstore, by whom it has to be if that was said."""
    expected = context.expected
    if not context.has(STATEMENT + keyless.SUFFIX):
        if expected.identity:
            return "unknown", [f"not signed with sigstore, so {expected.identity} does not vouch for it"]
        return "skipped", ["not signed with sigstore"]
    identity, issuer = keyless.check(context.folder / STATEMENT, expected)
    if not expected.identity:
        return "skipped", [f"signed by {identity}, says {issuer}; nobody was asked who has to (--identity, --issuer)"]
    context.vouchers.append(f"{identity} (so says {issuer})")
    return "ok", [f"signed by {identity}, says {issuer}", *_uncovered(context)]


def openssf_signature(context: Context) -> Outcome:
    """The files are signed as OpenSSF model signing has it, by whom it has to be if that was said."""
    if not context.has(openssf.FILE):
        if context.model_key:
            return "unknown", [f"there is no {openssf.FILE}, so {context.model_key} does not vouch for the files"]
        return "skipped", [f"there is no {openssf.FILE}"]
    signer = openssf.check(
        context.folder, context.digests, key=context.model_key, signers=context.signers, expected=context.expected
    )
    if not signer.vouched:
        return "skipped", [f"{signer.said}; nobody was asked who has to (--model-key, --signers, --identity)"]
    context.vouchers.append(f"{signer.said.removeprefix('signed ')} ({openssf.FILE})")
    return "ok", [signer.said]


def attested(context: Context) -> Outcome:
    """The statement is the one in an attestation that the reader already trusts."""
    if context.attestation is None:
        return "skipped", ["compared with no attestation (--attestation FOLDER)"]
    path, name = context.attestation / STATEMENT, context.attestation.name
    if not path.is_file():
        raise MissingPrerequisite(f"{context.attestation}: no {STATEMENT} in it")
    if read_bytes(path, TEXT) != context.read(STATEMENT):
        ours, theirs = (_invocation(file) for file in (context.folder / STATEMENT, path))
        if ours != theirs:
            return "unknown", [
                f"{name} attests another run ({theirs}, this one is {ours}): it says nothing of this one; "
                "`trm-repro compare` lays the two side by side"
            ]
        return "wrong", [f"{STATEMENT}: not the one that {name} attests"]
    listed = context.attestation / "bundle.sha256"
    if listed.is_file() and read_bytes(listed, TEXT) != context.read(SUMS):
        return "wrong", [f"{SUMS}: the run that {name} attests, and other files beside it than the bundle had"]
    context.vouchers.append(f"the attestation {name}")
    return "ok", [f"the bundle that {name} attests"]


def _invocation(statement: Path) -> str:
    """Which run a statement is about: its name and its beginning."""
    found = read_json(statement, most=TEXT)
    try:
        return str(found["predicate"]["runDetails"]["metadata"]["invocationId"])[:300]
    except (TypeError, KeyError):
        raise InvariantBroken(f"{statement.name}: not a statement of a run") from None
