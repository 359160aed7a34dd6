"""What a file of weights holds, read without PyTorch: names, dtypes, shapes, and where the bytes lie.

Three formats are known. PyTorch's since 1.6 is a zip of stored (not compressed) members: ``…/data.pkl`` describes the
content, ``…/data/<key>`` are the raw bytes. PyTorch's before that is five pickles and then the bytes. A safetensors file
is a JSON header and the bytes. A pickle is read by an unpickler that builds descriptions and knows a few names; anything
else in it is refused, so that looking at a stranger's checkpoint runs none of his code.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trm_repro.errors import InvariantBroken, MissingPrerequisite

MOST_DESCRIPTION = 1 << 26  # bytes of a description: TRM's has 5,000, and a million tensors would fit
MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of PyTorch's format before 1.6

# PyTorch's storage classes: safetensors' name of the dtype, bytes an element.
STORAGES = {
    "FloatStorage": ("F32", 4),
    "DoubleStorage": ("F64", 8),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "BoolStorage": ("BOOL", 1),
    "ByteStorage": ("U8", 1),
}


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
    again = "download the file itself again, with the hub's or Kaggle's own client"
    if not head:
        return "an empty file", again
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        size = re.search(rb"^size ([0-9]+)$", head, re.MULTILINE)
        of = f" of {int(size[1]):,} bytes" if size else ""
        return f"a pointer of Git LFS, in place of the file{of}", "run `git lfs pull` in that clone, or fetch hf:…"
    if re.match(rb"\s*<(!doctype|html|\?xml|head|body)", head, re.IGNORECASE):
        return "a web page, in place of a checkpoint", again + "; the page, opened in a browser, says what was wrong"
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        return (
            "a Python pickle that torch.save did not write; nothing of it was read",
            "ask its author for a torch.save of the state dict, or for safetensors",
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
    return "not a checkpoint: neither torch.save nor safetensors wrote a file that begins so", again


def _zip(file: BinaryIO) -> Any:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:  # the directory is at the end
        raise InvariantBroken("cut off: a zip without its end", hint="download it again") from None
    with archive:
        members = {entry.filename: entry for entry in archive.infolist()}
        if len(members) != len(archive.infolist()):
            raise InvariantBroken("holds two members of one name")
        described = [name for name in members if name.endswith("/data.pkl")]
        if len(described) != 1:
            raise InvariantBroken("a zip that torch.save did not write", hint="a checkpoint may lie in it: unpack it")
        folder = described[0].removesuffix("data.pkl")
        entry = members[described[0]]
        if entry.file_size > MOST_DESCRIPTION or entry.compress_type != zipfile.ZIP_STORED:
            raise InvariantBroken(f"its description has {entry.file_size:,} bytes, or is compressed")
        content = _Unpickler(io.BytesIO(archive.read(entry))).load()

        def place(storage: _Storage) -> tuple[int, int]:
            member = members[f"{folder}data/{storage.key}"]
            if member.compress_type != zipfile.ZIP_STORED:
                raise InvariantBroken("holds compressed tensors")
            file.seek(
                member.header_offset + 26
            )  # a zip's local header: the lengths of name and extra field, then those
            name_length, extra_length = struct.unpack("<HH", file.read(4))
            return member.header_offset + 30 + name_length + extra_length, member.file_size

        return _placed(content, place)


def _legacy(file: BinaryIO) -> Any:
    def load() -> Any:
        return _Unpickler(file).load()

    magic, _protocol, _system = load(), load(), load()
    if magic != MAGIC:
        raise InvariantBroken("not PyTorch's format before 1.6, though it begins so")
    content, keys = load(), load()
    end = file.seek(0, io.SEEK_CUR)
    size = file.seek(0, io.SEEK_END)
    places: dict[str, tuple[int, int]] = {}
    storages = {storage.key: storage for storage in _storages(content)}
    for key in map(str, keys):  # each: the number of elements, then the elements
        file.seek(end)
        (elements,) = struct.unpack("<q", file.read(8))
        begin, end = end + 8, end + 8 + elements * storages[key].width
        if not begin <= end <= size:
            raise InvariantBroken("cut off: the last tensors are missing", hint="download it again")
        places[key] = begin, end - begin
    return _placed(content, lambda storage: places[storage.key])


def _safetensors(file: BinaryIO) -> dict[str, Tensor]:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size, MOST_DESCRIPTION):
        raise InvariantBroken(f"its header claims {length:,} bytes: cut off, or not safetensors")
    header = json.loads(file.read(length))
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end <= size - 8 - length:
                raise InvariantBroken("cut off: tensors are missing", hint="download it again")
            found[name] = Tensor(entry["dtype"], tuple(entry["shape"]), 8 + length + begin, end - begin)
    return found


@dataclass(frozen=True)
class _Storage:
    dtype: str
    width: int
    key: str


@dataclass(frozen=True)
class _Strided:
    """A tensor as a pickle describes it; offset and stride in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _strided(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> _Strided:
    return _Strided(storage, offset, tuple(size), tuple(stride))


class _Unpickler(pickle.Unpickler):
    """Builds descriptions of tensors; refuses every other class."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _strided
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch" and name in STORAGES:
            return name
        raise InvariantBroken(
            f"asks for {module}.{name}, which is no part of a state dict; nothing of it was run",
            hint="ask its author for a torch.save of the state dict alone, or for safetensors",
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _, _, *view = pid
        if kind != "storage" or any(view):
            raise InvariantBroken(f"refers to {kind!r}, which is no part of a state dict")
        dtype, width = STORAGES[storage]
        return _Storage(dtype, width, str(key))


def _storages(content: Any) -> list[_Storage]:
    """The storages of all tensors in a content, each once or more."""
    found: list[_Storage] = []
    _walk(content, lambda tensor: found.append(tensor.storage))
    return found


def _placed(content: Any, place: Callable[[_Storage], tuple[int, int]]) -> Any:
    """The content with its tensors at their places: first byte, bytes of a storage."""
    places: dict[str, tuple[int, int]] = {}

    def placed(tensor: _Strided) -> Tensor:
        storage = tensor.storage
        if storage.key not in places:
            places[storage.key] = place(storage)
        begin, length = places[storage.key]
        contiguous = [math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape))]
        axes = zip(tensor.stride, contiguous, tensor.shape, strict=True)
        size = math.prod(tensor.shape) * storage.width
        if size and not all(have == want or extent == 1 for have, want, extent in axes):
            raise InvariantBroken(
                "holds a tensor whose values are not in order", hint="save it again, each tensor .contiguous()"
            )
        start = tensor.offset * storage.width
        if min(start, size, *tensor.shape, 0) < 0 or start + size > length:
            raise InvariantBroken("holds a tensor that reaches beyond its storage")
        return Tensor(storage.dtype, tensor.shape, begin + start, size)

    return _walk(content, placed)


MOST_VALUES, MOST_DEPTH = 1_000_000, 16  # of a description: an optimizer's state has some thousand values in 5 levels


def _walk(content: Any, see: Callable[[_Strided], Any]) -> Any:
    """The content with ``see`` of each tensor in its place.

    Raises:
        InvariantBroken: it is nested more deeply than weights are, or endlessly.
    """
    left = MOST_VALUES

    def walk(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > MOST_DEPTH:
            raise InvariantBroken(f"holds more than {MOST_VALUES:,} values, or nested more than {MOST_DEPTH} deep")
        if isinstance(value, _Strided):
            return see(value)
        if isinstance(value, Mapping):
            return {key: walk(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [walk(inner, depth + 1) for inner in value]
        return value

    return walk(content, 0)
