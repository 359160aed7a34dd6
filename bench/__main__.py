"""All benches, side by side, into one table: bench/results/MACHINE.md and .json. At most 20 minutes on two cores.

    make bench                                        # or python -m bench
    python -m bench --upstream CHECKOUT               # upstream's program beside it
    python -m bench --quick --rows doorway follow     # toy sizes: does it run?

bench/README.md says how to read the table. Files lie in a folder of --work, some 15 GB at most, that is removed at the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.rows import ROWS
from bench.turns import ROOT, Bench, Row, Unavailable, interpreter, machine, require, table

from trm_repro.files import write_json, write_text


def main(words: Sequence[str] | None = None) -> int:
    """Measures the rows that are asked for, prints the table and writes it; how many could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=", ".join(ROWS)
    )
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=20, help="for all of it (default: %(default)s)")
    parser.add_argument("--upstream", type=Path, metavar="CHECKOUT")
    parser.add_argument(
        "--upstream-python", type=interpreter, default=sys.executable, help="a Python that has what upstream imports"
    )
    parser.add_argument("--work", type=Path, default=ROOT, help="where to write (default: here)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results", metavar="FOLDER")
    arguments = parser.parse_args(words)
    if arguments.upstream:
        require(arguments.upstream, arguments.upstream_python)
    called, name = machine()
    began, load = time.monotonic(), os.getloadavg()[0]
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    facts: dict[str, Any] = {
        "machine": called,
        "python": platform.python_version(),
        "commit": subprocess.run(git, capture_output=True, text=True, timeout=30).stdout.strip() or "unknown",
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "quick": arguments.quick,
        "load": load,
    }
    found: list[Row] = []
    missing: dict[str, str] = {}
    arguments.output.mkdir(parents=True, exist_ok=True)

    def write() -> str:
        facts["took"] = time.monotonic() - began
        text = table(found, facts, missing)
        write_text(arguments.output / f"{name}.md", text)
        whole = {**facts, "rows": [row.as_json() for row in found], "missing": missing}
        write_json(arguments.output / f"{name}.json", whole)
        return text

    for row in arguments.rows:
        if time.monotonic() - began > 60 * arguments.minutes:
            missing[row] = f"the {arguments.minutes:g} minutes were over"
            continue
        left = 60 * arguments.minutes - (time.monotonic() - began)
        with tempfile.TemporaryDirectory(dir=arguments.work, prefix=f".bench-{row}-") as folder:
            bench = Bench(
                Path(folder).resolve(), arguments.quick, 1 if arguments.quick else arguments.rounds,
                arguments.upstream and arguments.upstream.resolve(), arguments.upstream_python, min(150.0, left / 4),
            )  # fmt: skip
            try:
                before = os.getloadavg()[0]
                for measured in ROWS[row](bench):
                    measured.load = (before, before := os.getloadavg()[0])
                    found.append(measured)
                    write()  # what was measured is kept, however this ends
                    print(f"{time.monotonic() - began:6.0f} s  {measured.what}", file=sys.stderr, flush=True)
            except (Unavailable, subprocess.SubprocessError, OSError) as error:
                missing[row] = " ".join(str(error).split())
                print(f"error: {row}: {missing[row]}", file=sys.stderr, flush=True)
    print(write())
    return len(missing)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
