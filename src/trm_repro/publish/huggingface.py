"""Publishes a bundle as a model on the Hugging Face hub.

The hub tells the digest of every file it holds, so that comparing costs nothing: a repository that holds exactly the
bundle is left alone, and after an upload the hub's own list is compared with it. All files go in one commit, so that no
revision ever holds a part of a bundle; what an interrupted upload has sent is not sent again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from trm_repro.digests import git_blob
from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite, ReproError
from trm_repro.provenance.bundle import EVALUATIONS, SUMS, Bundle
from trm_repro.publish.evaluations import FILE, evaluation_file
from trm_repro.publish.receipt import Publication
from trm_repro.runs.records import masked

HOW = "create a token with write access at https://huggingface.co/settings/tokens and set HF_TOKEN, or: hf auth login"
OWN_FILES = {".gitattributes"}  # the hub makes it


def publish(bundle: Bundle, repository: str, *, public: bool, benchmark: str = "") -> Publication:
    """Brings a bundle to the hub.

    Args:
        bundle: what to publish.
        repository: ``owner/name``.
        public: whether everybody may see it.
        benchmark: ``owner/dataset:task_id`` whose leaderboard is told the number; empty for none.

    Raises:
        UsageError: that is no benchmark's name.
        MissingPrerequisite: there is no token, or the hub does not accept it.
        InvariantBroken: the repository holds something else, or has the other visibility.
        CommandFailed: the hub or the network failed; run it again.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if not get_token():
        raise MissingPrerequisite("there is no Hugging Face token", hint=HOW)
    api = HfApi()
    source = f"{api.endpoint}/{repository}"
    told = {FILE: evaluation_file(bundle.manifest, benchmark, source)} if benchmark else {}
    with _asking("signing in"):
        api.whoami()
    with _asking(f"asking for {repository}"):
        try:
            info = api.repo_info(repository)
        except RepositoryNotFoundError:
            info = None
    if info and bool(info.private) == public:
        is_, wanted = ("private", "public") if info.private else ("public", "private")
        raise InvariantBroken(
            f"{repository} is {is_} on the hub, but HF_PUBLIC asks for {wanted}",
            hint=f"change its visibility on {api.endpoint}/{repository}/settings, or set HF_PUBLIC",
        )
    if info is None:
        with _asking(f"creating {repository}"):
            api.create_repo(repository, private=not public)
    listed = _files(api, repository)
    there = _of_bundle(listed)
    if there and SUMS not in there:
        raise InvariantBroken(
            f"{repository} holds something else: {', '.join(sorted(there))}", hint="choose another HF_REPO_ID"
        )
    untold = [name for name, data in told.items() if name not in listed or listed[name].blob_id != git_blob(data)]
    changed = bool(_differences(bundle, there) or untold)
    if changed:
        additions = [CommitOperationAdd(name, str(bundle.folder / name)) for name in bundle.digests]
        additions += [CommitOperationAdd(name, told[name]) for name in untold]
        leftovers = [CommitOperationDelete(name) for name in sorted(there.keys() - bundle.digests.keys())]
        with _asking(f"uploading to {repository}"):
            message = f"{bundle.manifest['run']['name']}: the bundle whose {SUMS} is {bundle.digests[SUMS].sha256[:12]}"
            api.create_commit(repository, [*additions, *leftovers], commit_message=message)
        if wrong := _differences(bundle, _of_bundle(_files(api, repository))):
            raise InvariantBroken(
                f"{repository}: what the hub shows is not the bundle:\n" + "\n".join(f"  {line}" for line in wrong),
                hint="run it again",
            )
    with _asking(f"asking for {repository}"):
        revision = str(api.repo_info(repository).sha)
    url = masked(f"{api.endpoint}/{repository}/tree/{revision}")
    return Publication("huggingface", repository, revision, url, changed, "digests")


def _files(api: Any, repository: str) -> dict[str, Any]:
    """The hub's files by name, without its own."""
    from huggingface_hub.hf_api import RepoFile

    with _asking(f"listing {repository}"):
        entries = [entry for entry in api.list_repo_tree(repository, recursive=True) if isinstance(entry, RepoFile)]
    return {entry.path: entry for entry in entries if entry.path not in OWN_FILES}


def _of_bundle(listed: dict[str, Any]) -> dict[str, Any]:
    """Without the results of evaluations: ours is told apart, and others may have proposed some."""
    return {name: entry for name, entry in listed.items() if not name.startswith(f"{EVALUATIONS}/")}


def _differences(bundle: Bundle, there: dict[str, Any]) -> list[str]:
    """How the hub's files differ from the bundle: by SHA-256 for large files, by git's digest for small ones."""
    wrong = [f"missing: {name}" for name in sorted(bundle.digests.keys() - there.keys())]
    wrong += [f"extra: {name}" for name in sorted(there.keys() - bundle.digests.keys())]
    for name, digest in bundle.digests.items():
        if name not in there:
            continue
        entry = there[name]
        if entry.size != digest.bytes:
            wrong.append(f"different: {name}: {digest.bytes} bytes here, {entry.size} there")
        elif entry.lfs is not None and entry.lfs.sha256 != digest.sha256:
            wrong.append(f"different: {name}: sha256 {digest.sha256} here, {entry.lfs.sha256} there")
        elif entry.lfs is None and entry.blob_id != git_blob(bundle.folder / name):
            wrong.append(f"different: {name}: git blob {git_blob(bundle.folder / name)} here, {entry.blob_id} there")
    return wrong


@contextlib.contextmanager
def _asking(doing: str) -> Iterator[None]:
    """Turns what the client raises into one of our errors."""
    try:
        yield
    except ReproError:
        raise
    except Exception as error:
        raise translated(doing, error) from None


def translated(doing: str, error: Exception) -> ReproError:
    """An exception of the hub's client as one of ours."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    if isinstance(error, HFValidationError):
        return InvariantBroken(f"{doing}: {error}", hint="a repository is called owner/name")
    cause = error.__cause__ if isinstance(error.__cause__, HfHubHTTPError) else error
    if isinstance(cause, HfHubHTTPError):
        status, text = cause.response.status_code, _without_token(str(cause.server_message or cause).strip())
        if isinstance(cause, RepositoryNotFoundError):
            return CommandFailed(f"{doing}: there is no such repository, or not for this token ({status})", hint=HOW)
        if status == 401:
            return MissingPrerequisite(f"{doing}: the hub does not accept the token (401)", hint=HOW)
        if status == 403:
            return CommandFailed(f"{doing}: the hub forbids it (403): {text}", hint=f"the token may only read: {HOW}")
        if status == 429:
            return CommandFailed(f"{doing}: too many requests (429)", hint="wait some minutes, then run it again")
        return CommandFailed(f"{doing}: the hub answered {status}: {text}", hint="run it again; nothing is lost")
    return CommandFailed(
        f"{doing}: no connection to the hub ({type(error).__name__})",
        hint="check the network; then run it again, nothing is lost",
    )


def _without_token(text: str) -> str:
    """A server's words, in case it repeats the token."""
    from huggingface_hub import get_token

    token = get_token()
    return text.replace(token, "***") if token else text
