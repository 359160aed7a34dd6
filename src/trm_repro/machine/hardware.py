"""The GPUs of this machine, and its CUDA compilers. The one place that asks nvidia-smi. Nothing is cached or assumed.

Sizes are bytes. What cannot be found out is None, never a guess; what nvidia-smi complains of is kept in its own words.
nvidia-smi, and not its library NVML, because a broken driver hangs whoever asks it: a program can be given up, a call cannot.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trm_repro.machine.ask import ask, one_line, output
from trm_repro.machine.visible import Choice, Device, choose

MIB = 1 << 20  # nvidia-smi counts memory in MiB
FIELDS = (
    *("name", "memory.total", "driver_version", "compute_cap", "memory.used"),
    *("index", "utilization.gpu", "uuid", "mig.mode.current"),
)
NO_CHOICE = Choice()
NEW = {"compute_cap", "mig.mode.current"}  # the fields that old drivers do not know
FAULT = re.compile(r"GPU is lost|requires reset|fallen off", re.IGNORECASE)  # such a GPU is not used
SYS = Path("/sys")
MAKERS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}


@dataclass(frozen=True)
class Gpu:
    """One GPU as nvidia-smi describes it, or one MIG slice of it.

    Attributes:
        name: its model; a slice's ends in MIG and its profile.
        memory: bytes. A slice's are those of its profile's name.
        driver: the version of the machine's driver.
        capability: its compute capability, such as (9, 0).
        used: bytes of memory in use; None for a slice.
        index: nvidia-smi's number for it.
        busy: the share of time that it works, in per cent.
        uuid: its name in CUDA_VISIBLE_DEVICES; empty where nobody says.
    """

    name: str
    memory: int | None
    driver: str
    capability: tuple[int, int] | None = None
    used: int | None = None
    index: int | None = None
    busy: int | None = None
    uuid: str = ""


@dataclass(frozen=True)
class Graphics:
    """What nvidia-smi says, and what of that a CUDA program would see.

    Attributes:
        visible: the GPUs, or the one MIG slice, of a process here, in CUDA's order.
        installed: all that nvidia-smi lists.
        complaint: what it says beside that, or why it says nothing; empty where all is well.
        why: ``missing``, ``silent`` or ``failed`` where it did not do what it was asked; else empty.
        choice: how the visible ones were chosen, and what is wrong with that.
    """

    visible: Sequence[Gpu]
    installed: Sequence[Gpu]
    complaint: str = ""
    why: str = ""
    choice: Choice = NO_CHOICE

    @property
    def told(self) -> str:
        """The complaint with who says it."""
        own = self.complaint and not self.complaint.startswith("nvidia-smi ")
        return f"nvidia-smi says: {self.complaint}" if own else self.complaint


@dataclass(frozen=True)
class Nvcc:
    """A CUDA compiler: where its toolkit lies, and its version."""

    home: Path
    version: tuple[int, ...]


def gpus() -> Sequence[Gpu]:
    """The GPUs that a CUDA program here would see; none where nvidia-smi lists none."""
    return graphics(os.environ).visible


def graphics(environ: Mapping[str, str]) -> Graphics:
    """What nvidia-smi says of the GPUs, and which of them CUDA_VISIBLE_DEVICES leaves."""
    fields, tried = list(FIELDS), len(FIELDS)
    while True:
        answer = ask(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"])
        refused = set(re.findall(r'Field "([\w.]+)" is not a valid field', answer.said + answer.complaint))
        if answer.why == "failed" and not answer.said.strip():
            refused |= NEW
        tried -= 1
        if not tried or not answer.why or not refused & set(fields):
            break
        fields = [field for field in fields if field not in refused]
    lines = [] if (answer.code or 0) < 0 else answer.said.splitlines()  # a killed one's last line may be cut
    rows = [[cell.strip() for cell in line.split(",")] for line in lines]
    good = [row for row in rows if _is_row(row)]
    said = [one_line(line) for line, row in zip(lines, rows, strict=True) if not _is_row(row) and line.strip()]
    said += [
        f"GPU {number}: {' '.join(row)}"
        for number, row in enumerate(rows)
        if row in good and (FAULT.search(" ".join(row)) or "Unknown Error" in row[1])
    ]
    found = [_gpu(dict(zip(fields, row, strict=False)), number) for number, row in enumerate(good)]
    lost = {number for number, row in enumerate(good) if FAULT.search(" ".join(row))}
    mig = {
        number for number, row in enumerate(good) if dict(zip(fields, row, strict=False)).get(FIELDS[-1]) == "Enabled"
    }
    named = any(f"{kind}-" in environ.get("CUDA_VISIBLE_DEVICES", "") for kind in ("GPU", "MIG"))
    unsaid = any(len(row) < len(fields) for row in good) and FIELDS[-1] in fields
    slices: list[tuple[int, str, str]] = []
    if good and (mig or unsaid or (named and not all(gpu.uuid for gpu in found))):
        listing = ask(["nvidia-smi", "-L"])
        said += [listing.complaint] if listing.why else []
        uuids, slices = _listing(listing.said)
        found = [replace(gpu, uuid=gpu.uuid or uuids.get(number, "")) for number, gpu in enumerate(found)]
    mig |= {parent for parent, _, _ in slices}
    whole = [number for number in range(len(found)) if number not in lost]
    choice = choose(
        environ,
        [Device(number, found[number].uuid, number in mig) for number in whole],
        [Device(parent, uuid, True, profile) for parent, profile, uuid in slices],
        alike=len({gpu.name for gpu in found}) <= 1,
    )
    seen = [_slice(found[d.board], d) if d.profile else found[d.board] for d in choice.devices if d.board < len(found)]
    if choice.unordered:  # nobody knows which they are: the smallest decides
        by_size = sorted((found[number] for number in whole), key=lambda gpu: gpu.memory or 0)
        seen = by_size[: len(seen)]
    complaint = " ".join(said) if good or said else answer.complaint
    if good and answer.why and not complaint:
        complaint = answer.complaint if not answer.said else f"nvidia-smi ended with exit code {answer.code}"
    if not good and not complaint and not answer.why:
        complaint = "nvidia-smi printed nothing"
    return Graphics(seen, found, one_line(complaint), answer.why or ("failed" if complaint else ""), choice)


def _is_row(row: Sequence[str]) -> bool:
    """Whether these are the cells of a GPU: a driver's version stands in the third, or its place is marked as unknown."""
    return len(row) >= 3 and bool(re.fullmatch(r"\d+(\.\d+)+|\[.*\]", row[2]))


def _gpu(row: Mapping[str, str], position: int) -> Gpu:
    capability = version(row.get("compute_cap", ""))
    total, used = (_number(row.get(field, "")) for field in ("memory.total", "memory.used"))
    index, uuid = _number(row.get("index", "")), row.get("uuid", "")
    return Gpu(
        name=row["name"],
        memory=total * MIB if total else None,
        driver=row["driver_version"],
        capability=(capability[0], capability[1]) if len(capability) == 2 else None,
        used=None if used is None else used * MIB,
        index=position if index is None else index,
        busy=_number(row.get("utilization.gpu", "")),
        uuid=uuid if uuid.startswith("GPU-") else "",
    )


def _slice(gpu: Gpu, device: Device) -> Gpu:
    size = re.search(r"\b(\d{1,6})gb", device.profile)
    return replace(
        gpu,
        name=f"{gpu.name} MIG {device.profile}",
        memory=int(size[1]) * 10**9 if size else None,
        used=None,
        busy=None,
        uuid=device.uuid,
    )


def _listing(text: str) -> tuple[dict[int, str], list[tuple[int, str, str]]]:
    """Of ``nvidia-smi -L``: the GPUs' UUIDs by position, and the MIG slices as (position, profile, UUID)."""
    uuids: dict[int, str] = {}
    slices = []
    for line in text.splitlines():
        if board := re.match(r"GPU (\d+): .*\(UUID: ([^)]+)\)", line):
            uuids[len(uuids)] = board[2].strip()
        elif part := re.match(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: ([^)]+)\)", line):
            slices.append((len(uuids) - 1, part[1], part[2].strip()))
    return uuids, slices


def health() -> list[Mapping[str, list[str]]] | None:
    """What ``nvidia-smi -q`` says of each GPU: values by the path of their headings, such as ``Fabric/State``.

    A heading that comes again, such as a process, adds to its values. None where it says nothing of any GPU.
    """
    found: list[dict[str, list[str]]] = []
    path: list[tuple[int, str]] = []
    for line in output(["nvidia-smi", "-q"]).splitlines():
        words = line.strip()
        if re.match(r"GPU [0-9A-Fa-f]+:[0-9A-Fa-f:.]+$", line.rstrip()):
            found.append({})
            path = []
        elif found and words:
            indent, (name, colon, value) = len(line) - len(line.lstrip()), words.partition(" : ")
            path = [*((depth, key) for depth, key in path if depth < indent), (indent, name.strip())]
            if colon:
                found[-1].setdefault("/".join(key for _, key in path), []).append(value.strip())
    return [each for each in found if each] or None


def topology() -> list[list[str]] | None:
    """How the GPUs reach each other, as ``nvidia-smi topo -m`` says: rows of ``NV18``, ``PIX``, ``SYS``; None if unsaid."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", output(["nvidia-smi", "topo", "-m"]))
    rows = [line.split() for line in text.splitlines() if re.match(r"\s*GPU\d+\s+(X|[A-Z])", line)]
    rows = [row[1:] for row in rows if "X" in row[1:]]
    return [row[: len(rows)] for row in rows] or None


def other_gpus() -> list[str]:
    """Who made the GPUs that the kernel knows, whatever their drivers; empty where it does not say."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return ["Apple"]
    found = set()
    for device in SYS.glob("bus/pci/devices/*"):
        if _read(device / "class").startswith(("0x0300", "0x0302", "0x0380")) and (
            maker := MAKERS.get(_read(device / "vendor"))
        ):
            found.add(maker)
    found |= {MAKERS.get(_read(path), "") for path in SYS.glob("class/drm/card*/device/vendor")} - {""}
    return sorted(found | ({"AMD"} if Path("/dev/kfd").exists() else set()))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(text: str) -> int | None:
    found = re.match(r"[0-9]{1,18}(?![0-9])", text)
    return int(found[0]) if found else None


def version(text: str) -> tuple[int, ...]:
    """The numbers at the start of a version, such as (580, 65, 6) of ``580.65.06``; empty if there are none."""
    found = re.match(r"[0-9]{1,9}(\.[0-9]{1,9})*(?![0-9])", text.strip())
    return tuple(map(int, found[0].split("."))) if found else ()


def dotted(numbers: Iterable[int]) -> str:
    """The usual form of a version."""
    return ".".join(map(str, numbers))


def compilers() -> list[Nvcc]:
    """The CUDA compilers of this machine: CUDA_HOME's, the one on PATH, those in the usual places."""
    on_path = shutil.which("nvcc")
    homes = [Path(os.environ["CUDA_HOME"])] if os.environ.get("CUDA_HOME") else []
    homes += [Path(on_path).resolve().parent.parent] if on_path else []
    homes += sorted(Path("/usr/local").glob("cuda*"), reverse=True)
    found: dict[Path, Nvcc] = {}
    for home in homes:
        said = re.search(r"release (\d+(?:\.\d+)*)", output([str(home / "bin" / "nvcc"), "--version"]))
        if said:
            found.setdefault(home.resolve(), Nvcc(home, version(said[1])))
    return list(found.values())
