"""The processes of a run: their ranks, devices, threads, and what they tell each other.

Started by torchrun, or alone (a world of one, without a process group). gloo on CPU, NCCL on CUDA.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn  # see join
from torch import Tensor

from trm_repro.engine.device import choose
from trm_repro.errors import UsageError

ROOM = 1 << 26  # bytes of all processes' pieces of a value


@dataclass(frozen=True)
class World:
    """This process among the others."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """``tensor`` becomes its sum over all processes, everywhere."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes (equal shapes), one below the other in rank order, everywhere."""
        if self.size == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def collect(self, value: Any) -> list[Any]:
        """The values of all processes, in rank order, on rank 0; an empty list elsewhere. For anything that pickles.

        They travel in pieces that together fill :data:`ROOM` bytes on rank 0's device, so that neither its memory nor a
        collective's time grows with the values: one message of 2 GB has run into others' time limit.
        """
        if self.size == 1:
            return [value]
        pickled = io.BytesIO()
        pickle.dump(value, pickled, pickle.HIGHEST_PROTOCOL)
        data = torch.frombuffer(pickled.getbuffer(), dtype=torch.uint8)
        sizes: list[int] = self.gather(torch.tensor([len(data)], device=self.device)).tolist()
        width = max(1, min(max(sizes), ROOM // self.size))
        piece = torch.zeros(width, dtype=torch.uint8, device=self.device)
        pieces = [torch.empty_like(piece) for _ in sizes] if self.leads else None
        whole = [bytearray() for _ in pieces or []]
        for start in range(0, max(sizes), width):
            own = data[start : start + width]
            piece[: len(own)] = own  # what follows is not read
            dist.gather(piece, pieces)
            for rank, got in enumerate(pieces or []):
                whole[rank] += got[: max(0, sizes[rank] - start)].cpu().numpy().data
        del data, pickled  # before as much again is made of what the others sent
        return [pickle.loads(whole.pop(0)) for _ in range(len(whole))]

    def agree(self, value: Any) -> Any:
        """Rank 0's value, everywhere."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def broadcast(self, tensor: Tensor) -> None:
        """``tensor`` becomes rank 0's, everywhere."""
        if self.size > 1:
            dist.broadcast(tensor, 0)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def threads_per_process(asked: int | None) -> int:
    """CPU threads for this process: ``asked``, else the user's OMP_NUM_THREADS, else the cores shared on this machine.

    torchrun itself sets OMP_NUM_THREADS=1 when it starts several processes, so a 1 there is taken for torchrun's.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    users = os.environ.get("OMP_NUM_THREADS", "")
    if asked:
        return asked
    if users.isdecimal() and int(users) > 0 and not (users == "1" and here > 1):
        return int(users)
    allowed = getattr(os, "sched_getaffinity", None)  # macOS has none
    return max(1, (len(allowed(0)) if allowed else os.cpu_count() or 1) // here)


@contextmanager
def join(device: str | None = None, threads: int | None = None) -> Iterator[World]:
    """This process's place in the world, for as long as the context lasts.

    Nothing of the process group may live on: a gloo thread that still has to free a tensor while the interpreter ends
    aborts the process. torch.distributed.nn binds the group of the moment as default arguments when it is imported, and
    PyTorch's compiler imports it late; imported above, before there is a group, it binds none.

    Args:
        device: see :func:`trm_repro.engine.device.choose`.
        threads: CPU threads for this process, see :func:`threads_per_process`.

    Raises:
        MissingPrerequisite: the device is not there.
        UsageError: several processes and MPS, which is one device.
    """
    kind = choose(device).type
    if kind == "mps" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("device mps: it is one GPU, for one process", hint="start it without torchrun")
    torch.set_num_threads(threads_per_process(threads))
    if "LOCAL_RANK" not in os.environ:
        yield World(0, 1, torch.device(kind))
        return
    place = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", device_id=place if kind == "cuda" else None)
    try:
        yield World(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()
