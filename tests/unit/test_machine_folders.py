"""Folders are tried, on real file systems where the tests may mount them; what is free there, and what quotas leave."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trm_repro.machine import ask as asking
from trm_repro.machine import folders

ROOT = Path(__file__).parents[2]


def mounted(options, script, where="/mnt"):
    """What a script prints as JSON with a tmpfs of these options at ``where``, which nobody else sees."""
    mount = f'mount -t tmpfs -o {options} tmpfs {where} && exec {sys.executable} -c "$1"'
    words = ["unshare", "--mount", "--propagation", "private", "bash", "-c", mount, "script", script]
    if not shutil.which("unshare"):
        pytest.skip("nothing can be mounted here: there is no unshare")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=ROOT)
    if done.returncode and ("not permitted" in done.stderr or "mount:" in done.stderr):
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


LOOK = """
import json
from pathlib import Path
from trm_repro.machine.folders import look, space
place, room = look("X", Path("/mnt/will/be"), trying=True), space(Path("/mnt/will/be"))
print(json.dumps([place.kind, {name: how for name, how in place.tried.items() if how}, room.free, room.files]))
"""


def test_a_good_folder_can_do_all_that_is_tried_and_keeps_nothing(tmp_path):
    place = folders.look("X", tmp_path / "will" / "be", trying=True)
    assert set(place.tried) == {"write", *folders.TRIALS}
    assert [how for how in place.tried.values() if how] == []
    assert list(tmp_path.iterdir()) == []


def test_a_plan_tries_nothing(tmp_path):
    before = tmp_path.stat().st_mtime_ns
    assert folders.look("X", tmp_path, trying=False).tried == {}
    assert tmp_path.stat().st_mtime_ns == before


def test_noexec_is_noticed():
    kind, faults, _, _ = mounted("noexec,size=10m", LOOK)
    assert (kind, faults) == ("tmpfs", {"run programs": "Permission denied"})


def test_a_full_disk_full_inodes_and_a_read_only_disk_are_noticed():
    assert mounted("size=10m,nr_inodes=1", LOOK)[1:] == [{"write": "No space left on device"}, 10 << 20, 0]
    assert mounted("ro,size=10m", LOOK)[1] == {"write": "Read-only file system"}
    _, _, free, files = mounted("size=64m,nr_inodes=500", LOOK)
    assert free == 64 << 20 and files == 499


def test_a_folder_that_this_user_may_not_enter_is_no_lost_file_system(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    words = [sys.executable, "-c", LOOK.replace("/mnt/will", str(closed / "in")), "."]
    if os.geteuid() == 0:
        os.chown(closed, 12345, 12345)
        without = "-dac_override,-dac_read_search,-fowner"
        words = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *words]
    closed.chmod(0o700 if os.geteuid() == 0 else 0)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=ROOT)
    closed.chmod(0o700)
    kind, faults, free, _ = json.loads(done.stdout)
    assert kind and faults == {"write": "Permission denied"} and free > 0, done.stderr


def test_a_link_that_leads_nowhere_is_no_room(tmp_path):
    link, ring = tmp_path / "link", tmp_path / "ring"
    link.symlink_to("nowhere")
    ring.symlink_to(ring)
    assert folders.look("X", link, trying=True).tried == {"write": "No such file or directory"}
    assert "symbolic links" in folders.look("X", ring / "below", trying=True).tried["write"]


def test_a_file_system_that_does_not_tell_names_apart_by_case_is_noticed():
    assert mounted("casefold,size=10m", f"import os; os.mkdir('/mnt/will'); os.system('chattr +F /mnt/will')\n{LOOK}")[
        1
    ] == {"tell names apart by case": "'Case' and 'case' are one file"}


SHM = """
import json, subprocess, types
from trm_repro.machine import folders
from trm_repro.machine.preflight import _shm
from trm_repro.machine.survey import SHM, _write_problem
judged = []
for options in ("size=64m", "size=512m", "size=2g", "size=2g,ro", "size=2g,nr_inodes=100"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(SHM)], check=True)
    seen = types.SimpleNamespace(shm=folders.space(SHM), shm_kind=folders.mounted(SHM)[2], shm_tried=_write_problem(SHM))
    judged += [[f.state, f.case, f.facts["found"]] for f in _shm(None, seen)]
print(json.dumps(judged))
"""


def test_a_real_dev_shm_is_judged():
    assert mounted("size=1m", SHM, "/dev/shm") == [
        ["problem", "", "0.1 GB free"],
        ["warning", "", "0.5 GB free"],
        ["ok", "", "2.1 GB free"],
        ["problem", "write", "Read-only file system"],
        ["problem", "files", "room for 99 files"],
    ]


def test_a_file_system_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "PATIENCE", 0.3)
    monkeypatch.setattr(folders, "_try_out", lambda folder: time.sleep(60))
    began = time.monotonic()
    assert folders.look("X", tmp_path, trying=True).silent
    monkeypatch.setattr(folders, "existing", lambda folder: time.sleep(60))
    assert folders.space(tmp_path).free is None
    assert time.monotonic() - began < 30


def test_what_a_trial_finds_is_what_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(folders.fcntl, "flock", lambda *_: None)
    assert folders.look("X", tmp_path, trying=True).tried["lock"] == "two can hold one lock"

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(folders.fcntl, "flock", refuse)
    assert folders.look("X", tmp_path, trying=True).tried["lock"] == "No locks available"


def test_a_folder_too_deep_for_sockets_is_noticed(tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    assert "107 is the most" in folders.look("X", deep, trying=True).tried["sockets"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_noticed(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True, timeout=30)
    assert folders.look("X", tmp_path, trying=True).tried["git"] == ""
    os.chown(tmp_path, 12345, 12345)
    os.chown(tmp_path / ".git", 12345, 12345)
    clean = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
    script = f"from pathlib import Path; from trm_repro.machine.folders import _owner; print(_owner(Path({str(tmp_path)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, env=clean
    )
    assert "belongs to another user" in done.stdout


@pytest.mark.parametrize(
    ("said", "code", "free", "files"),
    [
        ("Disk quotas for user me (uid 1):\nFilesystem blocks quota limit grace files quota limit grace\n"
         "DEVICE 1000* 2000 3000 0 5 10 20 0\n", 0, 2000 * 1024, 15),
        ("DEVICE 4000* 2000 0 0 5 0 0 0\n", 1, 0, None),
        ("DEVICE 1000 0 0 0 5 0 0 0\n", 0, None, None),
        ("/dev/other 1000 2000 3000 0 5 10 20 0\n", 0, None, None),
        ("nonsense\n", 0, None, None),
    ],
)  # fmt: skip
def test_a_quota_counts(tmp_path, monkeypatch, said, code, free, files):
    device = folders.mounted(tmp_path)[0]
    stub = tmp_path / "quota"
    stub.write_text(f"#!/bin/sh\ncat <<'END'\n{said.replace('DEVICE', device)}END\nexit {code}\n")
    stub.chmod(0o755)
    whole = folders.space(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = folders.space(tmp_path)
    assert found.quota == ("quota" if free is not None else "")
    assert found.free == free if free is not None else abs(found.free - whole.free) < 10**9
    assert files is None or found.files == files


@pytest.mark.parametrize("said", ["", "nonsense", "Avail IFree Inodes\n- - -\n"])
def test_a_df_that_does_not_say_leaves_it_unknown(tmp_path, monkeypatch, said):
    stub = tmp_path / "df"
    stub.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(asking, "HUNG", set())
    assert folders.space(tmp_path) == folders.Space(None, None)


def test_files_that_are_not_counted_are_no_shortage(tmp_path, monkeypatch):
    stub = tmp_path / "df"
    stub.write_text("#!/bin/sh\nprintf 'Avail IFree Inodes\\n5000 0 0\\n'\n")  # btrfs
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert folders.space(tmp_path) == folders.Space(5000, None)
