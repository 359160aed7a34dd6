"""Brings published weights here: a bundle of ours, or somebody else's checkpoint.

What can be checked is checked: of a bundle every digest it lists; of any checkpoint that it is whole, is a TRM's (what
it is otherwise is said), holds nothing that could run, and that its puzzle table has a row for each identifier. What
cannot be checked is said. Where several runs lie side by side, one must be named, before anything is downloaded. The
folder appears under its name when it is complete; ``NAME.fetched.json`` beside it says where it is from.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from trm_repro.digests import digest_files
from trm_repro.errors import InvariantBroken, MissingPrerequisite, ReproError, UsageError
from trm_repro.files import read_bytes, read_json, utc_now, write_json
from trm_repro.progress import MB, growing, track
from trm_repro.provenance.bundle import FURNITURE, SUMS, file_problems
from trm_repro.runs.checkpoints import CONFIG
from trm_repro.weights import identifiers
from trm_repro.weights.find import OTHER, find_in, find_weights, is_weights
from trm_repro.weights.state import TABLE, read_trm, split_part

BESIDE = (CONFIG, "identifiers.json", "identifiers.sha256")  # what tells of a checkpoint


@dataclass(frozen=True)
class Fetched:
    """Weights that are here.

    Attributes:
        folder: where.
        checkpoint: the file with the weights.
        source: where they are from, with the revision.
        notes: what could not be checked, and what is missing, one sentence each.
    """

    folder: Path
    checkpoint: Path
    source: str
    notes: tuple[str, ...]


def fetch(source: str, output: Path | None) -> Fetched:
    """Fetches weights.

    Args:
        source: ``kaggle:owner/slug``, ``hf:owner/name``, ``hf:owner/name@revision``, the first three with ``/PLACE`` (a folder
            or file in it) after the name, or a path of a folder or file. ``FILE:PART`` where a file holds several sets.
        output: the folder to make; None for ``.repro/weights/NAME`` here.

    Raises:
        UsageError: the source cannot be understood, or the folder is there already.
        MissingPrerequisite: there is nothing there, or no credentials.
        InvariantBroken: what came is not what was published, or is no TRM checkpoint.
        CommandFailed: the server or the network failed; run it again.
    """
    bring, name, place, part = _source(source, _wanted)
    output = output or Path(".repro/weights") / name
    if output.exists():
        raise UsageError(f"{output}: is there already", hint="remove it, or name another --output")
    staging = output.with_name(
        f".{output.name}.part"
    )  # kept after a failure, so that a download goes on where it broke
    staging.mkdir(parents=True, exist_ok=True)
    try:
        revision = bring(staging)
    finally:
        if not any(staging.iterdir()):
            staging.rmdir()
    checkpoint, notes = _check(staging, place, part)
    files = digest_files(path for path in staging.rglob("*") if path.is_file())
    receipt = {
        "format": "trm-repro/fetched/v1",
        "source": source,
        "revision": revision,
        "time": utc_now(),
        "notes": notes,
        "files": {
            path.relative_to(staging).as_posix(): {"sha256": digest.sha256, "bytes": digest.bytes}
            for path, digest in sorted(files.items())
        },
    }
    write_json(output.with_name(f"{output.name}.fetched.json"), receipt)
    staging.rename(output)
    return Fetched(output, output / checkpoint, f"{source} ({revision})", tuple(notes))


def download(source: str, folder: Path) -> tuple[Path, str]:
    """Brings what is published of one run for an audit, as it is: its weights, and all that is none. Nothing is checked.

    Args:
        source: ``kaggle:…`` or ``hf:…``, as for :func:`fetch`.
        folder: the folder in which it gets one of its own; what is there already is taken as it is.

    Returns:
        What was brought (``FILE:PART`` where a part is named), and its revision.

    Raises:
        UsageError, MissingPrerequisite, InvariantBroken, CommandFailed: as :func:`fetch`.
    """
    bring, _, _, part = _source(source, _told)
    output = folder / re.sub(r"[^\w.@-]+", "-", source.removesuffix(f":{part}"))
    receipt = output.with_name(f"{output.name}.fetched.json")
    if not (output.is_dir() and receipt.is_file()):
        staging = output.with_name(f".{output.name}.part")
        staging.mkdir(parents=True, exist_ok=True)
        revision = bring(staging)
        write_json(receipt, {"source": source, "revision": revision, "time": utc_now()})
        staging.rename(output)
    place = output / find_weights(_names(output)).file if part else output
    return Path(f"{place}:{part}" if part else place), str(read_json(receipt)["revision"])


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


Choice = Callable[[Iterable[str], str], list[str]]


def _source(source: str, wanted: Choice) -> tuple[Callable[[Path], str], str, str, str | None]:
    """How to bring what is wanted of a source, what to call it here, its place there, and which set of weights is meant."""
    if found := re.fullmatch(r"kaggle:([\w-]+/([\w-]+))(?:/([^:]+))?(?::(.+))?", source):
        return (
            (lambda folder: _from_kaggle(found[1], found[3] or "", folder, wanted)),
            found[2],
            found[3] or "",
            found[4],
        )
    if found := re.fullmatch(r"hf:([\w.-]+/([\w.-]+))(?:/([^@:]+))?(?:@([^:]+))?(?::(.+))?", source):
        return (
            (lambda folder: _from_hub(found[1], found[3] or "", found[4] or "main", folder, wanted)),
            found[2],
            found[3] or "",
            found[5],
        )
    if source.partition(":")[0] in ("kaggle", "hf"):
        raise UsageError(
            f"{source}: not a source",
            hint="kaggle:owner/slug[/place], hf:owner/name[/place][@revision] or a path; place: a folder or file in it",
        )
    path, part = split_part(source)
    if not (path.is_file() or path.is_dir()):
        raise MissingPrerequisite(f"{source}: no such file or folder", hint="for a download write kaggle:… or hf:…")
    return (lambda folder: _from_path(path, folder)), path.resolve().name, path.name if path.is_file() else "", part


def inside(names: Iterable[str]) -> list[str]:
    """The names that somebody gave his files, checked: each a plain place in a folder. Another's git is none of his weights.

    Raises:
        InvariantBroken: one leads out of the folder, or is no name that people give.
    """
    names = list(names)
    for name in names:
        parts = name.split("/")
        if not name.isprintable() or "\\" in name or {"", ".", ".."} & set(parts) or len(name) > 1000:
            raise InvariantBroken(
                f"a file that is called {name[:100]!r}, which is no place in a folder: nothing was fetched",
                hint="whoever published it means harm, or used a broken tool; name another place in it, if there is one",
            )
    return [name for name in names if ".git" not in name.split("/")]


def _wanted(names: Iterable[str], place: str) -> list[str]:
    """Those of a publication's files that belong to one run: all, or those in a folder, or a file and what tells of it.

    Raises:
        MissingPrerequisite, InvariantBroken: they are not the files of one run; as :func:`find_weights`.
    """
    names = list(names)
    if place in names:
        beside = {f"{place.rpartition('/')[0]}/{name}".lstrip("/") for name in BESIDE}
        return [name for name in names if name in beside or name == place]
    wanted = [name for name in names if not place or name.startswith(place.rstrip("/") + "/")]
    if not wanted:
        raise MissingPrerequisite(f"no {place} among: {', '.join(sorted(names)[:10])}")
    find_weights(wanted)
    return wanted


def _told(names: Iterable[str], place: str) -> list[str]:
    """Those that an audit of one run looks at: its weights, and all files that are none, without its predictions.

    Raises:
        MissingPrerequisite, InvariantBroken: as :func:`_wanted`.
    """
    names = list(names)
    file = place in names
    inside = place.rpartition("/")[0] if file else place.rstrip("/")
    own = [name for name in names if not inside or name.startswith(f"{inside}/")]
    if not own:
        raise MissingPrerequisite(f"no {place} among: {', '.join(sorted(names)[:10])}")
    chosen = place if file else find_weights(own).file if any(map(is_weights, own)) else ""
    twins = {str(Path(chosen).with_suffix(".safetensors"))} if chosen else set()
    return [name for name in own if name == chosen or name in twins or not (is_weights(name) or OTHER.search(name))]


def _from_kaggle(dataset: str, place: str, folder: Path, wanted: Choice) -> str:
    from trm_repro.publish.credentials import find_credentials
    from trm_repro.publish.kaggle_client import Kaggle

    kaggle = Kaggle(find_credentials(os.environ, Path.home()))
    remote = kaggle.remote(dataset)
    if remote is None:
        raise MissingPrerequisite(
            f"kaggle:{dataset}: there is no such dataset, or not for this account", hint="check owner and slug"
        )
    begun = folder / ".version"  # what came of another version is of no use
    if not begun.exists() or begun.read_text() != str(remote.version):
        shutil.rmtree(folder)
        folder.mkdir()
        begun.write_text(str(remote.version))
    sizes = kaggle.files(dataset)
    files = {name: sizes[name] for name in wanted(inside(sizes), place)}
    with track(f"fetching {dataset}", total=sum(-(-size // MB) for size in files.values()), unit="MB") as bar:
        for name, size in files.items():
            target = folder / name
            bar.note(name)
            with growing(target, size, bar):
                if not (target.is_file() and target.stat().st_size == size):
                    kaggle.download(f"{dataset}/{remote.version}", name, target)
    begun.unlink()
    return f"version {remote.version}"


def _from_hub(repository: str, place: str, revision: str, folder: Path, wanted: Choice) -> str:
    from huggingface_hub import HfApi

    from trm_repro.publish.huggingface import translated

    api = HfApi()
    try:
        info = api.model_info(repository, revision=revision)
        names = wanted(inside(file.rfilename for file in info.siblings or ()), place)
        commit = str(info.sha)
        api.snapshot_download(repository, revision=commit, local_dir=folder, allow_patterns=list(map(escape, names)))
    except ReproError:
        raise
    except Exception as error:
        raise translated(f"fetching {repository}@{revision}", error) from None
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes for resuming
    return f"commit {commit}"


def _from_path(path: Path, folder: Path) -> str:
    root, place = (path.parent, path.name) if path.is_file() else (path, "")
    here = root.glob("*") if place else root.rglob("*")
    for name in _wanted((file.relative_to(root).as_posix() for file in here if file.is_file()), place):
        file, target = root / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(file.resolve())
        except OSError:
            shutil.copyfile(file, target)
    return "a copy"


def _check(folder: Path, place: str, part: str | None) -> tuple[str, list[str]]:
    """Checks what came of a place, perhaps a file's name; returns the checkpoint's name, and notes.

    Raises:
        InvariantBroken: it is not what was published, or is no TRM checkpoint.
    """
    notes = _check_sums(folder)
    path, config = find_in(folder / place if (folder / place).is_file() else folder)
    file = path.relative_to(folder).as_posix()
    state = read_trm(path, part)
    notes += [*state.oddities(), *state.conversions()]
    rows = state.tensors[TABLE].shape[0] if TABLE in state.tensors else 0
    if not config:
        notes.append("there is no all_config.yaml: the number of cycles and slots must be known from elsewhere")
    elif config.parent != path.parent:
        notes.append(f"its configuration lies above it, as {config.relative_to(folder)}: name the folder, or --config")
    names = path.with_name("identifiers.json")
    if not names.is_file():
        if rows > 1:
            notes.append(f"there is no identifiers.json: nobody can tell which puzzles the {rows} rows belong to")
    elif (count := identifiers.count(read_bytes(names, identifiers.MOST))) != rows:
        raise InvariantBroken(f"{file}: {count} identifiers, but {rows} puzzle vectors")
    return file + (f":{part}" if part else ""), notes


def _check_sums(folder: Path) -> list[str]:
    """Compares a bundle's files with its list of digests."""
    if not (folder / SUMS).is_file():
        return [f"there is no {SUMS}: that these are the published bytes cannot be checked"]
    digests = {path.name: digest for path, digest in digest_files(filter(Path.is_file, folder.iterdir())).items()}
    if wrong := file_problems(folder, digests, beside=FURNITURE):
        raise InvariantBroken(
            f"what came is not what {SUMS} lists:\n" + "\n".join(f"  {line}" for line in wrong),
            hint=f"remove {folder} and fetch it again; if it stays so, the publication is damaged",
        )
    return []
