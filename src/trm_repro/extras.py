"""The extras of the package, and how to install what a verb misses.

The base verifies, compares, checks submissions, reads tasks, builds datasets and knows the recipes; what else there is
needs an extra (pyproject.toml). The installed metadata says what is in one, so that nothing is said twice.
"""

from __future__ import annotations

import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from trm_repro.errors import MissingPrerequisite

PACKAGE = "trm-repro"
# distributions whose module has another name
DISTRIBUTION = {"hydra": "hydra-core", "kagglesdk": "kaggle", "OpenSSL": "pyopenssl"}
LISTED = re.compile(
    r"""(?P<name>[\w.-]+)(?:\[(?P<extras>[\w,.-]+)\])?(?P<rest>[^;]*);.*extra == ["'](?P<extra>[\w-]+)"""
)


def canonical(name: str) -> str:
    """A distribution's name as comparisons need it: ``huggingface_hub`` and ``huggingface-hub`` are one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def extras() -> dict[str, dict[str, str]]:
    """What each extra asks for: by the distribution's name, the requirement as pip takes it; an extra of ours resolved."""
    try:
        found = [match for line in requires(PACKAGE) or () if (match := LISTED.match(line))]
    except PackageNotFoundError:  # the sources alone
        return {}
    held: dict[str, dict[str, str]] = {match["extra"]: {} for match in found}
    inside = {name: "" for name in held}
    for match in found:
        if canonical(match["name"]) == PACKAGE:
            inside[match["extra"]] = match["extras"]
        else:
            held[match["extra"]][canonical(match["name"])] = match["name"] + match["rest"].replace(" ", "")

    def closed(name: str) -> dict[str, str]:
        parts = [closed(inner) for inner in inside[name].split(",") if inner in held]
        return {key: value for part in (*parts, held[name]) for key, value in part.items()}

    return {name: closed(name) for name in held}


def install(requirements: list[str]) -> str:
    """The command that installs something beside this package, wherever that is: a clone, a venv, pipx's or uv's."""
    if Path(sys.prefix, "pipx_metadata.json").is_file():
        way = ["pipx", "inject", PACKAGE]
    elif find_spec("pip"):
        way = [sys.executable, "-m", "pip", "install"]
    else:
        way = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*way, *requirements])


def missing(module: str, verb: str, extra: str = "") -> MissingPrerequisite | None:
    """What to say where a module could not be imported; None where it is of no extra.

    Args:
        module: the module, such as ``torch.nn``.
        verb: who needs it, as it is to be read.
        extra: the extra that the verb needs; where it is not said, the only one that lists the module, if there is one.
    """
    held, top = extras(), module.partition(".")[0]
    name = canonical(DISTRIBUTION.get(top, top))
    listing = [key for key in ("engine", "publish", "report", "notebook", "sigstore") if name in held.get(key, {})]
    own = [key for key in listing if key == extra] or (listing if len(listing) == 1 else [])
    known = next((each[name] for each in held.values() if name in each), "")
    if not known:
        return None
    wanted = held[own[0]] if own else {name: known}
    absent = [name for name in wanted if not _installed(name)] or [name]
    which = f" (the extra {own[0]})" if own else ""
    return MissingPrerequisite(
        f"{verb} needs {', '.join(absent)}{which}, not installed here; to install: {install(list(wanted.values()))}"
    )


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
