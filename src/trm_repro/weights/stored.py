"""What a file of weights holds, read without PyTorch: names, dtypes, shapes, and where the bytes lie.

Three formats are known. PyTorch's since 1.6 is a zip of stored (not compressed) members: ``…/data.pkl`` describes the
content, ``…/data/<key>`` are the raw bytes. PyTorch's before that is five pickles and then the bytes. A safetensors file
is a JSON header and the bytes. A pickle is not unpickled, but read (weights/pickled.py).
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trm_repro.archives import check_zip
from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import parse_json
from trm_repro.weights.pickled import ASK, STORAGES, Storage, Strided, describe, sizes, storages_of, walked

DESCRIPTION = 1 << 20  # bytes of what describes the tensors, at most; TRM's has 4 kB
OVERLAP = 4  # how many times its bytes a file's tensors may be, at most: some share theirs, such as an EMA that is the weights
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of PyTorch's format before 1.6

WIDTHS = dict(STORAGES.values())
AGAIN = "download the file itself again, with the hub's or Kaggle's own client"


@dataclass(frozen=True)
class Tensor:
    """Where a tensor's values lie.

    Attributes:
        dtype: in safetensors' spelling, such as ``F32``.
        shape: its shape.
        begin: first byte in the file.
        bytes: number of bytes; the values are contiguous.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    bytes: int


def read_content(path: Path) -> Any:
    """What was saved: mappings, lists and plain values, with a :class:`Tensor` for each tensor.

    Raises:
        MissingPrerequisite: there is no such file.
        InvariantBroken: it is no file of weights (what it is instead is said, where that is known), is cut off, or holds
            more than data.
    """
    try:
        with path.open("rb") as file:
            return _reader(file)(file)
    except FileNotFoundError:
        raise MissingPrerequisite(f"{path}: no such file") from None
    except InvariantBroken as error:
        raise InvariantBroken(f"{path.name}: {error}", hint=error.hint) from None
    except OSError as error:
        raise MissingPrerequisite(f"{path}: {error.strerror or error}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle, zip or header can raise nearly anything
        raise InvariantBroken(f"{path.name}: not a readable checkpoint: {type(error).__name__}: {error}") from None


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as a safetensors file does."""
    with path.open("rb") as file:
        return _reader(file) is _safetensors


def _reader(file: BinaryIO) -> Callable[[BinaryIO], Any]:
    """What reads a file that begins so."""
    head = file.read(512)
    file.seek(0)
    if head.startswith(b"PK\x03\x04"):
        return _zip
    if head.startswith(b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little")):
        return _legacy
    if head[8:9] == b"{":
        return _safetensors
    what, cure = foreign(head)
    raise InvariantBroken(what, hint=cure)


def foreign(head: bytes) -> tuple[str, str]:
    """What a file is that begins with ``head`` and is none of weights; and what to do."""
    if not head:
        return "an empty file", AGAIN
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        size = re.search(rb"^size ([0-9]{1,18})$", head, re.MULTILINE)
        of = f" of {int(size[1]):,} bytes" if size else ""
        return f"a pointer of Git LFS, in place of the file{of}", "run `git lfs pull` in that clone, or fetch hf:…"
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype|!--|html|\?xml|head|body)", head, re.IGNORECASE):
        return "a web page, in place of a checkpoint", AGAIN + "; the page, opened in a browser, says what was wrong"
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        return (
            "a Python pickle that torch.save did not write as it does by itself; nothing of it was read",
            ASK,
        )
    for magic, name in (
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstandard"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"),
    ):
        if head.startswith(magic):
            return f"compressed with {name}", "unpack it first"
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it first; a checkpoint lies in it, or it is PyTorch's format before 0.1.2"
    for magic, name in ((b"\x89HDF", "HDF5 (Keras)"), (b"GGUF", "GGUF"), (b"\x93NUMPY", "a NumPy array")):
        if head.startswith(magic):
            return f"{name}, not a PyTorch checkpoint", "nothing here reads it"
    return "not a checkpoint: neither torch.save nor safetensors wrote a file that begins so", AGAIN


def _zip(file: BinaryIO) -> Any:
    try:
        check_zip(file)
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, InvariantBroken) as error:
        if str(error) not in ("not a zip", "File is not a zip file"):
            raise
        raise InvariantBroken("cut off: a zip without its end", hint=AGAIN) from None
    with archive:
        members = {entry.filename: entry for entry in archive.infolist()}
        described = [entry for name, entry in members.items() if name.endswith("/data.pkl")]
        if not described:
            raise InvariantBroken("a zip that torch.save did not write", hint="a checkpoint may lie in it: unpack it")
        if len(described) != 1 or described[0].compress_type != zipfile.ZIP_STORED:
            raise InvariantBroken("not one data.pkl in it, stored as torch.save stores it")
        if described[0].file_size > DESCRIPTION:
            raise InvariantBroken(f"data.pkl has {described[0].file_size:,} bytes, {DESCRIPTION:,} at most")
        folder = described[0].filename.removesuffix("data.pkl")
        order = members.get(f"{folder}byteorder")
        if order and (order.file_size > 6 or archive.read(order) != b"little"):
            raise InvariantBroken("written by a machine that stores numbers the other way round (big-endian)", hint=ASK)
        content = describe(io.BytesIO(archive.read(described[0])))

        def place(storage: Storage) -> tuple[int, int]:
            member = members.get(f"{folder}data/{storage.key}")
            if not member:
                raise InvariantBroken("lacks the values of a tensor that it describes", hint=AGAIN)
            if member.compress_type != zipfile.ZIP_STORED:
                raise InvariantBroken("holds compressed tensors")
            file.seek(
                member.header_offset + 26
            )  # a zip's local header: the lengths of name and extra field, then those
            name_length, extra_length = struct.unpack("<HH", file.read(4))
            return member.header_offset + 30 + name_length + extra_length, member.file_size

        return _placed(content, place, file.seek(0, io.SEEK_END))


def _legacy(file: BinaryIO) -> Any:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        magic, _protocol, system, content, keys = (describe(file) for _ in range(5))
    except ValueError:  # pickletools' word for an instruction that does not end
        if file.tell() < size:
            raise
        raise InvariantBroken("cut off: within what describes its tensors", hint=AGAIN) from None
    if magic != MAGIC:
        raise InvariantBroken("not PyTorch's format before 1.6, though it begins so")
    if not system["little_endian"]:
        raise InvariantBroken("written by a machine that stores numbers the other way round (big-endian)", hint=ASK)
    end = file.tell()
    if end > DESCRIPTION:
        raise InvariantBroken(f"its description has {end:,} bytes, {DESCRIPTION:,} at most")
    places: dict[str, tuple[int, int]] = {}
    storages = {storage.key: storage for storage in storages_of(content)}
    for key in map(str, keys):  # each: the number of elements, then the elements
        file.seek(end)
        elements = int.from_bytes(file.read(8), "little", signed=True)
        begin, end = end + 8, end + 8 + elements * storages[key].width
        if not begin <= end <= size:
            raise InvariantBroken("cut off: the last tensors are missing", hint=AGAIN)
        places[key] = begin, end - begin
    return _placed(content, lambda storage: places[storage.key], size)


def _safetensors(file: BinaryIO) -> dict[str, Tensor]:
    (length,) = struct.unpack("<Q", file.read(8))
    size = file.seek(0, io.SEEK_END)
    if length > DESCRIPTION:
        raise InvariantBroken(f"its header has {length:,} bytes, {DESCRIPTION:,} at most: no safetensors file")
    if 8 + length > size:
        raise InvariantBroken("cut off: within what describes its tensors", hint=AGAIN)
    file.seek(8)
    header = parse_json(file.read(length), "its header", strict=True)
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        (begin, end), shape, dtype = sizes(entry["data_offsets"]), sizes(entry["shape"]), entry["dtype"]
        if dtype in WIDTHS and end - begin != math.prod(shape) * WIDTHS[dtype]:
            raise InvariantBroken(f"{name}: {end - begin} bytes for {dtype} {list(shape)}")
        found[name] = Tensor(str(dtype), shape, 8 + length + begin, end - begin)
    end = 8 + length  # the tensors follow one another to the end of the file, with nothing between
    for tensor in sorted(found.values(), key=lambda tensor: (tensor.begin, tensor.bytes)):
        if tensor.begin != end or tensor.bytes < 0:
            raise InvariantBroken("its tensors have gaps between them, or lie over one another")
        end += tensor.bytes
    if end > size:
        raise InvariantBroken("cut off: the last tensors are missing", hint=AGAIN)
    if end != size:
        raise InvariantBroken(f"its tensors end at byte {end}, the file at {size}")
    return found


def _placed(content: Any, place: Callable[[Storage], tuple[int, int]], size: int) -> Any:
    """The content of a file of so many bytes, with its tensors at their places: first byte, bytes of a storage."""
    places: dict[str, tuple[int, int]] = {}
    room = OVERLAP * size

    def placed(tensor: Strided) -> Tensor:
        nonlocal room
        storage = tensor.storage
        if storage.key not in places:
            places[storage.key] = place(storage)
        begin, length = places[storage.key]
        contiguous = [math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape))]
        axes = zip(tensor.stride, contiguous, tensor.shape, strict=True)
        bytes = math.prod(tensor.shape) * storage.width
        if bytes and not all(have == want or extent == 1 for have, want, extent in axes):
            raise InvariantBroken(
                "holds a tensor whose values are not in order", hint="save it again, each tensor .contiguous()"
            )
        start = tensor.offset * storage.width
        if start + bytes > length:
            raise InvariantBroken("holds a tensor that reaches beyond its storage")
        room -= bytes
        if room < 0:
            raise InvariantBroken(f"its tensors are more than {OVERLAP} times its bytes: they lie over one another")
        return Tensor(storage.dtype, tensor.shape, begin + start, bytes)

    return walked(content, placed)
