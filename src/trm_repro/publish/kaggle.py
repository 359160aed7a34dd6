"""Publishes a bundle as a Kaggle dataset, or model, and believes only what the server then shows.

Publishing is a comparison first: a dataset that already holds exactly these files is left alone. Otherwise the files
are uploaded as a new dataset or a new version, the server is asked until it has made it, and its file list, sizes and,
on demand, the bytes themselves are compared with the bundle. Whatever goes wrong on the way, running it again completes
it. Nothing is ever deleted.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from trm_repro.digests import Digest, difference, digest_file
from trm_repro.errors import CommandFailed, InvariantBroken
from trm_repro.files import read_json, write_json
from trm_repro.progress import MB, SOON, growing, track
from trm_repro.provenance.bundle import COVER, METADATA, SUMS, Bundle
from trm_repro.publish.kaggle_client import Kaggle, Remote
from trm_repro.publish.receipt import Publication

LIMIT = 200 * 10**9  # bytes: Kaggle's limit of one dataset, and of all private datasets of an account together
FIRST_WAIT, LONGEST_WAIT = 2.0, 30.0  # seconds between two questions; each wait is 1.5 times the last


def publish(kaggle: Kaggle, bundle: Bundle, *, public: bool, download: bool, patience: float) -> Publication:
    """Brings a bundle to Kaggle.

    Args:
        kaggle: the client, signed in as the bundle's owner.
        bundle: what to publish.
        public: whether everybody may see it.
        download: whether to compare the bytes too, by downloading them.
        patience: seconds to wait for the server to make the dataset.

    Raises:
        InvariantBroken: it may not be published so, or the server shows something else than was sent.
        CommandFailed: the server or the network failed; run it again.
    """
    deadline = time.monotonic() + patience
    before = kaggle.remote(bundle.id)
    if before and before.status not in ("ready", "failed"):
        before = _wait(kaggle, bundle.id, before.version, deadline)
    if before and before.private == public:
        is_, wanted = ("private", "public") if before.private else ("public", "private")
        raise InvariantBroken(
            f"{bundle.id} is {is_} on Kaggle, and a new version would be too; KAGGLE_PUBLIC asks for {wanted}",
            hint=f"change its visibility on {kaggle.pages}/{bundle.id}/settings, or set KAGGLE_PUBLIC",
        )
    names = sorted(bundle.digests) if download else [SUMS]
    changed = before is None or before.status == "failed" or bool(_differences(kaggle, bundle, names))
    if changed:
        _check_space(kaggle, bundle, public)
        _upload(kaggle, bundle, before, public)
    after = _wait(kaggle, bundle.id, (before.version if before else 0) + changed, deadline)
    if after.status == "failed":
        raise CommandFailed(
            f"{bundle.id}: Kaggle could not make version {after.version}",
            hint=f"its page says why (often the storage quota): {kaggle.pages}/{bundle.id}",
        )
    if changed:
        if wrong := _differences(kaggle, bundle, names):
            raise InvariantBroken(
                f"{bundle.id}: what Kaggle shows is not the bundle:\n" + "\n".join(f"  {line}" for line in wrong),
                hint="run it again: it uploads a new version",
            )
        _dress(kaggle, bundle, public)
    url = f"{kaggle.pages}/{bundle.id}"
    return Publication(kaggle.where, bundle.id, str(after.version), url, changed, "digests" if download else "sizes")


def _differences(kaggle: Kaggle, bundle: Bundle, names: list[str]) -> list[str]:
    """How the dataset's current version differs from the bundle; empty if it does not.

    File list and sizes are compared first, then the bytes of the files ``names``, one file at a time on the disk.
    """
    there = kaggle.files(bundle.id)
    wrong = [f"missing: {name}" for name in sorted(bundle.digests.keys() - there.keys())]
    wrong += [f"extra: {name}" for name in sorted(there.keys() - bundle.digests.keys())]
    wrong += [
        f"different: {name}: {digest.bytes} bytes here, {there[name]} there"
        for name, digest in bundle.digests.items()
        if there.get(name, digest.bytes) != digest.bytes
    ]
    if wrong:
        return wrong
    found: dict[str, Digest] = {}
    with (
        tempfile.TemporaryDirectory(dir=bundle.folder.parent, prefix=".compare.") as folder,
        track(
            "downloading to compare", total=sum(-(-there[name] // MB) for name in names), unit="MB", after=SOON
        ) as bar,
    ):
        for name in names:
            target = Path(folder) / name
            with growing(target, there[name], bar):
                kaggle.download(bundle.id, name, target)
            found[name] = digest_file(target)
            target.unlink()
    return difference({name: bundle.digests[name] for name in names}, found)


def _check_space(kaggle: Kaggle, bundle: Bundle, public: bool) -> None:
    """Checks, before anything is sent, that Kaggle has room for it."""
    others = 0 if public else sum(size for name, size in kaggle.private_bytes.items() if name != bundle.id)
    if bundle.bytes + others > LIMIT:
        raise InvariantBroken(
            f"the bundle's {bundle.bytes} bytes and the account's other private datasets' {others} bytes "
            f"exceed Kaggle's quota of {LIMIT} bytes",
            hint="delete datasets you no longer need, or publish publicly with KAGGLE_PUBLIC=1",
        )


def _upload(kaggle: Kaggle, bundle: Bundle, before: Remote | None, public: bool) -> None:
    if before is None:
        kaggle.create(bundle.folder, public=public)
    else:
        kaggle.version(bundle.folder, f"update {bundle.manifest['run']['name']}")


def _wait(kaggle: Kaggle, dataset: str, version: int, deadline: float) -> Remote:
    """Asks until the dataset has reached a version and is ready or has failed.

    Raises:
        CommandFailed: it took longer than the patience allows.
    """
    wait, began = FIRST_WAIT, time.monotonic()
    with track(f"waiting for {dataset}", total=max(1, int(deadline - began)), unit="seconds at most") as bar:
        while True:
            found = kaggle.remote(dataset)
            bar.note(f"{found.status}, version {found.version}" if found else "not to be seen yet")
            if found and found.version >= version and found.status in ("ready", "failed"):
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise CommandFailed(
                    f"{dataset}: not ready in time; Kaggle is still at work on it",
                    hint="run it again later: it goes on waiting and does not upload twice; PUBLISH_TIMEOUT is the limit",
                )
            time.sleep(min(wait, left))
            bar.advance(int(min(wait, left)))
            wait = min(1.5 * wait, LONGEST_WAIT)


def _dress(kaggle: Kaggle, bundle: Bundle, public: bool) -> None:
    """Sets the page's cover. The client's update makes a dataset public unless the metadata says it is private."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / METADATA, read_json(bundle.folder / METADATA) | {"isPrivate": not public})
        (folder / COVER).write_bytes((bundle.folder / COVER).read_bytes())
        try:
            kaggle.update_settings(bundle.id, folder)
        except CommandFailed as error:  # the files are there and compared; a cover is not worth a failure
            print(f"warning: the page has no cover: {error}", file=sys.stderr)
