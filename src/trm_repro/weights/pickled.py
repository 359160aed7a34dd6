"""What a pickle describes, if it is a state dict: its instructions followed one by one, none of it run.

Those that a state dict is made of are known, and every other is refused, so that looking at a stranger's checkpoint runs
none of his code and costs no more than its length.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from trm_repro.errors import InvariantBroken

DIMENSIONS, ELEMENTS = 16, 1 << 48  # of a tensor, at most
MOST_VALUES, MOST_DEPTH = 1_000_000, 16  # of a description: an optimizer's state has some thousand values in 5 levels
ASK = "ask its author for a torch.save of the state dict alone, or for safetensors"

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
class Storage:
    """Where a file keeps values, as a pickle refers to it: their dtype, bytes an element, and its key."""

    dtype: str
    width: int
    key: str


@dataclass(frozen=True)
class Strided:
    """A tensor as a pickle describes it; offset and stride in elements."""

    storage: Storage
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


def describe(data: BinaryIO) -> Any:
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


def _storage(pid: Any) -> Storage:
    """A storage, from what a state dict refers to it by."""
    kind, storage, key, _, _, *view = pid
    if kind != "storage" or not isinstance(storage, _Global) or not isinstance(key, str) or any(view):
        raise InvariantBroken("refers to something that is no part of a state dict")
    dtype, width = STORAGES[storage.name.removeprefix("torch ")]
    return Storage(dtype, width, key)


def _made(maker: Any, words: Any) -> Any:
    """What a state dict's functions would make of their arguments."""
    name = maker.name if isinstance(maker, _Global) else ""
    if name == ORDERED:
        return {}
    if name == SIZE:
        return list(sizes(words[0]))
    if name == PARAMETER and isinstance(words[0], Strided):
        return words[0]
    if name == TENSOR:
        storage, offset, size, stride, *_ = words
        (start,) = sizes((offset,))
        if not isinstance(storage, Storage):
            raise InvariantBroken("holds a tensor without a storage")
        return Strided(storage, start, sizes(size), sizes(stride))
    raise InvariantBroken("calls what is no part of a state dict")


def sizes(values: Any) -> tuple[int, ...]:
    """Numbers of elements or bytes, such as a shape: checked to be such, and few."""
    if not isinstance(values, list | tuple) or len(values) > DIMENSIONS:
        raise InvariantBroken("holds a shape, or a place, that is none")
    if not all(type(value) is int and 0 <= value < ELEMENTS for value in values):
        raise InvariantBroken("holds a shape, or a place, that is not made of numbers")
    return tuple(values)


def storages_of(content: Any) -> list[Storage]:
    """The storages of all tensors in a content, each once or more."""
    found: list[Storage] = []
    walked(content, lambda tensor: found.append(tensor.storage))
    return found


def walked(content: Any, see: Callable[[Strided], Any]) -> Any:
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
        if isinstance(value, Strided):
            return see(value)
        if isinstance(value, Mapping):
            return {key: walk(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [walk(inner, depth + 1) for inner in value]
        return value

    return walk(content, 0)
