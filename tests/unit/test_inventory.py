"""What an environment is made of, and what of it no installer accounts for: each attack, and what is said of it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trm_repro.digests import Cache
from trm_repro.errors import MissingPrerequisite
from trm_repro.provenance.environment import Environment
from trm_repro.provenance.inventory import (
    changed_since,
    differences,
    look,
    look_at,
    own_inventory,
    shown,
    training_environment,
)
from trm_repro.runs.layout import Run

SITE = "lib/python3.10/site-packages"
PTH = "import os; os.environ['PATCHED'] = '1'\n"


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def record(prefix: Path, name: str, files: list[str]) -> None:
    """What pip leaves of a distribution whose files are there; paths are relative to site-packages."""
    info = f"{name}-1.0.dist-info"
    site = prefix / SITE
    write(site / info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\nName: not-this\n")
    rows = [f"{info}/RECORD,,", f"{name}/__pycache__/__init__.cpython-310.pyc,,"]
    for file in [*files, f"{info}/METADATA"]:
        digest = hashlib.sha256((site / file).read_bytes()).digest()
        rows.append(f"{file},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},1")
    write(site / info / "RECORD", "\n".join(rows) + "\n")


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A virtual environment as an installer leaves it: two distributions, a program, caches, the links of step 3."""
    base, prefix = tmp_path / "python", tmp_path / "venv"
    write(base / "lib/python3.10/os.py", "# the standard library\n")
    write(base / "bin/python3.10", "the interpreter")
    write(prefix / "pyvenv.cfg", f"home = {base}/bin\ninclude-system-site-packages = false\nversion = 3.10.13\n")
    (prefix / "bin").mkdir()
    (prefix / "bin/python3.10").symlink_to(base / "bin/python3.10")
    for name in ("python", "python3"):
        (prefix / "bin" / name).symlink_to("python3.10")
    (prefix / "lib").mkdir(exist_ok=True)
    (prefix / "lib64").symlink_to("lib")
    write(prefix / "bin/activate")
    write(prefix / "bin/torchrun", "#!python\n")
    for name in ("torch", "adam_atan2"):
        write(prefix / SITE / name / "__init__.py", f"# {name}\n")
        write(prefix / SITE / name / "__pycache__/__init__.cpython-310.pyc", "compiled")
    write(prefix / SITE / "distutils-precedence.pth", "import os\n")
    record(prefix, "torch", ["torch/__init__.py", "../../../bin/torchrun", "distutils-precedence.pth"])
    record(prefix, "adam_atan2", ["adam_atan2/__init__.py"])
    write(prefix / SITE / "nvidia/cu13/lib/libcudart.so.13", "a library")
    record(prefix, "nvidia", ["nvidia/cu13/lib/libcudart.so.13"])
    (prefix / SITE / "nvidia/cu13/lib64").symlink_to("lib")
    (prefix / SITE / "nvidia/cu13/lib/libcudart.so").symlink_to("libcudart.so.13")
    # pip's other way, of a source that it installs through setup.py
    write(prefix / SITE / "antlr4/__init__.py")
    egg = prefix / SITE / "antlr4_runtime-4.9-py3.10.egg-info"
    write(egg / "PKG-INFO", "Name: antlr4-runtime\nVersion: 4.9\n")
    write(
        egg / "installed-files.txt", "../antlr4/__init__.py\n../antlr4/__pycache__/__init__.cpython-310.pyc\nPKG-INFO\n"
    )
    return prefix


def seen(prefix: Path, folder: Path) -> tuple[list[str], dict]:
    environment = Environment.at(prefix)
    assert environment
    found = look(environment, Cache(folder / "cache.json"))
    return found.strays, found.inventory


def test_an_environment_as_it_was_installed(prefix: Path, tmp_path: Path) -> None:
    strays, inventory = seen(prefix, tmp_path)
    assert strays == []
    names = [(entry["name"], entry["version"], entry["record"] is None) for entry in inventory["distributions"]]
    assert names == [
        *(("adam_atan2", "1.0", False), ("antlr4-runtime", "4.9", True)),
        *(("nvidia", "1.0", False), ("torch", "1.0", False)),
    ]
    assert inventory["python"] == "3.10.13"
    assert inventory["interpreter"]["sha256"] == hashlib.sha256(b"the interpreter").hexdigest()
    assert inventory["standard_library"]["files"] == 1


def test_an_inventory_does_not_depend_on_the_place(prefix: Path, tmp_path: Path) -> None:
    _, before = seen(prefix, tmp_path)
    prefix.rename(tmp_path / "elsewhere")
    assert seen(tmp_path / "elsewhere", tmp_path)[1] == before


def poison_cache(site: Path) -> None:
    """A compiled cache of other code whose header fits the source. Nothing sees it, and nothing reads it: see below."""
    write(site / "torch/__pycache__/__init__.cpython-310.pyc", "other code")


def forge_record(site: Path) -> None:
    """Another file, and a RECORD that fits it."""
    write(site / "adam_atan2/__init__.py", "# other code\n")
    record(site.parents[2], "adam_atan2", ["adam_atan2/__init__.py"])


def forge_distribution(site: Path) -> None:
    write(site / "evil.pth", PTH)
    record(site.parents[2], "evil", ["evil.pth"])


def empty_digest(site: Path) -> None:
    """A RECORD that lists a file without saying what it is."""
    path = site / "adam_atan2-1.0.dist-info/RECORD"
    lines = [
        line if "__init__.py," not in line else "adam_atan2/__init__.py,," for line in path.read_text().splitlines()
    ]
    write(path, "\n".join(lines) + "\n")
    write(site / "adam_atan2/__init__.py", "# other code\n")


ATTACKS: list[tuple[str, Callable[[Path], object]]] = [
    ("evil.pth: no RECORD lists it", lambda site: write(site / "evil.pth", PTH)),
    ("sitecustomize.py: no RECORD lists it", lambda site: write(site / "sitecustomize.py")),
    ("usercustomize.py: no RECORD lists it", lambda site: write(site / "usercustomize.py")),
    ("adam_atan2.py: no RECORD lists it", lambda site: write(site / "adam_atan2.py")),
    ("evil/__init__.py: no RECORD lists it", lambda site: write(site / "evil/__init__.py")),
    ("torch/more.so: no RECORD lists it", lambda site: write(site / "torch/more.so")),
    ("evil.pyc: no RECORD lists it", lambda site: write(site / "evil.pyc")),
    ("a cache of a file that no RECORD lists", lambda site: write(site / "torch/__pycache__/evil.cpython-310.pyc")),
    ("torch/__init__.py: not what its RECORD says", lambda site: write(site / "torch/__init__.py", "# tords\n")),
    ("torch/__init__.py: its RECORD lists it, and it is gone", lambda site: (site / "torch/__init__.py").unlink()),
    ("adam_atan2/__init__.py: its RECORD has no digest for it", empty_digest),
    ("bin/gcc: no RECORD lists it", lambda site: write(site.parents[2] / "bin/gcc")),
    ("bin/torchrun: not what its RECORD says", lambda site: write(site.parents[2] / "bin/torchrun")),
    ("share/x: no RECORD lists it", lambda site: write(site.parents[2] / "share/x")),
    ("evil.py: a link that no installer made", lambda site: (site / "evil.py").symlink_to("torch/__init__.py")),
    ("evil: a link that no installer made", lambda site: (site / "evil").symlink_to("/tmp")),
    ("lib64: a link that no installer made", lambda site: relink(site / "nvidia/cu13/lib64", "/tmp")),
    ("include-system-site-packages is on", lambda site: edit(site.parents[2] / "pyvenv.cfg", "false", "true")),
    ("what lies in it beside its distributions changed", lambda site: edit(site.parents[2] / "pyvenv.cfg", "13", "14")),
    ("its interpreter changed", lambda site: write(site.parents[3] / "python/bin/python3.10", "another")),
    ("the standard library changed", lambda site: write(site.parents[3] / "python/lib/python3.10/os.py", "# other")),
    ("the standard library changed", lambda site: write(site.parents[3] / "python/lib/python310.zip", "comes first")),
    ("its libpython changed", lambda site: write(site.parents[3] / "python/lib/libpython3.10.so.1.0", "x")),
    ("the distribution adam_atan2 changed", forge_record),
    ("the distribution evil is new", forge_distribution),
    ("the distribution antlr4-runtime changed", lambda site: write(site / "antlr4/__init__.py", "# other")),
    ("bin/python: a link that no installer made", lambda site: relink(site.parents[2] / "bin/python", "/bin/true")),
]


def relink(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def test_every_attack_is_named(prefix: Path, tmp_path: Path) -> None:
    """One after the other, each on an environment that was put back; all in one process."""
    _, known = seen(prefix, tmp_path)
    kept = tmp_path / "kept"
    for folder in ("venv", "python"):
        shutil.copytree(tmp_path / folder, f"{kept}-{folder}", symlinks=True)
    for number, (said, attack) in enumerate(ATTACKS):
        attack(prefix / SITE)
        (place := tmp_path / str(number)).mkdir()
        strays, found = seen(prefix, place)
        lines = [*strays, *differences(known, found)]
        assert any(said in line for line in lines), (said, lines)
        for folder in ("venv", "python"):
            shutil.rmtree(tmp_path / folder)
            shutil.copytree(f"{kept}-{folder}", tmp_path / folder, symlinks=True)
    assert seen(prefix, tmp_path) == ([], known)


def test_a_poisoned_cache_is_not_read_where_caches_have_a_folder_of_their_own(tmp_path: Path) -> None:
    """The header fits the source, so that Python would believe it; the files that RECORDs list are what they were."""
    site = tmp_path / "site"
    source = write(site / "harmless.py", "print('harmless')\n")
    evil = write(tmp_path / "evil.py", "print('poisoned')\n")
    assert source.stat().st_size == evil.stat().st_size
    os.utime(evil, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
    cache = site / f"__pycache__/harmless.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(evil), cfile=str(cache), doraise=True)
    said = []
    for extra in ({}, {"PYTHONPYCACHEPREFIX": str(tmp_path / "fresh")}):
        environ = {"PYTHONPATH": str(site), **extra}
        done = subprocess.run([sys.executable, "-c", "import harmless"], env=environ, capture_output=True, text=True)
        said.append(done.stdout.strip())
    assert said == ["poisoned", "harmless"]


def test_what_was_seen_is_believed_as_long_as_nothing_changed(prefix: Path, tmp_path: Path) -> None:
    environment = Environment.at(prefix)
    assert environment
    first = look_at(environment, tmp_path / "notes")
    [file] = [path for path in (tmp_path / "notes").iterdir() if path.name != "digests.json"]
    told = json.loads(file.read_text())
    told["seen"]["strays"] = ["remembered"]
    file.write_text(json.dumps(told))
    assert look_at(environment, tmp_path / "notes").strays == ["remembered"]
    write(prefix / SITE / "torch/__pycache__/more.cpython-310.pyc")
    assert look_at(environment, tmp_path / "notes").strays == ["remembered"], "caches are no part of it"
    # the same size, the same time: nobody but the system sets the other one
    path = prefix / SITE / "torch/__init__.py"
    before = path.stat()
    path.write_text("# tords\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns and path.stat().st_size == before.st_size
    assert f"{SITE}/torch/__init__.py: not what its RECORD says" in look_at(environment, tmp_path / "notes").strays
    path.write_text("# torch\n")
    file.write_text("{")
    assert look_at(environment, tmp_path / "notes").inventory["python"] == first.inventory["python"]


def test_findings_in_a_line() -> None:
    assert shown([]) == ""
    assert shown([str(number) for number in range(10)]) == "0; 1; 2; 3; 4; 5; 6; 7; and 2 more"


def test_what_an_older_version_wrote_down_vouches_for_nothing() -> None:
    assert "older version" in differences({"python": "3.10", "distributions": []}, {})[0]


def test_what_changed_since_step_3(prefix: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, "r", "x", {"VENV_DIR": str(prefix), "USE_VENV": "1"})
    assert "was not written down" in changed_since(run, "arc2")[0]
    write(tmp_path / ".repro/env_arc2_r.json", json.dumps(seen(prefix, tmp_path)[1]))
    assert changed_since(run, "arc2") == []
    write(prefix / SITE / "evil.pth", PTH)
    assert changed_since(run, "arc2") == [
        f"{SITE}/evil.pth: no RECORD lists it",
        "what lies in it beside its distributions changed",
    ]
    (tmp_path / "venv").rename(tmp_path / "gone")
    assert "there is no Python environment" in changed_since(run, "arc2")[0]
    with pytest.raises(MissingPrerequisite):
        training_environment(run)


def test_the_environment_at_work() -> None:
    found = own_inventory()
    assert {entry["name"].lower() for entry in found["distributions"]} >= {"numpy", "trm-repro", "pytest"}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["standard_library"]["files"] > 500
