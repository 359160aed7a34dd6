"""A small Kaggle on loopback, for the real client.

It speaks the requests that publishing uses: sign-in, resumable blob upload, create, version, status, list, download,
update. It keeps what was sent to it, and fails on request, in any way that Kaggle is known to. The client is sent here
by its own variable ``KAGGLE_API_ENVIRONMENT=LOCALHOST`` (http://localhost, port 80) and by ``http_proxy``, so that no
port below 1024 is needed: requests to a proxy name the whole address, of which only the path is looked at.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OWNER, KEY, TOKEN = "ada", "planted-legacy-key-1b9d", "KGAT_planted-access-token-77aa"


@dataclass
class Dataset:
    title: str
    private: bool
    license: str
    versions: list[dict[str, bytes]]
    status: str = "READY"
    pending: int = 0  # so many more questions are answered "not ready yet"
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, bytes]:
        return self.versions[-1]


@dataclass
class Fault:
    """What to do instead of answering the next ``times`` requests of a method."""

    method: str
    times: int
    status: int = 0
    body: dict[str, Any] | None = None
    drop_after: int = -1  # close the connection after so many bytes of an upload
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None  # do not answer before this is set


class KaggleServer:
    """The server; use it as a context."""

    def __init__(self) -> None:
        self.datasets: dict[str, Dataset] = {}
        self.models: dict[str, bool] = {}  # whether each is private; its variation is the dataset of its longer name
        self.licenses: dict[str, str] = {}
        self.blobs: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.starts: list[tuple[str, int]] = []  # of each upload: the file, and the byte it began at
        self.spoil: dict[str, bytes | None] = {}  # files of the next version that arrive otherwise, or not at all
        self.slow = 0  # how often a new version is "not ready yet"; until then its files are not listed
        self.late: list[tuple[str, dict[str, bytes]]] = []  # versions that are not even begun yet
        self.lag = 0  # how often the old version is still shown as the current one
        self.outcome = "READY"  # what becomes of a new version
        self.zipped: set[str] = set()  # files that are served as a zip
        self.kernels: list[dict[str, Any]] = []  # what `kernels push` sent
        self.lock = threading.Lock()

    def fail(self, method: str, times: int = 1, **how: Any) -> None:
        self.faults.append(Fault(method, times, **how))

    def count(self, method: str) -> int:
        return sum(request == method for request in self.requests)

    def environment(self, home: Path) -> dict[str, str]:
        """What sends a client here; it sees no other credentials than those below ``home``."""
        address = f"http://127.0.0.1:{self.http.server_port}"
        return {
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": address,
            "HTTP_PROXY": address,
            "no_proxy": "",
            "NO_PROXY": "",
        }

    def __enter__(self) -> KaggleServer:
        server = self

        class Handler(_Handler):
            kaggle = server

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    # -- what the methods do ------------------------------------------------------------------------------------------

    def answer(self, method: str, request: dict[str, Any], user: str) -> tuple[int, dict[str, Any]]:
        if method == "IntrospectToken":
            active = request.get("token") == TOKEN
            return 200, {"active": active, "username": OWNER if active else ""}
        if not user:
            return 401, {"code": 401, "message": "Unauthenticated"}
        if method == "ListDatasets":
            return 200, {"datasets": [self._entry(ref) for ref in self.datasets] if request.get("page", 1) == 1 else []}
        if method == "StartBlobUpload":
            token = f"blob-{len(self.blobs)}"
            self.blobs[token] = {"name": request["name"], "size": request.get("contentLength", 0), "data": b""}
            return 200, {"token": token, "createUrl": f"http://localhost/upload/{token}?signature=planted-signature"}
        if method == "CreateDataset":
            ref = f"{request['ownerSlug']}/{request['slug']}"
            self.datasets[ref] = Dataset(
                request["title"], bool(request.get("isPrivate")), request["licenseName"], [self._collect(request)]
            )
            return 200, self._begin(ref)
        if method == "SaveKernel":
            self.kernels.append(request)
            return 200, {"ref": request["slug"], "url": "http://localhost/code", "versionNumber": len(self.kernels)}
        if "Model" in method:
            return self._of_models(method, request)
        ref = f"{request.get('ownerSlug')}/{request.get('datasetSlug')}"
        if ref not in self.datasets:
            return 403, {"code": 403, "message": f"Permission 'datasets.get' was denied for {ref}"}
        dataset = self.datasets[ref]
        if method == "CreateDatasetVersion":
            if self.lag:
                self.late.append((ref, self._collect(request["body"])))
                return 200, {"status": "ok", "url": ""}
            dataset.versions.append(self._collect(request["body"]))
            return 200, self._begin(ref)
        if method == "GetDatasetStatus":
            self.lag -= bool(self.late)
            if self.late and self.lag == 0:
                late, files = self.late.pop()
                self.datasets[late].versions.append(files)
            if dataset.pending > 0:
                dataset.pending -= 1
                return 200, {"status": "BLOBS_RECEIVED"}
            return 200, {"status": dataset.status}
        if method == "GetDataset":
            return 200, self._entry(ref)
        if method == "ListDatasetFiles":
            start = int(request.get("pageToken") or 0)
            if dataset.pending > 0:
                return 200, {"datasetFiles": []}
            names = sorted(dataset.files)[start : start + 5]  # five a page, so that paging is used
            more = str(start + 5) if start + 5 < len(dataset.files) else ""
            entries = [{"name": name, "totalBytes": len(dataset.files[name])} for name in names]
            return 200, {"datasetFiles": entries, "nextPageToken": more}
        if method == "UpdateDatasetMetadata":
            dataset.settings = request["settings"]
            dataset.private = bool(request["settings"].get("isPrivate"))
            return 200, {"errors": []}
        if method == "GetDatasetMetadata":
            return 200, {"info": {"licenses": [{"name": dataset.license}]}}
        return 404, {"code": 404, "message": f"no method {method}"}

    def _of_models(self, method: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if method == "CreateModel":
            self.models[f"{request['ownerSlug']}/{request['slug']}"] = bool(request["isPrivate"])
            return 200, {"id": 1, "ref": request["slug"], "url": "http://localhost/models"}
        model, body = f"{request['ownerSlug']}/{request['modelSlug']}", request.get("body", {})
        framework = body.get("framework") or request.get("framework")
        ref = f"{model}/{framework}/{body.get('instanceSlug') or request.get('instanceSlug')}"
        if model not in self.models or (method not in ("GetModel", "CreateModelInstance") and ref not in self.datasets):
            return 404, {"code": 404, "message": "Not found"}
        if method == "GetModel":
            return 200, {"ref": model, "isPrivate": self.models[model]}
        if method == "CreateModelInstance":
            self.licenses[ref] = body["licenseName"]
            self.datasets[ref] = Dataset("", self.models[model], "", [self._collect(body)])
            return 200, {"id": 1, "url": self._begin(ref)["url"]}
        dataset = self.datasets[ref]
        if method == "CreateModelInstanceVersion":
            dataset.versions.append(self._collect(body))
            return 200, {"id": 1, "url": self._begin(ref)["url"]}
        if method == "GetModelInstance":
            return 200, {"slug": "default", "framework": framework, "versionNumber": len(dataset.versions)}
        if method == "ListModelInstanceVersionFiles":
            if dataset.pending > 0:
                dataset.pending -= 1
                return 200, {"files": []}
            start = int(request.get("pageToken") or 0)
            names = sorted(dataset.files)[start : start + 5]
            more = str(start + 5) if start + 5 < len(dataset.files) else ""
            return 200, {"files": [{"name": n, "size": len(dataset.files[n])} for n in names], "nextPageToken": more}
        return 404, {"code": 404, "message": f"no method {method}"}

    def _collect(self, request: dict[str, Any]) -> dict[str, bytes]:
        files = {self.blobs[entry["token"]]["name"]: self.blobs[entry["token"]]["data"] for entry in request["files"]}
        for name, data in self.spoil.items():
            if data is None:
                files.pop(name)
            else:
                files[name] = data
        self.spoil = {}
        return files

    def _begin(self, ref: str) -> dict[str, Any]:
        dataset = self.datasets[ref]
        dataset.status, dataset.pending = self.outcome, self.slow
        return {"status": "ok", "ref": f"/{ref}", "url": f"http://localhost/datasets/{ref}"}

    def _entry(self, ref: str) -> dict[str, Any]:
        dataset = self.datasets[ref]
        return {
            "ref": ref,
            "title": dataset.title,
            "isPrivate": dataset.private,
            "totalBytes": dataset.settings.get("pretended_bytes", sum(map(len, dataset.files.values()))),
            "currentVersionNumber": len(dataset.versions),
        }


class _Handler(BaseHTTPRequestHandler):
    kaggle: KaggleServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def user(self) -> str:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer" and value == TOKEN:
            return OWNER
        if kind == "Basic" and base64.b64decode(value).decode() == f"{OWNER}:{KEY}":
            return OWNER
        return ""

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def fault(self, method: str) -> Fault | None:
        for fault in self.kaggle.faults:
            if fault.method == method and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def do_POST(self) -> None:
        method = urlsplit(self.path).path.rpartition("/")[2]
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        with self.kaggle.lock:
            self.kaggle.requests.append(method)
            if fault := self.fault(method):
                if fault.drop_after >= 0:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send(fault.status, json.dumps(fault.body or {}).encode(), **fault.headers)
                return
            if method == "DownloadDataset" and self.user():
                ref = f"{request['ownerSlug']}/{request['datasetSlug']}"
                name = request["fileName"]
                suffix = ".zip" if name in self.kaggle.zipped else ""
                self.send(
                    302, b"", Location=f"http://localhost/storage/{ref}/{name}{suffix}?signature=planted-signature"
                )
                return
            if method == "DownloadModelInstanceVersion" and self.user():
                words = [request[key] for key in ("ownerSlug", "modelSlug", "framework", "instanceSlug", "path")]
                self.send(302, b"", Location=f"http://localhost/storage/{'/'.join(words)}?signature=planted-signature")
                return
            status, answer = self.kaggle.answer(method, request, self.user())
        self.send(status, json.dumps(answer).encode())

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.split("/", 2)[2]
        ref = max((ref for ref in self.kaggle.datasets if path.startswith(f"{ref}/")), key=len)  # a model's is longer
        name, dataset = path.removeprefix(f"{ref}/"), self.kaggle.datasets[ref]
        if name.endswith(".zip"):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.writestr(name.removesuffix(".zip"), dataset.files[name.removesuffix(".zip")])
            data = buffer.getvalue()
        else:
            data = dataset.files[name]
        self.send(200, data, "application/octet-stream")

    def do_PUT(self) -> None:
        """A resumable upload, as Google's storage has it."""
        self.kaggle.requests.append("PUT")
        blob = self.kaggle.blobs[urlsplit(self.path).path.rpartition("/")[2]]
        length, span = int(self.headers.get("Content-Length", 0)), self.headers.get("Content-Range", "")
        if span.startswith("bytes */"):  # "how much have you?"
            if blob.get("expired"):
                self.send(404, b"")
            elif len(blob["data"]) == blob["size"]:
                self.send(200, b"")
            elif blob["data"]:
                self.send(308, b"", Range=f"bytes=0-{len(blob['data']) - 1}")
            else:
                self.send(308, b"")
            return
        start = int(span.removeprefix("bytes ").split("-")[0]) if span else 0
        self.kaggle.starts.append((blob["name"], start))
        if fault := self.fault(f"PUT {blob['name']}"):
            if fault.hold:
                blob["data"] = blob["data"][:start] + self.rfile.read(100)
                fault.hold.wait(60)
                self.close_connection = True
            elif fault.drop_after >= 0:
                blob["data"] = blob["data"][:start] + self.rfile.read(min(fault.drop_after, length))
                self.close_connection = True
                self.connection.close()
            else:  # the server took a half, and is busy
                data = self.rfile.read(length)
                blob["data"] = blob["data"][:start] + data[: length // 2]
                self.send(fault.status, b"")
            return
        blob["data"] = blob["data"][:start] + self.rfile.read(length)
        self.send(200, b"")
