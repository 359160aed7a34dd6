"""What every check is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from trm_repro.digests import Digest
from trm_repro.errors import InvariantBroken, ReproError
from trm_repro.files import parse_yaml, read_bytes
from trm_repro.provenance import keyless
from trm_repro.provenance.bundle import TEXT
from trm_repro.provenance.schema import parse_manifest
from trm_repro.runs.checkpoints import CONFIG, step_of

Outcome = tuple[str, list[str]]


@dataclass(frozen=True)
class Finding:
    """What one check came to."""

    check: str
    outcome: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Context:
    """A bundle whose files are what its digests say.

    Args:
        folder: where it lies.
        digests: of its files, by name.
        signers: a file of allowed signers, if the SSH signature has to be by one of them.
        expected: whose a sigstore signature has to be.
        model_key: the public key that ``model.sig`` has to be made with.
        attestation: a folder of ``attestations/``, if the bundle has to be the one it attests.
        vouchers: filled by the checks: who vouches for the statement.
        unproven: filled by the checks: claims that no bundle can prove.
        proven: filled by the checks: metrics that the submission proves.
        scored: filled by the checks: shares of the submission, scored again, by name.
    """

    folder: Path
    digests: Mapping[str, Digest]
    signers: Path | None = None
    expected: keyless.Signatory = keyless.NOBODY
    model_key: Path | None = None
    attestation: Path | None = None
    vouchers: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    proven: set[str] = field(default_factory=set)
    scored: dict[str, float] = field(default_factory=dict)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest, its structure checked."""
        return parse_manifest(self.read("manifest.json"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The training configuration."""
        found = parse_yaml(self.read(CONFIG), CONFIG)
        if not isinstance(found, dict) or not isinstance(found.get("arch"), dict):
            raise InvariantBroken(f"{CONFIG}: not a training configuration")
        return found

    def read(self, name: str, most: int = TEXT) -> bytes:
        """A file's bytes."""
        try:
            return read_bytes(self.folder / name, most)
        except ReproError as error:
            raise type(error)(str(error).replace(f"{self.folder}/", "")) from None

    def has(self, name: str) -> bool:
        """Whether the bundle has a file."""
        return (self.folder / name).is_file()

    def outputs(self, role: str) -> list[dict[str, Any]]:
        """The manifest's outputs of a role, the latest last."""
        return sorted((e for e in self.manifest["outputs"] if e["role"] == role), key=lambda e: step_of(e["path"]))


def answer(wrong: list[str], seen: str) -> Outcome:
    """The outcome of a check that always can be made: each finding, or what was seen."""
    return ("wrong", wrong) if wrong else ("ok", [seen])
