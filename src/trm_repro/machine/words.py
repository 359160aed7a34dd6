"""The words for what :mod:`trm_repro.machine.preflight` finds: what was found, what is needed, why, what to do about it. A new
fact is one entry of ``words.yaml``.
"""

from __future__ import annotations

import functools
import re
import string
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trm_repro.machine.finding import Finding
from trm_repro.machine.preflight import findings
from trm_repro.machine.survey import Survey
from trm_repro.recipes.schema import Recipe

WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that the run needs, in words."""

    what: str
    found: str
    needed: str = ""
    why: str
    remedy: str = ""
    state: str = "ok"


# what nvidia-smi says, and what helps; the first that fits counts
CURES: Mapping[str, str] = {
    r"did not answer": "its driver hangs: look for Xid in `dmesg`, and reboot",
    r"version mismatch": "the driver was upgraded while in use: reboot (of a container: the machine around it)",
    r"infoROM is corrupted": "the GPU works, and may not for long: ask for another",
    r"is lost|fallen off|requires reset|device handle|\[Unknown Error\]": "reboot; look for Xid in `dmesg`. If it comes"
    " back the GPU is failing: leave it out with CUDA_VISIBLE_DEVICES, or use another machine",
    r"blocked by the operating system": "under WSL: update NVIDIA's driver in Windows, then `wsl --update` and"
    " `wsl --shutdown`; in a container there, start it with --gpus all",
    r"libnvidia-ml|shared librar|NVML: .*not found": "the driver's library is not here: install the driver; in a"
    " container, start it with --gpus all (NVIDIA's container toolkit)",
    r"communicate with the NVIDIA driver|not loaded": "load the driver (`modprobe nvidia`); after a new kernel reinstall"
    " it, and with Secure Boot its module must be signed",
    r"permission": "/dev/nvidia* must be readable and writable for you; in a container or job, ask for GPUs",
    r"NVML: Unknown Error": "the container has lost its devices: start it again",
    r"No devices": "in a container or job, ask for GPUs (--gpus all, --gres=gpu:4); else look for NVIDIA in `lspci` and"
    " `dmesg`",
    r"cannot be run|was ended by|printed nothing": "run nvidia-smi by hand; reinstall the driver",
    r"": "run nvidia-smi by hand: it must list the GPUs first",
}


def cure(said: str) -> str:
    """What helps where nvidia-smi says this."""
    return next(remedy for pattern, remedy in CURES.items() if re.search(pattern, said, re.IGNORECASE))


@functools.cache
def _words() -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text("utf-8"))
    return found


class _Filler(string.Formatter):
    def format_field(self, value: Any, spec: str) -> str:
        return f"{value / 10**9:.1f} GB" if spec == "GB" else str(format(value, spec))


def say(finding: Finding) -> Line:
    """A finding in words."""
    words = _words().get(f"{finding.what}/{finding.case}") or _words()[finding.what]
    facts = {**finding.facts, "cure": cure(str(finding.facts.get("said", "")))}
    texts = {part: " ".join(_Filler().vformat(text, (), facts).split()) for part, text in words.items()}
    return Line(what=finding.what, state=finding.state, **texts)


def lines(recipe: Recipe, survey: Survey) -> list[Line]:
    """What the recipe's run needs, compared with what was found, in words."""
    return [say(finding) for finding in findings(recipe, survey)]


def table(found: Sequence[Line]) -> str:
    """The lines as text for a terminal of 80 columns; the last one names what falls short, if anything does."""
    texts = []
    for line in found:
        needed = f", needed {line.needed}" if line.needed else ""
        texts.append(_wrapped(f"{line.state:8} ", f"{line.what}: {line.found}{needed} ({line.why})"))
        if line.state != "ok" and line.remedy:
            texts.append(_wrapped(f"{'':8} → ", line.remedy))
    short = dict.fromkeys(line.what for line in found if line.state == "problem")
    if short:
        texts.append("falls short: " + ", ".join(short))
    return "\n".join(texts)


def _wrapped(start: str, text: str) -> str:
    options = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * 11, **options)  # type: ignore[arg-type]
