"""What is in a checkpoint, read without torch and without running anything that is in it.

A checkpoint is what ``torch.save`` writes for a dictionary of tensors: a ZIP archive, entries stored uncompressed, with a
pickle that describes the tensors (``…/data.pkl``) and one entry of little-endian numbers a storage (``…/data/KEY``).
The pickle is read by an unpickler that knows six names and refuses every other one, so that nothing in a file can run.
Values are mapped into memory, not read, until somebody looks at them.

Keys lie behind ``model.inner.``, and behind ``_orig_mod.`` before that if the model was compiled (spec: upstream's layout).
"""

from __future__ import annotations

import math
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from trm_repro.errors import InvariantBroken, MissingPrerequisite

COMPILED, PREFIX = "_orig_mod.", "model.inner."
TABLE = "puzzle_emb.weights"
STORAGES = {
    "FloatStorage": "float32",
    "BFloat16Storage": "bfloat16",
    "HalfStorage": "float16",
    "DoubleStorage": "float64",
}
SIZES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}
LOCAL_HEADER = struct.Struct("<26xHH")  # of a ZIP entry: the lengths of its name and its extra field come last
CHUNK = 1 << 24  # numbers looked at together: 64 MiB of float32


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint.

    Attributes:
        shape: its size.
        dtype: ``float32``, ``bfloat16``, ``float16`` or ``float64``.
        path: the checkpoint.
        offset: where its numbers begin in that file, in bytes; they lie in C order.
    """

    shape: tuple[int, ...]
    dtype: str
    path: Path
    offset: int

    @property
    def bytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * SIZES[self.dtype]

    def values(self) -> npt.NDArray[Any]:
        """Its numbers, mapped; bfloat16 as the uint16 of its bits."""
        kind = "uint16" if self.dtype == "bfloat16" else self.dtype
        return np.memmap(self.path, np.dtype(kind).newbyteorder("<"), "r", self.offset, self.shape)

    def infinite(self) -> int:
        """How many of its numbers are not finite."""
        flat, found = self.values().reshape(-1), 0
        for start in range(0, len(flat), CHUNK):
            part = flat[start : start + CHUNK]
            if self.dtype == "bfloat16":
                found += int(np.count_nonzero(part & 0x7F80 == 0x7F80))  # all bits of the exponent set
            else:
                found += int(np.count_nonzero(~np.isfinite(part)))
        return found


@dataclass(frozen=True)
class Weights:
    """A checkpoint's tensors by name, without the prefix, which is ``prefix``."""

    prefix: str
    tensors: Mapping[str, Tensor]

    @property
    def bytes(self) -> int:
        """The size of all tensors, in bytes."""
        return sum(tensor.bytes for tensor in self.tensors.values())


def expected_shapes(
    arch: Mapping[str, Any], *, vocabulary: int, identifiers: int
) -> dict[str, tuple[tuple[int, ...], str]]:
    """(shape, dtype) by name of what a checkpoint of ``arch=trm`` with attention holds.

    Args:
        arch: the configuration's ``arch``: ``hidden_size``, ``expansion``, ``L_layers``, ``forward_dtype``.
        vocabulary: number of tokens.
        identifiers: number of puzzle identifiers, the blank one included.
    """
    hidden, dtype = int(arch["hidden_size"]), str(arch["forward_dtype"])
    inner = -(-round(float(arch["expansion"]) * hidden * 2 / 3) // 256) * 256  # SwiGLU's width: ⅔ of it, up to 256s
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "H_init": ((hidden,), dtype),
        "L_init": ((hidden,), dtype),
        "embed_tokens.embedding_weight": ((vocabulary, hidden), "float32"),
        "lm_head.weight": ((vocabulary, hidden), "float32"),
        "q_head.weight": ((2, hidden), "float32"),
        "q_head.bias": ((2,), "float32"),
        TABLE: ((identifiers, int(arch["puzzle_emb_ndim"])), "float32"),
    }
    for layer in range(int(arch["L_layers"])):
        place = f"L_level.layers.{layer}."
        shapes[place + "self_attn.qkv_proj.weight"] = ((3 * hidden, hidden), "float32")
        shapes[place + "self_attn.o_proj.weight"] = ((hidden, hidden), "float32")
        shapes[place + "mlp.gate_up_proj.weight"] = ((2 * inner, hidden), "float32")
        shapes[place + "mlp.down_proj.weight"] = ((hidden, inner), "float32")
    return shapes


def read_weights(path: Path) -> Weights:
    """Reads what a checkpoint holds; the numbers stay on the disk.

    Raises:
        MissingPrerequisite: there is no such file.
        InvariantBroken: it is cut off or damaged, is no checkpoint, or holds more than tensors.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            found = _read(path, file, archive)
    except FileNotFoundError:
        raise MissingPrerequisite(f"{path}: no such file") from None
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, IndexError) as error:
        raise InvariantBroken(
            f"{path}: not a whole checkpoint: {error}", hint="a file cut off while it was written cannot be used"
        ) from None
    prefix = next((match[0] for key in found if (match := re.match(r"(_orig_mod\.)?model\.inner\.", key))), "")
    strange = [key for key in found if not prefix or not key.startswith(prefix)]
    if strange:
        raise InvariantBroken(f"{path}: not a TRM checkpoint: its keys begin with {strange[0]!r}")
    return Weights(prefix, {key.removeprefix(prefix): tensor for key, tensor in found.items()})


def _read(path: Path, file: BinaryIO, archive: zipfile.ZipFile) -> dict[str, Tensor]:
    description = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
    places = {}
    for entry in archive.infolist():
        if match := re.fullmatch(r"[^/]+/data/([0-9]+)", entry.filename):
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError("its numbers are compressed")
            file.seek(entry.header_offset)
            name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            places[match[1]] = (entry.header_offset + LOCAL_HEADER.size + name + extra, entry.file_size)
    with archive.open(description) as pickled:
        state = _Unpickler(pickled).load()
    if not isinstance(state, dict):
        raise ValueError("it holds no dictionary")
    return dict(_tensors(path, state, places))


def _tensors(
    path: Path, state: Mapping[Any, Any], places: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[str, Tensor]]:
    for key, value in state.items():
        if not isinstance(value, _Described):
            raise ValueError(f"{key} is no tensor")
        dtype, storage = value.storage
        start, size = places[storage]
        contiguous = [math.prod(value.shape[place + 1 :]) for place in range(len(value.shape))]
        if any(a != b for a, b, length in zip(contiguous, value.stride, value.shape, strict=True) if length > 1):
            raise ValueError(f"{key} is stored in another order than its own")
        tensor = Tensor(value.shape, dtype, path, start + value.offset * SIZES[dtype])
        if tensor.offset + tensor.bytes > start + size:
            raise ValueError(f"{key} reaches beyond its storage")
        yield str(key), tensor


@dataclass(frozen=True)
class _Described:
    """A tensor as the pickle has it; ``offset`` and ``stride`` count numbers, ``storage`` is (dtype, entry)."""

    storage: tuple[str, str]
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Knows the names that a state dict needs; refuses all others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: _Described(storage, offset, tuple(shape), tuple(stride))
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no checkpoint needs")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        kind, dtype, key, _device, _count = pid
        if kind != "storage" or dtype not in SIZES:
            raise pickle.UnpicklingError(f"it refers to {pid}")
        return dtype, str(key)
