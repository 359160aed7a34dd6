"""What both twins of a report say in the same words."""

from __future__ import annotations

from trm_repro.arc.score import NOTHING, Share, left_out, title
from trm_repro.provenance.faithful import guard_outcomes, supports
from trm_repro.provenance.host import machine
from trm_repro.recipes.published import TASKS, retrained
from trm_repro.report.facts import Facts, Shown, duration

Rows = list[tuple[str, ...]]


def percent(share: float) -> str:
    """A share as per cent, with as many digits as published numbers have."""
    return f"{100 * share:.2f} %"


def why(facts: Facts) -> list[str]:
    """The reasons that a run is not faithful."""
    return list(facts.manifest["reasons"]) if not facts.state else []


def number(facts: Facts) -> str:
    """The number in a sentence or two, with what has to be known to read it."""
    score = facts.score
    if score is None and facts.unknown and not facts.shares:
        return f"{NOTHING[0].upper()}{NOTHING[1:]}.{version(facts)}"
    if score is None:
        return "There is no score yet: no evaluation has ended."
    judged = f"Against the published number: {facts.judgement}. " if facts.judgement else ""
    target = facts.manifest["run"]["target_dataset"]
    known = TASKS.get(target)
    share = Share(score.value * score.of, score.of, "tasks")
    said = f"{title(score.metric)} {share if score.of else percent(score.value)}"
    said += "".join(f"; {name} {found}" for name, found in facts.shares.items() if name != title(score.metric))
    if score.of:
        said += f". The intervals are Wilson's; one task is {100 / score.of:.2f} points"
    said += f".{version(facts)}"
    if known and score.of != known:
        said += f" The published numbers are of {known} tasks: this one cannot be compared with them."
    if score.metric.startswith("ARC/"):
        said += (
            " As upstream logs it, pass@K is the vote of all checkpoints evaluated so far, not of the last one alone;"
            " a single checkpoint usually scores lower."
        )
    return judged + said + "".join(f" Note: {line}." for line in facts.strange)


def version(facts: Facts) -> str:
    """Which tasks the number is of, and which of them it leaves out."""
    said = f" It is of {facts.tasks}." if facts.tasks else ""
    said += f" {facts.leaks}." if facts.leaks else ""
    return said + (f" {left_out(facts.unknown)}." if facts.unknown else "")


def comparison(facts: Facts) -> Rows:
    """The table of numbers, this run's first."""
    rows: Rows = []
    if facts.score:
        manifest = facts.manifest
        rows.append(("this run", percent(facts.score.value), machine(manifest["host"]), manifest["run"]["name"]))
    return rows + [(o.who, percent(o.value), o.hardware, f"{o.source} ({o.what})") for o in facts.others]


def span(facts: Facts) -> str:
    """Between what the numbers lie that others got for the same, in a sentence; empty where there are none."""
    values = retrained(facts.manifest["run"]["target_dataset"])
    return f"Retrainings by others: {100 * values[0]:.1f} to {100 * values[1]:.1f} %." if values else ""


def times(facts: Facts) -> Rows:
    """Step, time, result."""
    return [(step, duration(seconds), said) for step, seconds, said in facts.times]


def cost(facts: Facts) -> str:
    """What the training took, in GPU-hours and money."""
    if facts.gpu_hours is None:
        return "Trained without a GPU." if not facts.state else ""
    said = f"The training took {facts.gpu_hours:.1f} GPU-hours"
    return said + (
        f": about ${facts.gpu_hours * facts.price:,.0f} at ${facts.price:g} an hour." if facts.price else "."
    )


def provenance(facts: Facts) -> Rows:
    """What made the run."""
    manifest = facts.manifest
    run, tool, host, upstream = (manifest[key] for key in ("run", "tool", "host", "upstream"))
    environment = manifest["versions"]["training"] or manifest["versions"]["tool"]
    installed = {entry["name"].lower(): entry["version"] for entry in environment["distributions"]}
    seeds = manifest["seeds"]
    rows: Rows = [
        ("run", f"{run['name']}, {run['started']} to {run['finished'] or 'now'}"),
        ("recipe", f"{run['recipe']}, SHA-256 {manifest['recipe']['sha256']}"),
        (
            "tool",
            f"trm-repro {tool['version']}, commit {tool['commit']}, {'clean' if tool['clean'] else 'with uncommitted changes'}",
        ),
        (
            "upstream",
            f"{upstream['url']} at {upstream['commit']}" if upstream else "not used: the reference engine trained",
        ),
        *(("support", f"{said} (trm_repro/support/{name})") for name, said in supports(manifest).items()),
        (
            "seeds",
            f"dataset {seeds['dataset']}, training {seeds['training']}, PYTHONHASHSEED {seeds['PYTHONHASHSEED']}",
        ),
        (
            "machine",
            f"{host['os']}, kernel {host['kernel']}, {host['cpu']}, {host['cores']} cores, "
            f"{host['memory_bytes'] / 2**30:.0f} GiB",
        ),
        ("GPUs", ", ".join(f"{gpu['name']} (driver {gpu['driver']})" for gpu in host["gpus"]) or "none"),
        (
            "software",
            ", ".join(
                [
                    f"Python {environment['python']}",
                    *(f"{n} {installed[n]}" for n in ("torch", "numpy", "adam-atan2", "hydra-core") if n in installed),
                ]
            ),
        ),
    ]
    return rows


def files(facts: Facts, side: str) -> Rows:
    """Inputs or outputs: role, path, bytes, digest."""
    return [(e["role"], e["path"], f"{e['bytes']:,}", e["sha256"]) for e in facts.manifest[side]]


def guards(facts: Facts) -> Rows:
    """Each guard once, with its worst outcome."""
    return [(name, *outcome) for name, outcome in guard_outcomes(facts.manifest).items()]


def attempts(shown: Shown) -> list[str]:
    """The caption of each attempt."""
    captions = []
    for index, attempt in enumerate(shown.attempts, 1):
        near = "another size" if attempt.agreement is None else f"{100 * attempt.agreement:.0f} % of the cells"
        said = f"attempt {index}: " + ("✓ right" if attempt.right else f"✗ wrong, {near}")
        if attempt.votes is not None:
            said += f", {attempt.votes} votes"
        if attempt.confidence is not None:
            said += f", confidence {attempt.confidence:.2f}"
        captions.append(said)
    return captions
