"""The reference engine: TRM written from its description, equal to upstream in numbers."""

from trm_repro.engine.model import TRM
from trm_repro.engine.predict import load_checkpoint, predict

__all__ = ["TRM", "load_checkpoint", "predict"]
