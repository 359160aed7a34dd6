"""Whether the servers that a run needs can be reached from here: with CHECK_REMOTE=1 only. Nobody is signed in to.

Each is asked as its client asks it: git by git, the others by requests, which honours the same variables for proxies and
certificates as pip and the hubs' clients do. Credentials in addresses are never shown.
"""

from __future__ import annotations

import configparser
import http.client
import os
import re
import ssl
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trm_repro.machine.ask import ask, one_line
from trm_repro.recipes.schema import Recipe

TIMEOUT = 10.0
# user and password, of an address with a scheme and of one without (a proxy's), whatever signs a password has
CREDENTIALS = re.compile(
    r"(?<=://)[^\s'\"]+@|(?<![\w/.-])[^\s'\"/:@]+:(?!//)[^\s'\"]*@|(?<=proxy syntax in ')[^']*"  # the last is curl's
)


@dataclass(frozen=True)
class Reached:
    """One server: what for, where, through which proxy, why it does not answer (empty: it does), who certified it if that is
    why.
    """

    what: str
    where: str
    proxy: str = ""
    problem: str = ""
    issuer: str = ""


def masked(url: str) -> str:
    """An address without user and password, query and fragment."""
    return CREDENTIALS.sub("…@", url).partition("?")[0].partition("#")[0]


def reach(recipe: Recipe, environ: Mapping[str, str]) -> list[Reached]:
    """The servers of a run, each asked once, :data:`TIMEOUT` seconds at most."""
    found = []
    # what is here already is not fetched again
    if recipe.upstream and not Path(environ.get("TRM_DIR", ""), ".git").exists():
        found += [_by_git(environ.get("TRM_REMOTE") or recipe.upstream.url)]
    if recipe.environment.name == "training" and not Path(environ.get("VENV_DIR", ""), "bin/torchrun").exists():
        found += [by_http("package registry", registry(environ))]
    fetches = {*recipe.builder_command[:1], *(recipe.weights.program[:1] if recipe.weights else ())}
    if environ.get("PUBLISH_TO_KAGGLE") == "1" or "kaggle" in fetches:
        found += [by_http("Kaggle", "https://www.kaggle.com/")]
    if environ.get("PUBLISH_TO_HF") == "1" or "hf" in fetches:
        found += [by_http("Hugging Face", environ.get("HF_ENDPOINT") or "https://huggingface.co/")]
    return found


def registry(environ: Mapping[str, str]) -> str:
    """The package index that pip will use: its variable, its configuration files, or its default."""
    if url := environ.get("PIP_INDEX_URL"):
        return url
    home = environ.get("HOME", "~")
    files = [environ.get("PIP_CONFIG_FILE", ""), f"{environ.get('XDG_CONFIG_HOME', f'{home}/.config')}/pip/pip.conf"]
    for name in (*files, f"{home}/.pip/pip.conf", "/etc/xdg/pip/pip.conf", "/etc/pip.conf"):
        reader = configparser.RawConfigParser()
        try:
            reader.read_string(Path(name).read_text() if name else "")
        except (OSError, ValueError, configparser.Error):
            continue
        for section in ("install", "global"):
            if url := reader.get(section, "index-url", fallback=""):
                return url
    from pip._internal.models.index import PyPI  # its default has no public name

    return PyPI.simple_url


def proxy_for(url: str) -> str:
    """The proxy that an address is asked through; empty without one."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def _by_git(url: str) -> Reached:
    ssh = os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=10")
    command = ["git", "ls-remote", "--quiet", "--exit-code", url, "HEAD"]
    answer = ask(command, GIT_TERMINAL_PROMPT="0", GIT_SSH_COMMAND=ssh)
    problem = CREDENTIALS.sub("…@", answer.complaint.replace(url, masked(url))) if answer.why else ""
    issuer = issuer_of(url) if "certificate" in problem else ""
    return Reached("upstream's repository", masked(url), masked(proxy_for(url)), problem, issuer)


def by_http(what: str, url: str) -> Reached:
    """A server asked by HTTP. Any answer is one, but a proxy's that it must be signed in to."""
    import requests

    proxy, problem, issuer = proxy_for(url), "", ""
    if urllib.parse.urlsplit(url).scheme == "file":
        missing = "" if Path(urllib.parse.urlsplit(url).path).exists() else "there is no such folder"
        return Reached(what, masked(url), problem=missing)
    try:
        answer = requests.head(url, timeout=TIMEOUT, allow_redirects=False)
        if answer.status_code in (407, 502, 503, 504):
            problem = f"answered {answer.status_code} {answer.reason}"
    except requests.exceptions.SSLError as error:
        problem, issuer = _short(error), issuer_of(url)
    except requests.exceptions.InvalidURL:  # which shows pieces of it, be they a password's
        problem = "its address, or its proxy's, cannot be read"
    except (requests.exceptions.RequestException, OSError, ValueError) as error:
        problem = _short(error)
    return Reached(what, masked(url), masked(proxy), problem, issuer)


def _short(error: BaseException) -> str:
    """The innermost words of an exception that wraps others."""
    text = str(error)
    for pattern in (
        r"certificate verify failed: ([^(\"']+)",
        r"\[Errno -?\d+\] ([^'\")]+)",
        r"(\d{3} [A-Z][\w ]+)",
        r"(timed out)",
    ):
        if found := re.search(pattern, text):
            return (
                f"the certificate is not trusted: {found[1].strip()}" if "certificate" in pattern else found[1].strip()
            )
    return CREDENTIALS.sub("…@", one_line(text, 150))


def issuer_of(url: str) -> str:
    """Who issued the certificate that is shown for an address, whoever shows it; empty where it cannot be had.

    It is fetched without being trusted, and then trusted for one connection, so that :mod:`ssl` decodes it.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return ""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        shown = _certificate(parts.hostname, parts.port or 443, proxy_for(url), context).getpeercert(binary_form=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=shown)
        decoded = _certificate(parts.hostname, parts.port or 443, proxy_for(url), context).getpeercert() or {}
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    pairs = dict(pair for part in decoded.get("issuer", ()) for pair in part)  # type: ignore[misc, union-attr]
    return ", ".join(pairs[name] for name in ("organizationName", "commonName") if name in pairs)


def _certificate(host: str, port: int, proxy: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A TLS connection, through a proxy if there is one."""
    if not proxy:
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=context)
    else:
        parts = urllib.parse.urlsplit(proxy)
        headers = {}
        if parts.username:
            import base64

            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 3128, timeout=TIMEOUT, context=context
        )
        connection.set_tunnel(host, port, headers)
    connection.connect()
    found: ssl.SSLSocket = connection.sock
    return found
