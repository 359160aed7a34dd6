"""What a finished run did, in a screen of text: time, losses, scores, files, and what to do next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trm_repro.arc.score import Share
from trm_repro.arc.score import lines as score_lines
from trm_repro.files import read_json
from trm_repro.progress import clock
from trm_repro.runs.layout import Run
from trm_repro.runs.metrics import read_all, series
from trm_repro.runs.stamps import read_stamp
from trm_repro.runs.status import seconds


def summary(run: Run, locate: Callable[[str], Path]) -> str:
    """The text. Numbers come from the run's stamps, metrics and manifest.

    Args:
        run: the run.
        locate: finds the file that a path of the manifest means.
    """
    artifacts = run.artifacts
    manifest: dict[str, Any] = read_json(artifacts / "manifest.json")
    recipe = manifest["recipe"]["resolved"]
    stamps = [stamp for step in run.steps if (stamp := read_stamp(run.path(step)))]
    outputs = {entry["role"]: entry["path"] for entry in manifest["outputs"]}
    lines = [
        f"{run.name}: {recipe['title']}",
        *(f"  {stamp.step:12} {clock(seconds(stamp))}  {stamp.said}" for stamp in stamps),
        _losses(locate(outputs["metrics"])) if "metrics" in outputs else "training loss: not on record",
        *_scores(artifacts / "verdict.json"),
        f"faithful: {'yes' if manifest['faithful'] else 'no: ' + '; '.join(manifest['reasons'])}",
    ]
    report = artifacts / "report.html"
    if report.exists():
        lines.append(f"report: {report.relative_to(run.repository)}")
    if scale := recipe["train"]["scale"]:
        where = "this machine" if recipe["train"]["gpu"] else "a machine with 4 to 8 GPUs"
        lines += [
            f"At toy scale ({', '.join(scale[:3])}{' …' if scale[3:] else ''}) scores stay near 0: "
            "what was rehearsed is the way, not the result.",
            f"next: on {where}, `make plan` shows what the real run does and `make all` does it.",
        ]
    return "\n".join(lines)


def _scores(verdict: Path) -> list[str]:
    """Both of ARC's metrics as step 6 scored them again; other puzzles' stand in the verdict's table."""
    judged = read_json(verdict) if verdict.exists() else {}
    if not judged.get("tasks"):
        return ["scores: none of ARC's"]
    shares = {name: Share.of_json(value) for name, value in judged["scores"].items()}
    return [f"scores, of {judged['tasks']}:", *(f"  {line}" for line in score_lines(shares, judged["unknown"]))]


def _losses(metrics: Path) -> str:
    """The training loss at both ends, as the mean of a tenth of the steps."""
    losses = [value for _, value in series(read_all(metrics), "train/lm_loss")]
    if not losses:
        return "training loss: not on record"
    tenth = max(1, len(losses) // 10)
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    return f"training loss: {first:.3f} at first, {last:.3f} at last (means of {tenth} of {len(losses)} steps)"
