"""How long `trm-repro verify` takes on a bundle of the real size, in how much memory, and what the machine itself needs.

    python -m bench.verify --bundle .repro/work/kaggle_dataset_arc2_arc2_rehearsal    # after `make rehearse`

The small bundle is grown: its network gets the paper's width and its table the paper's 1,191,730 puzzle vectors, of
random values, and everything that follows from them is derived again, so that the result is CONSISTENT. It holds the
weights twice (model.ckpt and its safetensors twin), 4.9 GB in all, and is deleted at the end.

Measured in each round: `verify` as a process of its own, once with the files dropped from the page cache and once with
what the cache holds of them; reading every byte once, from either; and the *floor*, SHA-256 of every byte once at the speed
that one core has on 256 MB in memory, files shared among the cores. CPU seconds are what others' work disturbs least.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml

from trm_repro.digests import digest_file
from trm_repro.files import write_bytes, write_json, write_text
from trm_repro.provenance.bundle import write_sums
from trm_repro.provenance.promises import expected_tensors
from trm_repro.provenance.statement import make_statement
from trm_repro.weights.twin import write_safetensors

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16}

# The largest resident set is asked of the process itself: what wait4 tells starts with that of the process it was forked from.
VERIFY = """
import re, sys
from pathlib import Path
from trm_repro.cli import main
code = main(["verify", sys.argv[1]])
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""


def grow(small: Path, folder: Path, vectors: int, width: int) -> None:
    """Makes a bundle like ``small``, of another width and number of puzzle vectors, in which everything agrees."""
    shutil.copytree(small, folder, ignore=shutil.ignore_patterns("model.*"))
    config = yaml.safe_load((folder / "all_config.yaml").read_text())
    old, new = (f"arch.hidden_size={size}" for size in (config["arch"]["hidden_size"], width))
    config["arch"] |= {"hidden_size": width, "puzzle_emb_ndim": width}
    write_text(folder / "all_config.yaml", yaml.safe_dump(config))
    write_json(folder / "identifiers.json", ["<blank>", *(f"{i:08x}|||t{i % 8}|||{i:010d}" for i in range(1, vectors))])
    manifest = json.loads((folder / "manifest.json").read_text().replace(f'"{old}"', f'"{new}"'))
    held = manifest["recipe"]
    words = json.dumps({"name": held["name"], **held["resolved"]}, sort_keys=True)
    held["sha256"] = hashlib.sha256(words.encode()).hexdigest()

    tensors = expected_tensors(config["arch"], manifest["run"]["target_dataset"], vectors)
    state = {f"model.inner.{name}": torch.rand(shape).to(DTYPES[dtype]) for name, (dtype, shape) in tensors.items()}
    torch.save(state, folder / "model.ckpt")
    write_safetensors(folder / "model.ckpt", folder / "model.safetensors")
    for name, role in (
        ("model.ckpt", "final-checkpoint"),
        ("identifiers.json", "identifiers"),
        ("all_config.yaml", "config"),
    ):
        digest = digest_file(folder / name)
        entry = [entry for entry in manifest["outputs"] if entry["role"] == role][-1]
        entry |= {"sha256": digest.sha256, "bytes": digest.bytes}
    write_json(folder / "manifest.json", manifest)
    write_bytes(folder / "statement.json", make_statement((folder / "manifest.json").read_bytes()))
    write_sums(folder)


def drop(folder: Path) -> None:
    """Takes a folder's files out of the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def verify(folder: Path) -> tuple[float, float, float]:
    """Verifies in a process of its own; its seconds, CPU seconds and peak MB."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", VERIFY, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(said)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, int(said.split()[-1]) * 1024 / 1e6


def read(folder: Path) -> float:
    """Seconds to read every byte once."""
    block, began = bytearray(8 << 20), time.perf_counter()
    for path in folder.iterdir():
        with path.open("rb", buffering=0) as file:
            while file.readinto(block):
                pass
    return time.perf_counter() - began


def hashing(sizes: list[int]) -> tuple[float, float]:
    """Seconds and CPU seconds that SHA-256 of files of these sizes takes at least, each file on one core."""
    block, began = bytes(256 << 20), time.process_time()
    hashlib.sha256(block).digest()
    rate = len(block) / (time.process_time() - began)
    return max(max(sizes), sum(sizes) / (os.cpu_count() or 1)) / rate, sum(sizes) / rate


def main() -> None:
    """Grows the bundle, measures, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="a small bundle, such as the rehearsal's")
    parser.add_argument("--vectors", type=int, default=1_191_730)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(), help="where to write (default: here)")
    parser.add_argument("--json", type=Path, help="write all measurements here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="bench-verify-") as name:
        folder = Path(name) / "bundle"
        grow(arguments.bundle, folder, arguments.vectors, arguments.width)
        sizes = [path.stat().st_size for path in folder.iterdir()]
        rounds: list[dict[str, Any]] = [measure(folder, sizes) for _ in range(arguments.rounds)]
    result = {"bytes": sum(sizes)} | {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    for key, value in result.items():
        print(f"{key:<44}{value:,.2f}" if isinstance(value, float) else f"{key:<44}{value:,}")
    if arguments.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
        arguments.json.write_text(json.dumps(machine | result | {"rounds": rounds}, indent=2) + "\n")


def measure(folder: Path, sizes: list[int]) -> dict[str, float]:
    """One round."""
    result = {}
    for state in ("from the disk", "from the cache"):
        if state == "from the disk":
            drop(folder)
        seconds, busy, memory = verify(folder)
        result |= {f"verify {state}, s": seconds, f"CPU {state}, s": busy, f"peak {state}, MB": memory}
    result["reading from the cache, s"] = read(folder)
    drop(folder)
    result["reading from the disk, s"] = read(folder)
    result["floor: SHA-256, s"], result["floor: SHA-256, CPU s"] = hashing(sizes)
    return result


if __name__ == "__main__":
    main()
