"""Whether servers are reached, through which proxy, and who certifies them: real sockets on the loopback."""

import contextlib
import datetime
import os
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from trm_repro.machine import network
from trm_repro.machine.network import by_http, issuer_of, masked
from trm_repro.recipes.read import read_recipe

PAPER = read_recipe(Path("recipes"), "arc2-paper")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate for localhost and www.example.com with its key, by an authority that nobody trusts."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def name(organization, common):
        parts = [(NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common)]
        return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])

    def certificate(subject, key, issuer, signer, ca):
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("www.example.com")])
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        builder = builder.add_extension(names, critical=False)
        return builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True).sign(
            signer, hashes.SHA256()
        )

    pem, folder = serialization.Encoding.PEM, tmp_path_factory.mktemp("authority")
    above, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = name("Nosy Networks", "Inspection CA")
    (folder / "ca.pem").write_bytes(certificate(issuer, above, issuer, above, True).public_bytes(pem))
    shown = certificate(name("Example", "www.example.com"), key, issuer, above, False).public_bytes(pem)
    plain = serialization.NoEncryption()
    shown += key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (folder / "server.pem").write_bytes(shown)
    return folder


@contextlib.contextmanager
def server(authority, *, proxy=False, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
    """A TLS server; with ``proxy`` one that first takes a CONNECT to anywhere, and then pretends to be there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    listener, asked = socket.create_server(("127.0.0.1", 0)), []

    def head(connection):
        data = b""
        while b"\r\n\r\n" not in data and (part := connection.recv(4096)):
            data += part
        return data.decode()

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), connection:
                connection.settimeout(10)
                if proxy:
                    asked.append(head(connection))
                    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with context.wrap_socket(connection, server_side=True) as secure:
                    asked.append(head(secure))
                    secure.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        listener.close()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name)


def test_a_trusted_server_answers(authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    with server(authority) as (port, _):
        found = by_http("it", f"https://localhost:{port}/")
    assert (found.problem, found.proxy, found.issuer) == ("", "", "")


def test_a_certificate_that_is_not_trusted_is_told_of_with_its_issuer(authority):
    with server(authority) as (port, _):
        found = by_http("it", f"https://localhost:{port}/")
    assert "certificate is not trusted" in found.problem
    assert found.issuer == "Nosy Networks, Inspection CA"


def test_a_proxy_that_replaces_certificates_is_told_of_and_its_password_is_not(authority, monkeypatch):
    with server(authority, proxy=True) as (port, asked):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter22@127.0.0.1:{port}")
        found = by_http("it", "https://www.example.com/")
    assert asked[0].startswith("CONNECT www.example.com:443")
    assert (found.issuer, found.proxy) == ("Nosy Networks, Inspection CA", f"http://…@127.0.0.1:{port}")
    assert "hunter22" not in repr(found)
    assert all("Proxy-Authorization: Basic" in request for request in asked if request.startswith("CONNECT"))


@pytest.mark.parametrize(
    ("status", "told"), [("407 Proxy Authentication Required", "407"), ("404 Not Found", ""), ("302 Found", "")]
)
def test_any_answer_will_do_but_a_proxy_s(authority, monkeypatch, status, told):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    with server(authority, answer=f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as (port, _):
        problem = by_http("it", f"https://localhost:{port}/").problem
    assert bool(problem) == bool(told) and told in problem


def test_what_cannot_be_reached_is_said_in_few_words(monkeypatch):
    assert by_http("it", "https://127.0.0.1:9/").problem == "Connection refused"
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter22@127.0.0.1:9")
    found = by_http("it", "https://www.example.com/")
    assert found.problem == "Connection refused" and "hunter22" not in repr(found)
    assert issuer_of("https://www.example.com/") == ""


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(network, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "timed out" in by_http("it", f"https://127.0.0.1:{silent.getsockname()[1]}/").problem


def test_upstream_is_asked_by_git_wherever_it_is(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True, timeout=30)
    commit = [
        "git",
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example.invalid",
        "-C",
        str(tmp_path),
        "commit",
        "--quiet",
    ]
    subprocess.run([*commit, "--allow-empty", "--message", "x"], check=True, timeout=30)
    folders = {"TRM_DIR": f"{tmp_path}/no", "VENV_DIR": f"{tmp_path}/no"}
    environ = {"TRM_REMOTE": f"file://{tmp_path}", "PIP_INDEX_URL": f"file://{tmp_path}", **folders}
    assert [server.problem for server in network.reach(PAPER, environ)] == ["", ""]
    environ = {"TRM_REMOTE": "https://me:hunter22@127.0.0.1:9/x", "PIP_INDEX_URL": "file:///nowhere", **folders}
    upstream, registry = network.reach(PAPER, environ)
    assert upstream.problem and "hunter22" not in repr(upstream)
    assert registry.problem == "there is no such folder"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/torchrun").touch()
    assert network.reach(PAPER, {"TRM_DIR": str(tmp_path), "VENV_DIR": str(tmp_path)}) == [], (
        "what is here is not fetched"
    )


def test_the_registry_is_that_of_pip(tmp_path):
    assert network.registry({"HOME": str(tmp_path), "PIP_INDEX_URL": "https://a/"}) == "https://a/"
    (tmp_path / ".pip").mkdir()
    (tmp_path / ".pip/pip.conf").write_text("[global]\nindex-url = https://b/\n")
    assert network.registry({"HOME": str(tmp_path)}) == "https://b/"
    (tmp_path / "own.conf").write_text("not a configuration")
    assert network.registry({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "own.conf")}) == "https://b/"


@pytest.mark.parametrize(
    "proxy", ["me:pw12345@", "http://me:p@w12345@", "http://me:pw12345/x@", "http://me:pw12345#x@"]
)
def test_no_form_of_a_proxy_s_password_is_shown(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", f"{proxy}127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    for found in (by_http("X", "https://nowhere.invalid/"), network._by_git("https://nowhere.invalid/x.git")):
        assert found.proxy.endswith("…@127.0.0.1:9")
        assert found.problem and "12345" not in repr(found)


def test_addresses_are_shown_without_credentials():
    assert masked("git@host:me/x.git") == "git@host:me/x.git"
    assert masked("https://me:pw@host/x?token=1#y") == "https://…@host/x"
