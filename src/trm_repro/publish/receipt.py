"""What a publication came to: where the bundle is, which revision, and what was compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trm_repro.files import utc_now, write_json
from trm_repro.provenance.bundle import Bundle


@dataclass(frozen=True)
class Publication:
    """A bundle that a server was seen to hold.

    Attributes:
        where: ``kaggle`` or ``huggingface``.
        id: ``owner/name``.
        revision: Kaggle's version number, or the hub's commit.
        url: its page.
        changed: whether this run uploaded it; else it was there already.
        compared: what equalled the bundle: ``sizes`` (and the list of digests) or the ``digests`` of all files.
    """

    where: str
    id: str
    revision: str
    url: str
    changed: bool
    compared: str


def write_receipt(path: Path, published: Publication, bundle: Bundle) -> None:
    """Writes a receipt: where, which revision, what was compared, and the digests of the files."""
    receipt = {
        "format": "trm-repro/published/v1",
        "where": published.where,
        "id": published.id,
        "revision": published.revision,
        "url": published.url,
        "compared": published.compared,
        "time": utc_now(),
        "files": {name: {"sha256": digest.sha256, "bytes": digest.bytes} for name, digest in bundle.digests.items()},
    }
    write_json(path, receipt)
