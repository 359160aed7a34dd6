"""What a file of weights holds, read without PyTorch: names, dtypes, shapes, and where the bytes lie.

Three formats are known. PyTorch's since 1.6 is a zip of stored (not compressed) members: ``…/data.pkl`` describes the
content, ``…/data/<key>`` are the raw bytes. PyTorch's before that is five pickles and then the bytes. A safetensors file
is a JSON header and the bytes. A pickle is not unpickled: its instructions are followed one by one by :func:`_described`,
which knows those that a state dict is made of and refuses every other, so that looking at a stranger's checkpoint runs none
of his code and costs no more than its length.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from trm_repro.archives import check_zip
from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import parse_json

DESCRIPTION = 1 << 20  # bytes of what describes the tensors, at most; TRM's has 4 kB
DIMENSIONS, ELEMENTS = 16, 1 << 48  # of a tensor, at most
OVERLAP = 4  # how many times its bytes a file's tensors may be, at most: some share theirs, such as an EMA that is the weights
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
WIDTHS = dict(STORAGES.values())
AGAIN = "download the file itself again, with the hub's or Kaggle's own client"
ASK = "ask its author for a torch.save of the state dict alone, or for safetensors"


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
        content = _described(io.BytesIO(archive.read(described[0])))

        def place(storage: _Storage) -> tuple[int, int]:
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
        magic, _protocol, system, content, keys = (_described(file) for _ in range(5))
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
    storages = {storage.key: storage for storage in _storages(content)}
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
        (begin, end), shape, dtype = _sizes(entry["data_offsets"]), _sizes(entry["shape"]), entry["dtype"]
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


@dataclass(frozen=True)
class _Global:
    """A name that a pickle would import."""

    name: str


ORDERED, SIZE, TENSOR, PARAMETER = (
    "collections OrderedDict",
    "torch Size",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
)
GLOBALS = {ORDERED, SIZE, TENSOR, PARAMETER, *(f"torch {name}" for name in STORAGES)}
_MARK = object()
_CONSTANTS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_PLAIN = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT"}


def _described(data: BinaryIO) -> Any:
    """What one pickle describes, its instructions followed one by one.

    Keys are texts and whole numbers only, and nothing is hashed, called, compared or printed but what is checked to be plain:
    each instruction takes the time of its own length.

    Raises:
        InvariantBroken: it is more than data.
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
        elif name in ("APPEND", "APPENDS"):
            items = marked() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            for key, value in zip(items[::2], items[1::2], strict=True):
                if not isinstance(key, str | int):
                    raise InvariantBroken("has a key that is neither a text nor a whole number")
                stack[-1][key] = value
        elif name == "GLOBAL":
            if given not in GLOBALS:
                raise InvariantBroken(
                    f"asks for {given.replace(' ', '.')}, which is no part of a state dict; nothing of it was run",
                    hint=ASK,
                )
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
            raise InvariantBroken(f"holds the instruction {name}, which is no part of a state dict", hint=ASK)
    if len(stack) != 1:
        raise InvariantBroken("does not describe one value")
    return stack[0]


def _storage(pid: Any) -> _Storage:
    """A storage, from what a state dict refers to it by."""
    kind, storage, key, _, _, *view = pid
    if kind != "storage" or not isinstance(storage, _Global) or not isinstance(key, str) or any(view):
        raise InvariantBroken("refers to something that is no part of a state dict")
    dtype, width = STORAGES[storage.name.removeprefix("torch ")]
    return _Storage(dtype, width, key)


def _made(maker: Any, words: Any) -> Any:
    """What a state dict's functions would make of their arguments."""
    name = maker.name if isinstance(maker, _Global) else ""
    if name == ORDERED:
        return {}
    if name == SIZE:
        return list(_sizes(words[0]))
    if name == PARAMETER and isinstance(words[0], _Strided):
        return words[0]
    if name == TENSOR:
        storage, offset, size, stride, *_ = words
        (start,) = _sizes((offset,))
        if not isinstance(storage, _Storage):
            raise InvariantBroken("holds a tensor without a storage")
        return _Strided(storage, start, _sizes(size), _sizes(stride))
    raise InvariantBroken("calls what is no part of a state dict")


def _sizes(values: Any) -> tuple[int, ...]:
    """Numbers of elements or bytes, such as a shape: checked to be such, and few."""
    if not isinstance(values, list | tuple) or len(values) > DIMENSIONS:
        raise InvariantBroken("holds a shape, or a place, that is none")
    if not all(type(value) is int and 0 <= value < ELEMENTS for value in values):
        raise InvariantBroken("holds a shape, or a place, that is not made of numbers")
    return tuple(values)


def _storages(content: Any) -> list[_Storage]:
    """The storages of all tensors in a content, each once or more."""
    found: list[_Storage] = []
    _walk(content, lambda tensor: found.append(tensor.storage))
    return found


def _placed(content: Any, place: Callable[[_Storage], tuple[int, int]], size: int) -> Any:
    """The content of a file of so many bytes, with its tensors at their places: first byte, bytes of a storage."""
    places: dict[str, tuple[int, int]] = {}
    room = OVERLAP * size

    def placed(tensor: _Strided) -> Tensor:
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
