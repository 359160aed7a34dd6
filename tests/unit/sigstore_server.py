"""A small sigstore on loopback, for the real client: certificate authority, certificate log, transparency log, and a CI's
tokens.

Everything that it signs, it signs for real, with keys of its own: certificates with an embedded, signed certificate
timestamp; log entries with a signed promise, and a signed checkpoint of a tree of one leaf. ``config`` is its client trust
configuration; ``environ`` makes the client believe that it runs in a CI job whose identity is ``WORKFLOW``.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import struct
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

WORKFLOW = "https://forge.example/ada/trm/.ci/attest.yml@refs/heads/main"
ISSUER = "https://tokens.forge.example"
SHA256 = ec.ECDSA(hashes.SHA256())
NOW = "2020-01-01T00:00:00Z"  # since when everything is valid


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Key:
    """A key pair, and the identifier that logs know it by."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.id = hashlib.sha256(self.public).digest()

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, SHA256)

    def log(self, url: str) -> dict[str, Any]:
        """The log of this key, as a trusted root has it."""
        key = {"rawBytes": b64(self.public), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": {"start": NOW}}
        return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": key, "logId": {"keyId": b64(self.id)}}


class SigstoreServer:
    """The server; use it as a context."""

    def __init__(self, identity: str = WORKFLOW, issuer: str = ISSUER) -> None:
        self.identity, self.issuer = identity, issuer
        self.authority, self.certificates, self.transparency = Key(), Key(), Key()
        self.refuses = ""  # a path whose requests are answered 500
        self.root = self._root()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> SigstoreServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "planted-request-token",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/token",
        }

    @property
    def config(self) -> str:
        service = {"url": self.url, "majorApiVersion": 1, "validFor": {"start": NOW}, "operator": "ada"}
        root = self.root.public_bytes(Encoding.DER)
        authority = {
            "subject": {"organization": "ada", "commonName": "authority"},
            "uri": self.url,
            "certChain": {"certificates": [{"rawBytes": b64(root)}]},
            "validFor": {"start": NOW},
        }
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                "trustedRoot": {
                    "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                    "tlogs": [self.transparency.log(self.url)],
                    "certificateAuthorities": [authority],
                    "ctlogs": [self.certificates.log(self.url)],
                },
                "signingConfig": {
                    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                    "caUrls": [service],
                    "oidcUrls": [service],
                    "rekorTlogUrls": [service],
                    "rekorTlogConfig": {"selector": "ANY"},
                },
            }
        )

    def _root(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        key, public = self.authority.private, self.authority.private.public_key()
        return (
            x509.CertificateBuilder(name, name, public, x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )

    def certificate(self, request: bytes) -> x509.Certificate:
        """The certificate authority's: for the key of a request, with the log's timestamp in it."""
        asked, began = x509.load_pem_x509_csr(request), datetime.now(UTC) - timedelta(minutes=1)
        name = x509.UniformResourceIdentifier if "://" in self.identity else x509.RFC822Name
        builder = (
            x509.CertificateBuilder(self.root.subject, x509.Name([]), asked.public_key(), x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + timedelta(minutes=11))
            .add_extension(usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(asked.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.private.public_key()), critical=False
            )
            .add_extension(x509.SubjectAlternativeName([name(self.identity)]), critical=True)
            .add_extension(extension("1.3.6.1.4.1.57264.1.1", self.issuer.encode()), critical=False)
        )
        before = builder.sign(self.authority.private, hashes.SHA256()).tbs_certificate_bytes
        stamped = extension("1.3.6.1.4.1.11129.2.4.2", self._timestamp(before))
        return builder.add_extension(stamped, critical=False).sign(self.authority.private, hashes.SHA256())

    def _timestamp(self, certificate: bytes) -> bytes:
        """The certificate log's list of one signed timestamp (RFC 6962, 3.2 and 3.3), as the extension holds it."""
        when = struct.pack("!Q", int(time.time() * 1000))
        entry = self.authority.id + len(certificate).to_bytes(3, "big") + certificate
        signed = self.certificates.sign(b"\0\0" + when + b"\0\1" + entry + b"\0\0")
        timestamp = b"\0" + self.certificates.id + when + b"\0\0" + b"\4\3" + struct.pack("!H", len(signed)) + signed
        listed = struct.pack("!H", len(timestamp)) + timestamp
        value = struct.pack("!H", len(listed)) + listed
        assert len(value) < 128
        return b"\4" + bytes([len(value)]) + value  # DER: an octet string

    def entry(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """The transparency log's entry, as its API answers: one leaf, whose hash is the root."""
        if proposed["kind"] == "dsse":  # of an envelope the log keeps digests
            content = proposed["spec"]["proposedContent"]
            envelope, digests = json.loads(content["envelope"]), []
            for data in (content["envelope"].encode(), base64.b64decode(envelope["payload"])):
                digests.append({"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()})
            (verifier,), (signed,) = content["verifiers"], envelope["signatures"]
            signatures = [{"signature": signed["sig"], "verifier": verifier}]
            proposed["spec"] = {"envelopeHash": digests[0], "payloadHash": digests[1], "signatures": signatures}
        body, when = b64(rfc8785.dumps(proposed)), int(time.time())
        root = hashlib.sha256(b"\0" + base64.b64decode(body)).digest()
        note = f"log of ada\n1\n{b64(root)}\n"
        signature = b64(self.transparency.id[:4] + self.transparency.sign(note.encode()))
        said = {"body": body, "integratedTime": when, "logID": self.transparency.id.hex(), "logIndex": 0}
        proof = {
            "logIndex": 0,
            "rootHash": root.hex(),
            "treeSize": 1,
            "hashes": [],
            "checkpoint": f"{note}\n— ada {signature}\n",
        }
        promise = b64(self.transparency.sign(rfc8785.dumps(said)))
        return {"0": {**said, "verification": {"signedEntryTimestamp": promise, "inclusionProof": proof}}}

    def _token(self) -> str:
        now = int(time.time())
        claims = {"aud": "sigstore", "iss": self.issuer, "sub": self.identity, "iat": now, "exp": now + 600}
        return jwt.encode(claims, "k" * 32)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def answer(self, value: Any, status: int = 200) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self) -> None:
                if self.path == "/.well-known/openid-configuration":
                    return self.answer({"authorization_endpoint": server.url, "token_endpoint": server.url})
                assert self.headers["Authorization"] == "bearer planted-request-token"
                self.answer({"value": server._token()})

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if server.refuses and self.path.startswith(server.refuses):
                    self.answer({"code": 500, "message": "not today"}, 500)
                elif self.path == "/api/v2/signingCert":
                    chain = (server.certificate(base64.b64decode(asked["certificateSigningRequest"])), server.root)
                    pem = [certificate.public_bytes(Encoding.PEM).decode() for certificate in chain]
                    self.answer({"signedCertificateEmbeddedSct": {"chain": {"certificates": pem}}})
                else:
                    assert self.path == "/api/v1/log/entries", self.path
                    self.answer(server.entry(asked), 201)

        return Handler


def usage(*allowed: str) -> x509.KeyUsage:
    kinds = inspect.signature(x509.KeyUsage).parameters
    return x509.KeyUsage(**{kind: kind in allowed for kind in kinds})


def extension(oid: str, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(ObjectIdentifier(oid), value)
