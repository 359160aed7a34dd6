"""One training step, and everything that changes while training.

A step: the halted rows of the carry take rows of the new batch; one supervision step; the gradient of loss / global batch
size, summed over processes; sign descent of the puzzle vectors used; AdamATan2 of the parameters; the weight average.

All processes draw the same random numbers for the whole global batch and take their rows of them, so that the number of
processes changes nothing but the order of a few sums.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trm_repro.engine.act import Batch, Carry, draw_minimum_steps, fresh_carry, halts, load_rows
from trm_repro.engine.config import PretrainConfig
from trm_repro.engine.data import Metadata, rank_slice
from trm_repro.engine.loss import METRICS, loss_and_metrics
from trm_repro.engine.model import TRM, State
from trm_repro.engine.optim import AdamATan2, FlatParameters, WeightAverage, learning_rate, sign_descent
from trm_repro.engine.world import World
from trm_repro.errors import UsageError
from trm_repro.runs.schedule import planned_steps


def supervision_step(
    model: TRM,
    state: State,
    inputs: Tensor,
    labels: Tensor,
    puzzle_vectors: Tensor,
    steps: Tensor,
    minimum_steps: Tensor | None,
    loss_type: str,
) -> tuple[Tensor, Tensor, State, Tensor]:
    """Forward and loss of one supervision step, with ``steps`` counting it already.

    Returns:
        The loss (scalar), the metric sums (7,), the new state, and the rows that halt now (B,).
    """
    state, logits, q = model(state, inputs, puzzle_vectors)
    halted = halts(steps, q[:, 0].detach(), model.config.halt_max_steps, minimum_steps)
    loss, metrics = loss_and_metrics(logits, q[:, 0], labels, steps, halted, loss_type)
    return loss, metrics, state, halted


class Training:
    """A model in training on one process of the world.

    Args:
        config: the configuration.
        model: on its device, equal on all processes; its parameters are moved into one vector.
        data: the training split's metadata.
        world: this process among the others.
        compiled: compile the supervision step.
    """

    def __init__(
        self, config: PretrainConfig, model: TRM, data: Metadata, world: World, *, compiled: bool = False
    ) -> None:
        self.config, self.model, self.world = config, model, world
        self.total_steps = planned_steps(
            config.epochs, data.total_groups, data.mean_puzzle_examples, config.global_batch_size
        )
        self.frozen_steps = _frozen_steps(config, self.total_steps)
        self.rows = rank_slice(config.global_batch_size, world.rank, world.size)
        if (self.rows.stop - self.rows.start) % config.gradient_accumulation:
            raise UsageError(
                f"gradient_accumulation {config.gradient_accumulation} does not divide "
                f"the {self.rows.stop - self.rows.start} rows of a process"
            )
        self.flat = FlatParameters(p for p in model.parameters() if p.requires_grad)
        self.optimiser = AdamATan2(self.flat, betas=(config.beta1, config.beta2), weight_decay=config.weight_decay)
        self.average = WeightAverage(self.flat, config.ema_rate) if config.ema else None
        self.generator = torch.Generator().manual_seed(config.seed)
        self.carry: Carry | None = None
        self.step = 0
        model.checkpoint_activations = config.activation_checkpointing
        self._supervision_step = torch.compile(supervision_step, dynamic=False) if compiled else supervision_step

    def train_step(self, batch: Batch) -> dict[str, float] | None:
        """Trains on this process's rows of a global batch.

        Returns:
            The metrics over the global batch; None beyond ``total_steps``, where nothing is trained.
        """
        self.step += 1
        if self.step > self.total_steps:
            if self.average:
                self.average.update()
            return None
        trains_weights = self.step > self.frozen_steps
        self.flat.train(trains_weights)

        carry = load_rows(self.model, self.carry or fresh_carry(self.model, batch), batch)
        identifiers = carry.batch.puzzle_identifiers
        vectors = self.model.puzzle_vectors(identifiers).requires_grad_()
        sums, self.carry = self._forward_backward(carry, vectors)

        sums = self.world.sum(sums)
        if self.model.config.puzzle_emb_ndim:
            assert vectors.grad is not None
            sign_descent(
                self.model.puzzle_emb.weights,
                self.world.gather(identifiers),
                self.world.gather(vectors.grad),
                lr=self._learning_rate(self.config.puzzle_emb_lr),
                weight_decay=self.config.puzzle_emb_weight_decay,
            )
        if trains_weights:
            self.world.sum(self.flat.grad)
            self.optimiser.step(self._learning_rate(self.config.lr))
            self.flat.grad.zero_()
        if self.average:
            self.average.update()
        return self._metrics(sums, trains_weights)

    def _forward_backward(self, carry: Carry, vectors: Tensor) -> tuple[Tensor, Carry]:
        """Adds the gradients; returns the metric sums and the carry after the step."""
        arch, current = self.model.config, carry.batch
        minimum: Tensor | None = None
        if arch.halt_max_steps > 1:
            minimum = draw_minimum_steps(
                self.config.global_batch_size, arch.halt_max_steps, arch.halt_exploration_prob, self.generator
            )[self.rows].to(vectors.device, non_blocking=vectors.device.type == "cuda")
        steps = carry.steps + 1
        rows = len(steps) // self.config.gradient_accumulation
        parts = []
        for start in range(0, len(steps), rows):
            part = slice(start, start + rows)
            loss, sums, state, halted = self._supervision_step(
                self.model,
                State(carry.state.z_H[part], carry.state.z_L[part]),
                current.inputs[part],
                current.labels[part],
                vectors[part],
                steps[part],
                None if minimum is None else minimum[part],
                self.config.arch.loss.loss_type,
            )
            (loss / self.config.global_batch_size).backward()  # type: ignore[no-untyped-call]
            parts.append((sums, state.z_H, state.z_L, halted))
        if len(parts) == 1:
            sums, z_H, z_L, halted = parts[0]
        else:
            all_sums, all_z_H, all_z_L, all_halted = zip(*parts, strict=True)
            sums = torch.stack(all_sums).sum(0)
            z_H, z_L, halted = torch.cat(all_z_H), torch.cat(all_z_L), torch.cat(all_halted)
        return sums, Carry(State(z_H, z_L), steps, halted, current)

    def _learning_rate(self, base: float) -> float:
        return learning_rate(
            base,
            step=self.step,
            warmup=self.config.lr_warmup_steps,
            total=self.total_steps,
            min_ratio=self.config.lr_min_ratio,
        )

    def _metrics(self, sums: Tensor, trains_weights: bool) -> dict[str, float]:
        named = dict(zip(METRICS, sums.tolist(), strict=True))
        count = max(named["count"], 1.0)
        losses = ("lm_loss", "q_halt_loss")
        metrics = {
            f"train/{name}": value / (self.config.global_batch_size if name in losses else count)
            for name, value in named.items()
        }
        base = self.config.lr if trains_weights else self.config.puzzle_emb_lr
        return {**metrics, "train/lr": self._learning_rate(base)}

    def state_dict(self) -> dict[str, Any]:
        """What this process needs to go on: the shared part from rank 0 only, its own carry from every rank."""
        carry = self.carry
        own: dict[str, Any] = {
            "carry": carry
            and {
                "z_H": carry.state.z_H,
                "z_L": carry.state.z_L,
                "steps": carry.steps,
                "halted": carry.halted,
                "inputs": carry.batch.inputs,
                "labels": carry.batch.labels,
                "puzzle_identifiers": carry.batch.puzzle_identifiers,
            }
        }
        if self.world.leads:
            own["shared"] = {
                "step": self.step,
                "weights": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": self.average.average if self.average else None,
                "generator": self.generator.get_state(),
            }
        return own

    def load_state_dict(self, own: dict[str, Any], shared: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`: this rank's part, and rank 0's ``shared``."""
        self.step = shared["step"]
        self.model.load_state_dict(shared["weights"])
        self.optimiser.load_state_dict(shared["optimiser"])
        if self.average:
            self.average.average.copy_(shared["average"])
        self.generator.set_state(shared["generator"].cpu())
        if carry := own["carry"]:
            # clones: the file may be memory-mapped
            carry = {key: value.to(self.world.device).clone() for key, value in carry.items()}
            batch = Batch(carry["inputs"], carry["labels"], carry["puzzle_identifiers"])
            self.carry = Carry(State(carry["z_H"], carry["z_L"]), carry["steps"], carry["halted"], batch)


def _frozen_steps(config: PretrainConfig, total_steps: int) -> int:
    """The first so many steps train the puzzle vectors only."""
    if not config.freeze_weights:
        return 0
    if config.freeze_weights_epochs is None:
        return total_steps
    return -(-total_steps * config.freeze_weights_epochs // config.epochs)
