"""Checkpoints: upstream's format for the weights.

``step_<N>`` is a ``torch.save`` of the state dict, each key behind ``model.inner.``, and behind ``_orig_mod.`` before that
when the model was compiled. It holds the weights only (the averaged ones, where there is an average). Other people's
weights are stored in other ways: what is read is :mod:`trm_repro.weights`' to say.

Nothing is ever unpickled: a training state's ``torch.load`` runs with ``weights_only=True``.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trm_repro import progress
from trm_repro.digests import digest_file
from trm_repro.engine.layers import truncated_normal
from trm_repro.engine.model import TRM, ModelConfig
from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import read_bytes, staged
from trm_repro.interrupt import leads
from trm_repro.weights.find import find_in
from trm_repro.weights.state import TABLE, State, read_state, read_trm, split_part
from trm_repro.weights.stored import Tensor as Stored

PREFIX = "model.inner."
ROWS = 8192  # of a table are loaded at a time: 17 MB of puzzle vectors
COMPILED = "_orig_mod."
SHOWN = 30  # misfits of weights and model
DTYPES = {
    "F32": torch.float32,
    "F64": torch.float64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def load(path: Path, device: torch.device | str = "cpu", *, every_byte: bool = False) -> dict[str, Any]:
    """What ``torch.save`` wrote, if it is data only.

    Args:
        path: the file.
        device: where to put tensors.
        every_byte: compare all of it with the checksums that ``torch.save`` wrote: damaged numbers look like others.

    Raises:
        MissingPrerequisite: no such file.
        InvariantBroken: it is damaged, or holds more than data.
    """
    try:
        is_zip = zipfile.is_zipfile(path)  # what torch.save wrote before version 1.6 is not, and cannot be mapped
        if every_byte and is_zip:
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"the checksum of {damaged} does not match")
        return torch.load(path, map_location=device, weights_only=True, mmap=is_zip)  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise MissingPrerequisite(f"{path}: no such file") from None
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except pickle.UnpicklingError:  # whose message recommends weights_only=False
        raise InvariantBroken(
            f"{path}: not a readable checkpoint: it is damaged, or holds more than data; nothing of it was run"
        ) from None
    except Exception as error:  # whatever the reader stumbles over in a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InvariantBroken(f"{path}: not a readable checkpoint: {reason}") from None


def save_weights(path: Path, state: Mapping[str, Tensor], *, compiled: bool = False) -> None:
    """Writes a model's state dict (or its adapters) in upstream's format, atomically; equal weights give equal bytes."""
    prefix = (COMPILED if compiled else "") + PREFIX
    # Through an open file: given a path, torch.save would write the temporary file's name into the archive.
    # Cloned: of a parameter, which is a view, it would write the vector of all parameters.
    with staged(path) as temporary, temporary.open("wb") as file:
        torch.save({prefix + key: value.detach().cpu().clone() for key, value in state.items()}, file)


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """The weights of a TRM, from a checkpoint of anybody's: names without prefixes, values in the file's own dtypes.

    Args:
        path: the file, ``FILE:PART`` where it holds several sets of weights, or a folder with one.

    Raises:
        MissingPrerequisite: no such file.
        InvariantBroken: it is no checkpoint of a TRM (see :mod:`trm_repro.weights.state`).
    """
    return _mapped_all(read_trm(*split_part(str(find_in(Path(path))[0]))))


def read_adapters(path: Path | str) -> dict[str, Tensor]:
    """The same of a file of adapters, whose names are not a TRM's."""
    return _mapped_all(read_state(*split_part(str(path))))


def _mapped_all(state: State) -> dict[str, Tensor]:
    data = np.memmap(state.path, np.uint8, "c")  # private to this process: nothing written to a tensor reaches the file
    return {name: _mapped(data, tensor) for name, tensor in state.tensors.items()}


def _mapped(data: np.ndarray, stored: Stored) -> Tensor:
    """A tensor of a file, its values not read before they are needed."""
    values, dtype = data[stored.begin : stored.begin + stored.bytes], DTYPES[stored.dtype]
    if not stored.bytes:
        return torch.empty(stored.shape, dtype=dtype)
    if stored.begin % dtype.itemsize:  # PyTorch's format before 1.6 does not align
        values = values.copy()
    return torch.frombuffer(values, dtype=dtype).reshape(stored.shape)


def know_same_puzzles(folder: Path, dataset: Path) -> bool | None:
    """Whether the puzzle vectors of a checkpoint in ``folder`` belong to the dataset's identifiers.

    Returns:
        None where nothing tells: the dataset has no identifiers.json, or the folder neither identifiers.sha256 nor
        identifiers.json.
    """
    here, record, copy = dataset / "identifiers.json", folder / "identifiers.sha256", folder / "identifiers.json"
    if not here.is_file() or not (record.is_file() or copy.is_file()):
        return None
    recorded = (
        read_bytes(record, 1000).decode(errors="replace").split(" ")[0]
        if record.is_file()
        else digest_file(copy).sha256
    )
    return recorded == digest_file(here).sha256


def load_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    table_policy: str = "refuse",
    same_puzzles: bool = True,
) -> list[str]:
    """Puts ``weights`` into the model; adapters that the checkpoint lacks keep their initial values.

    Args:
        model: a TRM.
        weights: from :func:`read_weights`.
        source: the checkpoint's name, for messages.
        table_policy: when the puzzle table is of another size, or of other puzzles: ``refuse``, or fill the model's with
            the mean of the checkpoint's rows (``mean``) or with a normal of their mean and standard deviation (``normal``).
        same_puzzles: False: the checkpoint's puzzles are known to be others.

    Returns:
        What was done beyond plain loading, one sentence each.

    Raises:
        InvariantBroken: keys or shapes do not match.
    """
    own, weights, said = model.state_dict(), dict(weights), []
    rows, wanted = (len(table[TABLE]) if TABLE in table else 0 for table in (weights, own))
    if rows and wanted and (rows != wanted or not same_puzzles):
        if table_policy == "refuse":
            raise InvariantBroken(
                f"{source} has {rows} puzzle vectors, the dataset {wanted} identifiers"
                + (", and they are others" if rows == wanted else ""),
                hint="to adapt to new puzzles, ask for puzzle_emb_reinit_strategy=mean (or normal)",
            )
        weights[TABLE] = _new_table(weights[TABLE], wanted, table_policy)
        said.append(f"the {rows} puzzle vectors were replaced by {wanted} new ones ({table_policy} of the old)")
    if missing := check_fit(own, weights, source):
        said.append(f"{len(missing)} adapter matrices start from their initial values")
    for dtype in {str(value.dtype): None for key, value in weights.items() if value.dtype != own[key].dtype}:
        count = sum(str(value.dtype) == dtype != str(own[key].dtype) for key, value in weights.items())
        said.append(f"{count} tensors were converted from {dtype.removeprefix('torch.')}")
    tables = [(own[key], value) for key, value in weights.items()]
    total = sum(value.nbytes for _, value in tables)
    with (
        torch.no_grad(),
        progress.track("loading", total=round(total / 10**6), unit="MB", after=progress.SOON, quiet=not leads()) as bar,
    ):
        done = 0
        for to, value in tables:
            for start in range(0, len(value) if value.dim() else 1, ROWS):
                piece: Any = slice(start, start + ROWS) if value.dim() else ...
                to[piece].copy_(value[piece])
                bar.advance(round((done + value[piece].nbytes) / 10**6) - round(done / 10**6))
                done += value[piece].nbytes
    return said


def check_fit(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str) -> set[str]:
    """Checks names and shapes of weights against a model's, which may be on the device ``meta``.

    Returns:
        The model's adapters, where the weights are whole but for them.

    Raises:
        InvariantBroken: keys or shapes do not match.
    """
    adapters = {key for key in own if "_lora_" in key}
    missing = own.keys() - weights.keys()
    if adapters and missing == adapters:
        missing = set()
    else:
        adapters = set()
    problems = [f"missing: {key}" for key in sorted(missing)]
    problems += [f"unexpected: {key}" for key in sorted(weights.keys() - own.keys())]
    problems += [
        f"different: {key}: {tuple(weights[key].shape)}, the model has {tuple(own[key].shape)}"
        for key in sorted(own.keys() & weights.keys())
        if own[key].shape != weights[key].shape
    ]
    if problems:
        shown = [*problems[:SHOWN], *([f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else [])]
        raise InvariantBroken(f"{source} does not fit the model:\n  " + "\n  ".join(shown))
    return adapters


def built(config: ModelConfig, adapt: Callable[[TRM], None], weights: Mapping[str, Tensor], *, source: str) -> TRM:
    """A model of a configuration with these weights.

    Args:
        config: the configuration, which may be a stranger's: the model is made only if the weights are its own.
        adapt: adds the adapters that the configuration asks for.
        weights: from :func:`read_weights`.
        source: the checkpoint's name, for messages.

    Raises:
        InvariantBroken: the weights are another model's.
    """
    stored = "learned" if config.pos_encodings == "learned" else "none"  # the tables of rotary positions are not
    with torch.device("meta"):  # it may ask for a model that no memory holds
        adapt(outline := TRM(replace(config, pos_encodings=stored)))
    check_fit(outline.state_dict(), weights, source)
    adapt(model := TRM(config))
    load_weights(model, weights, source=source)
    return model


def _new_table(old: Tensor, rows: int, policy: str) -> Tensor:
    mean = old.mean(0, keepdim=True)
    if policy == "mean":
        return mean.expand(rows, -1)
    return mean + truncated_normal((rows, old.shape[1]), std=1.0) * old.std(0, keepdim=True)
