"""Verifying a bundle: was anything altered, and does what it says agree with itself?

The answer is one of three. ALTERED: something is missing, extra, different, or contradicts something else. CANNOT TELL:
the thing is no bundle, of a format this tool does not know, or a check that was asked for could not be made. VERIFIED: every
check was made and none found anything. Neither PyTorch nor a network is needed.

The files are compared with their digests first; where those disagree nothing else is believed. Then each promise of the
manifest is held against the files (:data:`CHECKS`). Whoever makes a whole bundle up, digests included, is caught only by a
signature or an attestation: see docs/format.md, "Who vouches for what".
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trm_repro.digests import digest_files
from trm_repro.errors import MissingPrerequisite, ReproError
from trm_repro.provenance import checks
from trm_repro.provenance.bundle import FURNITURE, SUMS, file_problems, listed
from trm_repro.provenance.checks import Context, Finding
from trm_repro.provenance.keyless import NOBODY, Signatory
from trm_repro.provenance.schema import FILE as MANIFEST

VERIFIED, ALTERED, CANNOT_TELL = "VERIFIED", "ALTERED", "CANNOT TELL"
EXIT = {VERIFIED: 0, ALTERED: 1, CANNOT_TELL: 3}


@dataclass(frozen=True)
class Answer:
    """What came of a verification.

    Attributes:
        findings: one for each check, in order.
    """

    findings: tuple[Finding, ...]

    @property
    def word(self) -> str:
        """VERIFIED, ALTERED or CANNOT TELL."""
        outcomes = {finding.outcome for finding in self.findings}
        return ALTERED if "wrong" in outcomes else CANNOT_TELL if "unknown" in outcomes else VERIFIED

    @property
    def exit_code(self) -> int:
        """0, 1 or 3."""
        return EXIT[self.word]

    def __str__(self) -> str:
        lines = []
        for finding in self.findings:
            first, *rest = finding.lines or ("",)
            lines += [f"{finding.outcome:8} {finding.check:11} {first}", *(f"{'':20} {line}" for line in rest)]
        return "\n".join(map(_printable, [*lines, f"{self.word}: {self.summary}"]))

    @property
    def summary(self) -> str:
        """The answer in a sentence."""
        count = sum(len(finding.lines) for finding in self.findings if finding.outcome == "wrong")
        if self.word == ALTERED:
            return f"{count} finding{'s' if count != 1 else ''}; do not use this"
        if self.word == CANNOT_TELL:
            return "; ".join(line for f in self.findings if f.outcome == "unknown" for line in f.lines)
        made = {finding.check for finding in self.findings if finding.outcome == "ok"}
        vouching = made & {"signature", "sigstore", "openssf", "attested"}
        vouched = "" if vouching else "; nobody but the bundle itself vouches for it"
        return f"{len(made)} checks, nothing found{vouched}"


def _printable(line: str) -> str:
    """A line in which no file name and no text of a bundle can end the line, steer a terminal or break its encoding."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)


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
            names = {entry.name for entry in folder.iterdir()}
            if not names & {SUMS, MANIFEST}:
                return _cannot_tell(f"{path}: not a bundle: neither {SUMS} nor {MANIFEST} is in it")
            if "weights" in names and "model.ckpt" not in names:
                return _cannot_tell(
                    f"{path}: what a run leaves, not the bundle made of it; `make verify` checks that, and "
                    f"`sha256sum -c {SUMS}` the files here"
                )
            digests = {
                path.name: digest for path, digest in digest_files(filter(Path.is_file, folder.iterdir())).items()
            }
            if lines := file_problems(folder, digests, beside=FURNITURE):
                return Answer((Finding("files", "wrong", tuple(lines)),))
            count = len(listed(folder / SUMS, lines))
            files = Finding("files", "ok", (f"{count} files are what {SUMS} says, and no other is there",))
            return Answer((files, *_checks(Context(folder, digests, signers, expected, model_key, attestation))))
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
    for name, check in checks.CHECKS.items():
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


def _unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpacks plain files and folders, and refuses all else: links, devices, names that lead out of ``folder``.

    ``extractall(filter="data")`` is not in Python 3.11 before 3.11.4, which Debian 12 has not.
    """
    for member in archive:
        target = folder / member.name
        if not (member.isreg() or member.isdir()) or not target.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{member.name} is not a plain file inside it")
        (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
        if member.isreg() and (source := archive.extractfile(member)):
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder of a bundle: ``path`` itself, or a temporary one into which an archive was unpacked.

    Raises:
        MissingPrerequisite: there is no such thing, or it cannot be unpacked.
    """
    if path.is_dir():
        yield path
        return
    if not path.exists():
        raise MissingPrerequisite(f"{path}: no such file or folder")
    with tempfile.TemporaryDirectory(prefix="trm-repro-") as temporary:
        folder = Path(temporary)
        try:
            if not tarfile.is_tarfile(path):  # asked first: a tar with a zip at its end passes for a zip
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder)
            else:
                with tarfile.open(path) as archive:
                    _unpack(archive, folder)
                    while archive.fileobj and archive.fileobj.read(1 << 20):
                        pass  # to its end, where gzip's own digest is
        except Exception as error:  # every decompressor has errors of its own
            room = "TMPDIR can name a place with more room" if isinstance(error, OSError) and error.errno else None
            raise MissingPrerequisite(f"{path}: cannot be unpacked: {error}", hint=room) from None
        inside = list(folder.iterdir())
        yield inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
