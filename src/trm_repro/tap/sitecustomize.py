"""The tap: what a training passes to ``wandb.log`` also goes to a file of JSON lines.

Upstream reports its metrics to Weights & Biases only. Step 5 puts this folder on the training's PYTHONPATH; Python imports
``sitecustomize`` at start-up, and from here on the module ``wandb``, once it is imported, hands out a ``log`` that first
writes its data to ``$TRM_REPRO_METRICS`` and then calls wandb's own. No file of upstream or of wandb is changed, and
nothing is imported that the training would not import.

A line is ``{"step": 7, "time": "2026-01-31T12:00:00Z", "train/lm_loss": 0.5, …}``. Names of nested data are joined by '.',
as wandb does. Numbers that JSON has no word for are the strings "nan", "inf" and "-inf". What is no number is left out.

Only the first process (RANK 0) logs. The tap never stops a training: if its file cannot be written, it says so once on
stderr and falls silent. Standard library and Python 3.10 only: nothing else of ours is in the training's environment.
"""

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

METRICS = "TRM_REPRO_METRICS"


class Recorder:
    """Writes logged data to a file, a line a call."""

    def __init__(self, path: Path) -> None:
        self._path: Path | None = path
        self._step = -1

    def write(self, data: Any, step: Any = None) -> None:
        """Adds a line; without a step, the one after the last, as wandb counts."""
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
    if os.environ.get(METRICS) and os.environ.get("RANK", "0") == "0":
        sys.meta_path.insert(0, Finder(Recorder(Path(os.environ[METRICS]))))
    others()
