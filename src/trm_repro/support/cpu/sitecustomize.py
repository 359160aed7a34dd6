"""CPU support for CUDA-only code: what has to stand under a training that names CUDA, so that a CPU runs it.

A recipe says ``support: cpu``; step 5 then puts this folder on the training's PYTHONPATH, in front of the tap, and Python
imports ``sitecustomize`` at start-up. Nothing of the training's code is touched, and nothing is imported that it would not
import: PyTorch is patched once it has been imported, and a module ``adam_atan2`` is there for whoever asks for it. What
is computed stays what the code says, in the code's own precision; only where, and by what, is another. A run with it is a
rehearsal and never faithful (G-SUPPORT).

Standard library and torch only, Python 3.10 and newer: nothing else of ours is in the training's environment.
"""

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import math
import os
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

OPTIMISER = "adam_atan2"


def on_cpu(device: Any) -> Any:
    """The CPU for any CUDA device; everything else is left as it is."""
    return "cpu" if str(device).partition(":")[0] == "cuda" else device


def put_under(torch: Any) -> None:
    """Patches an imported PyTorch."""
    # `with torch.device("cuda"):` makes whatever is created within on that device.
    _device_context(torch)
    # tensors that name their device, such as the buffer that evaluation sums over processes
    torch.zeros = _with_device(torch.zeros)
    # a checkpoint is loaded onto the GPU
    torch.load = _with_device(torch.load, name="map_location")
    # batches are moved there
    torch.Tensor.cuda = lambda self, *rest, **named: self
    # each process chooses its GPU
    torch.cuda.set_device = lambda device: None
    # nccl is for GPUs; gloo sums the same numbers on a CPU
    torch.distributed.init_process_group = _with_gloo(torch.distributed.init_process_group)
    # Compiling takes minutes and rounds otherwise, from version to version. The wrapper's name in the keys of a checkpoint
    # stays, as everybody who reads one expects it.
    torch.compile = compiler(torch)
    # Sums are cut among threads: with one, a machine's number of cores changes nothing. The matrices are small.
    torch.set_num_threads(1)
    if os.environ.get("RANK") == "0":
        print(
            "==> CPU support for CUDA-only code: a CPU computes what is written for a GPU", file=sys.stderr, flush=True
        )


def _device_context(torch: Any) -> None:
    """Takes what is created within a CUDA device's context to the CPU; ``torch.device`` itself stays what it is.

    A GPU draws random numbers by a generator of its own, seeded alike. Were the weights drawn by the CPU's instead, whoever
    asks that one next, such as the loader for its workers' seed, would get other numbers than beside a GPU: other batches.
    """
    context = importlib.import_module("torch.utils._device").DeviceContext
    begin, call, drawn = context.__init__, context.__torch_function__, {}  # seed → the state of the GPU's generator

    def __init__(self: Any, device: Any) -> None:
        begin(self, on_cpu(device))
        self.was_cuda = str(device).partition(":")[0] == "cuda"

    def __torch_function__(self: Any, *arguments: Any) -> Any:
        if not self.was_cuda:
            return call(self, *arguments)
        own, seed = torch.get_rng_state(), torch.initial_seed()
        if seed not in drawn:
            drawn[seed] = torch.Generator().manual_seed(seed).get_state()
        torch.set_rng_state(drawn[seed])
        try:
            return call(self, *arguments)
        finally:
            drawn[seed] = torch.get_rng_state()
            torch.set_rng_state(own)

    context.__init__, context.__torch_function__ = __init__, __torch_function__


def _with_device(function: Callable[..., Any], name: str = "device") -> Callable[..., Any]:
    """A function whose argument of that name never is a CUDA device."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **{key: on_cpu(value) if key == name else value for key, value in named.items()})

    return call


def _with_gloo(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(backend: Any = None, *rest: Any, **named: Any) -> Any:
        return function("gloo", *rest, **named)

    return call


def compiler(torch: Any) -> Callable[..., Any]:
    """A ``torch.compile`` that compiles nothing, and whose modules have their tensors under ``_orig_mod`` all the same."""

    class Uncompiled(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, module: Any) -> None:
            super().__init__()
            self._orig_mod = module

        def forward(self, *arguments: Any, **named: Any) -> Any:
            return self._orig_mod(*arguments, **named)

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(super().__getattr__("_orig_mod"), name)

    def compile(model: Any = None, **options: Any) -> Any:
        if model is None:  # as a decorator with options
            return compile
        return Uncompiled(model) if isinstance(model, torch.nn.Module) else model

    return compile


def optimiser(torch: Any) -> type:
    """AdamATan2 in Python, as the package's CUDA kernel computes it.

    m ← β1 m + (1 − β1) g; v ← β2 v + (1 − β2) g²; p ← p (1 − lr·decay) − lr / (1 − β1^t) · atan2(m, sqrt(v / (1 − β2^t))).
    """

    class AdamATan2(torch.optim.Optimizer):  # type: ignore[misc, name-defined]
        def __init__(
            self,
            params: Any,
            lr: float = 1e-3,
            betas: tuple[float, float] = (0.9, 0.999),
            weight_decay: float = 1e-2,
        ) -> None:
            super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

        @torch.no_grad()  # type: ignore[untyped-decorator]
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                lr, (beta1, beta2) = float(group["lr"]), group["betas"]
                for parameter in group["params"]:
                    if parameter.grad is None:
                        continue
                    state, gradient = self.state[parameter], parameter.grad
                    if not state:
                        state.update(t=0, m=torch.zeros_like(parameter), v=torch.zeros_like(parameter))
                    state["t"] += 1
                    state["m"].lerp_(gradient, 1 - beta1)
                    state["v"].lerp_(gradient.square(), 1 - beta2)
                    scale = state["v"].sqrt().div_(math.sqrt(1 - beta2 ** state["t"]))
                    parameter.mul_(1 - lr * group["weight_decay"])
                    parameter.sub_(torch.atan2(state["m"], scale), alpha=lr / (1 - beta1 ** state["t"]))

    return AdamATan2


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Patches ``torch`` after it is imported, once; makes the optimiser's module."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of ``torch`` with a loader that patches it, and one of :data:`OPTIMISER`."""
        if name == OPTIMISER:
            return importlib.machinery.ModuleSpec(name, self, origin=__file__)
        if name != "torch" or "torch" in sys.modules:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: types.ModuleType) -> None:
                load(module)
                put_under(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def exec_module(self, module: types.ModuleType) -> None:
        """Fills the optimiser's module."""
        import torch

        module.AdamATan2 = optimiser(torch)  # type: ignore[attr-defined]


def others() -> None:
    """Runs the ``sitecustomize`` that this one stands in front of: the tap, or the environment's own."""
    here = os.path.realpath(os.path.dirname(__file__))  # noqa: PTH120
    places = [os.path.realpath(entry) for entry in sys.path]
    behind = sys.path[len(places) - places[::-1].index(here) :]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", behind)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    sys.meta_path.insert(0, Finder())
    others()
