"""The file of weights: is it one that is known, whole, finite, as its configuration says; and what its puzzle table is like."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from trm_repro.audit.page import Page
from trm_repro.audit.schedule import SIZES, dataset_of, epochs_done
from trm_repro.audit.subject import Subject
from trm_repro.digests import Digest, digest_file
from trm_repro.errors import ReproError
from trm_repro.files import read_bytes, read_json
from trm_repro.provenance import promises
from trm_repro.provenance.bundle import SUMS, listed
from trm_repro.recipes.bases import SHIPPED
from trm_repro.recipes.checkpoints import by_digest, by_place
from trm_repro.recipes.published import RESULTS
from trm_repro.weights import identifiers
from trm_repro.weights.state import TABLE, UNSEEN, State, read_state
from trm_repro.weights.values import Table, count_not_finite, look_at_table

# What a file is that is not whole, as weights/stored.py says it; all else that it refuses may be weights, in another form.
BROKEN = re.compile(
    r"an empty file|a web page|cut off|ends before|not a checkpoint|lie over one another|reaches beyond"
)
POINTER = re.compile(rb"version https://git-lfs\S*\noid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n")
KINDS = {12: "arc", 11: "sudoku", 6: "maze"}  # by vocabulary
SIGMAS = 6.0


def look_at_weights(page: Page, subject: Subject, dataset: Path | None) -> State | None:
    """Adds all that concerns the file of weights; returns them, where there are some. Its dataset tells its puzzles' names."""
    if subject.weights is None:
        page.unknown.append(("weights", subject.why))
        return None
    _sums(page, subject)
    pointer = POINTER.match(_head(subject.path))
    digest = Digest(pointer[1].decode(), int(pointer[2])) if pointer else digest_file(subject.path)
    _known(page, subject, digest)
    claim = f"{subject.weights} holds weights of a TRM"
    if pointer:
        why = f"a pointer of Git LFS to a file of {digest.bytes:,} bytes, not the file; `git lfs pull` fetches it"
        page.cannot_tell("weights", claim, why)
        return None
    try:
        state = read_state(subject.path, subject.part)
        if state.kind != "TRM":
            page.contradicts("weights", claim, f"it is {state.kind}")
            return None
        _finite(page, state, claim)
    except ReproError as error:
        said = f"{error}; {error.hint}" if error.hint else str(error)
        (page.contradicts if BROKEN.search(str(error)) else page.cannot_tell)("weights", claim, said)
        return None
    page.notes += [*state.oddities(), *state.conversions()]
    _shapes(page, subject, state)
    _table(page, subject, state, dataset)
    _averaged(page, subject, state)
    return state


def kind(state: State) -> str:
    """Which kind of puzzle weights are for, by their vocabulary; empty where it is none that is known."""
    return KINDS.get(state.tensors["lm_head.weight"].shape[0] if state.tensors["lm_head.weight"].shape else 0, "")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _sums(page: Page, subject: Subject) -> None:
    """A list of digests beside the files; a bundle's is ``verify``'s."""
    if SUMS not in subject.names or subject.manifest:
        return
    wrong: list[str] = []
    expected = listed(subject.root / SUMS, wrong)
    here = {name: digest for name, digest in expected.items() if name in subject.names}
    wrong += [
        f"different: {name}: {found} in place of {digest}"
        for name, digest in here.items()
        if (found := digest_file(subject.root / name).sha256) != digest
    ]
    page.judge(
        "files", f"{SUMS} lists them", wrong, f"{len(here)} of the {len(expected)} that it lists are here, as it says"
    )


def _known(page: Page, subject: Subject, digest: Digest) -> None:
    """Whether it is a known public checkpoint, and whether it should be one by where it lies."""
    assert subject.weights is not None
    here = f"{subject.weights}: {digest.bytes:,} bytes, sha256 {digest.sha256}"
    known, meant = by_digest(digest.sha256), by_place(subject.source, subject.weights)
    if known:
        page.agrees("files", f"it is {known.who}'s {known.place}", f"{here} ({known.note})")
        told = [RESULTS[name] for name in known.results]
        numbers = (f"{one.who} {100 * one.value:.2f} % {one.metric} {one.vote}".strip() for one in told)
        page.notes.append("published of this very checkpoint: " + "; ".join(numbers))
        return
    if meant and meant.sha256:
        page.contradicts(
            "files",
            f"it lies where {meant.who}'s {meant.place} lies ({meant.bytes:,} bytes, sha256 {meant.sha256})",
            here,
        )
    elif meant:
        why = f"{here}; no digest of {meant.place} is known here, so whether it is the published file is not either"
        page.unknown.append(("whose file it is", why + (f" ({meant.note})" if meant.note else "")))
    else:
        page.unknown.append(
            ("whose file it is", f"{here}: none of the public checkpoints whose digests are known here")
        )


def _finite(page: Page, state: State, claim: str) -> None:
    bad = {name: count for name, t in state.tensors.items() if (count := count_not_finite(state.path, t))}
    total = sum(math.prod(tensor.shape) for tensor in state.tensors.values())
    wrong = [f"{name}: {count:,} values are no numbers or infinite" for name, count in bad.items()]
    page.judge(
        "weights", f"{claim}, every value of it a number", wrong, f"{len(state.tensors)} tensors, {total:,} values"
    )


def _shapes(page: Page, subject: Subject, state: State) -> None:
    """The configuration against the tensors, as far as these show it."""
    if not subject.config:
        page.unknown.append(("configuration", "there is no all_config.yaml; shapes do not show " + ", ".join(UNSEEN)))
        return
    claim = f"{subject.config} describes these tensors"
    try:
        given = subject.configuration or {}
        if not promises.is_trm(given["arch"]):
            page.cannot_tell(
                "configuration", claim, f"the architecture {given['arch'].get('name')!s:.100} is not known here"
            )
            return
        arch = promises.whole_arch(given["arch"])
        found = _shape_problems(arch, state)
    except ReproError as error:
        page.contradicts("configuration", claim, str(error))
        return
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        page.contradicts("configuration", claim, f"it is no configuration of a TRM: {type(error).__name__}: {error}")
        return
    seen = f"{len(state.tensors)} tensors: width {arch['hidden_size']}, {arch['L_layers']} layers; not to be seen in them: "
    page.judge("configuration", claim, found, seen + ", ".join(UNSEEN))


def _shape_problems(arch: dict[str, Any], state: State) -> list[str]:
    """How shapes and kinds differ from a configuration's; dtypes are no difference, as loading converts them."""
    rows = state.tensors[TABLE].shape[0] if TABLE in state.tensors else 1
    expected = promises.expected_tensors(arch, kind(state) or "arc", rows)
    found = {
        name: tensor.shape
        for name, tensor in state.tensors.items()
        if not (arch.get("lora_rank") and name.endswith(("_lora_A", "_lora_B")))
    }
    if not kind(state):  # another vocabulary than any that is known here
        expected = {
            name: value for name, value in expected.items() if name in found and value[1][1:] == found[name][1:]
        }
        found = {name: found[name] for name in expected}
        expected = {name: (dtype, (found[name][0], *shape[1:])) for name, (dtype, shape) in expected.items()}
    words, answers = (state.tensors[name].shape[0] for name in ("embed_tokens.embedding_weight", "lm_head.weight"))
    odd = [f"it reads {words} kinds of token, and answers with {answers}"] if words != answers else []
    if not 0 < arch["num_heads"] <= arch["hidden_size"] or arch["hidden_size"] % arch["num_heads"]:
        odd.append(f"width {arch['hidden_size']} does not divide into {arch['num_heads']} heads")
    return odd + [
        f"{name}: {list(expected[name][1]) if name in expected else 'no such tensor'} by the configuration, "
        f"{list(found[name]) if name in found else 'missing'} in the file"
        for name in sorted(expected.keys() | found.keys())
        if name not in expected or name not in found or expected[name][1] != found[name]
    ]


def _table(page: Page, subject: Subject, state: State, dataset: Path | None) -> None:
    """The puzzle table: its rows against the identifiers, and which of them were ever trained."""
    if TABLE not in state.tensors:
        return
    table = look_at_table(state.path, state.tensors[TABLE])
    said = _words(table)
    page.notes.append(f"puzzle table: {said}")
    if table.drawn:
        page.notes.append("its rows look like random draws, not like vectors that were trained: such tables score 0 %")
    if table.rows < 2:
        return  # Sudoku's and Maze's boards share one
    if not table.first_untrained:
        page.notes.append("its row 0 belongs to no puzzle and should be as training found it, and is like no other row")
    known = SIZES.get(dataset_of(subject))
    if known:
        claim = f"it was trained on {dataset_of(subject)} ({known.identifiers:,} identifiers)"
        wrong = [] if known.identifiers == table.rows else [f"its puzzle table has {table.rows:,} rows"]
        page.judge("puzzle table", claim, wrong, f"{table.rows:,} rows")
    names = identifiers_of(subject, dataset)
    if not names:
        page.unknown.append(
            (
                "whose vectors they are",
                f"no identifiers.json: nobody can tell which puzzles the {table.rows:,} rows are of",
            )
        )
        return
    claim = f"{names.name}{'' if names.is_relative_to(subject.root) else ' of its dataset'} names its rows"
    try:
        variants = identifiers.variants(read_bytes(names, identifiers.MOST))
    except ReproError as error:
        page.contradicts("puzzle table", claim, str(error))
        return
    _named(page, subject, names)
    count = sum(variants.values()) + 1
    wrong = [f"{count:,} names for {table.rows:,} rows"] if count != table.rows else []
    page.judge("puzzle table", claim, wrong, f"{count:,} names of {len(variants):,} tasks, as many rows")
    if not wrong:
        _trained(page, subject, table, variants, dataset)


def identifiers_of(subject: Subject, dataset: Path | None) -> Path | None:
    """The names of the rows of a puzzle table: beside the weights, or the dataset's."""
    name = subject.near("identifiers.json")
    path = subject.root / name if name else dataset / "identifiers.json" if dataset else None
    return path if path and path.is_file() else None


def _named(page: Page, subject: Subject, names: Path) -> None:
    """Which identifiers they are, by digest: a known dataset's, and those that a digest beside the weights speaks of."""
    digest = digest_file(names).sha256
    for path in sorted((SHIPPED / "digests").glob("*.json")):
        if read_json(path).get("identifiers.json", {}).get("sha256") == digest:
            page.notes.append(f"{names.name} is that of {path.stem}, byte for byte")
    if beside := subject.near("identifiers.sha256"):
        told = read_bytes(subject.root / beside, 1000).decode(errors="replace").partition(" ")[0].strip()
        wrong = [] if told == digest else [f"{names.name} has {digest}"]
        page.judge("puzzle table", f"{beside} speaks of its identifiers ({told[:64]})", wrong, "the same digest")


def _words(table: Table) -> str:
    said = f"{table.rows:,} rows of {table.width}; {table.zero:,} are zero, {table.alike:,} are one and the same"
    if table.norms:
        least, low, middle, high, most = table.norms
        said += (
            f"; norms of the others {least:.3g} to {most:.3g} (median {middle:.3g}, 90 % from {low:.3g} to {high:.3g})"
        )
        said += f"; {100 * table.common:.0f} % of their length is common to them"
    return said


def _trained(page: Page, subject: Subject, table: Table, variants: dict[str, int], dataset: Path | None) -> None:
    """How many rows were never trained, against what the epochs make likely.

    An epoch draws one variant of each task. A variant drawn is learnt from unless every slot of the batch is still busy with
    an earlier example, at most halt_max_steps times as long: so many epochs, or that part of them, bound the number of rows
    that no draw has met.
    """
    claim, halt = "the configuration's epochs trained its rows", (subject.setting("arch") or {}).get("halt_max_steps")
    epochs = epochs_done(subject, dataset)
    if not epochs or not isinstance(halt, int) or not 0 < halt <= 1000 or subject.setting("load_checkpoint"):
        return
    (most, up), (least, down) = (_undrawn(variants, times) for times in (epochs / halt, epochs))
    low, high = math.floor(max(0.0, least - down)), math.ceil(min(most + up, table.rows - 1))
    found = table.untrained - table.first_untrained
    said = f"{found:,} of {table.rows - 1:,} were never trained, {low:,} to {high:,} are to be expected"
    wrong = [] if low <= found <= high else [said]
    page.judge("puzzle table", claim, wrong, said)


def _undrawn(variants: dict[str, int], times: float) -> tuple[float, float]:
    """How many variants so many draws of one of each task leave out, and by how much chance may change that."""
    shares = [(v, (1 - 1 / v) ** times) for v in variants.values()]
    spread = math.sqrt(sum(v * share * (1 - share) for v, share in shares))
    return sum(v * share for v, share in shares), SIGMAS * spread + 0.01 * sum(variants.values())


def _averaged(page: Page, subject: Subject, state: State) -> None:
    """Averaged (EMA) or raw, as far as it can be known."""
    ema, every = subject.setting("ema"), subject.setting("checkpoint_every_n_steps")
    named = f"{state.part} {state.path.name}".lower()
    if "ema" in named.replace("emb", ""):
        page.notes.append(f"called averaged (EMA) by {'its part ' + state.part if state.part else 'its name'}")
    if ema is None:
        why = "nothing says whether they were averaged"
    elif not ema:
        why = "the configuration averages nothing, so they are raw, if that is the configuration"
    elif isinstance(every, int) and every > 0 and subject.step > 0 and subject.step % every == 0:
        why = (
            f"the configuration has ema: True, but a checkpoint every {every} steps: of these code that has that key writes "
            "the raw weights under the same names, and this step is one"
        )
    else:
        why = (
            "the configuration has ema: True, and upstream then writes the averages, the puzzle table and the initial "
            "states raw; the numbers themselves do not show it"
        )
    page.unknown.append(("EMA or raw", why))
