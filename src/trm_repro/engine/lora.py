"""Low-rank adapters: y = W x + alpha / rank · B A x, with W frozen.

Keys in the state dict: ``<layer>._lora_A`` (rank, inputs) and ``<layer>._lora_B`` (outputs, rank), beside the layer's own.
B starts at 0, so that an adapted model starts as its base. The token embedding stays trainable, and so do the puzzle
vectors, which are no parameters.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trm_repro.engine.layers import Linear
from trm_repro.errors import InvariantBroken, UsageError
from trm_repro.weights.state import TABLE

LAYERS = ("lm_head", "q_head", "qkv_proj", "o_proj", "gate_up_proj", "down_proj")


class LoraLinear(Linear):
    """A linear layer with an adapter; it takes over the parameters of ``base``.

    Args:
        base: the layer to adapt.
        rank: inner width of the adapter.
        alpha: the adapter's output is multiplied by alpha / rank.
        dropout: share of the adapter's inputs that training sets to 0.
        frozen: which of its parameters do not train.
    """

    def __init__(self, base: Linear, *, rank: int, alpha: float, dropout: float, frozen: Collection[str]) -> None:
        nn.Module.__init__(self)
        outputs, inputs = base.weight.shape
        self.weight, self.bias = base.weight, base.bias
        self._lora_A = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(rank, inputs), a=math.sqrt(5)))
        self._lora_B = nn.Parameter(torch.zeros(outputs, rank))
        self.scale, self.dropout, self.frozen = alpha / rank, dropout, frozen
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in frozen)

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) to (…, outputs)."""
        narrow = F.linear(F.dropout(x, self.dropout, self.training), self._lora_A.to(x.dtype))
        return super().forward(x) + self.scale * F.linear(narrow, self._lora_B.to(x.dtype))


def adapt(
    model: nn.Module,
    *,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    layers: Collection[str] | None = None,
    train_base: bool = False,
    train_bias: bool = False,
) -> None:
    """Gives a model adapters, in place, and freezes the layers they adapt.

    Args:
        model: a TRM.
        rank: of every adapter.
        alpha: the adapters' outputs are multiplied by alpha / rank.
        dropout: of the adapters' inputs, in training.
        layers: names of :data:`LAYERS`; None: all.
        train_base: the adapted weights stay trainable.
        train_bias: their biases stay trainable.

    Raises:
        UsageError: a name is not one of :data:`LAYERS`.
    """
    if unknown := set(layers or ()) - set(LAYERS):
        raise UsageError(f"lora_modules: no layer is called {', '.join(sorted(unknown))}; {', '.join(LAYERS)} are")
    frozen = [name for name, trains in (("weight", train_base), ("bias", train_bias)) if not trains]
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, Linear) and (layers is None or name in layers):
                adapted = LoraLinear(layer, rank=rank, alpha=alpha, dropout=dropout, frozen=frozen)
                setattr(parent, name, adapted.to(layer.weight.device))


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """What training an adapted model changes: all but the frozen parameters, and the puzzle vectors. Small without them."""
    adapted = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLinear)]
    frozen = {f"{name}.{parameter}" for name, layer in adapted for parameter in layer.frozen}
    trained = {name for name, _ in model.named_parameters()} - frozen | {TABLE}
    return {key: value for key, value in model.state_dict().items() if key in trained}


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of a model without adapters that computes the same, up to rounding."""
    state = dict(model.state_dict())
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLinear):
            a, b = state.pop(f"{name}._lora_A"), state.pop(f"{name}._lora_B")
            state[f"{name}.weight"] = state[f"{name}.weight"] + layer.scale * (b @ a)
    return state


def load_adapters(model: nn.Module, state: dict[str, Tensor], *, source: str) -> None:
    """Puts :func:`adapter_state` of another process into an adapted model with the same base.

    Raises:
        InvariantBroken: the adapters are not those of this model.
    """
    own = model.state_dict()
    wanted = adapter_state(model).keys()
    wrong = [key for key in sorted(wanted ^ state.keys())]
    wrong += [key for key in sorted(wanted & state.keys()) if state[key].shape != own[key].shape]
    if wrong:
        raise InvariantBroken(f"{source}: these are not adapters of this model: {', '.join(wrong)}")
    with torch.no_grad():
        for key, value in state.items():
            own[key].copy_(value)
