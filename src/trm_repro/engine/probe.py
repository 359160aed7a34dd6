"""With which cycles and puzzle slots weights were trained: neither shows in their shapes, and others give no error.

A small fixed sample of pairs that the weights were trained on is answered under each plausible setting. Weights know their
training pairs best as they were trained; the loss of the answers tells the settings apart, pair by pair.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trm_repro import progress
from trm_repro.engine.checkpoint import built, read_weights
from trm_repro.engine.config import ArchConfig
from trm_repro.engine.data import Indices, Split
from trm_repro.engine.loss import IGNORE, LOG_PROBABILITIES, exact_device
from trm_repro.engine.model import TRM
from trm_repro.errors import InvariantBroken
from trm_repro.weights.state import TABLE

SAMPLE = 64  # pairs
STEPS = 1  # supervision steps of 16: training asks for the answer after each, and later ones make up for wrong cycles
PLAUSIBLE = {"H_cycles": (3,), "L_cycles": (4, 6), "puzzle_emb_len": (16, 1)}
CLEAR, LEANING = 3.0, 1.0  # standard errors between the best setting and the best with another value


@dataclass(frozen=True)
class Tried:
    """One setting and how the sample was answered.

    Attributes:
        setting: architecture key → value.
        losses: of each pair, the mean over its tokens and the supervision steps (pairs,).
        accuracy: share of right tokens after the last step, mean over pairs.
        exact: share of pairs answered rightly in all tokens after it.
    """

    setting: Mapping[str, int]
    losses: NDArray[np.float64]
    accuracy: float
    exact: float


@dataclass(frozen=True)
class Probe:
    """What came of it.

    Attributes:
        tried: the settings, the best first.
        apart: by key, how many standard errors, over pairs, lie between the best setting and the best with another value.
        configured: the setting of the configuration; None where there is none.
    """

    tried: tuple[Tried, ...]
    apart: Mapping[str, float]
    configured: Mapping[str, int] | None

    @property
    def clear(self) -> bool:
        """Whether the sample tells."""
        return all(errors >= CLEAR for errors in self.apart.values())

    @property
    def contradicted(self) -> list[str]:
        """The keys whose configured value is clearly not the one that the weights were trained with."""
        best, configured = self.tried[0].setting, self.configured or {}
        return [key for key in configured if configured[key] != best[key] and self.apart.get(key, 0.0) >= CLEAR]

    @property
    def exit_code(self) -> int:
        """0: clear, and as configured where there is a configuration. 1: clearly another. 3: it cannot be told."""
        return 1 if self.contradicted else 0 if self.clear else 3

    def __str__(self) -> str:
        lines = [f"{'setting':46}loss      token acc.  exact"]
        for one in self.tried:
            mark = "  (as configured)" if one.setting == self.configured else ""
            lines.append(
                f"{_words(one.setting):44}{one.losses.mean():8.4f}  {one.accuracy:10.4f}  {one.exact:5.3f}{mark}"
            )
        pairs = len(self.tried[0].losses)
        for key, errors in self.apart.items():
            value = self.tried[0].setting[key]
            apart = f"{errors:.1f} standard errors before another value, over {pairs} pairs"
            if key in self.contradicted:
                lines.append(
                    f"{key}: trained with {value}, NOT with {(self.configured or {})[key]} as configured: {apart}"
                )
            elif errors >= CLEAR:
                lines.append(f"{key}: trained with {value}: {apart}")
            elif errors >= LEANING:
                lines.append(f"{key}: probably {value}, not clearly: {apart}; more pairs tell more (--sample)")
            else:
                lines.append(
                    f"{key}: cannot be told: {apart}; weights trained shortly, or on other pairs, do not show it"
                )
        return "\n".join(lines)


def _words(setting: Mapping[str, int]) -> str:
    return " ".join(f"{key}={value}" for key, value in setting.items())


def settings(arch: ArchConfig | None) -> list[dict[str, int]]:
    """The settings to try: the plausible ones, and the configuration's own first."""
    tried = [dict(zip(PLAUSIBLE, values, strict=True)) for values in itertools.product(*PLAUSIBLE.values())]
    if arch is None:
        return tried
    if not arch.puzzle_emb_ndim:  # no slots without vectors
        tried = [setting | {"puzzle_emb_len": 0} for setting in tried]
    own = {key: getattr(arch, key) for key in PLAUSIBLE}
    fits = [s for s in tried if arch.puzzle_emb_ndim <= max(1, s["puzzle_emb_len"]) * arch.hidden_size]
    return [own, *({tuple(s.items()): s for s in fits if s != own}.values())]


def guess(weights: Mapping[str, Any]) -> ArchConfig:
    """The architecture that weights can have, from their shapes: heads of 64, as in all that is published."""
    width, layers = weights["lm_head.weight"].shape[1], {name.split(".")[2] for name in weights if ".layers." in name}
    table = weights.get(TABLE)
    found = {
        "hidden_size": width,
        "num_heads": max(1, width // 64),
        "L_layers": len(layers),
        "puzzle_emb_ndim": 0 if table is None else table.shape[1],
        "puzzle_emb_len": 0 if table is None else 16,
        "pos_encodings": "learned" if "embed_pos.embedding_weight" in weights else "rope",
        "forward_dtype": str(weights["H_init"].dtype).removeprefix("torch."),
        "mlp_t": any(".mlp_t." in name for name in weights),
    }
    return ArchConfig.model_validate(found)


def sample(split: Split, pairs: int) -> Indices:
    """So many examples as they stand, not augmented (of each group's first puzzle), evenly spread over the groups."""
    examples = split.evaluation_examples(max_augmentations=0)
    return np.asarray(examples[np.unique(np.linspace(0, len(examples) - 1, min(pairs, len(examples))).astype(int))])


def probe(
    path: Path, arch: ArchConfig | None, dataset: Path, device: torch.device, *, pairs: int = SAMPLE, steps: int = STEPS
) -> Probe:
    """Finds out with which cycles and slots weights were trained.

    Args:
        path: the weights.
        arch: their configuration's architecture; None where there is none.
        dataset: the folder of the dataset they were trained on.
        device: where to compute.
        pairs: how many training pairs to answer.
        steps: supervision steps an answer takes; not more than the training took.

    Raises:
        InvariantBroken: the weights do not belong to the dataset.
    """
    weights, split = read_weights(path), Split(dataset, "train")
    puzzles = weights[TABLE].shape[0] if TABLE in weights else 0
    if puzzles and puzzles != split.metadata.num_puzzle_identifiers:
        raise InvariantBroken(
            f"{path}: {puzzles} puzzle vectors, {dataset}: {split.metadata.num_puzzle_identifiers} identifiers",
            hint="the probe needs the dataset that the weights were trained on, built the same way",
        )
    base = arch or guess(weights)
    examples, tried = sample(split, pairs), []
    choices = settings(arch)
    with progress.track(f"probing {path.name}", total=len(choices), unit="settings") as bar:
        for setting in choices:
            bar.note(_words(setting))
            changes = {**setting, "halt_max_steps": min(steps, base.halt_max_steps)}
            trial = ArchConfig(**(base.model_dump() | changes))
            size = trial.sized(split.metadata.vocab_size, split.metadata.seq_len, puzzles)
            model = built(size, base.adapt, weights, source=str(path))
            tried.append(_try(model.to(device).eval(), setting, split, examples, base.loss.loss_type))
            bar.advance()
    tried.sort(key=lambda one: float(one.losses.mean()))
    configured = {key: getattr(arch, key) for key in PLAUSIBLE} if arch else None
    return Probe(tuple(tried), {key: _apart(tried, key) for key in PLAUSIBLE if _varies(tried, key)}, configured)


@torch.no_grad()
def _try(model: TRM, setting: Mapping[str, int], split: Split, examples: Indices, loss_type: str) -> Tried:
    losses, right, exact = [], [], []
    place = exact_device(model.H_init.device)
    for start in range(0, len(examples), 16):
        rows = examples[start : start + 16]
        batch = split.batch(rows, len(rows)).to(model.H_init.device)
        labels = batch.labels.to(place)
        valid = labels != IGNORE
        count = valid.sum(-1).clamp_min(1)
        chosen = torch.where(valid, labels, 0).long().unsqueeze(-1)
        e = model.embed(batch.inputs, model.puzzle_vectors(batch.puzzle_identifiers))
        state, total = model.initial_state(len(rows)), torch.zeros(len(rows), dtype=torch.float64)
        for _ in range(model.config.halt_max_steps):
            state = model.think(state, e)
            logits, _ = model.read(state)
            logits = logits.to(place)
            log_p = LOG_PROBABILITIES[loss_type](logits).gather(-1, chosen).squeeze(-1)
            total += (-(log_p * valid).sum(-1) / count).double().cpu() / model.config.halt_max_steps
        good = (valid & (logits.argmax(-1) == labels)).sum(-1)
        losses.append(total)
        right.append((good / count).double().cpu())
        exact.append((good == count).double().cpu())
    found = torch.cat(losses).numpy()
    if not np.isfinite(found).all():
        raise InvariantBroken(f"with {_words(setting)} the answers are not finite numbers: the weights are not either")
    return Tried(setting, found, float(torch.cat(right).mean()), float(torch.cat(exact).mean()))


def _varies(tried: Sequence[Tried], key: str) -> bool:
    return len({one.setting[key] for one in tried}) > 1


def _apart(tried: Sequence[Tried], key: str) -> float:
    """From the best setting to the best with another value: the mean difference of losses, pair by pair, in standard errors."""
    best = tried[0]
    other = next(one for one in tried if one.setting[key] != best.setting[key])
    apart = other.losses - best.losses
    spread = float(apart.std(ddof=1)) if len(apart) > 1 else 0.0
    return float(apart.mean()) / (spread / math.sqrt(len(apart))) if spread else (math.inf if apart.mean() > 0 else 0.0)
