"""SHA-256 digests of files and folders.

A digest is (sha256, bytes). A folder's digests are a mapping from POSIX relative path, sorted, to digest; it depends on
the content and the relative names only, so that moving or renaming the folder changes nothing.

Hashing 9.6 GB takes a while, and whether a step is fresh is asked often. A :class:`Cache` remembers the digest of a file as
long as the file's identity is the same (:func:`identity`); without one, or with ``VERIFY=full`` in the environment, every
byte is read. What is written down about a run (stamps, vouchers, manifest) never comes from a cache: whoever can write the
files can write the cache as well. Files are hashed in parallel, one thread a core (``hashlib`` releases the interpreter lock).
What is large, read once and not in the page cache is read past it (O_DIRECT): copying there costs more time than hashing.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trm_repro.errors import MissingPrerequisite
from trm_repro.files import write_json
from trm_repro.progress import SOON, track

Heard = Callable[[int], None]
CHUNK = 8 * 10**6  # bytes read at a time


def _nobody(megabytes: int) -> None:
    """Who hears of no progress."""


_LARGE = 1 << 26  # bytes from which on a file is worth two threads
_BLOCK = 1 << 22  # bytes read past the page cache at once


@dataclass(frozen=True)
class Digest:
    """What identifies a file's content."""

    sha256: str
    bytes: int


class Cache:
    """Digests already computed, kept in a JSON file, by path and identity.

    Args:
        path: the file to keep them in; it is created by :meth:`save`. A damaged file is an empty cache.
        believed: whether what it knows is believed; if not, every byte is read, and the cache learns from that.
    """

    def __init__(self, path: Path, *, believed: bool = True) -> None:
        self.path, self.believed = path, believed and os.environ.get("VERIFY") != "full"
        self._known: dict[str, list[int | str]] = {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(path.read_bytes())
            self._known = known if isinstance(known, dict) else {}

    def digest(self, file: Path, heard: Heard = _nobody) -> Digest:
        """The digest of ``file``, from the cache where it is believed and the file is unchanged since."""
        key, now = str(file.resolve()), identity(file)
        known = self._known.get(key)
        if self.believed and isinstance(known, list) and known[:-1] == now:
            return Digest(str(known[-1]), now[2])
        found = digest_file(file, once=True, heard=heard)
        self._known[key] = [*now, found.sha256]
        return found

    def save(self) -> None:
        """Writes the cache, without the entries of files that are gone."""
        write_json(self.path, {key: value for key, value in sorted(self._known.items()) if Path(key).exists()})


def identity(file: Path) -> list[int]:
    """What cannot stay the same when a file's bytes change: device, inode, bytes, mtime and ctime in ns.

    The last is the kernel's, which sets it at each change: only who can set the clock or write to the raw disk forges it.
    """
    stat = file.stat()
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def digest_bytes(data: bytes) -> Digest:
    """The digest of bytes in memory."""
    return Digest(hashlib.sha256(data).hexdigest(), len(data))


def digest_file(path: Path, *, once: bool = False, heard: Heard = _nobody) -> Digest:
    """The digest of a file, every byte read.

    Args:
        path: the file.
        once: nobody reads it again soon: a large one need not go through the page cache.
        heard: told of the megabytes that were read, on the way.

    Raises:
        MissingPrerequisite: there is no such file.
    """
    try:
        with path.open("rb", buffering=0) as file:
            found, size = hashlib.sha256(), os.fstat(file.fileno()).st_size
            if once and size >= _LARGE and not _is_cached(file.fileno(), size):
                file.seek(_hash_past_cache(path, size, found, heard))
            room = memoryview(bytearray(min(CHUNK, max(size, 1 << 16))))
            while read := file.readinto(room):
                found.update(room[:read])
                heard(round(read / 10**6))
            return Digest(found.hexdigest(), file.tell())
    except (FileNotFoundError, IsADirectoryError):
        raise MissingPrerequisite(f"{path}: no such file") from None


def _hash_past_cache(path: Path, size: int, sha256: hashlib._Hash, heard: Heard) -> int:
    """Hashes a file's whole blocks, reading one while the one before is hashed; how many bytes it could read so.

    A file system that knows no O_DIRECT ends it early, at the beginning perhaps; the rest is left to the page cache.
    """
    done = 0
    buffers = [mmap.mmap(-1, _BLOCK) for _ in range(2)]  # aligned to a page, as O_DIRECT wants it
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)  # type: ignore[attr-defined,unused-ignore]
        stack.callback(os.close, file)
        reader = stack.enter_context(ThreadPoolExecutor(1))
        coming = reader.submit(os.preadv, file, [buffers[0]], 0)
        for number in range(size // _BLOCK):
            if coming.result() != _BLOCK:
                break
            coming = reader.submit(os.preadv, file, [buffers[(number + 1) % 2]], done + _BLOCK)
            sha256.update(buffers[number % 2])
            done += _BLOCK
            heard(round(_BLOCK / 10**6))
    return done


def _is_cached(file: int, size: int) -> bool:
    """Whether the page cache holds more than half of a file, or nobody can say: then it is read from there."""
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    try:
        mincore = ctypes.CDLL(None, use_errno=True).mincore
        with mmap.mmap(file, size, access=mmap.ACCESS_COPY) as mapped:
            view = ctypes.c_char.from_buffer(mapped)
            failed = mincore(ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(size), pages)
            del view
    except (AttributeError, OSError, ValueError):
        return True
    return bool(failed) or 2 * bytes(pages).count(1) > len(pages)


def git_blob(content: Path | bytes) -> str:
    """The name that git has for a file's content."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def digest_files(paths: Iterable[Path], cache: Cache | None = None) -> dict[Path, Digest]:
    """The digests of many files, hashed in parallel."""
    return _digest_all(list(paths), cache.digest if cache else digest_file)


def _digest_all(paths: Sequence[Path], one: Callable[..., Digest]) -> dict[Path, Digest]:
    size = sum(path.stat().st_size for path in paths if path.is_file())
    with (
        track("hashing", total=round(size / 10**6), unit="MB", after=SOON) as bar,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        return dict(zip(paths, pool.map(partial(one, heard=bar.advance), paths), strict=True))


def digest_tree(root: Path, cache: Cache | None = None) -> dict[str, Digest]:
    """The digests of all files below ``root``, by POSIX relative path, sorted. Links count as what they point to.

    Raises:
        MissingPrerequisite: ``root`` is not a folder.
    """
    if not root.is_dir():
        raise MissingPrerequisite(f"{root}: no such folder")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    digests = _digest_all(files, cache.digest if cache else partial(digest_file, once=True))
    return {path.relative_to(root).as_posix(): digests[path] for path in files}


def difference(expected: Mapping[str, Digest], found: Mapping[str, Digest]) -> list[str]:
    """One line for each file that is missing, extra or different, sorted by path; empty when the two agree."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            lines.append(f"missing: {path}")
        elif path not in expected:
            lines.append(f"extra: {path}")
        elif expected[path] != found[path]:
            want, have = expected[path], found[path]
            lines.append(
                f"different: {path}: expected sha256 {want.sha256}, {want.bytes} bytes; "
                f"found {have.sha256}, {have.bytes} bytes"
            )
    return lines
