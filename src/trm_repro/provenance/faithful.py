"""Whether a run is a faithful reproduction: derived from what its manifest records, never set by hand.

The same function writes the manifest's ``reasons`` and lets a verifier find them again. It reads a manifest as JSON, not
the recipe classes of today, so that it goes on working on the manifests of yesterday.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

# What must be on record as holding before a run can be called faithful: silence is no evidence.
NECESSARY = (
    *("G-TARGET-DATASET", "G-PYTHON", "G-UPSTREAM-PIN", "G-UPSTREAM-UNMODIFIED", "G-UPSTREAM-STRAYS"),
    *("G-BUILDER-COMMAND", "G-TRAIN-COMMAND", "G-NO-ARC1", "G-ENVIRONMENT", "G-PROCESSES"),
    "G-ENVIRONMENT-FILES",  # since manifests say what is in an environment, file by file
)
# What may stand under a training that is not faithful (a folder of this name in the package), and what it is.
SUPPORTS = "trm_repro/support"
SUPPORT_SAID = {"cpu": "CPU support for CUDA-only code, with the optimiser in Python and nothing compiled"}
BUILD, TRAIN = "04-dataset", "05-train"
PROCESSES = re.compile(r"--nproc[-_]per[-_]node(?:=(\d+))?")


def reasons(manifest: Mapping[str, Any]) -> list[str]:
    """Why the run of a manifest is not a faithful reproduction; empty when it is one."""
    recipe, guards, tool = manifest["recipe"], manifest["guards"], manifest["tool"]
    found = []
    if not recipe["resolved"]["faithful"]:
        found.append(f"the recipe {recipe['name']} is not a faithful one: {recipe['resolved']['title']}")
    found += [f"the training stood on {SUPPORTS}/{name}: {said}" for name, said in supports(manifest).items()]
    found += sorted({f"{g['guard']} was {g['outcome']}: {g['detail']}" for g in guards if g["outcome"] != "holds"})
    pin, there = recipe["resolved"]["upstream"], manifest["upstream"]
    if pin and there and any(pin[key] != there[key] for key in ("commit", "tree")):
        found.append(f"upstream was at {there['commit']}, the recipe's pin is {pin['commit']}")
    if pin and not there:
        found.append("no record of upstream's commit")
    recorded = {guard["guard"] for guard in guards}
    if "interpreter" not in manifest["versions"]["tool"]:
        recorded.add("G-ENVIRONMENT-FILES")
    found += [f"no record that {name} held" for name in NECESSARY if name not in recorded]
    found += [
        f"no command of step {step} is on record as done, or it is not the recipe's: {'; '.join(lines)}"
        for step, lines in (
            (BUILD, command_problems(manifest, BUILD)),
            (TRAIN, command_problems(manifest, TRAIN)),
        )
        if lines
    ]
    if tool["commit"].startswith("no git"):
        found.append("the tool is no git checkout of its own that could be read, so no commit says what ran")
    elif not tool["clean"]:
        found.append("the tool's own tree had uncommitted changes, so its commit does not say what ran")
    return found


def supports(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What was put under the training from outside, by the recipe, its command or the path it had: name → what that is."""
    asked = manifest["recipe"]["resolved"]["train"].get("support")
    ran = [entry for entry in manifest["commands"] if entry["step"] == TRAIN]
    paths = [word for entry in ran for word in (entry["env"].get("PYTHONPATH", ""), *entry["argv"])]
    found = {name for path in paths for name in re.findall(rf"{SUPPORTS}/(\w+)", path)} | ({asked} if asked else set())
    return {name: SUPPORT_SAID.get(name, "unknown here") for name in sorted(found)}


def guard_outcomes(manifest: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Each guard by name: its worst outcome, and the detail. One that held with nothing to look at was *not needed*."""
    worst: dict[str, tuple[str, str]] = {}
    for entry in sorted(
        manifest["guards"], key=lambda entry: ("holds", "overridden", "broken").index(entry["outcome"])
    ):
        worst[entry["guard"]] = entry["outcome"], entry["detail"]
    idle = {name for name, needed in _needed(manifest).items() if not needed}
    return {
        name: ("not needed", detail) if name in idle and outcome == "holds" else (outcome, detail)
        for name, (outcome, detail) in sorted(worst.items())
    }


def _needed(manifest: Mapping[str, Any]) -> dict[str, bool]:
    """Whether the guards that some recipes give nothing to look at had something to look at (lib/guard.bash)."""
    recipe = manifest["recipe"]["resolved"]
    downloads = [part["program"][0] for part in (recipe["dataset"], recipe["weights"]) if part]
    asked = manifest["knobs"].get("PUBLISH_TO_KAGGLE", {}).get("value") != "0" and recipe["publish"] == "upload"
    upstream = recipe["upstream"] is not None
    return {
        "G-GPUS": recipe["train"]["gpu"],
        **dict.fromkeys(("G-PYTHON", "G-ENVIRONMENT-FILES"), recipe["environment"]["name"] != "tool"),
        **{f"G-UPSTREAM-{what}": upstream for what in ("CONFIG", "PIN", "UNMODIFIED", "STRAYS")},
        "G-SUPPORT": recipe["faithful"],  # one that is not may stand on anything
        "G-PROCESSES": any(processes(entry["argv"]) > 1 for entry in manifest["commands"] if entry["step"] == TRAIN),
        "G-NO-ARC1": recipe["target_dataset"] == "arc2",
        "G-KAGGLE-CREDENTIALS": asked or "kaggle" in downloads,
    }


def command_problems(manifest: Mapping[str, Any], step: str) -> list[str]:
    """How the command that a step ran differs from the recipe's; empty when it is the recipe's, word for word."""
    ran = [entry["argv"] for entry in manifest["commands"] if entry["step"] == step and entry["exit_code"] == 0]
    if not ran:
        return ["nothing ran to its end"]
    differences = [command_difference(expected_command(manifest, step, argv), argv) for argv in ran]
    return min(differences, key=len)  # a step may wrap small commands beside the one that counts


def expected_command(manifest: Mapping[str, Any], step: str, argv: Sequence[str]) -> list[str]:
    """The words that the recipe has for a step, for as many processes as ``argv`` says."""
    recipe = manifest["recipe"]["resolved"]
    if step == BUILD:
        program = ["trm-repro", "dataset", "arc"] if fast_builder(manifest) else recipe["dataset"]["program"]
        return [*program, *recipe["dataset"]["arguments"]]
    train = recipe["train"]
    words = [*train["launcher"], *train["program"], *train["arguments"], *train["scale"], *train.get("variation", [])]
    blanks = {"{processes}": str(processes(argv)), "{run_name}": manifest["run"]["name"]}
    for blank, value in blanks.items():
        words = [word.replace(blank, value) for word in words]
    return words


def fast_builder(manifest: Mapping[str, Any]) -> bool:
    """Whether our builder wrote the dataset in place of the recipe's: allowed where known digests prove the same bytes."""
    asked = manifest["knobs"].get("DATASET_BUILDER", {}).get("value") == "fast"
    return asked and bool(manifest["recipe"]["resolved"]["dataset"]["digests"])


def processes(argv: Sequence[str]) -> int:
    """The number of training processes in a command of torchrun; 1 without one."""
    for word, following in itertools.pairwise([*argv, ""]):
        if match := PROCESSES.fullmatch(word):
            count = match[1] or following
            return int(count) if count.isdecimal() else 1
    return 1


def command_difference(expected: Sequence[str], found: Sequence[str]) -> list[str]:
    """One line for each word that a command lacks or has too many, and one if only the order differs."""
    have, want = set(found), set(expected)
    lines = [f"missing: {word}" for word in expected if word not in have]
    lines += [f"added: {word}" for word in found if word not in want]
    if not lines and list(expected) != list(found):
        lines.append(f"order or repetition differs: expected {shlex.join(expected)}; found {shlex.join(found)}")
    return lines
