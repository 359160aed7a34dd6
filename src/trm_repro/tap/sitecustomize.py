"""The tap: what a training passes to ``wandb.log`` also goes to a file of JSON lines.

Upstream reports its metrics to Weights & Biases only. Step 5 puts this folder on the training's PYTHONPATH; Python imports
``sitecustomize`` at start-up, and from here on the module ``wandb``, once it is imported, hands out a ``log`` that first
writes its data to ``$TRM_REPRO_METRICS`` and then calls wandb's own. No file of upstream or of wandb is changed, and
nothing is imported that the training would not import.

What torch says of the machine goes to ``$TRM_REPRO_TORCH`` (:class:`Witness`): the training process knows which GPUs it
computes on, whatever nvidia-smi says. It is asked when the first lines are logged, or else as the process ends; torch is not
imported for it, and where CUDA is not in use yet, it is not begun.

A line is ``{"step": 7, "time": "2026-01-31T12:00:00Z", "train/lm_loss": 0.5, …}``. Names of nested data are joined by '.',
as wandb does. Numbers that JSON has no word for are the strings "nan", "inf" and "-inf". What is no number is left out.

Only the first process (RANK 0) logs. The tap never stops a training: if its file cannot be written, it says so once on
stderr and falls silent. Standard library and Python 3.10 only: nothing else of ours is in the training's environment.
"""

import atexit
import importlib.abc
import importlib.machinery
import importlib.util
import json
import math
import os
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

METRICS, TORCH, WITNESS = "TRM_REPRO_METRICS", "TRM_REPRO_TORCH", "TRM_REPRO_WITNESS"
COMPILE_OFF = (
    "DISABLE_COMPILE",
    "TORCH_COMPILE_DISABLE",
    "TORCHDYNAMO_DISABLE",
)  # variables that turn torch.compile off
LOOKS = 3  # lines at which torch is asked again: it compiles after the first
DRIVER = "/proc/driver/nvidia/version"  # the kernel's own word


class Witness:
    """Writes down what the torch of this process says of the machine and of itself, as JSON (docs/format.md)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looks = 0

    def look(self, *, last: bool = False) -> None:
        """Asks torch, if this is one of the first looks; a last one counts only where there was none before."""
        torch = sys.modules.get("torch")
        if torch is None or self._looks >= (1 if last else LOOKS) or (last and self._path.exists()):
            return
        self._looks += 1
        try:
            text = json.dumps({"format": "trm-repro/torch/v1", **said_by(torch)}, indent=2)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
            part.write_text(text + "\n", encoding="utf-8")
            part.replace(self._path)
        except Exception as error:  # whatever torch's version has or lacks, a training goes on
            print(f"warning: what torch says of the machine is not written down: {error}", file=sys.stderr, flush=True)
            self._looks = LOOKS


def said_by(torch: Any) -> dict[str, Any]:
    """What a torch says: its version and those of CUDA, cuDNN and the driver, its GPUs, and whether it compiles."""
    cuda, dynamo = torch.cuda, sys.modules.get("torch._dynamo")
    devices = []
    if cuda.is_initialized():
        devices = [device(cuda.get_device_properties(index)) for index in range(cuda.device_count())]
    driver = getattr(torch._C, "_cuda_getDriverVersion", lambda: 0)() if devices else 0
    utils = sys.modules.get("torch._dynamo.utils")
    off = [name for name in COMPILE_OFF if name in os.environ]
    if dynamo is not None and getattr(getattr(dynamo, "config", None), "disable", False):
        off.append("torch._dynamo.config.disable")
    distributed = sys.modules.get("torch.distributed")
    joined = distributed is not None and distributed.is_available() and distributed.is_initialized()
    return {
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if devices else None,
        "driver_cuda": f"{driver // 1000}.{driver % 1000 // 10}" if driver else None,
        "driver": kernel_driver(),
        "devices": devices,
        "processes": distributed.get_world_size() if joined else 1,  # type: ignore[union-attr]
        "compile_disabled_by": off,
        "compiled_frames": int(utils.counters["frames"]["ok"]) if utils is not None else 0,
    }


def device(properties: Any) -> dict[str, Any]:
    """A GPU as torch describes it."""
    uuid = getattr(properties, "uuid", None)
    return {
        "name": str(properties.name),
        "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": int(properties.total_memory),
        "uuid": None if uuid is None else str(uuid),
    }


def kernel_driver() -> str | None:
    """The version of the NVIDIA driver that the kernel has loaded; None without one."""
    try:
        words = Path(DRIVER).read_text(encoding="utf-8").partition("\n")[0].split()
    except OSError:
        return None
    return next((word for word in words if word[:1].isdigit() and "." in word), None)


def is_the_training() -> bool:
    """Whether this process is the training's first: not its launcher, nor what it starts to compile with, say.

    Each process leaves its rank to those it starts. A launcher has none.
    """
    above, rank = os.environ.get(WITNESS), os.environ.get("RANK", "")
    os.environ[WITNESS] = rank or "none"
    return above is None or (above == "none" and bool(rank))


class Recorder:
    """Writes logged data to a file, a line a call."""

    def __init__(self, path: Path | None, witness: Witness | None = None) -> None:
        self._path = path
        self._witness = witness
        self._step = -1

    def write(self, data: Any, step: Any = None) -> None:
        """Adds a line; without a step, the one after the last, as wandb counts."""
        if self._witness:
            self._witness.look()
        if self._path is None or not isinstance(data, Mapping):
            return
        self._step = self._step + 1 if step is None else int(step)
        line = {"step": self._step, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **dict(numbers(data))}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        except OSError as error:
            print(f"warning: metrics are no longer written to a file: {error}", file=sys.stderr, flush=True)
            self._path = None


def numbers(data: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, number) of all numbers in nested data, also of array libraries' scalars."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{key}.")
            continue
        try:
            number = value if isinstance(value, int) else float(value)
        except (TypeError, ValueError):
            continue
        yield f"{prefix}{key}", number if math.isfinite(number) else str(number)


def tap(module: types.ModuleType, recorder: Recorder) -> None:
    """Makes ``module.log`` write to the recorder before it does what it does.

    wandb replaces its ``log`` when a run begins and ends, so that the attribute itself is tapped, whatever it holds.
    """

    class Tapped(types.ModuleType):
        @property
        def log(self) -> Callable[..., Any]:
            own = vars(self)["log"]

            def log(data: Any, step: Any = None, *rest: Any, **named: Any) -> Any:
                recorder.write(data, step)
                return own(data, step, *rest, **named)

            return log

        @log.setter
        def log(self, own: Callable[..., Any]) -> None:
            vars(self)["log"] = own

    module.__class__ = Tapped


class Finder(importlib.abc.MetaPathFinder):
    """Taps ``wandb`` after it is imported, once."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of ``wandb`` as it is found without this finder, with a loader that taps it."""
        if name != "wandb":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load, recorder = spec.loader.exec_module, self._recorder

            def exec_module(module: types.ModuleType) -> None:
                load(module)
                tap(module, recorder)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def others() -> None:
    """Runs the ``sitecustomize`` that this one stands in front of, if there is one."""
    here = os.path.realpath(os.path.dirname(__file__))  # noqa: PTH120
    places = [os.path.realpath(entry) for entry in sys.path]
    behind = sys.path[len(places) - places[::-1].index(here) :]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", behind)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    if os.environ.get("RANK", "0") == "0":
        metrics, witness = os.environ.get(METRICS), None
        if os.environ.get(TORCH) and is_the_training():
            witness = Witness(Path(os.environ[TORCH]))
            atexit.register(witness.look, last=True)
        if metrics or witness:
            sys.meta_path.insert(0, Finder(Recorder(Path(metrics) if metrics else None, witness)))
    others()
