"""What an environment is made of, read from its files and not from what it says of itself.

Nothing of the environment is run: its interpreter would read its ``.pth`` files first. Every file is hashed (in parallel,
remembered by a :class:`~trm_repro.digests.Cache`) and held against the RECORD files, in which an installer writes down the
digest of every file of a distribution. An inventory says what was found, :attr:`Look.strays` what no RECORD accounts for, and
:func:`differences` what another look found changed.

Compiled caches (``__pycache__``) are no part of it: the builder and the training are given an empty folder for theirs
(PYTHONPYCACHEPREFIX), so that those in the environment are not read. A ``.pyc`` in any other place is a file like others.

An inventory::

    {"python": "3.10.13",
     "interpreter": {"sha256", "bytes"}, "library": {"sha256", "bytes"} or null (libpython),
     "standard_library": {"files": 1820, "sha256"}, "others": {"files": 8, "sha256"} (what no RECORD lists),
     "distributions": [{"name", "version", "record": SHA-256 of RECORD or null, "files": 12, "sha256"}, …]}

The ``sha256`` of several files is that of their `sha256sum` lines, sorted by path. Paths are relative to the environment, so
that its place does not matter.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trm_repro.digests import Cache, Digest
from trm_repro.errors import MissingPrerequisite
from trm_repro.files import read_json, write_json
from trm_repro.provenance.environment import (
    NOTES,
    Environment,
    InstalledFiles,
    libpython,
    library_archive,
    several,
    standard_library,
)
from trm_repro.runs.layout import Run

SHARES = 512  # of the files, each hashed by one thread
SHOWN = 8  # findings that are named; of more, how many


def training_environment(run: Run) -> Environment:
    """The environment that the knobs name: VENV_DIR, or with USE_VENV=0 that of the ``python`` on PATH.

    Raises:
        MissingPrerequisite: there is none.
    """
    prefix = run.repository / run.environ.get("VENV_DIR", "")
    if run.environ.get("USE_VENV", "1") != "1":
        # -I -S: nothing that is installed is imported, and no variable is heeded
        words = ["python", "-I", "-S", "-c", "import sys; print(sys.exec_prefix)"]
        try:
            said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise MissingPrerequisite(f"the python on PATH does not run: {error}", hint="make step-3") from None
        prefix = Path(said.strip())
    found = Environment.at(prefix)
    if found is None:
        raise MissingPrerequisite(f"{prefix}: there is no Python environment", hint="make step-3")
    return found


def changed_since(run: Run, target_dataset: str) -> list[str]:
    """What in the training environment no RECORD accounts for, or is not what step 3 of the run found; empty if nothing."""
    path = run.environment_file(target_dataset, ".json")
    if not path.is_file():
        return ["what is in the environment was not written down: make step-3"]
    try:
        environment = training_environment(run)
    except MissingPrerequisite as error:
        return [str(error)]
    seen = look_at(environment, notes_of(run))
    return [*seen.strays, *differences(read_json(path), seen.inventory)]


def notes_of(run: Run) -> Path:
    """Where a run's repository keeps what it knows of training environments."""
    return run.repository / ".repro" / "environments"


def look_at(environment: Environment, notes: Path) -> Look:
    """Looks at an environment; what was seen is believed again as long as nothing in it changed.

    Args:
        environment: the environment.
        notes: a folder for what is remembered: the digests of files, and what was seen last, under the identity of all files
            (path, device, inode, size, times of change: the last of them nobody sets but the system).
    """
    key = hashlib.sha256(str(environment.prefix).encode()).hexdigest()[:16]
    path, identity = notes / f"{key}.json", _identity(environment)
    if os.environ.get("VERIFY") != "full":
        try:
            held = json.loads(path.read_bytes())
            if held["identity"] == identity:
                return Look(**held["seen"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing is known
    cache = Cache(notes / "digests.json")
    seen = look(environment, cache)
    # what changed while it was looked at is not remembered
    if os.access(notes if notes.exists() else notes.parent, os.W_OK) and _identity(environment) == identity:
        cache.save()
        write_json(path, {"identity": identity, "seen": asdict(seen)})
    return seen


def _identity(environment: Environment) -> str:
    """A digest of the names and identities of all files that an inventory covers."""
    digest = hashlib.sha256()

    def add(path: str, stat: os.stat_result) -> None:
        facts = (stat.st_mode, stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        digest.update(f"{path} {facts}\n".encode(errors="surrogateescape"))

    def walk(folder: str) -> None:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != NOTES:
                        walk(entry.path)
                elif not (entry.name.endswith(".pyc") and folder.endswith("/__pycache__")):
                    add(entry.path, entry.stat(follow_symlinks=False))

    walk(str(environment.prefix if environment.is_virtual else environment.site))
    walk(str(environment.base / "lib" / f"python{environment.series}"))
    for path in (environment.interpreter, libpython(environment), library_archive(environment)):
        if path and path.is_file():
            add(str(path), path.stat())
    return digest.hexdigest()


@dataclass(frozen=True)
class Look:
    """One look at an environment.

    Attributes:
        inventory: what is there.
        strays: what no RECORD accounts for, and what is not as its RECORD says: a sentence each, sorted.
        files: how many files were looked at.
        bytes: their size.
        editable: the distributions that are installed as a reference to a source tree elsewhere.
    """

    inventory: dict[str, Any]
    strays: list[str]
    files: int
    bytes: int
    editable: list[str]


def own_inventory() -> dict[str, Any]:
    """The inventory of the environment of the Python at work.

    What is remembered of it lies in its own folder, for all repositories that use it: whoever can write there can change this
    tool.
    """
    environment = Environment.at(Path(sys.prefix))
    assert environment is not None
    return look_at(environment, environment.prefix / NOTES).inventory


def look(environment: Environment, cache: Cache) -> Look:
    """Looks at every file of an environment."""
    found = InstalledFiles(environment)
    library, standard = libpython(environment), list(standard_library(environment))
    interpreter = environment.interpreter
    single = [path for path in (interpreter, library) if path and path.is_file()]
    digests = _digests([*found.paths.values(), *standard, *single], cache)
    held = {name: digests[path] for name, path in found.paths.items()}
    strays = sorted([*found.wrong, *_held_against_records(found, held)])
    roots = environment.base
    inventory = {
        "python": environment.version,
        "interpreter": _single(digests.get(interpreter)),
        "library": _single(digests.get(library)) if library else None,
        "standard_library": several({os.path.relpath(path, roots): digests[path] for path in standard}),
        "others": several({name: digest for name, digest in held.items() if name not in found.listed}),
        "distributions": found.distributions(held),
    }
    size = sum(digest.bytes for digest in digests.values())
    return Look(inventory, strays, len(digests), size, sorted(found.editable()))


def _digests(paths: list[Path], cache: Cache) -> dict[Path, Digest]:
    """The digests of tens of thousands of files, hashed by all cores.

    A thread takes many at a time, from all over the list: large files lie side by side.
    """
    shares = [paths[start::SHARES] for start in range(SHARES)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda share: [(path, cache.digest(path)) for path in share], shares)
        return dict(itertools.chain.from_iterable(done))


def differences(known: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What changed between two inventories of an environment, a sentence each; the first is the one that is believed."""
    if "interpreter" not in known:
        return ["what step 3 wrote down is of an older version of this tool and says nothing of its files"]
    parts = {
        "python": "its Python",
        "interpreter": "its interpreter",
        "library": "its libpython",
        "standard_library": "the standard library",
        "others": "what lies in it beside its distributions",
    }
    lines = [f"{words} changed" for key, words in parts.items() if known.get(key) != found.get(key)]
    before, after = ({entry["name"]: entry for entry in one["distributions"]} for one in (known, found))
    lines += [f"the distribution {name} is new" for name in sorted(after.keys() - before.keys())]
    lines += [f"the distribution {name} is gone" for name in sorted(before.keys() - after.keys())]
    lines += [
        f"the distribution {name} changed"
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    ]
    return lines


def shown(findings: list[str]) -> str:
    """Findings in one line: the first ones, and how many more."""
    more = len(findings) - SHOWN
    return "; ".join(findings[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _held_against_records(found: InstalledFiles, held: Mapping[str, Digest]) -> Iterator[str]:
    for path, digests in found.listed.items():
        if path in held and digests and held[path].sha256 not in digests:
            yield f"{path}: not what its RECORD says"


def _single(digest: Digest | None) -> dict[str, Any] | None:
    return {"sha256": digest.sha256, "bytes": digest.bytes} if digest else None
