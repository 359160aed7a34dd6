"""A bundle: the flat folder that is published, the same bytes on Kaggle and on the hub.

Every file of it is listed in ``SHA256SUMS`` (``sha256sum -c`` reads it) except that file itself and the two that tell
Kaggle how to show the dataset; Kaggle consumes those and does not serve them, so they are listed in ``kaggle.sha256``.
``dataset-metadata.json`` is what the ``kaggle`` client reads. The card ``README.md`` carries the hub's front matter; its
first line says whether the run is faithful. There are no folders in a bundle: Kaggle's client skips them.
docs/format.md describes the files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.digests import Digest, digest_files
from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import read_bytes, read_json, write_text
from trm_repro.provenance.names import NAME_LENGTH, SUBTITLE_LENGTH, kaggle_license, normal_slug

SUMS = "SHA256SUMS"
KAGGLE_SUMS = "kaggle.sha256"
METADATA = "dataset-metadata.json"
COVER = "dataset-cover-image.png"
SETTINGS = (METADATA, COVER)  # for Kaggle's eyes; never files of the published dataset
EVALUATIONS = ".eval_results"  # the hub's folder of results, of which others may propose some
FURNITURE = (".git", ".gitattributes", ".cache", EVALUATIONS)  # what the hub and its client add to a folder of theirs
FAITHFUL = "**A faithful reproduction**"
UNFAITHFUL = "**NOT A FAITHFUL REPRODUCTION**"

# What a bundle can hold, and what each file is; the wheel, whose name carries a version, is WHEEL.
CONTENTS = {
    "model.ckpt": "the final checkpoint: a PyTorch state dict, loadable with weights_only=True",
    "model.safetensors": "the same tensors under the same names, in safetensors",
    "all_config.yaml": "the configuration the weights were trained with; the shapes alone do not determine it",
    "identifiers.json": "the puzzle identifiers, in the order of the rows of the puzzle table",
    "dataset.sha256": "SHA-256 of every file of the dataset the run was trained on",
    "submission.json": "the run's own submission, in the competition's format",
    "manifest.json": "what made these files: commands, inputs, outputs, versions, guards, deviations",
    "statement.json": "the manifest's in-toto statement (SLSA provenance)",
    "statement.json.sig": "an SSH signature of the statement",
    "statement.json.sigstore.json": "a sigstore signature of the statement",
    "model.sig": "a signature of the files here as OpenSSF model signing has it (`model_signing verify`)",
    "LICENSE.upstream": "the licence of the code that trained the weights",
    "README.md": "this card",
    KAGGLE_SUMS: "SHA-256 of the two files that only tell Kaggle how to show the dataset",
    SUMS: "SHA-256 of every other file here",
}
# Which of the manifest's outputs, by role, is which file; the latest, where a run has several.
FROM_ROLE = {
    "final-checkpoint": "model.ckpt",
    "config": "all_config.yaml",
    "identifiers": "identifiers.json",
    "submission": "submission.json",
}
WHEEL = "trm-repro's wheel (pure Python), for notebooks without internet"
WHEEL_NAME = re.compile(r"trm_repro-[A-Za-z0-9.+]+-py3-none-any\.whl")
ENTRIES, TEXT = 1000, 32 << 20  # of a bundle's folder, and bytes of a small file in it, at most
REQUIRED = ("model.ckpt", "all_config.yaml", "manifest.json", "README.md", METADATA, COVER, KAGGLE_SUMS, SUMS)


@dataclass(frozen=True)
class Bundle:
    """A bundle that was found to be whole.

    Attributes:
        folder: where it lies.
        metadata: ``dataset-metadata.json``.
        manifest: the run's manifest.
        digests: every published file, ``SHA256SUMS`` included, by name.
    """

    folder: Path
    metadata: dict[str, Any]
    manifest: dict[str, Any]
    digests: dict[str, Digest]

    @property
    def id(self) -> str:
        """Kaggle's name for it, ``owner/slug``."""
        return str(self.metadata["id"])

    @property
    def faithful(self) -> bool:
        """Whether the run was."""
        return bool(self.manifest["faithful"])

    @property
    def bytes(self) -> int:
        """The size of all published files together."""
        return sum(digest.bytes for digest in self.digests.values())


def describe(name: str) -> str:
    """What a file of a bundle is."""
    return WHEEL if WHEEL_NAME.fullmatch(name) else CONTENTS.get(name, "")


def published_files(folder: Path) -> list[Path]:
    """The files of a bundle that are published, sorted by name; Kaggle's settings are left out."""
    return sorted(path for path in folder.iterdir() if path.name not in SETTINGS)


def write_sums(folder: Path) -> None:
    """Writes ``kaggle.sha256`` for Kaggle's settings, and ``SHA256SUMS`` for all published files."""
    _write_sums(folder / KAGGLE_SUMS, [folder / name for name in SETTINGS])
    _write_sums(folder / SUMS, [path for path in published_files(folder) if path.name != SUMS])


def _write_sums(path: Path, files: list[Path]) -> None:
    digests = digest_files(files)
    write_text(path, "".join(f"{digests[file].sha256}  {file.name}\n" for file in sorted(files)))


def strangers(names: Collection[str]) -> list[str]:
    """Files that no bundle has, one line each: whoever adds one can list it, and no statement speaks of it."""
    lines = [
        f"extra: {name}: no file of a bundle" for name in sorted(names) if not describe(name) and name not in SETTINGS
    ]
    wheels = sorted(name for name in names if WHEEL_NAME.fullmatch(name))
    return lines + [f"extra: {name}: a second wheel" for name in wheels[1:]]


def file_problems(folder: Path, digests: Mapping[str, Digest], *, beside: Collection[str] = ()) -> list[str]:
    """How the files of a bundle differ from ``SHA256SUMS``, and Kaggle's two from ``kaggle.sha256`` where they are.

    Args:
        folder: the bundle.
        digests: of all files in it, by name.
        beside: what may lie there without being of it.
    """
    entries = {entry.name: entry for entry in folder.iterdir() if entry.name not in beside}
    present = {name for name, entry in entries.items() if entry.is_file()}
    lines = [f"extra: {name}: a bundle has files only" for name in sorted(entries.keys() - present)]
    published = listed(folder / SUMS, lines)
    settings = listed(folder / KAGGLE_SUMS, lines) if KAGGLE_SUMS in present else {}
    for name in sorted(published.keys() | present - {SUMS}):
        if name in SETTINGS and name not in published:
            expected, source = settings.get(name), KAGGLE_SUMS
        else:
            expected, source = published.get(name), SUMS
        lines += _comparison(name, expected, digests.get(name), source)
    return lines


def listed(path: Path, lines: list[str]) -> dict[str, str]:
    """What a list of digests says; every departure from its one form is noted in ``lines``."""
    try:
        text = read_bytes(path, TEXT).decode()
    except MissingPrerequisite:
        lines.append(f"missing: {path.name}")
        return {}
    except UnicodeDecodeError:
        lines.append(f"different: {path.name}: not a list of digests")
        return {}
    found = {}
    for line in text.split("\n")[:-1]:
        digest, name = line[:64], line[66:]
        if line[64:66] != "  " or not name or digest.strip("0123456789abcdef"):
            lines.append(f"different: {path.name}: not a line of sha256sum: {line!r}")
        else:
            found[name] = digest
    if not lines and text != "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items())):
        lines.append(f"different: {path.name}: its lines are not sorted, repeated, or not ended")
    return found


def _comparison(name: str, expected: str | None, found: Digest | None, source: str) -> list[str]:
    if expected is None:
        return [f"extra: {name}: {source} does not list it"]
    if found is None:
        return [f"missing: {name}: {source} lists it"]
    if found.sha256 != expected:
        return [f"different: {name}: {source} expects sha256 {expected}, found {found.sha256} ({found.bytes} bytes)"]
    return []


def read_bundle(folder: Path) -> Bundle:
    """Reads a bundle and checks everything about it, every byte included.

    Raises:
        MissingPrerequisite: there is no such folder, or a file that every bundle has is missing.
        InvariantBroken: something in it is wrong; the message lists every problem.
    """
    if not folder.is_dir():
        raise MissingPrerequisite(f"{folder}: no such folder", hint="make it with: trm-repro publish package")
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise MissingPrerequisite(
            f"{folder}: not a bundle, {', '.join(missing)} missing", hint="make it with: trm-repro publish package"
        )
    digests = {path.name: digest for path, digest in digest_files(p for p in folder.iterdir() if p.is_file()).items()}
    problems = file_problems(folder, digests) + strangers(digests)
    metadata, manifest = (read_json(folder / name, most=TEXT, strict=True) for name in (METADATA, "manifest.json"))
    if not isinstance(manifest, dict):
        raise InvariantBroken(f"{folder / 'manifest.json'}: not a manifest")
    card = read_bytes(folder / "README.md", TEXT).decode(errors="replace")
    problems += _wrong_metadata(metadata, folder) + _wrong_card(card, manifest)
    if problems:
        raise InvariantBroken(
            f"{folder}: {len(problems)} problems:\n" + "\n".join(f"  {problem}" for problem in problems),
            hint="a bundle is never repaired by hand; make it again with: trm-repro publish package",
        )
    return Bundle(folder, metadata, manifest, {name: digests[name] for name in sorted(digests.keys() - {*SETTINGS})})


def _wrong_metadata(metadata: Any, folder: Path) -> list[str]:
    """What Kaggle would refuse about ``dataset-metadata.json``."""
    problems = []
    parts = [metadata.get(key, []) for key in ("licenses", "resources")] if isinstance(metadata, dict) else [None]
    if not all(isinstance(part, list) and all(isinstance(entry, dict) for entry in part) for part in parts):
        return [f"{METADATA}: not an object with licenses and resources"]
    title, subtitle = str(metadata.get("title", "")), str(metadata.get("subtitle", ""))
    owner, _, slug = str(metadata.get("id", "")).partition("/")
    licenses = metadata.get("licenses", [])
    if len(title) not in NAME_LENGTH:
        problems.append(f"{METADATA}: title “{title}” has {len(title)} characters, Kaggle takes 6–50")
    if subtitle and len(subtitle) not in SUBTITLE_LENGTH:
        problems.append(f"{METADATA}: subtitle “{subtitle}” has {len(subtitle)} characters, Kaggle takes 20–80")
    if not owner or len(slug) not in NAME_LENGTH or slug != normal_slug(slug):
        problems.append(f"{METADATA}: id “{metadata.get('id')}” is not owner/slug with a slug of 6–50 characters")
    if len(licenses) != 1:
        problems.append(f"{METADATA}: Kaggle wants exactly one license, here are {len(licenses)}")
    for entry in licenses:
        try:
            kaggle_license(str(entry.get("name")))
        except InvariantBroken as error:
            problems.append(f"{METADATA}: {error}")
    for resource in metadata.get("resources", []):
        if not (folder / str(resource.get("path"))).is_file():
            problems.append(f"{METADATA}: describes {resource.get('path')}, which is not here")
    return problems


def _wrong_card(card: str, manifest: dict[str, Any]) -> list[str]:
    """Whether the card's first line says what the manifest says."""
    first = card_body(card).splitlines()[0] if card_body(card) else ""
    promise = FAITHFUL if manifest.get("faithful") else UNFAITHFUL
    return (
        []
        if first.startswith(promise)
        else [f"README.md: the card must begin with {promise!r}, as the manifest has it"]
    )


def card_body(card: str) -> str:
    """A card without the hub's front matter."""
    if card.startswith("---\n"):
        _, _, card = card.removeprefix("---\n").partition("\n---\n")
    return card.lstrip("\n")
