"""What a run costs that has nothing to do: `make rehearse` where all eight steps are fresh, beside its alternatives.

    python -m bench.doorway --dvc .scratch/bin/dvc        # after `make rehearse`

Measured in turns, each as a process of its own: `make rehearse`; one fresh step; `dvc repro` of eight idle stages in a
repository made for it, where --dvc names that program; and the *floor*, one Python that does nothing, since one at least has
to be asked. Wall seconds and CPU seconds; `make rehearse` also says what the run did, which takes a second Python.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = range(1, 9)


def dvc_pipeline(folder: Path, dvc: str) -> None:
    """Eight stages, each with a dependency on the one before and an output, run once."""
    stages = [
        f"  s{n}:\n    cmd: cat out{n - 1} > out{n}\n    deps: [out{n - 1}]\n    outs: [out{n}]\n" for n in STAGES
    ]
    (folder / "dvc.yaml").write_text("stages:\n" + "".join(stages))
    (folder / "out0").write_text("begin\n")
    for words in (["git", "init", "--quiet"], [dvc, "init", "--quiet"], [dvc, "repro", "--quiet"]):
        subprocess.run(words, cwd=folder, check=True, timeout=300)


def timed(words: list[str], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command that must succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, cwd=folder, check=True, timeout=600, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measures in turns, prints the table, writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dvc", help="the program dvc (pip install dvc into an environment of its own)")
    parser.add_argument("--json", type=Path, help="write all measurements here")
    arguments = parser.parse_args()
    root = Path(__file__).parents[1]
    commands = {
        "make rehearse, nothing to do": (["make", "rehearse"], root),
        "one fresh step": (["env", "RECIPE=arc2-rehearsal", "steps/01-sanity.sh"], root),
        "floor: one Python, nothing done": ([sys.executable, "-c", "pass"], root),
    }
    with tempfile.TemporaryDirectory(prefix="bench-doorway-") as name:
        if arguments.dvc:
            dvc_pipeline(Path(name), str(Path(arguments.dvc).absolute()))
            commands["dvc repro, eight idle stages"] = ([str(Path(arguments.dvc).absolute()), "repro"], Path(name))
        for words, folder in commands.values():
            timed(words, folder)  # what is not fresh yet, and caches
        rounds = [{label: timed(*command) for label, command in commands.items()} for _ in range(arguments.rounds)]
    found = {label: [times[label] for times in rounds] for label in commands}
    print(f"{'':<36}{'wall s':>8}{'least':>8}{'CPU s':>8}")
    for label, times in found.items():
        walls, cpus = zip(*times, strict=True)
        print(f"{label:<36}{statistics.median(walls):>8.3f}{min(walls):>8.3f}{statistics.median(cpus):>8.3f}")
    if arguments.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}
        arguments.json.write_text(json.dumps(machine | found, indent=2) + "\n")


if __name__ == "__main__":
    main()
