"""The weights in a file: which of its mappings they are, what their names begin with, whose architecture they are.

TRM's names, as upstream's model has them, stand behind ``model.inner.``, and behind ``_orig_mod.`` before that when the
model was compiled. Others save from within DistributedDataParallel (``module.``) or a class of their own, the inner model
alone, or a mapping with the weights beside an optimizer, averaged (EMA) beside raw. All are the same weights; how they were
stored is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.errors import InvariantBroken
from trm_repro.weights.stored import Tensor, read_content

UPSTREAM = re.compile(r"(_orig_mod\.)?model\.inner\.")  # what upstream's keys begin with
PREFIX = re.compile(r"(?:(?:_orig_mod|module|model|inner)\.)*")
TABLE = "puzzle_emb.weights"
MARKS = {
    "H_init": 1,
    "L_init": 1,
    "lm_head.weight": 2,
    "embed_tokens.embedding_weight": 2,
}  # every TRM's; their dimensions
FLOATS = {"F32", "F64", "F16", "BF16"}  # what is converted where it is not what upstream has
STRAY = "n_averaged"  # beside the prefix: what torch.optim.swa_utils.AveragedModel counts
UNSEEN = (
    "H_cycles",
    "L_cycles",
    "halt_max_steps",
    "num_heads",
    "puzzle_emb_len",
)  # of the configuration; no shape has them
DERIVED = re.compile(r"rotary_emb\.(cos|sin)_cached")  # computed from the configuration: nothing is lost without them
DEPTH = 3  # how deep in mappings weights are looked for


@dataclass(frozen=True)
class State:
    """A set of weights in a file.

    Attributes:
        path: the file.
        part: the names of the mappings around it, joined by dots; empty where the file is the state dict.
        prefix: what every key began with.
        tensors: by name without the prefix.
        beside: names of what else was in the mapping, or around it.
    """

    path: Path
    part: str
    prefix: str
    tensors: dict[str, Tensor]
    beside: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Whose architecture it is; ``TRM`` for what the engine loads."""
        found = architecture(self.tensors)
        if found == "TRM":
            for name, tensor in self.tensors.items():
                many = MARKS.get(name, 2 if name == TABLE else None)
                if tensor.dtype not in FLOATS or many not in (None, len(tensor.shape)):
                    return f"one whose {name} is {tensor.dtype} {list(tensor.shape)}, with which nothing here computes"
        return found

    def oddities(self) -> list[str]:
        """How it is stored in another way than upstream's, a sentence each; none where it is not."""
        notes = []
        if self.part:
            notes.append(f"the weights are the part {self.part} of {self.path.name}")
        if self.beside:
            shown = ", ".join(self.beside[:5]) + (f" and {len(self.beside) - 5} more" if len(self.beside) > 5 else "")
            notes.append(f"beside the weights, {self.path.name} holds what is not looked at: {shown}")
        if not UPSTREAM.fullmatch(self.prefix):
            begins = f"begin with {self.prefix}" if self.prefix else "have no prefix"
            notes.append(f"its keys {begins}, upstream's with model.inner. (read as the same)")
        return notes

    def conversions(self) -> list[str]:
        """What is not in the dtype of upstream's, a sentence a dtype: loading converts it."""
        notes = []
        for dtype in sorted(
            {t.dtype for name, t in self.tensors.items() if name not in ("H_init", "L_init")} - {"F32"}
        ):
            names = [name for name, t in self.tensors.items() if t.dtype == dtype and name not in ("H_init", "L_init")]
            notes.append(f"{len(names)} tensors are {dtype}, upstream's are F32 (converted): {names[0]}, …")
        return notes


def read_state(path: Path, part: str | None = None) -> State:
    """The weights in a file.

    Args:
        path: the file.
        part: which of several sets, such as ``ema_state_dict``; None where there is one.

    Raises:
        MissingPrerequisite: there is no such file.
        InvariantBroken: it is no file of weights, or holds none, or several and none was named.
    """
    content = read_content(path)
    found = {state.part: state for state in _states(path, content, "", DEPTH)}
    if part is not None and part not in found:
        raise InvariantBroken(f"{path.name}: no part {part!r} with weights; there is {_list(found)}")
    chosen = found[part] if part is not None else _only(path, found, content)
    if not chosen.part or not isinstance(content, Mapping):
        return chosen
    around = tuple(str(key) for key in content if key != chosen.part.partition(".")[0])
    return State(chosen.path, chosen.part, chosen.prefix, chosen.tensors, (*chosen.beside, *around))


def read_trm(path: Path, part: str | None = None) -> State:
    """:func:`read_state`, of a TRM.

    Raises:
        MissingPrerequisite, InvariantBroken: as there; or it is another architecture, which is named where it is known.
    """
    state = read_state(path, part)
    if state.kind != "TRM":
        raise InvariantBroken(
            f"{path.name}: not a TRM checkpoint: it is {state.kind}",
            hint="adapters are loaded on top of weights: load_adapters=…" if "adapters" in state.kind else None,
        )
    return state


def split_part(name: str) -> tuple[Path, str | None]:
    """``FILE`` or ``FILE:PART`` as file and part. A file of the whole name goes first."""
    before, colon, after = name.rpartition(":")
    if colon and not Path(name).exists() and Path(before).is_file():
        return Path(before), after
    return Path(name), None


def architecture(names: Mapping[str, Any]) -> str:
    """Whose weights have such names: ``TRM``, or words for what it is."""
    if names.keys() >= MARKS.keys() and any(name.startswith("L_level.") for name in names):
        if any(name.startswith("H_level.") for name in names):
            return "HRM: it has two networks, H_level and L_level, TRM has one"
        return "TRM"
    if any("_lora_" in name for name in names) and not names.keys() >= MARKS.keys():
        return "adapters of LoRA without the weights they adapt"
    if {"output_init_embed", "latent_init_embed"} & names.keys() or any(n.startswith("to_halt_pred.") for n in names):
        return "lucidrains' tiny-recursive-model, another architecture under the same name"
    missing = ", ".join(sorted(MARKS.keys() - names.keys())) or "L_level"
    shown = ", ".join(sorted(names)[:3])
    return f"of another architecture: it lacks {missing}; it has {shown}, …"


def _states(path: Path, content: Any, part: str, depth: int) -> Iterator[State]:
    """The sets of weights in a content: mappings of names to tensors."""
    if not isinstance(content, Mapping):
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield _state(path, part, tensors, tuple(str(key) for key in content if key not in tensors))
    if depth and len(tensors) < len(MARKS):  # else what lies among weights is not looked at
        for key, value in content.items():
            yield from _states(path, value, f"{part}.{key}" if part else str(key), depth - 1)


def _state(path: Path, part: str, tensors: Mapping[str, Tensor], beside: tuple[str, ...]) -> State:
    prefixes = {match[0] for name in tensors if name != STRAY and (match := PREFIX.match(name))}
    starts = {name.removesuffix("H_init") for name in tensors if f".{name}".endswith(".H_init")}
    alike = len(starts) == 1 and all(name.startswith(min(starts)) for name in tensors if name != STRAY)
    prefix = min(starts if alike else prefixes, key=len, default="")
    bare = {PREFIX.sub("", name, count=1): None for name in tensors}
    if architecture(bare) == "TRM" and (len(starts) > 1 or len(prefixes) > 1):
        begin = starts if len(starts) > 1 else prefixes
        raise InvariantBroken(
            f"{path.name}: its keys begin with {', '.join(map(repr, sorted(begin)))}, not all alike",
            hint="save again those that are meant, alone: which of them are the weights is not for this tool to say",
        )
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    aside = tuple(name for name in own if name == STRAY or DERIVED.fullmatch(name))
    return State(path, part, prefix, {k: v for k, v in own.items() if k not in aside}, (*aside, *beside))


def _only(path: Path, found: Mapping[str, State], content: Any) -> State:
    """The one set of weights; of several, the one that is TRM's."""
    if not found:
        held = (
            f"a {type(content).__name__}" if not isinstance(content, Mapping) else f"a mapping of {len(content)} keys"
        )
        raise InvariantBroken(f"{path.name}: holds no tensors by name: {held}")
    if len(found) == 1:
        return next(iter(found.values()))
    ours = {part: state for part, state in found.items() if state.kind == "TRM"}
    if len(ours) == 1:
        return next(iter(ours.values()))
    if not ours:
        return next(iter(found.values()))
    averaged = next((part for part in ours if "ema" in part.lower()), next(iter(ours)))
    raise InvariantBroken(
        f"{path.name}: holds several sets of weights: {_list(ours)}",
        hint=f"name one, as in {path.name}:{averaged} (the averaged ones, EMA, are what upstream evaluates)",
    )


def _list(parts: Mapping[str, Any]) -> str:
    return ", ".join(parts) or "the file itself"
