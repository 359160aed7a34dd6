"""Verifying a bundle: was anything altered, does what it says agree with itself, and who vouches for it?

The answer is one of four, and its first line carries who vouches. ALTERED: something is missing, extra, different, or
contradicts something else. CANNOT TELL: the thing is no bundle, of a format this tool does not know, or a check could not be
made: one that was asked for, or that of a claim. VERIFIED: every check was made, none found anything, and somebody whom the
reader named vouches for it, by a signature or an attestation. CONSISTENT: the same, and nobody does: whoever makes a whole
bundle up, digests included, is caught by nothing else (docs/format.md, "Who vouches for what"). Neither PyTorch nor a network
is needed.

The files are compared with their digests first; where those disagree nothing else is believed. Then each promise of the
manifest is held against the files (:data:`CHECKS`).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trm_repro.archives import unpack
from trm_repro.digests import digest_files
from trm_repro.errors import MissingPrerequisite, ReproError, printable
from trm_repro.provenance.bundle import ENTRIES, FURNITURE, SUMS, file_problems, listed, strangers
from trm_repro.provenance.checks import CHECKS, Context, Finding
from trm_repro.provenance.keyless import NOBODY, Signatory
from trm_repro.provenance.schema import FILE as MANIFEST

VERIFIED, CONSISTENT, ALTERED, CANNOT_TELL = "VERIFIED", "CONSISTENT", "ALTERED", "CANNOT TELL"
EXIT = {VERIFIED: 0, CONSISTENT: 0, ALTERED: 1, CANNOT_TELL: 3}
CLAIMS = ("tensors", "submission", "metrics")  # checks of what a run claims; of some runs a bundle cannot prove it
SHOWN = 100  # lines of one check
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)  # what another place to unpack in may cure
NOBODY_VOUCHES = "vouched for by nobody"


@dataclass(frozen=True)
class Answer:
    """What came of a verification.

    Attributes:
        findings: one for each check, in order.
        vouchers: who vouches for the statement, of those whom the reader named.
        unproven: claims that no bundle can prove.
    """

    findings: tuple[Finding, ...]
    vouchers: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """VERIFIED, CONSISTENT, ALTERED or CANNOT TELL."""
        outcomes = {finding.outcome for finding in self.findings}
        if "wrong" in outcomes:
            return ALTERED
        return CANNOT_TELL if "unknown" in outcomes else VERIFIED if self.vouchers else CONSISTENT

    @property
    def exit_code(self) -> int:
        """0, 1 or 3."""
        return EXIT[self.word]

    @property
    def whole(self) -> bool:
        """Whether nothing was found but claims that this tool cannot check: it can be attested by whoever knows better."""
        outcomes = {finding.outcome for finding in self.findings if finding.check not in CLAIMS}
        return self.word != ALTERED and "unknown" not in outcomes

    def __str__(self) -> str:
        lines = [self.headline]
        for finding in self.findings:
            shown = finding.lines[:SHOWN]
            if more := len(finding.lines) - len(shown):
                shown = (*shown, f"and {more} more")
            first, *rest = shown or ("",)
            lines += [f"{finding.outcome:8} {finding.check:11} {first}", *(f"{'':20} {line}" for line in rest)]
        return "\n".join(map(printable, lines))

    def as_json(self) -> dict[str, Any]:
        """The answer for programs: its word, who vouches, and each check."""
        findings = [{**asdict(finding), "lines": list(map(printable, finding.lines))} for finding in self.findings]
        head = {"answer": self.word, "said": printable(self.headline), "vouched_for_by": list(self.vouchers)}
        return {**head, "unproven": list(self.unproven), "checks": findings}

    @property
    def vouched(self) -> str:
        """Who vouches, or that nobody does."""
        return f"vouched for by {' and '.join(self.vouchers)}" if self.vouchers else NOBODY_VOUCHES

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        if self.word == ALTERED:
            count = sum(len(finding.lines) for finding in self.findings if finding.outcome == "wrong")
            return f"{ALTERED}: {count} finding{'s' if count != 1 else ''}; do not use this"
        if self.word == CANNOT_TELL:
            unknown = (line for f in self.findings if f.outcome == "unknown" for line in f.lines)
            return f"{CANNOT_TELL}, {self.vouched}: {'; '.join(itertools.islice(unknown, SHOWN))}"
        made = sum(finding.outcome == "ok" for finding in self.findings)
        said = f"{made} checks, nothing found"
        if not self.vouchers:
            said += "; whoever made it can have made it up"
        if self.unproven:
            said += f"; not checked, since no bundle can prove it: {', '.join(self.unproven)}"
        return f"{self.word}, {self.vouched}: {said}"


def verify(
    path: Path,
    *,
    signers: Path | None = None,
    expected: Signatory = NOBODY,
    model_key: Path | None = None,
    attestation: Path | None = None,
) -> Answer:
    """Verifies a bundle.

    Args:
        path: a bundle's folder, or a zip or tar archive of one.
        signers: a file of allowed signers; the statement must then be signed by one of them.
        expected: who must have signed the statement with sigstore, and the files if they are signed so.
        model_key: the public key that must have signed the files (``model.sig``).
        attestation: a folder of ``attestations/``; the bundle must then be the one it attests.
    """
    try:
        with opened(path) as folder:
            names = {entry.name for entry in itertools.islice(folder.iterdir(), ENTRIES + 1)}
            if not names & {SUMS, MANIFEST}:
                return _cannot_tell(f"{path}: not a bundle: neither {SUMS} nor {MANIFEST} is in it")
            if "weights" in names and "model.ckpt" not in names:
                return _cannot_tell(
                    f"{path}: what a run leaves, not the bundle made of it; `make verify` checks that, and "
                    f"`sha256sum -c {SUMS}` the files here"
                )
            if len(names) > ENTRIES:
                return Answer((Finding("files", "wrong", (f"more than {ENTRIES} files: no bundle has so many",)),))
            digests = {
                path.name: digest for path, digest in digest_files(filter(Path.is_file, folder.iterdir())).items()
            }
            if lines := file_problems(folder, digests, beside=FURNITURE) + strangers(digests.keys() - {*FURNITURE}):
                return Answer((Finding("files", "wrong", tuple(lines)),))
            count = len(listed(folder / SUMS, lines))
            files = Finding("files", "ok", (f"{count} files are what {SUMS} says, and no other is there",))
            context = Context(folder, digests, signers, expected, model_key, attestation)
            findings = (files, *_checks(context))
            return Answer(findings, tuple(context.vouchers), tuple(context.unproven))
    except MissingPrerequisite as error:
        return _cannot_tell(_said(error))
    except OSError as error:
        return _cannot_tell(f"{path}: cannot be read: {error}")


def _said(error: ReproError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)


def _cannot_tell(why: str) -> Answer:
    return Answer((Finding("structure", "unknown", (why,)),))


def _checks(context: Context) -> Iterator[Finding]:
    """Makes every check in turn; after a manifest that cannot be read there is nothing to hold anything against."""
    for name, check in CHECKS.items():
        try:
            outcome, lines = check(context)
        except MissingPrerequisite as error:
            outcome, lines = "unknown", [_said(error)]
        except ReproError as error:
            outcome, lines = "wrong", [_said(error)]
        except Exception as error:  # what a stranger wrote into a file can make its reader raise anything
            outcome, lines = "unknown", [f"cannot be read: {type(error).__name__}: {error}"]
        yield Finding(name, outcome, tuple(lines))
        if name == "manifest" and outcome != "ok":
            return


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder of a bundle: ``path`` itself, or a temporary one into which an archive was unpacked.

    Raises:
        MissingPrerequisite: there is no such thing, or it cannot be unpacked.
    """
    if path.is_dir():
        yield path
        return
    if not path.is_file():  # nor a pipe, whose end nobody knows
        raise MissingPrerequisite(f"{path}: no such file or folder")
    with tempfile.TemporaryDirectory(prefix="trm-repro-") as temporary:
        folder = Path(temporary)
        try:
            unpack(path, folder)
        except Exception as error:  # every decompressor has errors of its own
            full = isinstance(error, OSError) and error.errno in FULL
            room = "TMPDIR can name a place with more room" if full else None
            raise MissingPrerequisite(f"{path}: cannot be unpacked: {error}", hint=room) from None
        inside = list(itertools.islice(folder.iterdir(), 2))
        yield inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
