"""A checkpoint's safetensors twin: written, and compared with it. Values are read piece by piece, in constant memory."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

from trm_repro.errors import InvariantBroken
from trm_repro.progress import MB, SOON, Counted, track
from trm_repro.weights.stored import Tensor, read_content

PIECE = 1 << 20  # bytes compared or copied at a time

# Safetensors writes the tensors of the last of these first.
ORDER = ("BOOL", "U8", "F16", "BF16", "I32", "F32", "F64", "I64")


def write_safetensors(checkpoint: Path, twin: Path) -> None:
    """Writes a checkpoint's tensors, under the same names, as safetensors: the bytes that its own library would write.

    Raises:
        MissingPrerequisite, InvariantBroken: as :func:`~trm_repro.weights.stored.read_content`; or it is no plain state dict.
    """
    tensors = sorted(_flat(checkpoint).items(), key=lambda item: (-ORDER.index(item[1].dtype), item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors:
        begin, end = end, end + tensor.bytes
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the values begin at a multiple of 8
    with (
        checkpoint.open("rb") as source,
        twin.open("wb") as plain,
        track(f"writing {twin.name}", total=end // MB, unit="MB", after=SOON) as bar,
    ):
        file = Counted(plain, bar)
        file.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in tensors:
            source.seek(tensor.begin)
            for start in range(0, tensor.bytes, PIECE):
                file.write(source.read(min(PIECE, tensor.bytes - start)))


def different_values(first: Path, second: Path) -> list[str]:
    """Which tensors of a checkpoint and its safetensors twin differ, one line each: name, dtype, shape or bytes."""
    ours, theirs = _flat(first), _flat(second)
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


def _flat(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that is a plain state dict, under the names it gives them."""
    content = read_content(path)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InvariantBroken(f"{path.name}: holds more than a plain state dict")
    return {str(name): tensor for name, tensor in content.items()}
