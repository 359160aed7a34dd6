"""The reference engine: TRM written from its description, equal to upstream in numbers.

Whoever enters the engine comes by here first, before PyTorch is loaded: a verb, ``python -m``, a process of torchrun, a
notebook, a library. What PyTorch reads once, when it is loaded, is therefore settled here.
"""

import os
import sys

from trm_repro import interrupt

# PyTorch's OpenMP threads wait for each other some milliseconds long by computing nothing, 300,000 times. Where anything
# else runs on the machine, this keeps it, and the thread that is waited for, from the processor. 1,000 times, some
# microseconds, cost nothing there and keep what passive waiting loses on an idle machine (docs/engine.md, Waiting).
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "1000"
if sys.platform == "darwin":  # what Apple's GPU cannot do yet, the CPU does; PyTorch says so
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
if sys.argv[:1] == ["-m"]:  # python -m trm_repro.engine.…: it will be seconds before its own words are read
    interrupt.leave_at_once()

from trm_repro.engine.model import TRM
from trm_repro.engine.predict import load_checkpoint, predict

__all__ = ["TRM", "load_checkpoint", "predict"]
