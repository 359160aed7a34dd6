"""Archives of strangers: unpacked only as far as a bundle can go.

A zip or a tar (plain, gzip, bzip2) holds plain files under plain names, no name twice, :data:`MEMBERS` members and
:data:`RATIO` times its own size at most; what is more is refused by name before or while it is unpacked, in constant
memory. Other compressions are left to whoever has them.
"""

from __future__ import annotations

import bz2
import gzip
import io
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

from trm_repro.errors import InvariantBroken
from trm_repro.progress import MB, SOON, Counted, track

MEMBERS = 2_000  # of an archive, at most; a bundle has 14 files
DIRECTORY = 1 << 20  # bytes of a zip's list of its members, at most
RATIO, FREE = 100, 64 << 20  # how many times its own size an archive may unpack to, and how much in any case
LONG = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
READ = 1 << 20  # bytes that are read at once, at most: a tar's headers are small


def check_zip(file: BinaryIO) -> None:
    """Checks a zip before anything of it is read: its list of members is short, and names nothing twice.

    Raises:
        InvariantBroken: it is not so, or no zip.
    """
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # ZipFile goes by it, and reads the list whole
    if not end:
        raise InvariantBroken("not a zip")
    if end[zipfile._ECD_SIZE] > DIRECTORY:  # type: ignore[attr-defined]
        raise InvariantBroken(f"its list of members has {end[zipfile._ECD_SIZE]:,} bytes, {DIRECTORY:,} at most")  # type: ignore[attr-defined]
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    _check_names(entry.filename for entry in entries)
    if odd := [e.filename for e in entries if e.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]:
        raise InvariantBroken(f"{odd[0]} is compressed in a way that is not read here")
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if (total := sum(entry.file_size for entry in entries)) > FREE + RATIO * size:
        raise InvariantBroken(f"{size:,} bytes that would unpack to {total:,}: refused")


def _check_names(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        plain = name.rstrip("/").removeprefix("./").casefold()
        if plain in seen:
            raise InvariantBroken(f"two members are called {name}")
        if len(seen) >= MEMBERS:
            raise InvariantBroken(f"more than {MEMBERS:,} members: refused")
        seen.add(plain)


def unpack(path: Path, folder: Path) -> None:
    """Unpacks an archive into a folder.

    Raises:
        InvariantBroken: it is not one, or holds more than a bundle can.
        OSError: there is no room, or it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as there, track(f"unpacking {path.name}", total=size // MB, unit="MB", after=SOON) as bar:
        file = cast(BinaryIO, Counted(there, bar))
        magic = file.read(6)
        file.seek(0)
        if magic == b"\xfd7zXZ\0" or magic.startswith(b"\x28\xb5\x2f\xfd"):
            raise InvariantBroken("compressed with xz or zstd: unpack it first (tar -xf), and verify the folder")
        plain: BinaryIO = file
        if magic.startswith(b"\x1f\x8b"):
            plain = cast(BinaryIO, gzip.GzipFile(fileobj=file))
        elif magic.startswith(b"BZh"):
            plain = cast(BinaryIO, bz2.BZ2File(file))
        metered = _Metered(plain, FREE + RATIO * size)
        if plain is not file or _is_tar(file):  # asked first: a tar with a zip at its end passes for a zip
            with tarfile.open(fileobj=metered, mode="r|", tarinfo=_Header) as archive:
                _unpack_tar(archive, folder)
            while metered.read(READ):
                pass  # to its end, where gzip's own digest is
            return
        check_zip(file)
        with zipfile.ZipFile(file) as zipped:
            zipped.extractall(folder)


def _is_tar(file: BinaryIO) -> bool:
    """Whether a file's first block is a tar's header."""
    block = file.read(tarfile.BLOCKSIZE)
    file.seek(0)
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _unpack_tar(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpacks plain files and folders, and refuses all else: links, devices, names that lead out of ``folder``.

    ``extractall(filter="data")`` is not in Python 3.11 before 3.11.4, which Debian 12 has not.
    """

    def members() -> Iterable[str]:
        for member in archive:
            target = folder / member.name
            plain = (member.isreg() and not member.issparse()) or member.isdir()
            if not plain or not target.resolve().is_relative_to(folder.resolve()):
                raise InvariantBroken(f"{member.name} is not a plain file inside it")
            yield member.name
            (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
            if member.isreg() and (source := archive.extractfile(member)):
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)

    _check_names(members())


class _Header(tarfile.TarInfo):
    """A header that says in words what a member is called is read whole, so it must be short."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size > READ and self.type in LONG:
            raise InvariantBroken(f"a header of {self.size:,} bytes: refused")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


class _Metered(io.RawIOBase):
    """A stream that ends in an error where more comes out of it than may."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._left = stream, most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise InvariantBroken("it unpacks to too many times its own size: refused")
        return data
