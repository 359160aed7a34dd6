"""What is asked of a clone runs nothing that the clone names."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from trm_repro.runs.clone import OVERRULED, git


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder, trap = tmp_path / "clone", tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-run\n")
    trap.chmod(0o755)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    (folder / "a.py").write_text("import os\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for words in (["add", "a.py"], ["commit", "--quiet", "--message=x"], ["config", "core.fsmonitor", str(trap)]):
        subprocess.run(["git", "-C", str(folder), *identity, *words], check=True)
    hook = folder / ".git/hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to(trap)
    (folder / "a.py").touch()
    return folder


def test_a_monitor_and_hooks_of_a_clone_are_not_run(clone: Path, tmp_path: Path) -> None:
    for words in (["status", "--porcelain"], ["ls-files", "-z", "*.py"], ["read-tree", "HEAD"], ["rev-parse", "HEAD"]):
        assert git(clone, *words).returncode == 0
    assert git(clone, "ls-files", "-z", "*.py").stdout == "a.py\0"
    assert not (tmp_path / "was-run").exists()
    subprocess.run(["git", "-C", str(clone), "status"], check=True, capture_output=True)
    assert (tmp_path / "was-run").exists(), "so much for what git does by itself"


def test_git_is_led_nowhere_else(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", str(other)], check=True)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git(clone, "rev-parse", "HEAD").returncode == 0
    assert os.environ["GIT_DIR"]


def test_the_steps_overrule_the_same() -> None:
    text = Path("lib/environment.bash").read_text()
    listed = re.search(r"for setting in (.*); do", text)
    assert listed
    assert dict(word.split("=", 1) for word in listed[1].split()) == OVERRULED
