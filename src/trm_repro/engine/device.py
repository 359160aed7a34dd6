"""What computes: a CPU, an NVIDIA GPU (CUDA), or Apple's (MPS), as far as PyTorch has it."""

from __future__ import annotations

import torch

from trm_repro.engine.model import DTYPES
from trm_repro.errors import MissingPrerequisite, UsageError

KINDS = ("cpu", "cuda", "mps")


def choose(asked: str | torch.device | None = None) -> torch.device:
    """The device asked for; of none, CUDA where there is one, else the CPU. MPS is taken only when it is asked for.

    Raises:
        UsageError: there is no such kind.
        MissingPrerequisite: it is not there.
    """
    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in KINDS:
        raise UsageError(f"there is no device {str(asked)!r}", hint=f"it can be {', '.join(KINDS)}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MissingPrerequisite(f"device {asked}: PyTorch sees {_cuda()}", hint="use the device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        built = "sees no GPU of Apple's" if torch.backends.mps.is_built() else "was built without it"
        raise MissingPrerequisite(
            f"device mps: this PyTorch {built}", hint="MPS needs macOS 14 or newer on Apple silicon; use the device cpu"
        )
    return device


def _cuda() -> str:
    found = torch.cuda.device_count()
    return f"{found} CUDA devices, counted from 0" if found else "no CUDA device"


def has_dtype(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether a device computes in a dtype: MPS has bfloat16 from macOS 14 on."""
    if device.type != "mps":
        return True
    try:
        torch.ones(2, 2, dtype=dtype, device=device) @ torch.ones(2, 2, dtype=dtype, device=device)
    except (RuntimeError, TypeError):
        return False
    return True


def check_dtype(name: str, device: torch.device) -> None:
    """Checks that a training can compute as it is configured: it is never changed silently.

    Raises:
        MissingPrerequisite: the device does not compute in that dtype.
    """
    dtype = DTYPES.get(name)
    if dtype and not has_dtype(dtype, device):
        raise MissingPrerequisite(
            f"arch.forward_dtype={name}: {device.type} does not compute in it here",
            hint="arch.forward_dtype=float32 is another run, and says so",
        )
