"""Kaggle credentials: which ones the client will use, whose they are, and that nobody else can read them.

The client looks for an access token (``KAGGLE_API_TOKEN``, a value or a path; then ``access_token`` in ``~/.kaggle``),
then for ``KAGGLE_USERNAME`` with ``KAGGLE_KEY``, then for ``kaggle.json``, then for the login that ``kaggle auth login``
left; the first one found is the one that counts. A secret stays in memory: it is never printed, logged, written or put
on a command line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trm_repro.errors import InvariantBroken, MissingPrerequisite

HOW = (
    "create a token at https://www.kaggle.com/settings/api and give it as KAGGLE_API_TOKEN, or as "
    "~/.kaggle/access_token, or as KAGGLE_USERNAME and KAGGLE_KEY, or as ~/.kaggle/kaggle.json (mode 600)"
)


@dataclass(frozen=True)
class Credentials:
    """What the client will sign in with.

    Attributes:
        kind: where they come from, for people.
        method: what the client calls this way of signing in.
        owner: whose they are; empty where only the server knows.
        secret: the token or key.
        path: the file they are in, if any.
    """

    kind: str
    method: str
    owner: str
    secret: str = field(repr=False)
    path: Path | None = None

    def __post_init__(self) -> None:
        # No header can carry it, and the error of who tries shows it.
        if not all("!" <= letter <= "~" for letter in self.secret):
            raise InvariantBroken(
                f"{self.kind}: the secret holds a space, a line's end or another character that none has", hint=HOW
            )


def find_credentials(environment: Mapping[str, str], home: Path) -> Credentials:
    """The credentials the client will use.

    Args:
        environment: the process's environment.
        home: the user's home folder.

    Raises:
        MissingPrerequisite: there are none.
        InvariantBroken: a file of theirs can be read by others, or says nothing.
    """
    token = environment.get("KAGGLE_API_TOKEN", "")
    if token:
        path = Path(token)
        if "/" in token or path.exists():
            return Credentials("KAGGLE_API_TOKEN, a file", "ACCESS_TOKEN", "", _secret_text(path), path)
        return Credentials("KAGGLE_API_TOKEN", "ACCESS_TOKEN", "", token)
    for name in ("access_token", "access_token.txt"):
        if (path := home / ".kaggle" / name).exists():
            return Credentials(str(path), "ACCESS_TOKEN", "", _secret_text(path), path)
    owner, key = environment.get("KAGGLE_USERNAME", ""), environment.get("KAGGLE_KEY", "")
    if owner and key:
        return Credentials("KAGGLE_USERNAME and KAGGLE_KEY", "LEGACY_API_KEY", owner, key)
    if (path := _config_folder(environment, home) / "kaggle.json").exists():
        entry = _secret_json(path, "username", "key")
        return Credentials(str(path), "LEGACY_API_KEY", entry["username"], entry["key"], path)
    if (path := home / ".kaggle" / "credentials.json").exists():
        entry = _secret_json(path, "username", "refresh_token")
        return Credentials(str(path), "OAUTH", entry["username"], entry["refresh_token"], path)
    raise MissingPrerequisite("there are no Kaggle credentials", hint=HOW)


def check_owner(credentials: Credentials, owner: str) -> None:
    """Checks that the credentials are the owner's, as far as it can be known without asking the server.

    Raises:
        MissingPrerequisite: no owner is named.
        InvariantBroken: they are somebody else's.
    """
    if not owner:
        raise MissingPrerequisite(
            "KAGGLE_USERNAME is not set", hint="set it to the Kaggle account that will own the dataset"
        )
    if credentials.owner and credentials.owner != owner:
        raise InvariantBroken(
            f"{credentials.kind} belongs to {credentials.owner}, but KAGGLE_USERNAME is {owner}",
            hint="set KAGGLE_USERNAME to the credentials' owner, or use the other account's credentials",
        )


def _config_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Where the client looks for ``kaggle.json``."""
    if folder := environment.get("KAGGLE_CONFIG_DIR", ""):
        return Path(folder)
    if (home / ".kaggle").exists():
        return home / ".kaggle"
    return Path(environment.get("XDG_CONFIG_HOME", "") or home / ".config") / "kaggle"


def _secret_text(path: Path) -> str:
    """A secret file's text.

    Raises:
        MissingPrerequisite: it is not there.
        InvariantBroken: it is empty, or others than its owner can read it.
    """
    if not path.is_file():
        raise MissingPrerequisite(f"{path}: no such file, but KAGGLE_API_TOKEN names it", hint=HOW)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise InvariantBroken(f"{path}: mode is {mode:o}, so others can use it", hint=f"chmod 600 {path}")
    text = path.read_text().strip()
    if not text:
        raise InvariantBroken(f"{path}: is empty", hint=HOW)
    return text


def _secret_json(path: Path, *keys: str) -> dict[str, str]:
    """A secret file's JSON object, which must have the keys. What is wrong with it is told without its content."""
    text = _secret_text(path)
    try:
        entry = json.loads(text)
        return {key: str(entry[key]) for key in keys}
    except (ValueError, KeyError, TypeError):
        raise InvariantBroken(f"{path}: is not a JSON object with {' and '.join(keys)}", hint=HOW) from None
