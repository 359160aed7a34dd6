"""A small sample of the fuzzing (make fuzz): no mutated input ends in anything but a value or an error of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_sample_of_every_parser(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.fuzz", "--cases", "300", "--seed", "7", "--json", str(tmp_path / "counts")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    counts = json.loads((tmp_path / "counts").read_text())
    assert counts["cases"] >= 290 and not counts["failed"]


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("raise KeyError(1)", "KeyError"),
        pytest.param("while True: pass", "took too long", marks=pytest.mark.deep),
        pytest.param("bytearray(3 << 29)", "grew by|MemoryError", marks=pytest.mark.deep),
        ("os._exit(3)", "ended the process"),
    ],
)
def test_what_must_not_happen_is_told(tmp_path: Path, body: str, how: str) -> None:
    """The harness itself: an exception, a loop, a gigabyte and a dead process are each a failed case."""
    import re

    script = f"""
import os, sys
import tests.fuzz.__main__ as fuzz
from tests.fuzz.parsers import PARSERS, Parser
def read(data, folder):
    if data != b"seed":
        {body}
PARSERS.clear()
PARSERS["x"] = Parser(lambda: [b"seed"], read, lambda data, others, rng: b"other")
fuzz.SECONDS, fuzz.PARSERS = 1, PARSERS
sys.argv = ["fuzz", "--cases", "2"]
sys.exit(fuzz.main())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1 and "2 failed" in done.stdout, done.stdout + done.stderr
    assert re.search(how, done.stdout), done.stdout
