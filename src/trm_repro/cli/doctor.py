"""``make doctor``: one page about this machine and run, to be pasted into a bug report. It names no user and no machine, and
holds no secret: every line passes through :func:`clean`, and whatever is said about the outside is said without its address.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import pwd
import re
import socket
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from trm_repro import __version__
from trm_repro.cli.common import knobs_and_defaults, take_knobs, this_recipe, this_run
from trm_repro.cli.parse import print_json

KNOWN_HOSTS = re.compile(
    r"(127\.0\.0\.1|localhost|([\w-]+\.)*(pypi\.org|pythonhosted\.org|github\.com|kaggle\.com|huggingface\.co|pytorch\.org|wandb\.ai))",
    re.IGNORECASE,
)
URL = re.compile(r"\b([a-z][a-z0-9+.-]*)://(?:[^/\s@'\"]*@)?([^/\s:?#'\"]+)(:\d+)?([^\s'\"]*)", re.IGNORECASE)
NAMED = re.compile(r"(?:://(?:\S*@)?|^\s*(?:[\w.+-]+@)?)([\w-]+(?:\.[\w-]+)+)")  # the host in a variable's address
AT_HOST = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)*(:[^\s'\"]+)?")  # mail addresses, and git's user@host:path
ADDRESS = re.compile(  # of the internet, both versions, and of a network card
    r"(?<![\d.])(?!127\.|0\.0\.0\.0)\d{1,3}(\.\d{1,3}){3}(?![\d.])"
    r"|(?<![\w:])(?:[0-9a-f]{2}(:[0-9a-f]{2}){5}|(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}"
    r"|(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6})(?![\w:])"
)
TOKEN = re.compile(r"\b(?:hf_|gh[pousr]_|github_pat_|KGAT_|eyJ)[\w.-]{16,}|(?<=Bearer )\S+")  # whoever's it is
SAID = (
    *("CUDA", "NVIDIA_VISIBLE_DEVICES", "NCCL_", "OMP_NUM_THREADS", "PYTORCH_", "TRITON_"),
    *("SLURM_JOB_GPUS", "SLURM_MEM_PER_NODE", "SLURM_CPUS_PER_TASK"),
)
ADDRESSES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "PIP_INDEX_URL", "HF_ENDPOINT"),
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
)
NOBODY = ("root", "nowhere", "ubuntu", "debian", "rocky", "centos", "fedora")  # systems' own users, which are words too
SHORTEST = 6  # characters of a secret: what is shorter stands in other words too


def doctor(arguments: argparse.Namespace) -> None:
    """Prints the page; the knobs' defaults come on stdin."""
    take_knobs(arguments)
    lines = clean("\n".join(_page()), os.environ).splitlines()
    if arguments.json:
        print_json({"page": lines})
        return
    for line in lines:
        print(textwrap.fill(line, 80, subsequent_indent=" " * 12, break_long_words=False, break_on_hyphens=False))


def _page() -> Iterator[str]:
    from trm_repro.machine.ask import ask, one_line
    from trm_repro.machine.survey import survey
    from trm_repro.machine.words import lines, table
    from trm_repro.runs.stamps import read_stamp

    run, recipe = this_run(), this_recipe()
    yield "For a bug report. Users, machines, secrets and addresses are taken out; read it before you send it."
    head, changed = (
        ask(["git", "log", "-1", "--format=%h %cs"]).said.strip(),
        ask(["git", "status", "--porcelain"]).said,
    )
    commit = f"{head}, {len(changed.splitlines())} files changed" if head else "unknown"
    yield f"trm-repro   {__version__}, commit {commit}"
    release = next((line for line in _read("/etc/os-release").splitlines() if line.startswith("PRETTY_NAME=")), "=?")
    inside = (
        any(Path(name).exists() for name in ("/.dockerenv", "/run/.containerenv")) or "SINGULARITY_NAME" in os.environ
    )
    wsl = ", WSL" if "microsoft" in platform.release().lower() else ""
    system = (
        f"{release.partition('=')[2].strip(chr(34))}, {platform.system()} {platform.release()} {platform.machine()}"
    )
    yield f"system      {system}{', in a container' if inside else ''}{wsl}"
    asked = {"PY": [os.environ.get("PY", "python3.10"), "--version"]}
    asked |= {name: [name, "--version"] for name in ("bash", "git", "gcc")}
    answers = {name: ask(command) for name, command in asked.items()}
    said = [
        f"{name}: {one_line(a.said.partition(chr(10))[0], 60) if not a.why else a.complaint}"
        for name, a in answers.items()
    ]
    yield f"programs    Python {platform.python_version()}; {'; '.join(said)}"
    yield f"run         {run.name}, recipe {recipe.name}"
    for name, (value, default) in knobs_and_defaults().items():
        if value not in (default, "") and name not in ("RECIPE", "RUN_NAME"):
            yield f"knob        {name}={_shown(name, value)}"
    for name in sorted(os.environ):
        if name.startswith(SAID):
            yield f"variable    {name}={_shown(name, os.environ[name])}"
        elif name.upper() in ADDRESSES:
            yield f"variable    {name} is set"
    for step in run.steps:
        stamp = read_stamp(run.path(step))
        if stamp:
            yield f"done        {step} {stamp.finished}"
    logs = sorted((Path("logs") / run.name).glob("*.log"), key=lambda path: path.stat().st_mtime)
    if logs:
        yield f"last log    {logs[-1].name}, its last lines:"
        yield from (f"            {one_line(line, 200)}" for line in _read(logs[-1]).splitlines()[-5:])
    found = lines(recipe, survey(recipe, os.environ))
    good = [f"{line.what}: {line.found}" for line in found if line.state == "ok"]
    yield f"ok          {'; '.join(good)}"
    yield table([line for line in found if line.state != "ok"])


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _shown(name: str, value: str) -> str:
    from trm_repro.provenance.scrub import is_private
    from trm_repro.runs.records import MASK

    return MASK if is_private(name) else value


def clean(text: str, environ: Mapping[str, str]) -> str:
    """A text without secrets, users, machines and addresses, wherever in it they stand."""
    from trm_repro.provenance.scrub import Scrubber
    from trm_repro.runs.records import MASK

    for secret in sorted(_secrets(environ), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = URL.sub(_url, TOKEN.sub(MASK, text))
    text = AT_HOST.sub("SOMEBODY@HOST", text)
    text = Scrubber(Path.cwd(), Path(environ.get("TRM_DIR", "/nowhere")), environ).text(text)
    for word, names in (("HOST", _hosts(environ)), ("USER", _users(environ))):
        for name in sorted(names, key=len, reverse=True):
            text = re.sub(rf"(?i)(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", word, text)
    return ADDRESS.sub("ADDRESS", text)


def _url(match: re.Match[str]) -> str:
    scheme, host, port, rest = match.groups(default="")
    if KNOWN_HOSTS.fullmatch(host):
        return f"{scheme}://{host}{port}{rest.partition('?')[0]}"
    return f"{scheme}://HOST{port}/…"


def _secrets(environ: Mapping[str, str]) -> set[str]:
    """What must not be told: secret variables, and what lies in the files where the clients keep theirs."""
    from trm_repro.runs.records import is_secret

    home = Path(environ.get("HOME", "/nowhere"))
    found = {value for name, value in environ.items() if is_secret(name)}
    for name in (environ.get("KAGGLE_CONFIG_DIR", str(home / ".kaggle")), str(home / ".config/kaggle")):
        with contextlib.suppress(ValueError, AttributeError):
            found |= {str(json.loads(_read(Path(name, "kaggle.json")) or "{}").get("key", ""))}
        found |= {_read(Path(name, "access_token")).strip()}
    hub = Path(environ.get("HF_HOME", home / ".cache/huggingface"))
    found |= {_read(environ.get("HF_TOKEN_PATH", hub / "token")).strip()}
    found |= set(
        re.findall(r"(?:password|hf_token)\s*=?\s*(\S+)", _read(home / ".netrc") + _read(hub / "stored_tokens"))
    )
    found |= set(re.findall(r"://[^:/\s]*:([^@\s]+)@", _read(home / ".git-credentials") + " ".join(environ.values())))
    return {secret for secret in found if len(secret) >= SHORTEST}


def _users(environ: Mapping[str, str]) -> set[str]:
    from trm_repro.machine.ask import ask

    home = Path(environ.get("HOME", "/nowhere"))
    found = {environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER", "KAGGLE_USERNAME")}
    found |= {environ.get("HF_REPO_ID", "").partition("/")[0], home.name}
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(os.getuid())
        found |= {entry.pw_name, entry.pw_gecos.partition(",")[0]}
    with contextlib.suppress(ValueError, AttributeError):
        found |= {str(json.loads(_read(home / ".kaggle/kaggle.json") or "{}").get("username", ""))}
    found |= set(ask(["git", "config", "--get-all", "user.name"], HOME=str(home)).said.splitlines())
    return {name for name in found if name and name.lower() not in NOBODY and not name.startswith("<")}


def _hosts(environ: Mapping[str, str]) -> set[str]:
    found = {socket.gethostname(), platform.node(), _read("/etc/hostname").strip()}
    found |= {
        environ.get(name, "") for name in ("HOSTNAME", "HOST", "COMPUTERNAME", "SLURMD_NODENAME", "SLURM_SUBMIT_HOST")
    }
    found |= {name.partition(".")[0] for name in found}
    for name, value in environ.items():
        if name.upper() in (*ADDRESSES, "TRM_REMOTE"):
            found |= {host[1] for part in value.split(",") if (host := NAMED.search(part))}
    return {name for name in found if name and name != "(none)" and not KNOWN_HOSTS.fullmatch(name)}
