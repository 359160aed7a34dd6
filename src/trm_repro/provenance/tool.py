"""What of this tool ran: the commit of its repository; or, where git tells none of ours, a digest of the files that compute.

A copy may be an archive (Download ZIP), lie inside another repository, or belong to another user, whose git is not read. Then
``commit`` is ``no git: sha256 of the tree …``: the SHA-256 of lines ``SHA256  PATH`` of all that computes, sorted by path.
Nobody can look such a digest up as a commit, so that ``clean`` is false and the run is not called faithful.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from trm_repro.digests import digest_bytes, digest_file

COMPUTES = ("src", "steps", "lib", "recipes", "locks", "env.sh", "Makefile", "pyproject.toml")
NO_GIT = "no git"


@dataclass(frozen=True)
class Tool:
    """The tool's commit, whether what computes is as committed, and why git does not tell, if it does not."""

    commit: str
    clean: bool
    why: str = ""


def tool(repository: Path) -> Tool:
    """What of this tool is in a folder."""
    top, why = _git(repository, "rev-parse", "--show-toplevel")
    if not why and Path(top).resolve() != repository.resolve():
        why = "it lies inside another git repository, which is not ours to name"
    commit, unborn = ("", "") if why else _git(repository, "rev-parse", "HEAD")
    if why or unborn:
        return Tool(f"{NO_GIT}: sha256 of the tree {tree_digest(repository)}", False, why or unborn)
    changed, problem = _git(repository, "status", "--porcelain", "--ignore-submodules=all", "--", *COMPUTES)
    return Tool(commit, not changed and not problem)


def tree_digest(repository: Path) -> str:
    """A digest of the files that compute."""
    files = [path for name in COMPUTES for path in _files(repository / name)]
    lines = sorted(f"{path.relative_to(repository).as_posix()}\0{digest_file(path).sha256}" for path in files)
    return digest_bytes("".join("{1}  {0}\n".format(*line.split("\0")) for line in lines).encode()).sha256


def _files(path: Path) -> list[Path]:
    inside = [path] if path.is_file() else path.rglob("*")
    hidden = ("__pycache__", ".egg-info")
    return [file for file in inside if file.is_file() and not any(part.endswith(hidden) for part in file.parts)]


def _git(folder: Path, *words: str) -> tuple[str, str]:
    """What git says, and, if that is nothing, why."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"git does not run: {error}"
    said = (done.stderr.strip().splitlines() or [f"git ends with code {done.returncode}"])[0]
    return done.stdout.strip(), said if done.returncode else ""
