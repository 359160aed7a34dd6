"""A small Hugging Face hub on loopback, for the real client (``HF_ENDPOINT``).

It speaks what publishing and fetching use: who am I, repository, tree, upload mode, git LFS, commit, download. Large
files go by LFS: the client's newer way, Xet, is switched off by its own variable ``HF_HUB_DISABLE_XET``, because its
servers are not spoken here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN, OWNER = "hf_planted-hub-token-55", "ada"
LARGE = 1000  # bytes from which a file goes by LFS


@dataclass
class Repository:
    private: bool
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b"*.ckpt filter=lfs\n"}])

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    @staticmethod
    def oid(number: int) -> str:
        return hashlib.sha1(b"commit %d" % number).hexdigest()

    def at(self, revision: str) -> int:
        """The number of the commit that a revision names; −1 for an unknown one."""
        if revision == "main":
            return len(self.commits) - 1
        return next((i for i in range(len(self.commits)) if self.oid(i) == revision), -1)


class HubServer:
    """The server; use it as a context."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.faults: dict[str, list[tuple[int, str]]] = {}  # by a part of "METHOD path": status and message
        self.spoil: dict[str, bytes | None] = {}
        self.lock = threading.Lock()

    def fail(self, what: str, status: int, message: str = "", times: int = 1) -> None:
        self.faults.setdefault(what, []).extend([(status, message)] * times)

    def count(self, what: str) -> int:
        return sum(what in request for request in self.requests)

    def environment(self, home: Path) -> dict[str, str]:
        return {
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": self.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "no_proxy": "*",
        }

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> HubServer:
        server = self

        class Handler(_Handler):
            hub = server

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def commit(self, name: str, body: bytes) -> dict[str, Any]:
        repository = self.repositories[name]
        files = dict(repository.files)
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        for path, data in self.spoil.items():
            files.pop(path) if data is None else files.update({path: data})
        self.spoil = {}
        repository.commits.append(files)
        oid = repository.oid(len(repository.commits) - 1)
        return {"success": True, "commitOid": oid, "commitUrl": f"{self.endpoint}/{name}/commit/{oid}"}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def send(self, status: int, body: Any = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        path = unquote(urlsplit(self.path).path)
        what = f"{self.command} {path}"
        with self.hub.lock:
            self.hub.requests.append(what)
            for part, planned in self.hub.faults.items():
                if part in what and planned:
                    status, message = planned.pop(0)
                    self.send(status, {"error": message})
                    return
            self.answer(path, body)

    do_GET = do_POST = do_PUT = do_HEAD = handle_any

    def _chunks(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, path: str, body: bytes) -> None:
        hub = self.hub
        signed_in = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if path.startswith("/lfs/"):
            oid = path.rpartition("/")[2]
            if self.command == "PUT":
                hub.stored[oid] = body
            self.send(200)
            return
        if path == "/api/whoami-v2":
            self.send(200, {"type": "user", "name": OWNER}) if signed_in else self.send(401, {"error": "Invalid token"})
            return
        if path == "/api/validate-yaml":
            self.send(200, {"errors": [], "warnings": []})
            return
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or OWNER}/{asked['name']}"
            hub.repositories[name] = Repository(asked.get("visibility") == "private" or bool(asked.get("private")))
            self.send(200, {"url": f"{hub.endpoint}/{name}"})
            return
        parts = path.removeprefix("/api/models").strip("/").split("/")
        name, rest = f"{parts[0]}/{parts[1].removesuffix('.git')}", parts[2:]
        repository = hub.repositories.get(name)
        if repository is None or (repository.private and not signed_in):
            self.send(401, {"error": "Repository Not Found"}, X_Error_Code="RepoNotFound")
            return
        if rest[:1] == ["info"]:
            objects = []
            for entry in json.loads(body)["objects"]:
                answer: dict[str, Any] = {"oid": entry["oid"], "size": entry["size"]}
                if entry["oid"] not in hub.stored:
                    answer["actions"] = {"upload": {"href": f"{hub.endpoint}/lfs/{entry['oid']}"}}
                objects.append(answer)
            self.send(200, {"objects": objects, "transfer": "basic"})
        elif rest[:1] == ["preupload"]:
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["size"] >= LARGE else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self.send(200, {"files": modes})
        elif rest[:1] == ["commit"]:
            self.send(200, hub.commit(name, body))
        else:
            revision = rest[1] if len(rest) > 1 else "main"
            number = repository.at(revision)
            if number < 0:
                self.send(404, {"error": "Revision Not Found"}, X_Error_Code="RevisionNotFound")
                return
            self.look(repository, number, name, rest)

    def look(self, repository: Repository, number: int, name: str, rest: list[str]) -> None:
        files, oid = repository.commits[number], repository.oid(number)
        if rest[:1] == ["tree"]:
            cursor = int(parse_qs(urlsplit(self.path).query).get("cursor", ["0"])[0])
            names = sorted(files)
            entries = [self.entry(path, files[path]) for path in names[cursor : cursor + 5]]
            headers = {}
            if cursor + 5 < len(names):
                link = f"{self.hub.endpoint}/api/models/{name}/tree/{oid}?recursive=true&cursor={cursor + 5}"
                headers["Link"] = f'<{link}>; rel="next"'
            self.send(200, entries, **headers)
        elif rest[:1] == ["resolve"]:
            path = "/".join(rest[2:])
            if path not in files:
                self.send(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
                return
            etag = hashlib.sha256(files[path]).hexdigest()
            self.send(200, files[path], ETag=f'"{etag}"', X_Repo_Commit=oid, Accept_Ranges="bytes")
        else:
            siblings = [{"rfilename": path} for path in files]
            self.send(200, {"id": name, "private": repository.private, "sha": oid, "siblings": siblings, "tags": []})

    @staticmethod
    def entry(path: str, data: bytes) -> dict[str, Any]:
        made: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
        made["oid"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        if len(data) >= LARGE:
            made["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return made
