"""The tensors of a checkpoint, read without PyTorch: names, dtypes, shapes, bytes.

A PyTorch checkpoint is a zip of stored (not compressed) members: ``…/data.pkl`` describes the state dict, ``…/data/<key>``
are the raw bytes. The description is a pickle, and is not unpickled: its instructions are followed one by one by
:func:`_described`, which knows those that a state dict is made of and refuses every other, so that looking at a stranger's
checkpoint runs none of his code and costs no more than its length. A safetensors file is a JSON header and the bytes.
Values are read piece by piece, in constant memory.
"""

from __future__ import annotations

import io
import json
import math
import pickletools
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import parse_json
from trm_repro.provenance.archives import check_zip

PREFIX = re.compile(r"^(_orig_mod\.)?model\.inner\.")  # of every key; the first part is there if the model was compiled

PIECE = 1 << 20  # bytes compared or copied at a time
DESCRIPTION = 1 << 20  # bytes of what describes the tensors, at most; TRM's has 4 kB
DIMENSIONS, ELEMENTS = 16, 1 << 48  # of a tensor, at most

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
WIDTHS = dict(STORAGES.values())


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
        with path.open("rb") as file:
            check_zip(file)
            with zipfile.ZipFile(file) as archive:
                members = {entry.filename: entry for entry in archive.infolist()}
                described = [entry for name, entry in members.items() if name.endswith("/data.pkl")]
                if len(described) != 1 or described[0].compress_type != zipfile.ZIP_STORED:
                    raise InvariantBroken("not one data.pkl in it, stored as torch.save stores it")
                if described[0].file_size > DESCRIPTION:
                    raise InvariantBroken(f"data.pkl has {described[0].file_size:,} bytes, {DESCRIPTION:,} at most")
                folder = described[0].filename.removesuffix("data.pkl")
                state = _described(archive.read(described[0]))
            found = {name: _place(value, members, folder, file) for name, value in state.items()}
            size = file.seek(0, io.SEEK_END)
            if sum(tensor.bytes for tensor in found.values()) > size:
                raise InvariantBroken("its tensors are more than it has bytes: some lie over others")
            return found
    except FileNotFoundError:
        raise MissingPrerequisite(f"{path}: no such file") from None
    except InvariantBroken as error:
        raise InvariantBroken(f"{path.name}: not a PyTorch checkpoint: {error}") from None
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
            size = file.seek(0, io.SEEK_END)
            if length > DESCRIPTION:
                raise InvariantBroken(f"its header has {length:,} bytes, {DESCRIPTION:,} at most")
            file.seek(8)
            header = parse_json(file.read(length), "its header", strict=True)
        header.pop("__metadata__", None)
        found = {}
        for name, entry in header.items():
            (begin, end), shape, dtype = entry["data_offsets"], _sizes(entry["shape"]), entry["dtype"]
            if dtype in WIDTHS and end - begin != math.prod(shape) * WIDTHS[dtype]:
                raise InvariantBroken(f"{name}: {end - begin} bytes for {dtype} {list(shape)}")
            found[name] = Tensor(str(dtype), shape, 8 + length + begin, end - begin)
        end = 8 + length  # the tensors follow one another to the end of the file, with nothing between
        for tensor in sorted(found.values(), key=lambda tensor: (tensor.begin, tensor.bytes)):
            if tensor.begin != end or tensor.bytes < 0:
                raise InvariantBroken("its tensors have gaps between them, or lie over one another")
            end += tensor.bytes
        if end != size:
            raise InvariantBroken(f"its tensors end at byte {end}, the file at {size}")
        return found
    except InvariantBroken as error:
        raise InvariantBroken(f"{path.name}: not a safetensors file: {error}") from None
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


@dataclass(frozen=True)
class _Global:
    """A name that a pickle would import."""

    name: str


ORDERED, TENSOR, PARAMETER = (
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
GLOBALS = {ORDERED, TENSOR, PARAMETER, *(f"torch {name}" for name in STORAGES)}
_MARK = object()
_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_PLAIN = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT"}


def _described(data: bytes) -> dict[str, Any]:
    """The state dict that a pickle describes: {name: tensor}, the instructions followed one by one.

    Keys are texts only, and nothing is hashed, called, compared or printed but what is checked to be plain: each instruction
    takes the time of its own length.

    Raises:
        InvariantBroken: it is not one.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}

    def marked() -> list[Any]:
        place = next(i for i in range(len(stack) - 1, -1, -1) if stack[i] is _MARK)
        items = stack[place + 1 :]
        del stack[place:]
        return items

    for code, argument, _ in pickletools.genops(data):
        name, given = code.name, cast(Any, argument)
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _PLAIN:
            stack.append(given)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[given] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[given])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            stack.append(tuple(marked()))
        elif name in ("SETITEM", "SETITEMS"):
            items = marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            for key, value in zip(items[::2], items[1::2], strict=True):
                if not isinstance(key, str):
                    raise InvariantBroken("has a key that is no text")
                stack[-1][key] = value
        elif name == "GLOBAL":
            if given not in GLOBALS:
                raise InvariantBroken(f"asks for {given.replace(' ', '.')}, which is no part of a state dict")
            stack.append(_Global(given))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name == "REDUCE":
            words = stack.pop()
            stack.append(_made(stack.pop(), words))
        elif name == "BUILD":
            stack.pop()  # a state dict's own attributes: the versions of its modules
        elif name == "STOP":
            break
        elif name not in ("PROTO", "FRAME"):
            raise InvariantBroken(f"holds the instruction {name}, which is no part of a state dict")
    if len(stack) != 1 or not isinstance(stack[0], dict):
        raise InvariantBroken("does not describe a state dict")
    return stack[0]


def _storage(pid: Any) -> _Storage:
    """A storage, from what a state dict refers to it by."""
    kind, storage, key, _, _ = pid
    if kind != "storage" or not isinstance(storage, _Global) or not isinstance(key, str):
        raise InvariantBroken("refers to something that is no part of a state dict")
    dtype, width = STORAGES[storage.name.removeprefix("torch ")]
    return _Storage(dtype, width, key)


def _made(maker: Any, words: Any) -> Any:
    """What a state dict's three functions would make of their arguments."""
    name = maker.name if isinstance(maker, _Global) else ""
    if name == ORDERED:
        return {}
    if name == PARAMETER and isinstance(words[0], _Tensor):
        return words[0]
    if name == TENSOR:
        storage, offset, size, stride, *_ = words
        (start,) = _sizes((offset,))
        if not isinstance(storage, _Storage):
            raise InvariantBroken("holds a tensor without a storage")
        return _Tensor(storage, start, _sizes(size), _sizes(stride))
    raise InvariantBroken("calls what is no part of a state dict")


def _sizes(values: Any) -> tuple[int, ...]:
    """Numbers of elements, such as a shape: checked to be such, and few."""
    if not isinstance(values, list | tuple) or len(values) > DIMENSIONS:
        raise InvariantBroken("holds a shape that is none")
    if not all(type(value) is int and 0 <= value < ELEMENTS for value in values):
        raise InvariantBroken("holds a shape that is not made of numbers")
    return tuple(values)


def _place(value: Any, members: Mapping[str, zipfile.ZipInfo], folder: str, file: BinaryIO) -> Tensor:
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
    if start + size > member.file_size:
        raise InvariantBroken("holds a tensor that reaches beyond its storage")
    file.seek(member.header_offset + 26)  # a zip's local header: the lengths of name and extra field, then those two
    name_length, extra_length = struct.unpack("<HH", file.read(4))
    return Tensor(
        value.storage.dtype, value.shape, member.header_offset + 30 + name_length + extra_length + start, size
    )
