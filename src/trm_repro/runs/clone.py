"""Asking git about a clone that is not ours, without running anything that the clone's own configuration names.

A repository's ``.git/config`` can name programs for git to run: a file-system monitor, hooks, filters, diff drivers. Those
with one name are overruled for every call; of a clone whose configuration holds anything else that is not known to be
harmless, nothing is believed (guard G-UPSTREAM-CONFIG, lib/guard.bash). Variables that would lead git elsewhere are not
passed on, and commits that `git replace` put in another's place are not looked at.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Overrules what the clone says, in the environment (git 2.31 and later); lib/environment.bash does the same for the steps.
OVERRULED = {
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.pager": "cat",
    "protocol.ext.allow": "never",
}
ELSEWHERE = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_EXTERNAL_DIFF",
)
PATIENCE = 300.0  # seconds that git has to answer


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that git is called with."""
    kept = {name: value for name, value in environ.items() if name not in ELSEWHERE}
    first = int(kept.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(OVERRULED.items(), first):
        kept |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**kept, "GIT_CONFIG_COUNT": str(first + len(OVERRULED)), "GIT_TERMINAL_PROMPT": "0"}


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What git says of a clone; whether it could is in ``returncode``."""
    return subprocess.run(
        ["git", "-C", str(folder), "--no-replace-objects", *words],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        env=environment(os.environ),
        timeout=PATIENCE,
    )
