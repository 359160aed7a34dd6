"""``make doctor``: what is planted is not told, wherever it stands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_doorway import script_environment

from trm_repro.cli import doctor

ROOT = Path(__file__).parents[2]
HOST = "gpu-box-17"
PLANTED = (
    *("wandb0123456789", "kagglekey987654", "hf_tokentoken", "proxypass1", "remotepass1", "netrcpass1"),
    *("alice", "Alice Liddell", HOST, "corp.example", "10.1.2.3", "alice@example.com", "kagglename"),
)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A home, a host and variables that give their user away at every place."""
    home = tmp_path / "home" / "alice"
    for name, text in {
        ".kaggle/kaggle.json": json.dumps({"username": "kagglename", "key": "kagglekey987654"}),
        ".cache/huggingface/token": "hf_tokentoken\n",
        ".netrc": "machine api.example login alice password netrcpass1\n",
        ".gitconfig": "[user]\n\tname = Alice Liddell\n\temail = alice@example.com\n",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    monkeypatch.setattr(doctor.socket, "gethostname", lambda: f"{HOST}.corp.example")
    return {
        "HOME": str(home), "USER": "alice", "HOSTNAME": HOST, "WANDB_API_KEY": "wandb0123456789",
        "HTTPS_PROXY": "http://alice:proxypass1@proxy.corp.example:3128", "TRM_DIR": str(tmp_path / "scratch/alice/trm"),
        "TRM_REMOTE": "https://alice:remotepass1@git.corp.example/team/trm.git?token=remotepass1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("HOME/data", "~/data"),
        ("/scratch/alice/x and /mnt/gpu-box-17/alice_runs", "/scratch/USER/x and /mnt/HOST/USER_runs"),
        (
            "key wandb0123456789, kagglekey987654, hf_tokentoken, netrcpass1",
            "key ********, ********, ********, ********",
        ),
        ("git clone https://alice:remotepass1@git.corp.example/team/x failed", "git clone https://HOST/… failed"),
        (
            "git@git.corp.example:team/x.git by Alice Liddell <alice@example.com>",
            "SOMEBODY@HOST by USER <SOMEBODY@HOST>",
        ),
        ("http://proxy.corp.example:3128", "http://HOST:3128/…"),
        ("https://github.com/owner/repo?x=1", "https://github.com/owner/repo"),
        ("GPU-BOX-17.corp.example at 10.1.2.3, 127.0.0.1", "HOST at ADDRESS, 127.0.0.1"),
        ("driver 580.95.05, CUDA 13.0, malice", "driver 580.95.05, CUDA 13.0, malice"),
        ("run alice-run of kagglename", "run USER-run of USER"),
        ("/mnt/c/Users/Alice/x", "/mnt/c/Users/USER/x"),
        ("could not resolve host: git.corp.example, or proxy.corp.example", "could not resolve host: HOST, or HOST"),
        ("fe80::1ff:fe23:4567:890a, 2001:db8:0:1:2:3:4:5 on 0a:1b:2c:3d:4e:5f", "ADDRESS, ADDRESS on ADDRESS"),
        (
            "23:57:28 on 00000000:1B:00.0 in c10::Error and at::add",
            "23:57:28 on 00000000:1B:00.0 in c10::Error and at::add",
        ),
        ("somebody's hf_AbCdEfGhIjKlMnOpQrStUv, Bearer eyJ9.x", "somebody's ********, Bearer ********"),
    ],
)
def test_a_line_is_cleaned(machine, text, kept):
    assert doctor.clean(text.replace("HOME", machine["HOME"]), machine) == kept


def test_a_system_s_own_user_is_nobody(machine):
    assert doctor.clean("Ubuntu 24.04 of alice", {**machine, "USER": "ubuntu"}) == "Ubuntu 24.04 of USER"


def test_the_page_tells_what_is_there_and_nothing_that_was_planted(machine, tmp_path):
    log = tmp_path / "logs/alice_run/05-train.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"error: cannot reach {machine['TRM_REMOTE']} from {HOST} as alice with wandb0123456789\n")
    for name in ("recipes", "steps", "locks"):
        (tmp_path / name).symlink_to(ROOT / name)
    knobs = script_environment(tmp_path)
    environ = {
        **knobs,
        **machine,
        "RUN_NAME": "alice_run",
        "KAGGLE_USERNAME": "kagglename",
        "CUDA_VISIBLE_DEVICES": "0",
    }
    environ["VENV_DIR"] = f"{machine['TRM_DIR']}/.venv"
    defaults = "".join(f"{name}={value}\n" for name, value in knobs.items() if name.isupper() and "\n" not in value)
    done = subprocess.run(
        [sys.executable, "-m", "trm_repro", "doctor"],
        input=defaults, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = done.stdout
    assert [word for word in (*PLANTED, os.uname().nodename) if word in page] == []
    for word in ("trm-repro   0.1.0, commit unknown\n", "recipe arc2-paper", "HTTPS_PROXY is set",
                 "variable    CUDA_VISIBLE_DEVICES=0",
                 "knob        TRM_REMOTE=https://HOST/", "05-train.log", "cannot reach", "GPUs: "):  # fmt: skip
        assert word in page, page
    assert len(page.splitlines()) < 70
