"""The tensors of a checkpoint, read without PyTorch: names, dtypes, shapes, bytes.

A PyTorch checkpoint is a zip of stored (not compressed) members: ``…/data.pkl`` describes the state dict, ``…/data/<key>``
are the raw bytes. The pickle is read by an unpickler that builds descriptions and knows six names; anything else in it is
refused, so that looking at a stranger's checkpoint runs none of his code. A safetensors file is a JSON header and the
bytes. Values are read piece by piece, in constant memory.
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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trm_repro.errors import InvariantBroken, MissingPrerequisite

PREFIX = re.compile(r"^(_orig_mod\.)?model\.inner\.")  # of every key; the first part is there if the model was compiled

PIECE = 1 << 20  # bytes compared or copied at a time

# Safetensors writes the tensors of the last of these first.
ORDER = ("BOOL", "U8", "F16", "BF16", "I32", "F32", "F64", "I64")
# PyTorch's storage classes: safetensors' name of the dtype, bytes an element.
STORAGES = {
    "FloatStorage": ("F32", 4),
    "DoubleStorage": ("F64", 8),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
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


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch checkpoint that is a plain state dict.

    Raises:
        MissingPrerequisite: there is no such file.
        InvariantBroken: it is not one, or it is cut off.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            members = {entry.filename: entry for entry in archive.infolist()}
            described = next(name for name in members if name.endswith("/data.pkl"))
            folder = described.removesuffix("data.pkl")
            state = _Unpickler(io.BytesIO(archive.read(described))).load()
            return {str(name): _place(value, members, folder, file) for name, value in state.items()}
    except FileNotFoundError:
        raise MissingPrerequisite(f"{path}: no such file") from None
    except InvariantBroken as error:
        raise InvariantBroken(f"{path.name}: {error}") from None
    except Exception as error:  # a damaged pickle or zip can raise nearly anything
        raise InvariantBroken(f"{path.name}: not a PyTorch checkpoint: {type(error).__name__}: {error}") from None


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        InvariantBroken: it is not one.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        found = {}
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                found[name] = Tensor(entry["dtype"], tuple(entry["shape"]), 8 + length + begin, end - begin)
        return found
    except Exception as error:
        raise InvariantBroken(f"{path.name}: not a safetensors file: {type(error).__name__}: {error}") from None


def write_safetensors(checkpoint: Path, twin: Path) -> None:
    """Writes a checkpoint's tensors, under the same names, as safetensors: the bytes that its own library would write.

    Raises:
        MissingPrerequisite, InvariantBroken: as :func:`read_checkpoint`.
    """
    tensors = sorted(read_checkpoint(checkpoint).items(), key=lambda item: (-ORDER.index(item[1].dtype), item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors:
        begin, end = end, end + tensor.bytes
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the values begin at a multiple of 8
    with checkpoint.open("rb") as source, twin.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in tensors:
            source.seek(tensor.begin)
            for start in range(0, tensor.bytes, PIECE):
                file.write(source.read(min(PIECE, tensor.bytes - start)))


def different_values(first: Path, second: Path) -> list[str]:
    """Which tensors of a checkpoint and its safetensors twin differ, one line each: name, dtype, shape or bytes."""
    ours, theirs = read_checkpoint(first), read_safetensors(second)
    lines = [f"{second.name}: tensor {name} missing" for name in ours if name not in theirs]
    lines += [f"{second.name}: tensor {name} is not in {first.name}" for name in theirs if name not in ours]
    with first.open("rb") as one, second.open("rb") as other:
        for name in ours.keys() & theirs.keys():
            x, y = ours[name], theirs[name]
            if (x.dtype, x.shape) != (y.dtype, y.shape):
                lines.append(
                    f"{second.name}: tensor {name} is {y.dtype} {list(y.shape)}, not {x.dtype} {list(x.shape)}"
                )
            elif not _same(one, x, other, y):
                lines.append(f"{second.name}: tensor {name} has other values than in {first.name}")
    return sorted(lines)


def _same(one: BinaryIO, x: Tensor, other: BinaryIO, y: Tensor) -> bool:
    """Whether two tensors have the same bytes."""
    one.seek(x.begin)
    other.seek(y.begin)
    for start in range(0, x.bytes, PIECE):
        size = min(PIECE, x.bytes - start)
        piece = one.read(size)
        if len(piece) != size or piece != other.read(size):
            return False
    return x.bytes == y.bytes


@dataclass(frozen=True)
class _Storage:
    dtype: str
    width: int
    key: str


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _tensor(storage: _Storage, offset: int, size: Any, stride: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(size), tuple(stride))


class _Unpickler(pickle.Unpickler):
    """Builds descriptions of tensors; refuses every other class."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "torch" and name in STORAGES:
            return name
        raise InvariantBroken(f"asks for {module}.{name}, which is no part of a state dict")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _, _ = pid
        if kind != "storage":
            raise InvariantBroken(f"refers to {kind!r}, which is no part of a state dict")
        dtype, width = STORAGES[storage]
        return _Storage(dtype, width, str(key))


def _place(value: Any, members: Mapping[str, zipfile.ZipInfo], folder: str, file: io.BufferedReader) -> Tensor:
    if not isinstance(value, _Tensor):
        raise InvariantBroken(f"holds a {type(value).__name__} beside its tensors")
    member = members[f"{folder}data/{value.storage.key}"]
    contiguous = [math.prod(value.shape[axis + 1 :]) for axis in range(len(value.shape))]
    in_order = all(
        have == want or length == 1 for have, want, length in zip(value.stride, contiguous, value.shape, strict=True)
    )
    if member.compress_type != zipfile.ZIP_STORED or not in_order:
        raise InvariantBroken("holds compressed or non-contiguous tensors")
    size = math.prod(value.shape) * value.storage.width
    start = value.offset * value.storage.width
    if start < 0 or start + size > member.file_size:
        raise InvariantBroken("holds a tensor that reaches beyond its storage")
    file.seek(member.header_offset + 26)  # a zip's local header: the lengths of name and extra field, then those two
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    return Tensor(
        value.storage.dtype, value.shape, member.header_offset + 30 + name_length + extra_length + start, size
    )
