"""Metrics in a program's output, as NVARC's and alphaXiv's programs print them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trm_repro.runs.metrics import read_evaluations
from trm_repro.training.printed import listener, printed_metrics

NVARC = "{'all': {'accuracy': np.float32(0.5), 'exact_accuracy': 0.0436}, 'ARC/pass@1': 0.0764, 'ARC/pass@2': 0.1014} 220708"
NUMBERS = {"all.accuracy": 0.5, "all.exact_accuracy": 0.0436, "ARC/pass@1": 0.0764, "ARC/pass@2": 0.1014}


def test_a_dictionary_and_its_step() -> None:
    assert printed_metrics(NVARC + "\n") == (220708, NUMBERS)


def test_without_a_step_it_is_step_0() -> None:
    assert printed_metrics(NVARC.removesuffix(" 220708")) == (0, NUMBERS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "TRAIN",
        "Run metrics: {'all': {'accuracy': 1}}",
        "{'arch': {'name': 'trm'}, 'lr': 0.0001}",
        "{'all': open('x')} 3",
        "{not python} 3",
        "{'all', 'ARC/pass@2'}",
        "{'all': {'accuracy': 1.0}} " + "7" * 5000,  # no step has so many digits
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert printed_metrics(line) is None


def test_what_is_heard_is_written_as_metrics(tmp_path: Path) -> None:
    hear = listener(tmp_path / "run" / "metrics.jsonl")
    for line in ("EVALUATE\n", NVARC + "\n", "100%|##|\r"):
        hear(line)
    [entry] = read_evaluations(tmp_path / "run" / "metrics.jsonl")
    assert (entry["step"], entry["ARC/pass@2"]) == (220708, 0.1014)
    assert entry["time"].endswith("Z")
