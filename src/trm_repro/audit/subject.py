"""What is audited: the files of one run, found by how people lay them out."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from trm_repro.errors import InvariantBroken, MissingPrerequisite, ReproError
from trm_repro.files import parse_json, parse_yaml, read_bytes
from trm_repro.provenance.bundle import EVALUATIONS, SUMS, TEXT
from trm_repro.provenance.schema import FILE as MANIFEST
from trm_repro.provenance.schema import parse_manifest
from trm_repro.runs.checkpoints import CONFIG, step_of
from trm_repro.weights.find import SHARD, find_weights, is_weights
from trm_repro.weights.state import split_part

FILES = 50_000  # looked at below a folder, at most
SKIPPED = {".git", ".venv", "node_modules", "__pycache__", ".cache", "wandb", "training_state"}


@dataclass(frozen=True)
class Subject:
    """The files of one run.

    Attributes:
        root: the folder that they lie in.
        names: all of them, relative to it.
        source: what was asked for, such as ``hf:owner/name`` or a path.
        weights: the file with the weights; None where there are none, or which they are cannot be said.
        part: which of several sets of weights in it.
        config: its configuration.
        why: why there are no weights.
    """

    root: Path
    names: tuple[str, ...]
    source: str
    weights: str | None = None
    part: str | None = None
    config: str | None = None
    why: str = ""

    @property
    def path(self) -> Path:
        """The file with the weights."""
        assert self.weights is not None
        return self.root / self.weights

    @property
    def bundle(self) -> Path | None:
        """The folder of a bundle of ours: all of it, or a folder in it that has the weights; None where it is none."""
        folder = PurePosixPath(self.weights or ".").parent
        if MANIFEST in self.names:
            return self.root
        inside = {f"{folder}/{MANIFEST}", f"{folder}/{SUMS}"} <= set(self.names)
        return self.root / folder if inside else None

    @cached_property
    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a bundle of ours; None where it is none."""
        if not self.bundle:
            return None
        try:
            return parse_manifest(read_bytes(self.bundle / MANIFEST, TEXT))
        except ReproError:
            return None  # `verify` says what is wrong with it

    @cached_property
    def configuration(self) -> dict[str, Any] | None:
        """The training configuration.

        Raises:
            InvariantBroken: the file is none.
        """
        if not self.config:
            return None
        found = parse_yaml(read_bytes(self.root / self.config, TEXT), self.config)
        if not isinstance(found, dict) or not isinstance(found.get("arch"), dict):
            raise InvariantBroken(f"{self.config}: not a training configuration")
        return found

    def setting(self, key: str) -> Any:
        """A value of the configuration; None where there is none."""
        try:
            return (self.configuration or {}).get(key)
        except ReproError:
            return None

    @cached_property
    def step(self) -> int:
        """The step that the weights are of, by the manifest or their name; −1 where neither says."""
        finals = [e["path"] for e in (self.manifest or {}).get("outputs", ()) if e["role"] == "final-checkpoint"]
        return step_of(finals[-1] if finals else self.weights or "")

    def near(self, name: str) -> str | None:
        """The file of a name that lies nearest: beside the weights, else above them, else the only one."""
        places = [p / name for p in PurePosixPath(self.weights or ".").parents] + [PurePosixPath(name)]
        found = next((place.as_posix() for place in places if place.as_posix() in self.names), None)
        if found:
            return found
        others = [path for path in self.names if PurePosixPath(path).name == name]
        return others[0] if len(others) == 1 else None

    @cached_property
    def submissions(self) -> list[str]:
        """The files that are submissions by their names, the latest last."""
        found = [name for name in self.names if self._is_submission(PurePosixPath(name).name)]
        return sorted(found, key=lambda name: (step_of(name), name))

    @staticmethod
    def _is_submission(file: str) -> bool:
        return file.endswith(".json") and "submission" in file.lower() and "sample" not in file.lower()

    @property
    def cards(self) -> list[str]:
        """The cards and results files that may claim numbers."""
        return [
            name
            for name in self.names
            if name == "README.md" or (name.startswith(f"{EVALUATIONS}/") and name.endswith((".yaml", ".yml")))
        ]

    @property
    def datasets(self) -> list[Path]:
        """Folders in it that hold a dataset."""
        ends = "train/dataset.json"
        return [self.root / name.removesuffix(ends) for name in self.names if name.endswith(ends)]

    def json(self, name: str, most: int = TEXT) -> Any:
        """The value in a JSON file of it."""
        return parse_json(read_bytes(self.root / name, most), name)


def subjects(place: str | Path, source: str) -> list[Subject]:
    """What there is to audit at a place: the runs in a folder, each with its own files, or one file of weights.

    Args:
        place: a folder, a file, or ``FILE:PART``.
        source: what it is called on the page.

    Raises:
        MissingPrerequisite: there is no such thing, or it has too many files.
    """
    path, part = split_part(str(place))
    if path.is_file():
        names = tuple(sorted(file.name for file in path.parent.iterdir() if file.is_file()))
        config = CONFIG if CONFIG in names else None
        beside = tuple(name for name in names if name == path.name or not is_weights(name))
        return [Subject(path.parent, beside, source, path.name, part, config)]
    if not path.is_dir():
        raise MissingPrerequisite(f"{path}: no such file or folder", hint="for a download write hf:… or kaggle:…")
    names = tuple(sorted(_walk(path)))
    return [_subject(path, own, source) for own in _runs(names)]


def _runs(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The files of each of several runs that lie side by side; those that lie in none belong to each."""
    folders: dict[str, set[str]] = defaultdict(set)
    for name in filter(is_weights, names):
        folders[PurePosixPath(name).parent.as_posix()].add(name)
    if len(folders) < 2:
        yield names
        return
    for folder in folders:
        others = [f"{other}/" for other in folders if other not in (folder, ".") and not folder.startswith(f"{other}/")]
        own = (name for name in names if not name.startswith(tuple(others)))
        yield tuple(name for name in own if not is_weights(name) or name in folders[folder])


def _subject(root: Path, names: tuple[str, ...], source: str) -> Subject:
    if not any(is_weights(name) or SHARD.search(name) for name in names):
        return Subject(root, names, source, config=_only(names, CONFIG), why="there are no weights here")
    try:
        found = find_weights(names)
    except InvariantBroken as error:
        return Subject(root, names, source, why=f"{error}; {error.hint}")
    return Subject(root, names, source, found.file, None, found.config)


def _only(names: Iterable[str], file: str) -> str | None:
    found = [name for name in names if PurePosixPath(name).name == file]
    return found[0] if len(found) == 1 else None


def _walk(root: Path) -> Iterator[str]:
    """The files below a folder, relative to it."""
    count = 0
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(name for name in inside if name not in SKIPPED)
        for name in files:
            path = Path(folder, name)
            if path.is_file():  # no device, no pipe, no link that leads nowhere
                count += 1
                if count > FILES:
                    raise MissingPrerequisite(f"{root}: more than {FILES:,} files", hint="name the folder of the run")
                yield path.relative_to(root).as_posix()
