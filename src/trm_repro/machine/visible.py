"""Which GPUs a CUDA program sees: what CUDA_VISIBLE_DEVICES names, and what MIG leaves of it. Nothing is measured here.

The rules are CUDA's (programming guide, "CUDA environment variables"; MIG user guide, "CUDA device enumeration") as torch
counts by them: names are numbers, or beginnings of UUIDs that fit one device; the first that fits none ends the list; one
that comes twice empties it. With MIG a process sees one slice, and no whole GPU beside it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A GPU, or a MIG slice of it.

    Attributes:
        board: the GPU's place in nvidia-smi's list.
        uuid: its name.
        mig: whether the GPU is divided.
        profile: a slice's, such as ``3g.40gb``; empty for a GPU.
    """

    board: int
    uuid: str
    mig: bool = False
    profile: str = ""


@dataclass(frozen=True)
class Choice:
    """What is visible, and why not more.

    Attributes:
        devices: those that are visible.
        variable: CUDA_VISIBLE_DEVICES, None where it is not set.
        wrong: what is wrong with it, in words; empty if nothing is.
        unordered: GPUs of several kinds are chosen by number, and CUDA's numbers are not nvidia-smi's.
        hidden: MIG slices that are chosen and not visible beside the first.
        undivided: GPUs in MIG mode that have no slice.
    """

    devices: tuple[Device, ...] = ()
    variable: str | None = None
    wrong: str = ""
    unordered: bool = False
    hidden: int = 0
    undivided: int = 0


def choose(environ: Mapping[str, str], boards: Sequence[Device], slices: Sequence[Device], *, alike: bool) -> Choice:
    """What CUDA_VISIBLE_DEVICES leaves of GPUs and MIG slices; ``alike``: all GPUs are of one kind."""
    variable = environ.get("CUDA_VISIBLE_DEVICES")
    wrong, chosen = "", list(boards)
    if variable is not None and variable.startswith(("GPU-", "MIG-")):
        chosen, wrong = _by_name(variable, [*boards, *slices])
    elif variable is not None:
        chosen, wrong = _by_number(variable, boards)
    parts = [device for device in chosen if device.profile]
    for board in (device for device in chosen if not device.profile):
        parts += [part for part in slices if part.board == board.board]
    whole = [device for device in chosen if not device.mig]
    by_number = variable is not None and not variable.startswith(("GPU-", "MIG-"))
    return Choice(
        devices=tuple(parts[:1] or whole),
        variable=variable,
        wrong=wrong,
        unordered=bool(by_number and not alike and chosen and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID"),
        hidden=max(0, len(parts) - 1),
        undivided=sum(device.mig and not device.profile for device in chosen) if not parts else 0,
    )


def _by_number(variable: str, boards: Sequence[Device]) -> tuple[list[Device], str]:
    """Numbers as C's strtoul reads them: ``1gpu`` is 1, a word is none."""
    found: list[int] = []
    wrong = ""
    for word in variable.split(","):
        digits = re.match(r"[+-]?\d+", word.strip())
        number = int(digits[0]) if digits else -1
        if number in found:
            return [], f"{number} comes twice, and so torch sees none"
        if number < 0:
            wrong = wrong or (_none(word, boards) if word.strip() not in ("", "-1") else "")
            break
        if number >= len(boards):
            wrong = wrong or _none(word, boards)
        found.append(number)
    return [boards[number] for number in itertools.takewhile(lambda number: number < len(boards), found)], wrong


def _by_name(variable: str, devices: Sequence[Device]) -> tuple[list[Device], str]:
    """UUIDs, or their beginnings; those of the old form ``MIG-GPU-…/1/0`` too."""
    words = variable.split(",")
    names = list(itertools.takewhile(lambda word: word.startswith(variable[:4]), words))
    if twice := next((name for name in names if names.count(name) > 1), ""):
        return [], f"'{twice}' comes twice, and so torch sees none"
    found: list[Device] = []
    for word in words:
        fits = [device for device in devices if device.uuid.startswith(word)] if word in names else []
        if len(fits) != 1:
            return found, f"'{word}' is the beginning of several names" if fits else _none(word, devices)
        if fits[0] in found:
            return [], f"'{word}' comes twice, and so torch sees none"
        found.append(fits[0])
    return found, ""


def _none(word: str, devices: Sequence[Device]) -> str:
    return f"'{word.strip()}' is none of the {sum(not device.profile for device in devices)} GPUs"
