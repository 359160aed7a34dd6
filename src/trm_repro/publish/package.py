"""Makes a bundle from a run's manifest.

Reads the manifest and the files it names, and nothing else of the run. Every file must still have the digest the
manifest gives it. The bundle is made in a folder beside its place and renamed when it is whole; large files are
hard-linked where the disk allows.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trm_repro.digests import digest_file
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_json, write_json, write_text
from trm_repro.provenance.bundle import (
    COVER,
    FROM_ROLE,
    KAGGLE_SUMS,
    METADATA,
    SUMS,
    Bundle,
    card_body,
    describe,
    published_files,
    read_bundle,
    write_sums,
)
from trm_repro.provenance.names import Names, kaggle_license, names
from trm_repro.provenance.schema import FORMAT
from trm_repro.provenance.scrub import locate
from trm_repro.provenance.statement import SIGNED
from trm_repro.publish.card import card, subtitle
from trm_repro.publish.cover import write_cover
from trm_repro.publish.wheel import write_wheel
from trm_repro.runs.checkpoints import step_of
from trm_repro.weights.twin import write_safetensors


def package(
    manifest_path: Path,
    output: Path,
    *,
    repository: Path,
    trm_dir: Path | None = None,
    owner: str = "",
    slug: str = "",
    license: str = "CC-BY-4.0",
) -> Bundle:
    """Makes the bundle of one run.

    Args:
        manifest_path: the run's ``manifest.json``.
        output: the folder to make; a bundle that is there already is replaced.
        repository: what the manifest's relative paths start from.
        trm_dir: what ``$TRM_DIR/`` in the manifest's paths stands for.
        owner: the Kaggle user who will own it; empty if it is not published there.
        slug: its slug; empty for the default.
        license: the license of the weights.

    Raises:
        MissingPrerequisite: the manifest or a file it names is not there.
        InvariantBroken: a file changed since the manifest was written, or a name is illegal.
        UsageError: ``output`` is a folder that is not a bundle.
    """
    manifest = read_json(manifest_path)
    if manifest.get("format") != FORMAT:
        raise InvariantBroken(f"{manifest_path}: format is {manifest.get('format')!r}, expected {FORMAT!r}")
    license = kaggle_license(license)
    called = names(manifest["run"]["name"], slug=slug, owner=owner, target=manifest["run"]["target_dataset"])
    if output.exists() and not (output / METADATA).is_file() and any(output.iterdir()):
        raise UsageError(f"{output}: is there already and is not a bundle", hint="name another --output")

    staging = output.with_name(f".{output.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        _place_outputs(staging, manifest, repository, trm_dir)
        _place(manifest_path, staging / "manifest.json")
        for name in SIGNED:
            if (beside := manifest_path.with_name(name)).is_file():
                _place(beside, staging / name)
        if trm_dir and manifest["run"]["engine"] == "upstream" and (trm_dir / "LICENSE").is_file():
            _place(trm_dir / "LICENSE", staging / "LICENSE.upstream")
        write_safetensors(staging / "model.ckpt", staging / "model.safetensors")
        write_wheel(staging)
        checkpoint = digest_file(staging / "model.ckpt").sha256
        write_cover(staging / COVER, _lines(called.title), checkpoint, _grids(staging / "submission.json"))
        files = [*(path.name for path in published_files(staging)), "README.md", KAGGLE_SUMS, SUMS]
        judged = manifest_path.with_name("verdict.json")
        verdict = read_json(judged) if judged.is_file() else None
        text = card(manifest, title=called.title, license=license, files=sorted(files), verdict=verdict)
        write_text(staging / "README.md", text)
        write_json(staging / METADATA, _metadata(staging, manifest, called, license))
        write_sums(staging)
        bundle = read_bundle(staging)
        if output.exists():
            shutil.rmtree(output)
        staging.rename(output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return dataclasses.replace(bundle, folder=output)


def _place_outputs(folder: Path, manifest: Mapping[str, Any], repository: Path, trm_dir: Path | None) -> None:
    """Places the manifest's outputs that are published, and checks that each is the file the manifest means."""
    for role, name in FROM_ROLE.items():
        entry = _last([entry for entry in manifest["outputs"] if entry["role"] == role])
        if entry is None:
            continue
        source = locate(entry["path"], repository, trm_dir)
        _place(source, folder / name)
        if (found := digest_file(folder / name).sha256) != entry["sha256"]:
            raise InvariantBroken(
                f"{source}: changed since the manifest was written: expected sha256 {entry['sha256']}, found {found}",
                hint="run step 6 again, so that the manifest says what there is",
            )
    for name in ("model.ckpt", "all_config.yaml"):
        if not (folder / name).exists():
            raise MissingPrerequisite(f"the manifest names no file for {name}", hint="run steps 5 and 6 first")
    dataset = sorted((entry["path"], entry["sha256"]) for entry in manifest["outputs"] if entry["role"] == "dataset")
    if dataset:
        root = os.path.commonpath([Path(path).parent for path, _ in dataset])
        lines = [f"{sha256}  {Path(path).relative_to(root).as_posix()}\n" for path, sha256 in dataset]
        write_text(folder / "dataset.sha256", "".join(lines))


def _last(entries: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The entry of the latest step, where a run has several (a submission an evaluation)."""
    return max(entries, key=lambda entry: step_of(entry["path"]), default=None)


def _place(source: Path, target: Path) -> None:
    """Hard-links a file, or copies it where that cannot be."""
    if not source.is_file():
        raise MissingPrerequisite(f"{source}: no such file", hint="the manifest names it; was it moved or deleted?")
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def _lines(title: str) -> list[str]:
    """A title's lines on the cover: what it is, and what is in brackets."""
    what, _, run = title.partition(" (")
    return [what, *([run.removesuffix(")")] if run else [])]


def _grids(submission: Path) -> list[list[list[int]]]:
    """The first attempts of a submission that are not empty, for the cover."""
    if not submission.exists():
        return []
    attempts = [answer["attempt_1"] for answers in read_json(submission).values() for answer in answers]
    return [grid for grid in attempts if grid and grid[0]]


def _metadata(folder: Path, manifest: Mapping[str, Any], called: Names, license: str) -> dict[str, Any]:
    """``dataset-metadata.json``: the seed's title, id and licenses, and what Kaggle shows beside them."""
    return {
        "title": called.title,
        "id": called.id,
        "licenses": [{"name": license}],
        "subtitle": subtitle(manifest),
        "description": card_body((folder / "README.md").read_text()),
        "resources": [{"path": path.name, "description": describe(path.name)} for path in published_files(folder)],
    }
