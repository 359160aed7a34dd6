"""Does the record agree with itself, with this tool, and with the files that it names?"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from trm_repro.provenance import promises
from trm_repro.provenance.bundle import FROM_ROLE
from trm_repro.provenance.checks.context import Context, Outcome, answer
from trm_repro.provenance.faithful import BUILD, TRAIN, command_problems, processes, reasons
from trm_repro.provenance.host import disagreements
from trm_repro.recipes.bases import SHIPPED
from trm_repro.runs.checkpoints import CONFIG, checkpoint_name, step_of
from trm_repro.weights import identifiers
from trm_repro.weights.state import read_state
from trm_repro.weights.twin import different_values

COMMAND_GUARDS = {BUILD: "G-BUILDER-COMMAND", TRAIN: "G-TRAIN-COMMAND"}
# The parts of a recipe that decide what a run computes.
ESSENTIAL = ("target_dataset", "engine", "upstream", "environment", "tasks", "dataset", "weights", "work", "train")


def manifest(context: Context) -> Outcome:
    """It is one, its recipe is what its digest says, and ``faithful`` follows from the rest."""
    if not context.has("manifest.json"):
        return "wrong", ["missing: manifest.json"]
    held, wrong = context.manifest, _contradictions(context.manifest)
    recipe = {"name": held["recipe"]["name"], **held["recipe"]["resolved"]}
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    if digest != held["recipe"]["sha256"]:
        wrong.append(f"manifest.json: the recipe's digest is {digest}, not {held['recipe']['sha256']}")
    derived = reasons(held)
    if derived != held["reasons"] or held["faithful"] is not (not derived):
        wrong.append(
            f"manifest.json: faithful is {held['faithful']} for {held['reasons']}, but its own facts say "
            f"{not derived} for {derived}"
        )
    verdict = "faithful" if held["faithful"] else "not faithful: " + "; ".join(held["reasons"])
    outcome, lines = answer(wrong, f"{held['run']['name']}, recipe {held['recipe']['name']}; {verdict}")
    return outcome, [*lines, *(f"the GPUs: {line}; the manifest has torch's" for line in disagreements(held["host"]))]


def _contradictions(held: Mapping[str, Any]) -> list[str]:
    """Where a manifest says two things of one."""
    run, resolved = held["run"], held["recipe"]["resolved"]
    overridden = {entry["guard"] for entry in held["guards"] if entry["outcome"] != "holds"}
    pairs = [("recipe", run["recipe"], held["recipe"]["name"]), ("engine", run["engine"], resolved["engine"])]
    if "G-TARGET-DATASET" not in overridden:
        pairs.append(("target_dataset", run["target_dataset"], resolved["target_dataset"]))
    wrong = [
        f"manifest.json: run.{what} is {one}, its recipe says {other}" for what, one, other in pairs if one != other
    ]
    places: dict[str, str] = {}
    for entry in (*held["inputs"], *held["outputs"]):
        if places.setdefault(entry["path"], entry["sha256"]) != entry["sha256"]:
            wrong.append(f"manifest.json: {entry['path']} has two digests")
    if sum(entry["role"] == "final-checkpoint" for entry in held["outputs"]) > 1:
        wrong.append("manifest.json: two checkpoints are called the final one")
    return wrong


def recipe(context: Context) -> Outcome:
    """The recipe is this tool's own of that name, if the run is called faithful; nobody's word but the tool's makes it so."""
    from trm_repro.recipes.read import read_recipe

    held = context.manifest
    name, theirs = held["recipe"]["name"], held["recipe"]["resolved"]
    claim = f"faithful is {str(held['faithful']).lower()}"
    known = re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name) and (SHIPPED / f"{name}.yaml").is_file()
    if not known:
        why = (
            f"{name} is none of this tool's recipes"
            if SHIPPED.is_dir()
            else "this tool was installed without its recipes"
        )
        return ("unknown", [f"{claim}: {why}"]) if held["faithful"] else ("skipped", [why])
    ours = read_recipe(SHIPPED, name).model_dump(exclude={"name"})
    if theirs["faithful"] and not ours["faithful"]:
        return "wrong", [f"manifest.json: its recipe {name} is called faithful, this tool's own of that name is not"]
    others = [
        f"{part}.{key}" if isinstance(ours[part], dict) else part
        for part in ESSENTIAL
        for key in (ours[part] if isinstance(ours[part], dict) else ("",))
        if _other(ours[part], theirs.get(part), key)
    ]
    if others and held["faithful"]:
        return "unknown", [f"{claim}: this tool's {name} has another {', '.join(others)}"]
    return "ok", [f"not this tool's {name}: another {', '.join(others)}" if others else f"this tool's own {name}"]


def _other(ours: Any, theirs: Any, key: str) -> bool:
    """Whether a part of a recipe is another; a key that an older tool did not write stands for its default."""
    if not key:
        return bool(ours != theirs)
    found = theirs.get(key) if isinstance(theirs, dict) else None
    return bool(ours[key] != found and (ours[key] or found))


def outputs(context: Context) -> Outcome:
    """The published files are the ones that the manifest names, and the list of the dataset's files is its own."""
    wrong, count = [], 0
    for role, name in FROM_ROLE.items():
        entries = context.outputs(role)
        if not entries:
            if context.has(name):
                wrong.append(f"extra: {name}: the manifest names no {role}")
            continue
        if not context.has(name):
            wrong.append(f"missing: {name}: the manifest's {role}")
            continue
        found = context.digests[name]
        if (found.sha256, found.bytes) != (entries[-1]["sha256"], entries[-1]["bytes"]):
            wrong.append(
                f"different: {name}: the manifest expects sha256 {entries[-1]['sha256']}, {entries[-1]['bytes']} bytes; "
                f"found {found.sha256}, {found.bytes} bytes"
            )
        count += 1
    if context.outputs("dataset") and not context.has("dataset.sha256"):
        wrong.append("missing: dataset.sha256: the manifest has a dataset")
    if context.has("dataset.sha256"):
        lines = context.read("dataset.sha256").decode(errors="replace").splitlines()
        listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        folder = PurePosixPath(context.manifest["recipe"]["resolved"]["dataset"]["folder"])
        expected = {entry["path"].rpartition(f"{folder}/")[2]: entry["sha256"] for entry in context.outputs("dataset")}
        if listed != expected:
            wrong.append("different: dataset.sha256: not the digests of the dataset that the manifest has")
    return answer(wrong, f"{count} published files are the manifest's outputs")


def commands(context: Context) -> Outcome:
    """What ran is what the recipe says, or the record says that it was overridden; the batch can be shared."""
    held, wrong = context.manifest, []
    overridden = {entry["guard"] for entry in held["guards"] if entry["outcome"] == "overridden"}
    for step, guard in COMMAND_GUARDS.items():
        lines = command_problems(held, step)
        if lines and guard not in overridden:
            wrong += [f"manifest.json: the command of step {step} is not the recipe's: {line}" for line in lines]
    ran = processes(promises.training_command(held))
    if ran < 1 or held["recipe"]["resolved"]["train"]["batch"] % ran:
        wrong.append(f"manifest.json: {ran} processes cannot have shared a batch evenly")
    others = [entry for entry in held["commands"] if entry["exit_code"]]
    seen = "the builder's and the training's are the recipe's, word for word"
    if overridden & set(COMMAND_GUARDS.values()):
        seen = "not the recipe's, as the record says: " + ", ".join(sorted(overridden))
    return answer(wrong, seen + (f"; {len(others)} on record failed" if others else ""))


def steps(context: Context) -> Outcome:
    """The dataset and the command can have led to checkpoints of these numbers."""
    found = [step_of(entry["path"]) for role in ("checkpoint", "final-checkpoint") for entry in context.outputs(role)]
    if not context.manifest["recipe"]["resolved"]["expected"]["checkpoints"]:
        if context.has("model.ckpt"):
            return "wrong", ["manifest.json: its recipe leaves no checkpoints, and here is one"]
        return "skipped", ["this recipe leaves no checkpoints"]
    wrong = [f"manifest.json: {line}" for line in promises.step_problems(context.manifest, found)]
    final, highest = (checkpoint_name(pick) for pick in (found[-1], max(found))) if found else ("", "")
    if final != highest:
        wrong.append(f"manifest.json: {final} is called the final one, but there is {highest}")
    scored = context.manifest["metrics"].get("step")
    if found and scored is not None and scored != found[-1]:
        wrong.append(f"manifest.json: its metrics are those of step {scored}, its final checkpoint is {final}")
    return answer(wrong, f"{len(found)} checkpoints, the last one after {found[-1] if found else 0} steps")


def config(context: Context) -> Outcome:
    """The training configuration is the one that the command makes of upstream's defaults."""
    if not context.has(CONFIG):
        return "wrong", [f"missing: {CONFIG}"]
    wrong = promises.config_problems(promises.expected_config(context.manifest), context.config)
    return answer([f"all_config.yaml: {line}" for line in wrong], "every key is the recipe's or upstream's default")


def tensors(context: Context) -> Outcome:
    """The checkpoint holds the tensors that the configuration describes, one puzzle vector an identifier."""
    arch = context.config["arch"]
    if not promises.is_trm(arch):
        return "unknown", [f"model.ckpt: the tensors of {str(arch.get('name'))[:100]} are not known here"]
    count = 1
    if context.has("identifiers.json"):
        count = identifiers.count(context.read("identifiers.json", identifiers.MOST))
    state = read_state(context.folder / "model.ckpt")
    wrong = state.oddities()
    wrong += promises.tensor_problems(arch, context.manifest["run"]["target_dataset"], count, state.tensors)
    seen = f"{len(state.tensors)} tensors as the configuration has them, {count} puzzle vectors"
    return answer([f"model.ckpt: {line}" for line in wrong], seen)


def twin(context: Context) -> Outcome:
    """``model.safetensors`` holds the same values as ``model.ckpt``, bit by bit."""
    if not context.has("model.safetensors"):
        return "skipped", ["no model.safetensors"]
    wrong = different_values(context.folder / "model.ckpt", context.folder / "model.safetensors")
    return answer(wrong, "model.safetensors has model.ckpt's values, bit by bit")
