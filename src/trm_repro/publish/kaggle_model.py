"""Kaggle's other shelf, Models: the same bundle as a version of ``owner/slug/pyTorch/default``.

A model is a page; what it holds are variations of a framework, each with versions. Page and variation are made where they
are not there yet. Kaggle tells no status of a version: it is taken for ready when it lists files. Everything else is as with
datasets (:mod:`~trm_repro.publish.kaggle`), whose questions this client answers for a model.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from trm_repro.errors import CommandFailed, InvariantBroken
from trm_repro.files import read_json, write_json
from trm_repro.provenance.bundle import METADATA, published_files
from trm_repro.publish.kaggle_client import PAGE, Kaggle, Remote, hint_of, http_status

VARIATION = "pyTorch/default"
# Kaggle's name for a model's license, by its name for the same one of a dataset.
LICENSES = {
    "CC0-1.0": "CC0: Public Domain",
    "CC-BY-4.0": "Attribution 4.0 International (CC BY 4.0)",
    "CC-BY-3.0": "Attribution 3.0 Unported (CC BY 3.0)",
    "CC-BY-SA-3.0": "CC BY-SA 3.0",
    "CC-BY-SA-4.0": "CC BY-SA 4.0",
    "CC-BY-NC-4.0": "Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)",
    "CC-BY-NC-SA-4.0": "CC BY-NC-SA 4.0",
    "CC-BY-NC-ND-4.0": "Attribution-NonCommercial-NoDerivatives 4.0 International (CC BY-NC-ND 4.0)",
    "CC-BY-ND-4.0": "Attribution-NoDerivatives 4.0 International (CC BY-ND 4.0)",
    "ODC-BY-1.0": "ODC Attribution License (ODC-By)",
    "PDDL": "ODC Public Domain Dedication and Licence (PDDL)",
    "AGPL-3.0": "GNU Affero General Public License 3.0",
    "LGPL-3.0": "GNU Lesser General Public License 3.0",
    "GPL-2": "GPL 2",
    "GPL-3.0": "GPL 3",
    "apache-2.0": "Apache 2.0",
    "FDL-1.3": "GNU Free Documentation License 1.3",
    "CDLA-Permissive-1.0": "Community Data License Agreement - Permissive - Version 1.0",
    "CDLA-Sharing-1.0": "Community Data License Agreement - Sharing - Version 1.0",
}


class KaggleModels(Kaggle):
    """The client, of models: where a dataset's name stands, ``owner/slug`` is a model's, and its one variation is meant."""

    where, pages = "kaggle-model", "https://www.kaggle.com/models"

    @property
    def private_bytes(self) -> dict[str, int]:
        """What counts against a quota of models is not known: nothing is held against it."""
        return {}

    def remote(self, dataset: str) -> Remote | None:
        """The model as the server has it, or None if there is none; version 0 where it has no variation yet."""
        model = self._ask_for(dataset, self._api.model_get)
        if model is None:
            return None
        found = self._ask_for(f"{dataset}/{VARIATION}", self._api.model_instance_get)
        version = int(found.version_number or 0) if found else 0
        ready = version == 0 or bool(self._listed(dataset, version))
        return Remote("ready" if ready else "without files", version, bool(model.is_private))

    def files(self, dataset: str) -> dict[str, int]:
        """The names and sizes of the current version's files."""
        found = self._ask_for(f"{dataset}/{VARIATION}", self._api.model_instance_get)
        return self._listed(dataset, int(found.version_number or 0)) if found else {}

    def download(self, dataset: str, name: str, target: Path) -> None:
        """Downloads one file of the current version to ``target``."""
        from kagglesdk.models.types.model_api_service import ApiDownloadModelInstanceVersionRequest

        found = self._ask_for(f"{dataset}/{VARIATION}", self._api.model_instance_get)
        if found is None:
            raise CommandFailed(f"{dataset}/{VARIATION}: Kaggle knows no such model any more", hint="run it again")
        owner, slug, _, instance = self._api.split_model_instance_string(f"{dataset}/{VARIATION}")
        request = ApiDownloadModelInstanceVersionRequest()
        request.owner_slug, request.model_slug, request.instance_slug = owner, slug, instance
        request.framework, request.version_number, request.path = found.framework, int(found.version_number), name
        with self._asking(f"downloading {name} of {dataset}"), self._api.build_kaggle_client() as client:
            response = self._retry(client.models.model_api_client.download_model_instance_version)(request)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._api.download_file(response, str(target), client.http_client(), quiet=not sys.stderr.isatty())

    def create(self, folder: Path, *, public: bool) -> None:
        """Makes a model's page, and a variation of a folder."""
        metadata = read_json(folder / METADATA)
        _license(metadata)  # before there is a page without anything on it
        owner, _, slug = str(metadata["id"]).partition("/")
        page = {
            "ownerSlug": owner,
            "slug": slug,
            "title": metadata["title"],
            "subtitle": metadata.get("subtitle", ""),
            "isPrivate": not public,
            "description": metadata.get("description", ""),
        }
        with tempfile.TemporaryDirectory() as place, self._asking(f"creating a model of {folder}"):
            write_json(Path(place, "model-metadata.json"), page)
            self._believe(self._api.model_create_new(place))
        self.version(folder, "")

    def version(self, folder: Path, notes: str) -> None:
        """Uploads a folder as the variation, or as a new version of it; the old versions stay."""
        metadata = read_json(folder / METADATA)
        owner, _, slug = str(metadata["id"]).partition("/")
        there = self._ask_for(f"{owner}/{slug}/{VARIATION}", self._api.model_instance_get)
        framework, _, instance = VARIATION.partition("/")
        license = _license(metadata)
        about = {
            "ownerSlug": owner,
            "modelSlug": slug,
            "instanceSlug": instance,
            "framework": framework,
            "overview": metadata.get("subtitle", ""),
            "licenseName": license,
            "fineTunable": True,
        }
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".model.") as place:
            for path in published_files(folder):
                Path(place, path.name).hardlink_to(path.resolve())
            write_json(Path(place, "model-instance-metadata.json"), about)
            with self._asking(f"making a version of {folder}"):
                if there is None:
                    self._believe(self._api.model_instance_create(place))
                else:
                    self._believe(self._api.model_instance_version_create(f"{owner}/{slug}/{VARIATION}", place, notes))

    def update_settings(self, dataset: str, folder: Path) -> None:
        """A model's page has no cover that the client could set."""

    @staticmethod
    def _believe(answer: Any) -> None:
        """Raises if the server's answer names an error."""
        if answer.error:
            raise CommandFailed(f"Kaggle refused: {answer.error}", hint=hint_of(str(answer.error)))

    def _ask_for(self, name: str, question: Any) -> Any:
        """What the server has under a name; None if there is nothing, or nothing for this account."""
        with self._asking(f"asking for {name}"):
            try:
                return self._retry(question)(name)
            except Exception as error:
                if http_status(error) in (403, 404):
                    return None
                raise

    def _listed(self, dataset: str, version: int) -> dict[str, int]:
        found: dict[str, int] = {}
        token = None
        while version:
            with self._asking(f"listing {dataset}"):
                answer = self._retry(self._api.model_instance_version_files)(
                    f"{dataset}/{VARIATION}/{version}", page_token=token, page_size=PAGE
                )
            found |= {entry.name: int(entry.size) for entry in (answer.files if answer else ()) or () if entry}
            token = answer.next_page_token if answer else None
            if not token:
                break
        return found


def _license(metadata: dict[str, Any]) -> str:
    """What Kaggle calls a bundle's license where a model has it.

    Raises:
        InvariantBroken: it knows none such for models.
    """
    (license,) = (entry["name"] for entry in metadata["licenses"])
    if license not in LICENSES:
        raise InvariantBroken(
            f"Kaggle has no license “{license}” for models",
            hint=f"set PUBLISH_LICENSE to one of: {', '.join(LICENSES)}; and package again",
        )
    return LICENSES[license]
