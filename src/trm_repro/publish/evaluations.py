"""A run's number as the hub's leaderboards read it: ``.eval_results/*.yaml`` beside a model's files.

The format is the hub's (huggingface.co/docs/hub/eval-results), written by its client. A result names a *benchmark*, a
dataset on the hub that its owner registered, and a task of it; there is no default here, for none is known to hold ARC's
public evaluation tasks. It carries no token: only evaluations that ran on the hub's own machines have one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trm_repro.arc.score import title
from trm_repro.errors import InvariantBroken, UsageError
from trm_repro.provenance.bundle import EVALUATIONS
from trm_repro.recipes.published import METRICS

FILE = f"{EVALUATIONS}/trm-repro.yaml"


def evaluation_file(manifest: Mapping[str, Any], benchmark: str, source: str) -> bytes:
    """The file's content: the number that counts for such puzzles, in per cent, and what it is a number of.

    Args:
        manifest: the run's manifest.
        benchmark: ``owner/dataset:task_id``.
        source: the page where manifest and submission lie.

    Raises:
        UsageError: that is no benchmark's name.
        InvariantBroken: the run has no number.
    """
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    found = re.fullmatch(r"([\w.-]+/[\w.-]+):([\w.-]+)", benchmark)
    if not found:
        raise UsageError(
            f"HF_BENCHMARK is {benchmark!r}", hint="owner/dataset:task_id, as the dataset's eval.yaml has it"
        )
    run = manifest["run"]
    metric = next((name for kind, name in METRICS.items() if run["target_dataset"].startswith(kind)), METRICS["arc"])
    value = manifest["metrics"].get(metric)
    if value is None:
        raise InvariantBroken(
            f"run {run['name']} has no {metric}", hint="unset HF_BENCHMARK: there is nothing to tell it"
        )
    tasks = next((e.get("rows") for e in manifest["outputs"] if e["role"] == "test-puzzles"), None)
    notes = [
        f"{title(metric)}, in per cent" + (f", of {tasks} tasks" if tasks else ""),
        "vote of all checkpoints evaluated in the run" if metric.startswith("ARC/") else "",
        "a faithful reproduction" if manifest["faithful"] else "NOT a faithful reproduction",
        f"self-reported by trm-repro {manifest['tool']['version']}, recipe {run['recipe']}",
    ]
    entry = EvalResultEntry(
        dataset_id=found[1],
        task_id=found[2],
        value=round(100 * value, 4),
        date=run["finished"],
        source_url=source,
        source_name="manifest and submission",
        notes="; ".join(filter(None, notes)),
    )
    return str(yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True)).encode()
