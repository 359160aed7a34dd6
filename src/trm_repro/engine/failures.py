"""What can go wrong while training, said so that one can act on it. Nothing is ever adjusted silently."""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterator, Mapping

import torch
import torch.distributed as dist

from trm_repro.errors import CommandFailed, ReproError

DIVERGED = 4.0  # times the loss of a uniform guess, ln(vocabulary): 9.9 for ARC's 12 tokens, which starts near 2.5


def check_loss(metrics: Mapping[str, float], step: int, vocab_size: int) -> None:
    """Stops a run that can no longer learn.

    Raises:
        ReproError: a loss is not a finite number, or the token loss is several times that of a uniform guess.
    """
    lm_loss, q_halt_loss = metrics["train/lm_loss"], metrics["train/q_halt_loss"]
    hint = (
        "the last training state is from before; resuming it repeats the same steps. Legitimate: another seed, a "
        "smaller lr or a longer lr_warmup_steps, forward_dtype=float32 — each makes it another run, and says so"
    )
    if not (math.isfinite(lm_loss) and math.isfinite(q_halt_loss)):
        raise ReproError(
            f"step {step}: the loss is not finite: lm_loss {lm_loss}, q_halt_loss {q_halt_loss}", hint=hint
        )
    limit = DIVERGED * math.log(vocab_size)
    if lm_loss > limit:
        raise ReproError(f"step {step}: the loss diverges: lm_loss {lm_loss:.3f}, above {limit:.3f}", hint=hint)


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Turns the failures of devices and processes into errors that say where, and what is legitimate to change.

    Raises:
        CommandFailed: out of memory, no room on the disk, or another process is lost.
    """
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        if full := _disk_full(error):
            raise CommandFailed(
                f"{where}: {full}",
                hint="free some room; the same command with resume=True goes on from the newest training state",
            ) from error
        if isinstance(error, OSError):
            raise
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
            raise CommandFailed(
                f"{where}: out of memory: {text.splitlines()[0] if text else 'no memory left'}",
                hint="more processes make each one's part of the batch smaller and change nothing else; "
                "gradient_accumulation and activation_checkpointing save memory too, and make the run not faithful",
            ) from error
        if isinstance(error, dist.DistError) or "gloo" in text or "NCCL" in text or "Connection" in text:
            raise CommandFailed(
                f"{where}: another process is lost: {text.splitlines()[0]}",
                hint="its own message is above or in its log; the same command with resume=True goes on "
                "from the newest training state",
            ) from error
        raise


def _disk_full(error: BaseException | None) -> OSError | None:
    """What the system said of a full disk, if that is behind ``error``: torch.save complains of its own cut-off file."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error
        error = error.__context__
    return None
