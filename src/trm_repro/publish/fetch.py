"""Brings published weights here: a bundle of ours, or somebody else's checkpoint.

What can be checked is checked: of a bundle every digest it lists; of any checkpoint that it is whole, holds the tensors
of a TRM and nothing that could run, and that its puzzle table has a row for each identifier. What cannot be checked is
said. The folder appears under its name when it is complete; ``NAME.fetched.json`` beside it says where it is from.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trm_repro.digests import digest_files
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_json, utc_now, write_json
from trm_repro.progress import track
from trm_repro.provenance.bundle import FURNITURE, SUMS, file_problems
from trm_repro.provenance.tensors import read_checkpoint
from trm_repro.runs.checkpoints import CONFIG, step_of

TABLE = "puzzle_emb.weights"


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
        source: ``kaggle:owner/slug``, ``hf:owner/name``, ``hf:owner/name@revision``, or a path of a folder or file.
        output: the folder to make; None for ``.repro/weights/NAME`` here.

    Raises:
        UsageError: the source cannot be understood, or the folder is there already.
        MissingPrerequisite: there is nothing there, or no credentials.
        InvariantBroken: what came is not what was published, or is no TRM checkpoint.
        CommandFailed: the server or the network failed; run it again.
    """
    bring, name = _source(source)
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
    checkpoint, notes = _check(staging)
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


def _source(source: str) -> tuple[Callable[[Path], str], str]:
    """How to bring a source, and what to call it here."""
    if found := re.fullmatch(r"kaggle:([\w-]+)/([\w-]+)", source):
        return (lambda folder: _from_kaggle(f"{found[1]}/{found[2]}", folder)), found[2]
    if found := re.fullmatch(r"hf:([\w.-]+/([\w.-]+))(?:@(.+))?", source):
        return (lambda folder: _from_hub(found[1], found[3] or "main", folder)), found[2]
    if source.partition(":")[0] in ("kaggle", "hf"):
        raise UsageError(
            f"{source}: not a source", hint="kaggle:owner/slug, hf:owner/name, hf:owner/name@revision or a path"
        )
    path = Path(source)
    if not path.exists():
        raise MissingPrerequisite(f"{source}: no such file or folder", hint="for a download write kaggle:… or hf:…")
    return (lambda folder: _from_path(path, folder)), path.resolve().name


def _from_kaggle(dataset: str, folder: Path) -> str:
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
    files = kaggle.files(dataset)
    with track(f"fetching {dataset}", total=len(files), unit="files") as bar:
        for name, size in files.items():
            target = folder / name
            bar.note(name)
            if not (target.is_file() and target.stat().st_size == size):
                kaggle.download(f"{dataset}/{remote.version}", name, target)
            bar.advance()
    begun.unlink()
    return f"version {remote.version}"


def _from_hub(repository: str, revision: str, folder: Path) -> str:
    from huggingface_hub import HfApi

    from trm_repro.publish.huggingface import translated

    api = HfApi()
    try:
        commit = str(api.repo_info(repository, revision=revision).sha)
        api.snapshot_download(repository, revision=commit, local_dir=folder)
    except Exception as error:
        raise translated(f"fetching {repository}@{revision}", error) from None
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's notes for resuming
    return f"commit {commit}"


def _from_path(path: Path, folder: Path) -> str:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        target = folder / (file.name if path.is_file() else file.relative_to(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(file.resolve())
        except OSError:
            shutil.copyfile(file, target)
    if path.is_file() and (config := path.with_name(CONFIG)).is_file():
        shutil.copyfile(config, folder / config.name)
    return "a copy"


def _check(folder: Path) -> tuple[str, list[str]]:
    """Checks what came; returns the checkpoint's name, and notes.

    Raises:
        InvariantBroken: it is not what was published, or is no TRM checkpoint.
    """
    notes = _check_sums(folder)
    checkpoint = _checkpoint(folder)
    tensors = {name.rpartition("inner.")[2]: tensor for name, tensor in read_checkpoint(folder / checkpoint).items()}
    if "H_init" not in tensors:
        raise InvariantBroken(f"{checkpoint}: not a TRM checkpoint: it has no H_init")
    rows = tensors[TABLE].shape[0] if TABLE in tensors else 0
    if not (folder / CONFIG).is_file():
        notes.append("there is no all_config.yaml: the number of cycles and slots must be known from elsewhere")
    if not (folder / "identifiers.json").is_file():
        if rows > 1:
            notes.append(f"there is no identifiers.json: nobody can tell which puzzles the {rows} rows belong to")
    elif (count := len(read_json(folder / "identifiers.json"))) != rows:
        raise InvariantBroken(f"{folder.name}: {count} identifiers, but {rows} puzzle vectors")
    return checkpoint, notes


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


def _checkpoint(folder: Path) -> str:
    """The file with the weights: ``model.ckpt``, else the one of the highest step."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if "model.ckpt" in names:
        return "model.ckpt"
    steps = {name: step_of(file) for name in names if "preds" not in (file := PurePosixPath(name).name)}
    if (best := max(steps, key=lambda name: steps[name], default="")) and steps[best] >= 0:
        return best
    raise InvariantBroken(
        f"no checkpoint among: {', '.join(names)}", hint="a checkpoint is called model.ckpt or step_N"
    )
