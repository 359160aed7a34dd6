"""Attestations: the small records of runs that are committed under ``attestations/``, one folder a run.

An attestation holds the manifest, the statement (with its signature, if there is one), the bundle's list of digests, the
verdict of verifying it, and the report as Markdown; no weights. It is never changed: a run is attested once. A reader who
trusts this repository's history can then hold any copy of the bundle against it (``trm-repro verify --attestation``).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.arc.score import title
from trm_repro.digests import digest_bytes
from trm_repro.errors import InvariantBroken, ReproError, UsageError
from trm_repro.files import read_bytes, read_json, utc_now, write_bytes, write_json, write_text
from trm_repro.provenance.bundle import SUMS, TEXT
from trm_repro.provenance.host import machine
from trm_repro.provenance.keyless import NOBODY, Signatory
from trm_repro.provenance.schema import parse_manifest
from trm_repro.provenance.statement import FILE as STATEMENT
from trm_repro.provenance.statement import SIGNED, make_statement
from trm_repro.provenance.verify import opened, verify

FORMAT = "trm-repro/attestation/v1"
RECORD = "attestation.json"
BUNDLE = "bundle.sha256"
BEGIN, END = "<!-- attestations: made by `make attestations` -->", "<!-- end of attestations -->"


@dataclass(frozen=True)
class Attestation:
    """One folder of ``attestations/``.

    Attributes:
        folder: where it lies.
        record: its ``attestation.json``.
        manifest: the attested run's manifest.
    """

    folder: Path
    record: dict[str, Any]
    manifest: dict[str, Any]


def attest(
    bundle: Path,
    root: Path,
    *,
    by: str,
    note: str = "",
    report: str = "",
    signers: Path | None = None,
    expected: Signatory = NOBODY,
    model_key: Path | None = None,
) -> Path:
    """Writes the attestation of a bundle; returns its folder.

    Args:
        bundle: the bundle, or an archive of it; it is verified first.
        root: the folder of all attestations.
        by: who attests: a name or an address, as he wishes it to be read.
        note: what a reader should know, such as that it is a rehearsal.
        report: the run's report in Markdown.
        signers: a file of allowed signers that the statement has to be signed by.
        expected: who has to have signed it with sigstore.
        model_key: the public key that has to have signed the files.

    Raises:
        ReproError: the bundle is not verified.
        UsageError: this run is attested already.
    """
    verdict = verify(bundle, signers=signers, expected=expected, model_key=model_key)
    if not verdict.whole:
        raise ReproError(f"{bundle} is not attested:\n{verdict}", hint="only what is whole can be attested")
    with opened(bundle) as folder:
        manifest = parse_manifest((folder / "manifest.json").read_bytes())
        statement = (folder / STATEMENT).read_bytes()
        place = root / f"{manifest['run']['name']}-{digest_bytes(statement).sha256[:12]}"
        if place.exists():
            raise UsageError(f"{place}: this run is attested already", hint="an attestation is never changed")
        staging = place.with_name(f".{place.name}.part")
        shutil.rmtree(staging, ignore_errors=True)
        for name in ("manifest.json", *SIGNED):
            if (folder / name).is_file():
                write_bytes(staging / name, (folder / name).read_bytes())
        write_bytes(staging / BUNDLE, (folder / SUMS).read_bytes())
    write_text(staging / "verdict.txt", f"{verdict}\n")
    if report:
        write_text(staging / "report.md", report)
    record = {"format": FORMAT, "by": by, "attested": utc_now(), "note": note}
    write_json(staging / RECORD, {**record, "files": _digests(staging)})
    staging.rename(place)
    return place


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.name: digest_bytes(read_bytes(path, TEXT)).sha256
        for path in sorted(folder.iterdir())
        if path.name != RECORD
    }


def read_attestation(folder: Path) -> Attestation:
    """Reads an attestation and checks that it is whole.

    Raises:
        InvariantBroken: it is not one, or was changed; the message names each file.
    """
    try:
        record = read_json(folder / RECORD, most=TEXT, strict=True)
        manifest_bytes, statement = read_bytes(folder / "manifest.json", TEXT), read_bytes(folder / STATEMENT, TEXT)
    except (OSError, ReproError) as error:
        raise InvariantBroken(f"{folder}: not an attestation: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        shown = str(record.get("format"))[:80] if isinstance(record, dict) else "none"
        raise InvariantBroken(f"{folder}: format is {shown}, expected {FORMAT}")
    texts = [record.get(key) for key in ("by", "attested", "note")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.get("files"), dict):
        raise InvariantBroken(f"{folder / RECORD}: by, attested and note must be texts, files an object")
    listed, found = record["files"], _digests(folder)
    problems = [f"{name}: changed" for name in listed.keys() & found.keys() if listed[name] != found[name]]
    problems += [f"{name}: missing" for name in listed.keys() - found.keys()]
    problems += [f"{name}: extra" for name in found.keys() - listed.keys()]
    if make_statement(manifest_bytes) != statement:
        problems.append(f"{STATEMENT}: does not follow from manifest.json")
    if not folder.name.endswith(digest_bytes(statement).sha256[:12]):
        problems.append(f"the folder's name is not that of {STATEMENT}")
    if problems:
        raise InvariantBroken(f"{folder}: {'; '.join(sorted(problems))}", hint="an attestation is never changed")
    return Attestation(folder, record, parse_manifest(manifest_bytes))


def read_all(root: Path) -> list[Attestation]:
    """All attestations in a folder, the oldest run first.

    Raises:
        InvariantBroken: one of them is not whole.
    """
    folders = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return sorted(
        map(read_attestation, folders), key=lambda found: (found.manifest["run"]["started"], found.folder.name)
    )


def table(attestations: Iterable[Attestation]) -> str:
    """All attestations as a Markdown table, for a page in their folder."""
    lines = ["| run | recipe | faithful | result | machine | attested by | |", "|---|---|---|---|---|---|---|"]
    for found in attestations:
        manifest, record = found.manifest, found.record
        metric = manifest["recipe"]["resolved"]["expected"]["metric"]
        value = manifest["metrics"].get(metric)
        cells = [
            f"[{manifest['run']['name']}]({found.folder.name}/)",
            manifest["run"]["recipe"],
            "yes" if manifest["faithful"] else "no",
            f"{title(metric)} {100 * value:.2f} %" if value is not None else "no score",
            machine(manifest["host"]),
            f"{record['by']}, {record['attested'][:10]}",
            record["note"],
        ]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def put_table(readme: Path, text: str) -> None:
    """Replaces what stands between the two marks of a README.

    Raises:
        InvariantBroken: it has no such marks.
    """
    held = readme.read_text()
    if BEGIN not in held or END not in held.partition(BEGIN)[2]:
        raise InvariantBroken(f"{readme}: no place for the table", hint=f"write two lines into it: {BEGIN} and {END}")
    before, _, rest = held.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(readme, f"{before}{BEGIN}\n{text}\n{END}{after}")
