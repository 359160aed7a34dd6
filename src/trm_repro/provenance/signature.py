"""SSH signatures of a statement, made and checked by ``ssh-keygen -Y``, which nearly every machine has.

The signed file is ``statement.json``; the signature lies beside it as ``statement.json.sig``. Whether a key is to be
believed is not ours to say: a file of allowed signers (``ssh-keygen(1)``) says so, or nobody does.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite

NAMESPACE = "trm-repro"
SUFFIX = ".sig"
PATIENCE = 60  # seconds


@dataclass(frozen=True)
class Signer:
    """Who signed.

    Attributes:
        key: the key's type and fingerprint.
        identity: the name that the file of allowed signers has for it; empty if none was asked for.
    """

    key: str
    identity: str


def sign(statement: Path, key: Path) -> Path:
    """Signs a statement; returns the signature's path.

    Raises:
        MissingPrerequisite: there is no ssh-keygen.
        CommandFailed: it refused.
    """
    signature = statement.with_name(statement.name + SUFFIX)
    signature.unlink(missing_ok=True)  # ssh-keygen would ask whether to replace it
    done = _ssh_keygen("sign", "-q", "-f", str(key), str(statement))
    if done.returncode or not signature.is_file():
        raise CommandFailed(f"{statement}: ssh-keygen could not sign with {key}: {_why(done)}")
    return signature


def check(statement: Path, signers: Path | None) -> Signer:
    """Checks the signature beside a statement.

    Args:
        statement: the statement; its signature lies beside it.
        signers: a file of allowed signers; without it, any key will do, and nobody vouches for it.

    Raises:
        MissingPrerequisite: there is no ssh-keygen, or no such file of signers.
        InvariantBroken: the signature is not one of this statement, or by none of the signers.
    """
    signature = statement.with_name(statement.name + SUFFIX)
    data = statement.read_bytes()
    done = _ssh_keygen("check-novalidate", "-s", str(signature), data=data)
    if done.returncode:
        raise InvariantBroken(f"{signature.name}: not a signature of {statement.name}: {_why(done)}")
    key = done.stdout.partition(" with ")[2].strip() or done.stdout.strip()
    if signers is None:
        return Signer(key, "")
    if not signers.is_file():
        raise MissingPrerequisite(f"{signers}: no such file of allowed signers")
    found = _ssh_keygen("find-principals", "-s", str(signature), "-f", str(signers))
    identity = found.stdout.split("\n")[0].split(",")[0].strip()
    if found.returncode or not identity:
        raise InvariantBroken(f"{signature.name}: made with {key}, which is none of the signers in {signers}")
    verified = _ssh_keygen("verify", "-s", str(signature), "-f", str(signers), "-I", identity, data=data)
    if verified.returncode:
        raise InvariantBroken(f"{signature.name}: {identity} may not sign this: {_why(verified)}")
    return Signer(key, identity)


def _ssh_keygen(action: str, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[str]:
    if not shutil.which("ssh-keygen"):
        raise MissingPrerequisite("ssh-keygen is not there", hint="install openssh-client")
    command = ["ssh-keygen", "-Y", action, "-n", NAMESPACE, *words]
    if action == "find-principals":
        command = ["ssh-keygen", "-Y", action, *words]
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise MissingPrerequisite(
            f"ssh-keygen did not answer in {PATIENCE} s: does its key want a passphrase?"
        ) from None
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


def _why(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr or done.stdout).strip().replace("\n", "; ")
