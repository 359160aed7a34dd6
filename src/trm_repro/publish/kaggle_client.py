"""The ``kaggle`` client, made strict.

The client is used through its own API object, not its command line, whose exit codes lie: it exits 0 when a dataset
could not be created, when the server answers 200 with an error in the body, and when a file was left out. Here every
refusal is an exception with a message, an exit code and a hint, a file that was not taken stops the upload before a
version is made of the rest, and everything the client prints goes to stderr with secrets blanked out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite, ReproError
from trm_repro.publish.credentials import HOW, Credentials

PAGE = 200  # entries asked for at a time
RETRIES = 4  # of a question; the client waits 0.9, 1.4, 2.5 s between them, or what the server asks for


@dataclass(frozen=True)
class Remote:
    """A dataset as the server has it.

    Attributes:
        status: ``ready``, ``failed``, or a stage on the way.
        version: the number of its current version.
        private: whether only its owner sees it.
    """

    status: str
    version: int
    private: bool


def sign_in(credentials: Credentials, owner: str, kind: type[Kaggle] | None = None) -> Kaggle:
    """Signs in and checks whose the credentials are.

    Args:
        credentials: what to sign in with.
        owner: whose they must be.
        kind: the client; of datasets by default.

    Raises:
        MissingPrerequisite: the server does not accept them.
        InvariantBroken: they are not the owner's.
    """
    kaggle = (kind or Kaggle)(credentials)
    if kaggle.owner != owner:
        raise InvariantBroken(
            f"{credentials.kind} belongs to {kaggle.owner}, but KAGGLE_USERNAME is {owner}",
            hint="set KAGGLE_USERNAME to the credentials' owner, or use the other account's credentials",
        )
    return kaggle


class Kaggle:
    """The questions and requests a publication needs, signed in.

    Args:
        credentials: what to sign in with; it must be what the client finds by itself.

    Raises:
        MissingPrerequisite: the server does not accept them.
    """

    where, pages = "kaggle", "https://www.kaggle.com/datasets"  # what a receipt calls it, and where its pages are

    def __init__(self, credentials: Credentials) -> None:
        self._secrets = (credentials.secret,)
        with self._asking("signing in"):
            self._api = _strict_client()
            self._api.authenticate()
            values = self._api.config_values
            if not str(values["auth_method"]).endswith(credentials.method):
                # The client drops a token that the server calls inactive, and goes on to the next credentials.
                raise MissingPrerequisite(f"Kaggle does not accept {credentials.kind}: expired or revoked", hint=HOW)
            self.owner: str = values["username"]
        self._own = self._list_own()

    @property
    def private_bytes(self) -> dict[str, int]:
        """The size of each of the owner's private datasets, by name."""
        return {dataset.ref: int(dataset.total_bytes or 0) for dataset in self._own if dataset.is_private}

    def _list_own(self) -> list[Any]:
        """The owner's datasets; also the proof that the credentials are accepted."""
        found, page = [], 1
        while True:
            with self._asking("signing in"):
                answer = self._retry(self._api.dataset_list_with_response)(mine=True, page=page, page_size=PAGE)
                entries = [entry for entry in answer.datasets or [] if entry]
            found += entries
            if len(entries) < PAGE:
                return found
            page += 1

    def remote(self, dataset: str) -> Remote | None:
        """The dataset as the server has it, or None if there is none."""
        with self._asking(f"asking for {dataset}"):
            try:
                status = self._retry(self._api.dataset_status)(dataset)
                with self._api.build_kaggle_client() as client:
                    entry = self._retry(client.datasets.dataset_api_client.get_dataset)(self._get_request(dataset))
            except Exception as error:
                # The server says 403 of a dataset that is not there, so as not to tell who owns which.
                if http_status(error) in (403, 404):
                    return None
                raise
        return Remote(status, int(entry.current_version_number or 0), bool(entry.is_private))

    def files(self, dataset: str) -> dict[str, int]:
        """The names and sizes of a dataset's files."""
        found: dict[str, int] = {}
        token = None
        while True:
            with self._asking(f"listing {dataset}"):
                answer = self._retry(self._api.dataset_list_files)(dataset, page_token=token, page_size=PAGE)
                if answer.error_message:
                    raise CommandFailed(
                        f"listing {dataset}: Kaggle says: {answer.error_message}", hint=hint_of(answer.error_message)
                    )
            found |= {entry.name: int(entry.total_bytes) for entry in answer.files if entry}
            token = answer.next_page_token
            if not token:
                return found

    def download(self, dataset: str, name: str, target: Path) -> None:
        """Downloads one file of a dataset to ``target``."""
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

        owner, slug, version = self._api.split_dataset_string(dataset)
        request = ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug, request.file_name = owner, slug, name
        request.dataset_version_number = int(version) if version else None
        with self._asking(f"downloading {name} of {dataset}"), self._api.build_kaggle_client() as client:
            response = self._retry(client.datasets.dataset_api_client.download_dataset)(request)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._api.download_file(response, str(target), client.http_client(), quiet=True)
        if response.url.split("?")[0].endswith(".zip") and not name.endswith(".zip"):
            _unwrap(target, name)  # the server zips some kinds of files on the way

    def create(self, folder: Path, *, public: bool) -> None:
        """Uploads a folder as a new dataset."""
        with self._asking(f"creating a dataset of {folder}"):
            self._believe(self._api.dataset_create_new(str(folder), public=public, convert_to_csv=False))

    def version(self, folder: Path, notes: str) -> None:
        """Uploads a folder as a new version of its dataset; the old versions stay."""
        with self._asking(f"making a version of {folder}"):
            self._believe(self._api.dataset_create_version(str(folder), notes, convert_to_csv=False))

    def update_settings(self, dataset: str, folder: Path) -> None:
        """Updates title, description, license, visibility and cover from ``dataset-metadata.json`` in a folder."""
        with self._asking(f"updating the page of {dataset}"):
            self._api.dataset_metadata_update(dataset, str(folder))

    @staticmethod
    def _believe(answer: Any) -> None:
        """Raises unless the server's answer to an upload is "ok"."""
        if str(answer.status).lower() != "ok":
            raise CommandFailed(
                f"Kaggle refused: {answer.error or 'without a reason'}", hint=hint_of(str(answer.error))
            )

    def _retry(self, question: Any) -> Any:
        """The question, asked again after a lost connection or a 429."""
        return self._api.with_retry(question, max_retries=RETRIES)

    def _get_request(self, dataset: str) -> Any:
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

        request = ApiGetDatasetRequest()
        request.owner_slug, request.dataset_slug = dataset.split("/")[:2]
        return request

    @contextlib.contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        """Turns whatever the client does when it fails into one of our errors; keeps its talk off stdout."""
        talk = _Talk(sys.stderr, self._secrets)
        try:
            with contextlib.redirect_stdout(talk), contextlib.redirect_stderr(talk):
                yield
        except ReproError:
            raise
        except (Exception, SystemExit) as error:
            raise _translated(doing, error, talk) from None


def _strict_client() -> Any:
    """The client, with a file that the server did not take as an error.

    Its own behaviour is to leave such a file out and to make a version of the rest.
    """
    os.environ.pop("VERBOSE", None)  # the client would print every request, the Authorization header included
    os.environ.pop("VERBOSE_OUTPUT", None)
    os.environ.setdefault("TQDM_MININTERVAL", "0.5" if sys.__stderr__ and sys.__stderr__.isatty() else "10")
    from kaggle.api.kaggle_api_extended import KaggleApi, ResumableUploadResult

    class Strict(KaggleApi):  # type: ignore[misc]
        MAX_UPLOAD_RESUME_ATTEMPTS = 3

        def upload_complete(self, path: str, url: str, quiet: bool, resume: bool = False) -> Any:
            self.last_result = super().upload_complete(path, url, quiet, resume)
            return self.last_result

        def _upload_blob(self, path: str, quiet: bool, blob_type: Any, context: Any, content_type: Any = None) -> Any:
            token = super()._upload_blob(path, quiet, blob_type, context, content_type)
            if token is None and self.last_result == ResumableUploadResult.FAILED:
                # The session is dead (it may have been begun days ago): begin this file anew, once.
                context._file_uploads[-1].cleanup()
                token = super()._upload_blob(path, quiet, blob_type, context, content_type)
            if token is None:
                raise CommandFailed(
                    f"{Path(path).name}: Kaggle did not take the file; no version was made",
                    hint="run it again: files that arrived are not sent again, and a broken one goes on where it broke",
                )
            return token

    client = Strict()
    client.last_result = None
    return client


class _Talk(io.TextIOBase):
    """Where the client's talk goes: on to stderr, with secrets and signed addresses blanked out."""

    def __init__(self, stream: Any, secrets: tuple[str, ...]) -> None:
        self._stream, self._secrets = stream, secrets

    def write(self, text: str) -> int:
        shown = self.clean(text)
        self._stream.write(shown if self._stream.isatty() else shown.replace("\r", "\n"))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return bool(self._stream.isatty())

    def clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return re.sub(r"(https?://[^\s?]+)\?[^\s'\")]*", r"\1?***", text)  # an upload's address is a key to it


def http_status(error: BaseException) -> int:
    """The HTTP status of an exception's response, 0 if it has none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _translated(doing: str, error: BaseException, talk: _Talk) -> ReproError:
    """The error as one of ours."""
    import requests

    status, text = http_status(error), talk.clean(str(error))
    if status == 401:
        return MissingPrerequisite(f"{doing}: Kaggle does not accept the credentials (401)", hint=HOW)
    if status == 403:
        hint = "the account may lack the right, or its phone number is not verified: https://www.kaggle.com/settings"
        return CommandFailed(f"{doing}: Kaggle forbids it (403): {text}", hint=hint)
    if status == 404:
        return CommandFailed(
            f"{doing}: Kaggle knows no such thing (404): {text}", hint="check KAGGLE_USERNAME and slug"
        )
    if status == 429:
        return CommandFailed(f"{doing}: too many requests (429)", hint="wait some minutes, then run it again")
    if status:
        return CommandFailed(f"{doing}: Kaggle answered {status}: {text}", hint=hint_of(text))
    if isinstance(error, (requests.ConnectionError, requests.Timeout, OSError)):
        hint = "check the network; then run it again, nothing is lost"
        return CommandFailed(f"{doing}: no connection to Kaggle ({type(error).__name__})", hint=hint)
    if isinstance(error, SystemExit):
        return CommandFailed(f"{doing}: the Kaggle client gave up", hint="its message is above")
    return CommandFailed(f"{doing}: {type(error).__name__}: {text}", hint=hint_of(text))


def hint_of(text: str) -> str:
    """What to do about a refusal, from its words."""
    if re.search(r"quota|storage|too large|exceed", text, re.IGNORECASE):
        return "free space: delete old datasets or versions at https://www.kaggle.com/settings, or publish publicly"
    if re.search(r"title|slug|already in use", text, re.IGNORECASE):
        return "choose another RUN_NAME or KAGGLE_DATASET_SLUG, and package again"
    return "run it again; nothing is lost"


def _unwrap(target: Path, name: str) -> None:
    """Replaces a downloaded zip by the one file in it.

    Raises:
        InvariantBroken: it does not hold that file alone.
    """
    import zipfile

    try:
        with zipfile.ZipFile(target) as archive:
            if archive.namelist() != [name]:
                raise InvariantBroken(f"{target}: Kaggle sent a zip of {archive.namelist()}, expected {name}")
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                Path(archive.extract(name, folder)).replace(target)
    except zipfile.BadZipFile:
        raise InvariantBroken(f"{target}: Kaggle sent a damaged zip", hint="run it again") from None
