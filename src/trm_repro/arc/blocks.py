"""Writing an array of canvases in blocks, from several threads, past the page cache.

The file is what ``np.save`` makes of a (rows, 900) uint8 array: 128 bytes of header, then the rows. It is cut into blocks
of 1024 · 900 bytes, a multiple of 4096, so that it can be written with O_DIRECT: gigabytes that nobody reads soon need
not displace everything else from the page cache, nor be copied into it, which on a busy machine takes several times as
long as writing them. Where the file system does not allow O_DIRECT, at the opening or at a write, the same blocks are
written the ordinary way.

As the header shifts the rows, a block begins with the last 128 bytes of a row, which is painted for both its blocks.
"""

from __future__ import annotations

import errno
import fcntl
import io
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from trm_repro.arc.grids import CELLS

ROWS = 1024
HEADER = 128
_BYTES = ROWS * CELLS
_ALIGNMENT = 4096


class Buffer:
    """Memory for one block: a page-aligned area, and room before it for the row that begins in the block before."""

    def __init__(self) -> None:
        self._bytes = np.frombuffer(mmap.mmap(-1, _ALIGNMENT + _BYTES + CELLS), np.uint8)

    def rows(self, block: Block) -> npt.NDArray[np.uint8]:
        """The (rows, 900) view to paint the block's rows in."""
        start = _ALIGNMENT + HEADER - (block.first < block.index * ROWS) * CELLS
        count = block.last - block.first
        return self._bytes[start : start + count * CELLS].reshape(count, CELLS)

    @property
    def block(self) -> npt.NDArray[np.uint8]:
        """The block's bytes."""
        return self._bytes[_ALIGNMENT : _ALIGNMENT + _BYTES]


@dataclass(frozen=True)
class Block:
    """One block of a file: rows ``first`` up to ``last`` have to be painted for it."""

    index: int
    first: int
    last: int


def blocks(rows: int) -> list[Block]:
    """The blocks of a file of ``rows`` rows."""
    count = -(-(HEADER + rows * CELLS) // _BYTES)
    return [Block(i, max(0, i * ROWS - 1), min(rows, (i + 1) * ROWS)) for i in range(count)]


class CanvasFile:
    """A file being written; a context manager.

    Args:
        path: the file to make.
        rows: how many canvases it will have.
    """

    def __init__(self, path: Path, rows: int) -> None:
        header = io.BytesIO()
        shape = {"descr": "|u1", "fortran_order": False, "shape": (rows, CELLS)}
        np.lib.format.write_array_header_1_0(header, shape)
        self._header = np.frombuffer(header.getvalue(), np.uint8)
        if len(self._header) != HEADER:
            raise AssertionError(f"a header of {len(self._header)} bytes")
        self._size = HEADER + rows * CELLS
        self._file = _open_direct(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                os.ftruncate(self._file, self._size)
                os.fsync(self._file)
        finally:
            os.close(self._file)

    def write(self, index: int, buffer: Buffer) -> None:
        """Writes a painted block; from any thread, in any order."""
        if index == 0:
            buffer.block[:HEADER] = self._header
        position = index * _BYTES
        length = min(_BYTES, self._size - position)
        left = buffer.block[: -(-length // _ALIGNMENT) * _ALIGNMENT].data  # the last one is cut to size at the end
        while left:
            try:
                written = os.pwrite(self._file, left, position)
            except OSError as error:
                flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
                if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                    raise
                fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~os.O_DIRECT)
                continue
            left, position = left[written:], position + written


def _open_direct(path: Path) -> int:
    """A new file, opened with O_DIRECT where the file system allows it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        return os.open(path, flags | os.O_DIRECT, 0o666)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, flags, 0o666)
