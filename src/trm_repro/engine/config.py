"""The training configuration: upstream's keys and defaults, validated; and the engine's own.

``config/cfg_pretrain.yaml`` and ``config/arch/trm.yaml`` are composed by Hydra and checked here; unknown keys are errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic

from trm_repro.arc.submission import ATTEMPTS, PASS_KS
from trm_repro.engine import lora
from trm_repro.engine.loss import LOG_PROBABILITIES
from trm_repro.engine.model import TRM, ModelConfig
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_yaml


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")


class LossConfig(_Strict):
    """``arch.loss``."""

    name: Literal["losses@ACTLossHead"] = "losses@ACTLossHead"
    loss_type: str = "stablemax_cross_entropy"

    @pydantic.field_validator("loss_type")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in LOG_PROBABILITIES:
            raise ValueError(f"it can be {', '.join(LOG_PROBABILITIES)}")
        return value


class ArchConfig(_Strict):
    """``arch``: the model, its loss, and adapters. The defaults are those of ``config/arch/trm.yaml``, upstream's."""

    name: Literal["recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"] = (
        "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"
    )
    loss: LossConfig = LossConfig()
    halt_exploration_prob: float = pydantic.Field(0.1, ge=0, le=1)
    halt_max_steps: int = 16
    H_cycles: int = 3
    L_cycles: int = 6
    H_layers: int = 0
    L_layers: int = 2
    hidden_size: int = 512
    num_heads: int = 8
    expansion: float = 4
    puzzle_emb_ndim: int = 512
    puzzle_emb_len: int = 16
    pos_encodings: str = "rope"
    forward_dtype: str = "bfloat16"
    mlp_t: bool = False
    no_ACT_continue: bool = True
    lora_rank: int = pydantic.Field(0, ge=0)
    lora_alpha: float = 16.0
    lora_dropout: float = pydantic.Field(0.0, ge=0, lt=1)
    lora_train_base: bool = False
    lora_train_bias: bool = False
    lora_modules: list[str] | None = None

    @pydantic.field_validator("no_ACT_continue")
    @classmethod
    def _halts_on_q_halt(cls, value: bool) -> bool:
        if not value:
            raise ValueError("only True is supported: halting looks at q_halt alone (upstream crashes with False)")
        return value

    def sized(self, vocab_size: int, seq_len: int, num_puzzle_identifiers: int) -> ModelConfig:
        """The model's own part of it, for puzzles of a kind and number."""
        values = {key: getattr(self, key) for key in ModelConfig.__dataclass_fields__ if key in ArchConfig.model_fields}
        return ModelConfig(vocab_size, seq_len, num_puzzle_identifiers, **values)

    def build(self, vocab_size: int, seq_len: int, num_puzzle_identifiers: int) -> TRM:
        """A freshly initialised model, without adapters."""
        return TRM(self.sized(vocab_size, seq_len, num_puzzle_identifiers))

    def adapt(self, model: TRM) -> None:
        """Adds the adapters that the configuration asks for."""
        if self.lora_rank:
            lora.adapt(
                model,
                rank=self.lora_rank,
                alpha=self.lora_alpha,
                dropout=self.lora_dropout,
                layers=self.lora_modules,
                train_base=self.lora_train_base,
                train_bias=self.lora_train_bias,
            )


class EvaluatorConfig(_Strict):
    """An entry of ``evaluators``: voting over augmentations, by ``arc@ARC``."""

    name: Literal["arc@ARC"]
    submission_K: int = pydantic.Field(ATTEMPTS, ge=1)
    pass_Ks: tuple[int, ...] = PASS_KS
    aggregated_voting: bool = True


class PretrainConfig(_Strict):
    """The whole configuration; docs/engine.md describes the keys."""

    arch: ArchConfig
    data_paths: list[str] = pydantic.Field(min_length=1, max_length=1)
    data_paths_test: list[str] = pydantic.Field([], max_length=1)
    evaluators: list[EvaluatorConfig] = pydantic.Field([], max_length=1)
    global_batch_size: int = pydantic.Field(768, ge=1)
    epochs: int = pydantic.Field(ge=1)
    eval_interval: int | None = pydantic.Field(None, ge=1)
    checkpoint_every_eval: bool = True
    lr: float
    lr_min_ratio: float = 1.0
    lr_warmup_steps: int = pydantic.Field(ge=0)
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float
    puzzle_emb_lr: float
    puzzle_emb_weight_decay: float
    seed: int = 0
    min_eval_interval: int = 0
    ema: bool = False
    ema_rate: float = 0.999
    freeze_weights: bool = False

    project_name: str | None = None
    run_name: str | None = None
    load_checkpoint: str | None = None
    load_adapters: str | None = None
    checkpoint_path: str | None = None
    eval_save_outputs: list[Literal["inputs", "labels", "puzzle_identifiers", "preds", "q_halt_logits"]] = []

    evaluate: bool = True
    eval_max_augmentations: int | None = pydantic.Field(None, ge=0)
    puzzle_emb_reinit_strategy: Literal["refuse", "mean", "normal"] = "refuse"
    freeze_weights_epochs: int | None = pydantic.Field(None, ge=1)
    lora_export: Literal["adapters", "merged"] | None = None
    resume: bool = False
    checkpoint_every_n_steps: int | None = pydantic.Field(None, ge=1)
    keep_checkpoints: int = pydantic.Field(2, ge=0)
    gradient_accumulation: int = pydantic.Field(1, ge=1)
    activation_checkpointing: bool = False
    draw_as_loader: bool = False
    compile: bool | None = None
    device: Literal["cpu", "cuda", "mps"] | None = None
    threads: int | None = pydantic.Field(None, ge=1)
    wandb: bool | None = None
    entity: str | None = None

    @pydantic.model_validator(mode="after")
    def _defaults(self) -> PretrainConfig:
        if self.epochs % self.interval:
            raise ValueError(f"eval_interval {self.interval} must divide epochs {self.epochs}")
        if self.min_eval_interval >= self.iterations:
            raise ValueError(
                f"min_eval_interval {self.min_eval_interval} leaves none of {self.iterations} iterations to save"
            )
        if self.freeze_weights_epochs and not self.freeze_weights:
            raise ValueError("freeze_weights_epochs needs freeze_weights=True")
        if self.freeze_weights and not self.arch.puzzle_emb_ndim:
            raise ValueError("freeze_weights trains the puzzle vectors alone, and arch.puzzle_emb_ndim is 0")
        if (self.lora_export or self.load_adapters) and not self.arch.lora_rank:
            raise ValueError("lora_export and load_adapters need arch.lora_rank")
        if self.project_name is None:
            self.project_name = f"{Path(self.data_paths[0]).name.capitalize()}-ACT-torch"
        if self.run_name is None:
            self.run_name = f"trm-seed{self.seed}"
        if self.checkpoint_path is None:
            self.checkpoint_path = str(Path("checkpoints") / self.project_name / self.run_name)
        return self

    @property
    def interval(self) -> int:
        """Epochs an iteration covers."""
        return self.eval_interval or self.epochs

    @property
    def iterations(self) -> int:
        """How many there are."""
        return self.epochs // self.interval

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        assert self.checkpoint_path is not None
        return Path(self.checkpoint_path)


def parse(values: Mapping[str, Any]) -> PretrainConfig:
    """The validated configuration.

    Raises:
        UsageError: something is missing, unknown or out of range; all problems at once.
    """
    try:
        return PretrainConfig(**values)
    except pydantic.ValidationError as error:
        raise UsageError(f"the configuration is not valid:\n{_problems(error)}") from None


def read_arch(path: Path) -> ArchConfig:
    """The architecture a checkpoint was trained with, from the ``all_config.yaml`` of its run.

    Keys of forks that this engine does not know are accepted where they are off.

    Raises:
        MissingPrerequisite: there is no such file.
        InvariantBroken: it describes a model that this engine does not compute.
    """
    try:
        arch = dict(read_yaml(path)["arch"])
    except MissingPrerequisite:
        raise MissingPrerequisite(
            f"{path}: no such file; cycle counts, heads and slots leave no trace in a checkpoint's shapes",
            hint="put the all_config.yaml of the training run beside the checkpoint",
        ) from None
    except (KeyError, TypeError, ValueError):
        raise InvariantBroken(f"{path}: not a training configuration") from None
    arch = {key: value for key, value in arch.items() if key in ArchConfig.model_fields or value}
    try:
        return ArchConfig.model_validate(arch)
    except pydantic.ValidationError as error:
        raise InvariantBroken(f"{path}: this engine does not compute that model:\n{_problems(error)}") from None


def _problems(error: pydantic.ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        lines.append(f"  {where or 'configuration'}: {problem['msg']} (it is {problem['input']!r})"[:300])
    return "\n".join(lines)
