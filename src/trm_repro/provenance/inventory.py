"""What an environment is made of, read from its files and not from what it says of itself.

Nothing of the environment is run: its interpreter would read its ``.pth`` files first. Every file is hashed (in parallel,
remembered by a :class:`~trm_repro.digests.Cache`) and held against the RECORD files, in which an installer writes down the
digest of every file of a distribution. An inventory says what was found, :func:`strays` what no RECORD accounts for, and
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

import base64
import binascii
import csv
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trm_repro.digests import Cache, Digest
from trm_repro.errors import MissingPrerequisite
from trm_repro.files import read_json, write_json
from trm_repro.runs.layout import Run

# What `python -m venv` and its like write without a RECORD. None of it is run or read by Python, but for pyvenv.cfg,
# which is looked into.
NOTES = ".trm-repro"
SCRIPTS = {"activate", "activate.csh", "activate.fish", "activate.nu", "activate.bat", "Activate.ps1", "deactivate.bat"}
MARKS = {"pyvenv.cfg", ".gitignore", "CACHEDIR.TAG", ".lock", "ready", "ready-dev"}
INTERPRETER = re.compile(r"python(3(\.\d+)?)?")
METADATA = (".dist-info/METADATA", ".egg-info/PKG-INFO")
# What pip writes in place of a RECORD where it runs a setup.py: paths without digests. Such a distribution (antlr4, the one
# that is locked as source) is held to what step 3 found.
OLD_RECORD = "installed-files.txt"
# The two names that step 3 adds where torch's extension builder looks for them (lib/environment.bash).
LINKS = {"nvidia/cu13/lib64": "lib", "nvidia/cu13/lib/libcudart.so": "libcudart.so.13"}
SHARES = 512  # of the files, each hashed by one thread
SHOWN = 8  # findings that are named; of more, how many


@dataclass(frozen=True)
class Environment:
    """An environment: where it lies, and what its Python is.

    Attributes:
        prefix: its folder.
        site: where its distributions are, ``lib/python3.10/site-packages`` of it.
        base: the prefix of the Python that made it, whose interpreter and standard library it uses; its own where it is no
            virtual environment.
        version: its Python's, such as ``3.10.13``.
    """

    prefix: Path
    site: Path
    base: Path
    version: str

    @staticmethod
    def at(prefix: Path) -> Environment | None:
        """The environment in a folder; None where there is none."""
        sites = sorted(prefix.glob("lib/python3.*/site-packages")) + sorted(prefix.glob("lib/python3/dist-packages"))
        if not sites:
            return None
        settings = configuration(prefix)
        home = Path(settings["home"]) if settings.get("home") else prefix / "bin"
        version = settings.get("version") or settings.get("version_info") or sites[0].parent.name.removeprefix("python")
        return Environment(prefix, sites[0], home.parent, version)

    @property
    def series(self) -> str:
        """The version's first two numbers, such as ``3.10``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def interpreter(self) -> Path:
        """The program that runs as its Python."""
        return (self.prefix / "bin" / "python3").resolve()

    @property
    def is_virtual(self) -> bool:
        """Whether it is a virtual environment, all of whose files are its own."""
        return (self.prefix / "pyvenv.cfg").is_file()


def configuration(prefix: Path) -> dict[str, str]:
    """What a virtual environment's ``pyvenv.cfg`` says; nothing where there is none."""
    path = prefix / "pyvenv.cfg"
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return {
        key.strip().lower(): value.strip() for key, found, value in (line.partition("=") for line in lines) if found
    }


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
    for path in (environment.interpreter, _library(environment), _archive(environment)):
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
    found = _Files(environment)
    library, standard = _library(environment), list(_standard_library(environment))
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
        "standard_library": _several({os.path.relpath(path, roots): digests[path] for path in standard}),
        "others": _several({name: digest for name, digest in held.items() if name not in found.listed}),
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


class _Files:
    """The files of an environment: by their path in it, with what its RECORDs say of them.

    Attributes:
        paths: every file but compiled caches, by its path relative to the environment.
        listed: the digests that RECORDs have for a path; one that has several is of several distributions.
        wrong: what should not be there, whatever its content.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.paths: dict[str, Path] = {}
        self.listed: dict[str, set[str]] = {}
        self.wrong: list[str] = []
        self._owned: dict[str, list[str]] = {}
        prefix = environment.prefix
        roots = [prefix] if environment.is_virtual else [environment.site]
        for root in roots:
            self._walk(root, os.path.relpath(root, prefix).removeprefix("."))
        place = environment.site.relative_to(prefix).as_posix()
        for name in sorted(self.paths):
            info = name.rpartition("/")[0]
            if name.endswith(METADATA) and info.rpartition("/")[0] == place:
                self._read_record(info)
        self._check_names(place)
        if configuration(prefix).get("include-system-site-packages", "false").lower() != "false":
            self.wrong.append(
                "pyvenv.cfg: include-system-site-packages is on: what is installed outside would be imported"
            )

    def _walk(self, folder: Path, name: str) -> None:
        """Takes in all files below a folder; links are not followed out of it but as single files."""
        with os.scandir(folder) as entries:
            for entry in entries:
                path = f"{name}/{entry.name}" if name else entry.name
                if path == NOTES:
                    continue
                if entry.is_symlink() and not self._is_known_link(path, Path(entry.path)):
                    self.wrong.append(f"{path}: a link that no installer made, to {Path(entry.path).readlink()}")
                elif entry.is_symlink():
                    continue
                elif entry.is_dir():
                    self._walk(Path(entry.path), path)
                elif entry.is_file():
                    self.paths[path] = Path(entry.path)
                else:
                    self.wrong.append(f"{path}: not a file")

    def _is_known_link(self, path: str, link: Path) -> bool:
        target, environment = str(link.readlink()), self.environment
        if path == "lib64":
            return target == "lib"
        if path.startswith("bin/") and INTERPRETER.fullmatch(link.name):
            return link.resolve() == environment.interpreter
        inside = path.removeprefix(f"{environment.site.relative_to(environment.prefix).as_posix()}/")
        return LINKS.get(inside) == target

    def _read_record(self, info: str) -> None:
        owned, place = self._owned.setdefault(info, []), info.rpartition("/")[0]
        if old := self.paths.get(f"{info}/{OLD_RECORD}"):
            listed = old.read_text(encoding="utf-8", errors="replace").splitlines()
            owned += [os.path.normpath(f"{info}/{line}") for line in (*listed, OLD_RECORD) if not _is_cache(line)]
            self.listed |= {path: set() for path in owned if path not in self.listed}
        record = self.paths.get(f"{info}/RECORD")
        text = record.read_text(encoding="utf-8", errors="replace") if record else ""
        for row in csv.reader(text.splitlines()):
            if not row or _is_cache(row[0]):  # some wheels bring caches, which pip then writes anew
                continue
            path = os.path.normpath(f"{place}/{row[0]}")
            owned.append(path)
            if path == f"{info}/RECORD":
                self.listed.setdefault(path, set())
            elif len(row) > 1 and row[1]:
                self.listed.setdefault(path, set()).add(_hexadecimal(row[1]))
            else:
                self.wrong.append(f"{path}: its RECORD has no digest for it")
                self.listed.setdefault(path, set())

    def _check_names(self, place: str) -> None:
        """What no RECORD lists, but for what an environment is made of; compiled caches leave the list of files."""
        for path in [path for path in self.paths if _is_cache(path)]:
            folder, _, name = path.rpartition("/")
            if f"{folder.removesuffix('__pycache__')}{name.partition('.')[0]}.py" not in self.listed:
                self.wrong.append(f"{path}: a cache of a file that no RECORD lists")
            del self.paths[path]
        for path in self.paths.keys() - self.listed.keys():
            folder, _, name = path.rpartition("/")
            if not (
                (not folder and name in MARKS) or (folder == "bin" and (name in SCRIPTS or self._interpreter(name)))
            ):
                self.wrong.append(f"{path}: no RECORD lists it")
        self.wrong += [
            f"{path}: its RECORD lists it, and it is gone" for path in self.listed.keys() - self.paths.keys()
        ]

    def _interpreter(self, name: str) -> bool:
        """Whether a file is the interpreter: some environments have a copy of it instead of a link."""
        return bool(INTERPRETER.fullmatch(name))

    def editable(self) -> Iterator[str]:
        """The names of distributions that refer to a source tree."""
        for info in self._owned:
            path = self.paths.get(f"{info}/direct_url.json")
            if path and '"editable": true' in path.read_text(errors="replace"):
                yield self._name_and_version(info)[0]

    def _name_and_version(self, info: str) -> tuple[str, str]:
        name = "METADATA" if info.endswith(".dist-info") else "PKG-INFO"
        headers = self.paths[f"{info}/{name}"].read_text(encoding="utf-8", errors="replace")
        fields = dict(re.findall(r"^(Name|Version): *(.+?) *$", headers.partition("\n\n")[0], re.MULTILINE))
        return fields.get("Name", info.rpartition("/")[2]), fields.get("Version", "")

    def distributions(self, held: Mapping[str, Digest]) -> list[dict[str, Any]]:
        """What is installed, sorted by name: each with what is there of its files."""
        found = []
        for info, owned in self._owned.items():
            name, version = self._name_and_version(info)
            record = held.get(f"{info}/RECORD")
            found.append(
                {
                    "name": name,
                    "version": version,
                    "record": record.sha256 if record else None,
                    **_several({path: held[path] for path in owned if path in held}),
                }
            )
        return sorted(found, key=lambda entry: (entry["name"].lower(), entry["version"]))


def _held_against_records(found: _Files, held: Mapping[str, Digest]) -> Iterator[str]:
    for path, digests in found.listed.items():
        if path in held and digests and held[path].sha256 not in digests:
            yield f"{path}: not what its RECORD says"


def _is_cache(path: str) -> bool:
    """Whether a path is that of a module compiled by Python for itself."""
    return path.endswith(".pyc") and path.split("/")[-2:-1] == ["__pycache__"]


def _hexadecimal(field: str) -> str:
    """The digest of a RECORD's field ``sha256=…`` (base64 without its padding); another algorithm matches nothing."""
    name, _, text = field.partition("=")
    try:
        return base64.urlsafe_b64decode(f"{text}{'=' * (-len(text) % 4)}").hex() if name == "sha256" else field
    except (binascii.Error, ValueError):
        return field


def _standard_library(environment: Environment) -> Iterator[Path]:
    """The files of the standard library, extension modules included, without what is installed beside them."""
    archive = _archive(environment)
    if archive.is_file():
        yield archive
    for folder, folders, names in os.walk(environment.base / "lib" / f"python{environment.series}"):
        folders[:] = [name for name in folders if name not in ("__pycache__", "site-packages", "dist-packages")]
        yield from (path for name in names if (path := Path(folder, name)).is_file())


def _archive(environment: Environment) -> Path:
    """Where Python looks for its standard library first; usually there is none."""
    return environment.base / "lib" / f"python{environment.series.replace('.', '')}.zip"


def _library(environment: Environment) -> Path | None:
    """The libpython that the loader takes; None where Python is one file."""
    places = [Path(place) for place in os.environ.get("LD_LIBRARY_PATH", "").split(":") if place]
    places += [environment.base / "lib", *sorted((environment.base / "lib").glob("*-linux-gnu"))]
    found = (path for place in places if (path := place / f"libpython{environment.series}.so.1.0").is_file())
    return next(found, None)


def _single(digest: Digest | None) -> dict[str, Any] | None:
    return {"sha256": digest.sha256, "bytes": digest.bytes} if digest else None


def _several(digests: Mapping[str, Digest]) -> dict[str, Any]:
    lines: Iterable[str] = (f"{digest.sha256}  {path}\n" for path, digest in sorted(digests.items()))
    return {"files": len(digests), "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}
