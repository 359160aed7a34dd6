"""The reference engine with one thing wrong, for the crosscheck to catch.

python tests/unit/mutations.py NAME WORDS…     trains as ``python -m trm_repro.engine.pretrain WORDS…`` would, mutated
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from trm_repro.engine import layers, pretrain, train
from trm_repro.engine.data import Split
from trm_repro.engine.optim import AdamATan2, WeightAverage


def eps(patch: pytest.MonkeyPatch) -> None:
    """rms_norm with another epsilon."""
    patch.setattr(layers, "RMS_NORM_EPS", 1e-6)


def label(patch: pytest.MonkeyPatch) -> None:
    """Every label at its neighbour's place."""
    own = Split.batch

    def batch(self, *arguments):
        made = own(self, *arguments)
        return replace(made, labels=made.labels.roll(1, -1))

    patch.setattr(Split, "batch", batch)


def average(patch: pytest.MonkeyPatch) -> None:
    """The average of the weights begins a step late."""
    own, late = WeightAverage.update, []

    def update(self):
        if late:
            own(self)
        late.append(True)

    patch.setattr(WeightAverage, "update", update)


def decay(patch: pytest.MonkeyPatch) -> None:
    """Weights do not decay."""
    own = AdamATan2.__init__
    patch.setattr(
        AdamATan2, "__init__", lambda self, flat, *, betas, weight_decay: own(self, flat, betas=betas, weight_decay=0.0)
    )


def rate(patch: pytest.MonkeyPatch) -> None:
    """The learning rate is that of the step before."""
    own = train.learning_rate
    patch.setattr(train, "learning_rate", lambda base, *, step, **rest: own(base, step=step - 1, **rest))


MUTATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    mutate.__name__: mutate for mutate in (eps, label, average, decay, rate)
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    MUTATIONS[sys.argv.pop(1)](pytest.MonkeyPatch())
    pretrain.main()
