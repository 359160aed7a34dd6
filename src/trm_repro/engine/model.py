"""The Tiny Recursive Model: one small network applied many times to a latent state and an answer.

Follows "Less is More: Recursive Reasoning with Tiny Networks" (arXiv 2510.04871) as the upstream code computes it.
Shapes: B batch, S grid tokens, P puzzle slots in front of the grid, L = S + P, D hidden size, V vocabulary, N puzzles.

The module is a pure function of its inputs: a puzzle's learned vector is read from the table by the caller
(:meth:`TRM.puzzle_vectors`), so that training can ask for the gradient of the rows it used and of nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trm_repro.engine.layers import Embedding, Linear, Network, rotary_table, truncated_normal
from trm_repro.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What more would be a slip, or a stranger's ill will.
MOST = dict.fromkeys(
    ("H_cycles", "L_cycles", "L_layers", "halt_max_steps", "num_heads", "puzzle_emb_len", "expansion"), 1000
)
MOST |= dict.fromkeys(("hidden_size", "puzzle_emb_ndim"), 1 << 20)
Q_HEAD_BIAS = -5.0  # the q head starts sure that nothing is right: sigmoid(−5) = 0.7 %


@dataclass(frozen=True)
class ModelConfig:
    """What the shape and the computation of a model depend on; the defaults are :class:`config.ArchConfig`'s.

    Raises:
        UsageError: the values do not fit together.
    """

    vocab_size: int
    seq_len: int
    num_puzzle_identifiers: int
    H_cycles: int
    L_cycles: int
    L_layers: int
    hidden_size: int
    num_heads: int
    expansion: float
    puzzle_emb_ndim: int
    puzzle_emb_len: int
    pos_encodings: str
    forward_dtype: str
    mlp_t: bool
    halt_max_steps: int
    halt_exploration_prob: float

    def __post_init__(self) -> None:
        if self.pos_encodings not in ("rope", "learned", "none"):
            raise UsageError(f"arch.pos_encodings is {self.pos_encodings!r}; it can be rope, learned or none")
        if self.forward_dtype not in DTYPES:
            raise UsageError(f"arch.forward_dtype is {self.forward_dtype!r}; it can be {', '.join(DTYPES)}")
        for name in ("H_cycles", "L_cycles", "L_layers", "halt_max_steps", "hidden_size", "num_heads"):
            if getattr(self, name) < 1:
                raise UsageError(f"arch.{name} is {getattr(self, name)}; it must be at least 1")
        for name, most in MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"arch.{name} is {getattr(self, name)}; it can be at most {most:,}, and not negative")
        if self.hidden_size % self.num_heads or (
            self.pos_encodings == "rope" and self.hidden_size // self.num_heads % 2
        ):
            raise UsageError(
                f"arch.hidden_size {self.hidden_size} does not divide into {self.num_heads} heads of even width"
            )
        if self.puzzle_emb_ndim > self.puzzle_slots * self.hidden_size:
            raise UsageError(
                f"arch.puzzle_emb_ndim {self.puzzle_emb_ndim} does not fit into "
                f"puzzle_emb_len · hidden_size = {self.puzzle_slots} · {self.hidden_size}"
            )
        if self.puzzle_emb_ndim == 0 and self.puzzle_emb_len:
            raise UsageError("arch.puzzle_emb_ndim is 0, so arch.puzzle_emb_len must be 0 too")

    @property
    def puzzle_slots(self) -> int:
        """P: positions in front of the grid that hold the puzzle's vector."""
        return self.puzzle_emb_len or -(-self.puzzle_emb_ndim // self.hidden_size)

    @property
    def positions(self) -> int:
        """L = S + P."""
        return self.seq_len + self.puzzle_slots

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of activations."""
        return DTYPES[self.forward_dtype]


class State(NamedTuple):
    """What the model carries from one supervision step to the next; each B × L × D in forward_dtype."""

    z_H: Tensor
    z_L: Tensor


class PuzzleTable(nn.Module):
    """One learned vector a puzzle (N, puzzle_emb_ndim), float32; a buffer, trained by sign descent beside the parameters."""

    weights: Tensor

    def __init__(self, puzzles: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(puzzles, width))


class TRM(nn.Module):
    """The model. Its state dict has the keys of published checkpoints, without their prefix."""

    H_init: Tensor
    L_init: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        D, dtype = config.hidden_size, config.dtype
        self.embed_tokens = Embedding(config.vocab_size, D, std=D**-0.5, dtype=dtype)
        self.lm_head = Linear(D, config.vocab_size)
        self.q_head = Linear(D, 2, bias=True)
        with torch.no_grad():
            self.q_head.weight.zero_()
            assert self.q_head.bias is not None
            self.q_head.bias.fill_(Q_HEAD_BIAS)
        if config.puzzle_emb_ndim:
            self.puzzle_emb = PuzzleTable(config.num_puzzle_identifiers, config.puzzle_emb_ndim)
        if config.pos_encodings == "learned":
            self.embed_pos = Embedding(config.positions, D, std=D**-0.5, dtype=dtype)
        elif config.pos_encodings == "rope":
            cos, sin = rotary_table(config.positions, D // config.num_heads)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
        self.L_level = Network(
            config.L_layers,
            D,
            config.num_heads,
            config.expansion,
            mlp_positions=config.positions if config.mlp_t else None,
        )
        self.register_buffer("H_init", truncated_normal((D,), std=1.0).to(dtype))
        self.register_buffer("L_init", truncated_normal((D,), std=1.0).to(dtype))
        self.checkpoint_activations = False

    def initial_state(self, batch: int) -> State:
        """The state every puzzle starts from."""
        shape = (batch, self.config.positions, self.config.hidden_size)
        return State(self.H_init.expand(shape), self.L_init.expand(shape))

    def puzzle_vectors(self, puzzle_identifiers: Tensor) -> Tensor:
        """(B,) to (B, puzzle_emb_ndim), float32: the rows of the table, not attached to it."""
        if not self.config.puzzle_emb_ndim:
            return torch.empty(len(puzzle_identifiers), 0, device=puzzle_identifiers.device)
        return self.puzzle_emb.weights[puzzle_identifiers]

    def embed(self, inputs: Tensor, puzzle_vectors: Tensor) -> Tensor:
        """Tokens (B, S) and puzzle vectors (B, puzzle_emb_ndim) to the injected embedding (B, L, D)."""
        config = self.config
        e = self.embed_tokens(inputs)
        if config.puzzle_slots:
            padding = config.puzzle_slots * config.hidden_size - config.puzzle_emb_ndim
            slots = F.pad(puzzle_vectors.to(config.dtype), (0, padding))
            e = torch.cat((slots.view(-1, config.puzzle_slots, config.hidden_size), e), dim=1)
        if config.pos_encodings == "learned":
            e = 0.707106781 * (e + self.embed_pos.embedding_weight.to(config.dtype))
        return math.sqrt(config.hidden_size) * e  # type: ignore[no-any-return]

    def improve(self, state: State, e: Tensor) -> State:
        """One outer cycle: L_cycles updates of the latent state, then one of the answer."""
        rotary = (self.cos, self.sin) if self.config.pos_encodings == "rope" else None
        z_H, z_L = state
        injection = z_H + e
        for _ in range(self.config.L_cycles):
            z_L = self._network(z_L, injection, rotary)
        return State(self._network(z_H, z_L, rotary), z_L)

    def _network(self, hidden: Tensor, injection: Tensor, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
        if self.checkpoint_activations and torch.is_grad_enabled():
            return checkpoint(self.L_level, hidden, injection, rotary, use_reentrant=False)  # type: ignore[no-any-return]
        return self.L_level(hidden, injection, rotary)  # type: ignore[no-any-return]

    def think(self, state: State, e: Tensor) -> State:
        """One supervision step: H_cycles outer cycles, of which the last alone can be differentiated."""
        with torch.no_grad():
            for _ in range(self.config.H_cycles - 1):
                state = self.improve(state, e)
        return self.improve(state, e)

    def read(self, state: State) -> tuple[Tensor, Tensor]:
        """The answer's logits (B, S, V) in forward_dtype and the q logits (B, 2) in float32."""
        logits = self.lm_head(state.z_H)[:, self.config.puzzle_slots :]
        return logits, self.q_head(state.z_H[:, 0]).float()

    def forward(self, state: State, inputs: Tensor, puzzle_vectors: Tensor) -> tuple[State, Tensor, Tensor]:
        """One supervision step; the new state is detached, logits and q are not."""
        state = self.think(state, self.embed(inputs, puzzle_vectors))
        logits, q = self.read(state)
        return State(state.z_H.detach(), state.z_L.detach()), logits, q
