"""The card of a published run, for readers on Kaggle and on the hub alike.

The hub's front matter (license, tags, and the results as ``model-index``) comes first, then the text, whose first line
says whether the run is faithful. Everything in it is read from the manifest and the submission; nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trm_repro.arc import score
from trm_repro.arc.score import Share
from trm_repro.provenance.bundle import FAITHFUL, UNFAITHFUL, describe
from trm_repro.provenance.names import DATASETS

UPSTREAM = "https://github.com/SamsungSAILMontreal/TinyRecursiveModels"


def card(
    manifest: Mapping[str, Any],
    *,
    title: str,
    license: str,
    files: Iterable[str],
    verdict: Mapping[str, Any] | None = None,
) -> str:
    """The card's text.

    Args:
        manifest: the run's manifest.
        title: the dataset's title.
        license: the license of the weights, in Kaggle's spelling.
        files: the names of the bundle's files.
        verdict: what step 6 made of the run, where it did: both metrics of the submission, and what they are of.
    """
    from huggingface_hub import EvalResult, ModelCardData

    run = manifest["run"]
    dataset = dataset_name(manifest)
    scores = results(manifest, verdict)
    evaluations = [
        EvalResult(
            task_type="abstract-reasoning",
            task_name="Abstract reasoning",
            dataset_type=f"{run['target_dataset']}-evaluation",
            dataset_name=f"{dataset} public evaluation",
            metric_type=name,
            metric_name=name,
            metric_value=found.share,
        )
        for name, found in scores.items()
    ]
    front = ModelCardData(
        license=license.lower(),
        library_name="pytorch",
        tags=["tiny-recursive-model", "trm", run["target_dataset"], "reproduction"],
        model_name=str(run["name"]),
        eval_results=evaluations or None,
    )
    body = "\n\n".join(
        [
            _first_line(manifest),
            f"# {title}",
            _made(manifest),
            "## Files\n\n" + "\n".join(f"* `{name}`: {describe(name)}" for name in files),
            "## Results\n\n" + _results(scores, verdict or {}),
            "## Use\n\n" + _use(),
            "## Differences\n\n" + _differences(manifest),
            "## License\n\n" + _license(manifest, license),
        ]
    )
    return f"---\n{front.to_yaml()}\n---\n\n{body}\n"


def dataset_name(manifest: Mapping[str, Any]) -> str:
    """The name of the benchmark a run is about, such as ``ARC-AGI-2``."""
    target = str(manifest["run"]["target_dataset"])
    return DATASETS.get(target, target)


def subtitle(manifest: Mapping[str, Any]) -> str:
    """The dataset's subtitle, of 20–80 characters."""
    if manifest["faithful"]:
        return f"Tiny Recursive Model trained on {dataset_name(manifest)} as published"
    return f"NOT a faithful reproduction: Tiny Recursive Model on {dataset_name(manifest)}"


def results(manifest: Mapping[str, Any], verdict: Mapping[str, Any] | None = None) -> dict[str, Share]:
    """The scores of a run by name: pass@K and exact accuracy as logged, and both of ARC's metrics as scored again."""
    flat = _flat(manifest.get("metrics", {}))
    tasks = next((e.get("rows") for e in manifest["outputs"] if e["role"] == "test-puzzles"), None) or 0
    logged = {
        score.title(name): Share(value * tasks, tasks, "tasks")
        if name.startswith(score.LOGGED) and tasks
        else Share(value, 1, "")
        for name, value in flat.items()
        if "pass@" in name or name.endswith("exact_accuracy")
    }
    again = (verdict or {}).get("scores", {})
    return {
        **{name: Share.of_json(value) for name, value in again.items()},
        **{n: v for n, v in logged.items() if n not in again},
    }


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested metrics under dotted names; what is no number is left out."""
    flat: dict[str, float] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            flat[prefix + key] = float(value)
    return flat


def _first_line(manifest: Mapping[str, Any]) -> str:
    if manifest["faithful"]:
        return f"{FAITHFUL} of the Tiny Recursive Model on {dataset_name(manifest)}: every guard held."
    reasons = "; ".join(manifest["reasons"]) or "no reason recorded"
    return f"{UNFAITHFUL} of the Tiny Recursive Model on {dataset_name(manifest)}: {reasons}."


def _made(manifest: Mapping[str, Any]) -> str:
    run, upstream, tool = manifest["run"], manifest["upstream"], manifest["tool"]
    if run["engine"] == "upstream" and upstream:
        url = upstream["url"].removesuffix(".git")
        source = f"[{'/'.join(url.split('/')[-2:])}]({url}) at commit `{upstream['commit']}`{_unmodified(manifest)}"
    else:
        source = f"trm-repro's reference engine, written from the description of [TRM]({UPSTREAM})"
    return (
        f"Run `{run['name']}`, recipe `{run['recipe']}`, finished {run['finished']}.\n\n"
        f"* Source: {source}\n"
        f"* Made by trm-repro {tool['version']}, commit `{tool['commit']}`\n"
        f"* Recipe digest: `{manifest['recipe']['sha256']}`"
    )


def _unmodified(manifest: Mapping[str, Any]) -> str:
    outcomes = {guard["outcome"] for guard in manifest["guards"] if guard["guard"] == "G-UPSTREAM-UNMODIFIED"}
    return ", unmodified" if outcomes == {"holds"} else ""


def _results(scores: Mapping[str, Share], verdict: Mapping[str, Any]) -> str:
    unknown = verdict.get("unknown", 0)
    if not scores:
        return score.NOTHING[0].upper() + score.NOTHING[1:] + "." if unknown else "No score was recorded."
    rows = [
        (name, one.percent, one.count, one.span.removeprefix("95 % interval "))
        if one.what
        else (name, one.percent, "", "")
        for name, one in scores.items()
    ]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    said = f"| metric | value | right | 95 % interval |\n|---|---|---|---|\n{table}\n\n"
    if tasks := verdict.get("tasks"):
        said += f"ARC's are of {tasks}. "
    if unknown:
        said += f"{score.left_out(unknown)}. "
    said += "ARC's pass@K is the vote of all checkpoints evaluated in the run, as upstream logs it, not of the last one alone."
    return said + "".join(f"\n\nNote: {line}." for line in verdict.get("findings", ()))


def _use() -> str:
    return (
        "`sha256sum -c SHA256SUMS` checks what you downloaded; `manifest.json` says how it was made. In a Kaggle "
        "notebook, attach this dataset and the competition's data and run the notebook that trm-repro writes "
        "(`trm-repro notebook write`). Elsewhere, `trm-repro fetch-weights` brings the files to where "
        "`trm-repro evaluate` and the fine-tuning recipes find them.\n\n"
        "`identifiers.json` belongs to the weights: without it the rows of the puzzle table cannot be matched to "
        "puzzles. So does `all_config.yaml`: the number of cycles, the halting steps and the length of the puzzle "
        "embedding leave no trace in the tensors."
    )


def _differences(manifest: Mapping[str, Any]) -> str:
    deviations = "\n".join(f"* {entry['id']}: {entry['title']}" for entry in manifest["deviations"])
    overridden = "\n".join(
        f"* guard {guard['guard']} in step {guard['step']} was {guard['outcome']}: {guard['detail']}"
        for guard in manifest["guards"]
        if guard["outcome"] != "holds"
    )
    lines = [text for text in (deviations, overridden) if text]
    return "\n".join(lines) if lines else "None was recorded."


def _license(manifest: Mapping[str, Any], license: str) -> str:
    upstream = manifest["recipe"]["resolved"].get("upstream") or {}
    used = upstream.get("license", "MIT")
    return (
        f"The weights are published under {license}. The code of the Tiny Recursive Model is © 2025 Samsung under the "
        "MIT License (`LICENSE.upstream` where the run used it); trm-repro is under the MIT License."
        + (f" The code that trained them is {upstream['name']}'s, whose license is: {used}." if used != "MIT" else "")
    )
