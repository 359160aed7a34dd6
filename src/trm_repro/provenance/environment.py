"""An environment on the disk: where its Python is, which files it has, and what its RECORDs say of them.

Nothing of it is run. An installer writes down the digest of every file of a distribution in its RECORD; what no RECORD lists is
what an environment is made of (links to the interpreter, activation scripts), or should not be there.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_repro.digests import Digest

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


def standard_library(environment: Environment) -> Iterator[Path]:
    """The files of the standard library, extension modules included, without what is installed beside them."""
    archive = library_archive(environment)
    if archive.is_file():
        yield archive
    for folder, folders, names in os.walk(environment.base / "lib" / f"python{environment.series}"):
        folders[:] = [name for name in folders if name not in ("__pycache__", "site-packages", "dist-packages")]
        yield from (path for name in names if (path := Path(folder, name)).is_file())


def library_archive(environment: Environment) -> Path:
    """Where Python looks for its standard library first; usually there is none."""
    return environment.base / "lib" / f"python{environment.series.replace('.', '')}.zip"


def libpython(environment: Environment) -> Path | None:
    """The libpython that the loader takes; None where Python is one file."""
    places = [Path(place) for place in os.environ.get("LD_LIBRARY_PATH", "").split(":") if place]
    places += [environment.base / "lib", *sorted((environment.base / "lib").glob("*-linux-gnu"))]
    found = (path for place in places if (path := place / f"libpython{environment.series}.so.1.0").is_file())
    return next(found, None)


class InstalledFiles:
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
                    **several({path: held[path] for path in owned if path in held}),
                }
            )
        return sorted(found, key=lambda entry: (entry["name"].lower(), entry["version"]))


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


def several(digests: Mapping[str, Digest]) -> dict[str, Any]:
    """How many files, and one digest of them all: that of their `sha256sum` lines, sorted by path."""
    lines: Iterable[str] = (f"{digest.sha256}  {path}\n" for path, digest in sorted(digests.items()))
    return {"files": len(digests), "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}
