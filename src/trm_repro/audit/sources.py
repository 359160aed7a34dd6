"""Sources that lie beside weights, or in a repository's folder, against the pinned upstreams: by git's names of their contents.

Nothing of them is read as code, and git is asked of clones of ours only, never of the audited folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trm_repro.audit.page import Page
from trm_repro.audit.subject import Subject
from trm_repro.digests import git_blob
from trm_repro.errors import ReproError
from trm_repro.files import read_bytes, read_yaml
from trm_repro.recipes.bases import SHIPPED
from trm_repro.runs.clone import git

COPIES = ("trm.py", "losses.py")  # what upstream puts beside its checkpoints
# What of a repository computes; all else may be anybody's.
CODE = re.compile(r"(?:pretrain|puzzle_dataset)\.py|(?:models|evaluators|dataset|utils|config)/.+\.(?:py|yaml)")
MOST, SIZE = 2000, 4 << 20  # files, and bytes of one


@dataclass(frozen=True)
class Pin:
    """A pinned upstream.

    Attributes:
        name: whose it is.
        commit: the pinned one.
        clone: where it is at hand.
        tree: path → git's name of the content.
    """

    name: str
    commit: str
    clone: Path
    tree: dict[str, str]


def look_at_sources(page: Page, subject: Subject, clones: Sequence[Path]) -> None:
    """Adds how TRM's sources in the subject compare with the pinned upstreams that are at hand."""
    found = {name: git_blob(read_bytes(subject.root / name, SIZE)) for name in _sources(subject)}
    if not found:
        return
    shown = f"{len(found)} files ({', '.join(list(found)[:4])}{', …' if len(found) > 4 else ''})"
    if _is_reference_engine(found):
        page.notes.append(f"{shown}: the reference engine of this tool, not upstream's code")
        return
    pins = list(_pins(clones))
    if not pins:
        how = "no clone of a pinned upstream is at hand: git clone one, and name it with --upstream DIR"
        page.unknown.append(("sources", f"{shown}: {how}"))
        return
    best = max(pins, key=lambda pin: sum(_matches(pin, name, blob) for name, blob in found.items()))
    same = [name for name, blob in found.items() if _matches(best, name, blob)]
    older = [name for name in found if name not in same and _ever(best, found[name])]
    names = {PurePosixPath(path).name for path in best.tree}
    other = [name for name in found if name not in same and name not in older and PurePosixPath(name).name in names]
    claim = f"they are {best.name}'s, unchanged ({shown})"
    said = f"{len(same)} of {len(found)} are those of commit {best.commit[:12]}"
    if older:
        said += f"; {len(older)} of another commit of {best.name}'s: {', '.join(older[:6])}"
    if added := len(found) - len(same) - len(older) - len(other):
        said += f"; {added} that it does not have"
    if not same and not older:
        page.cannot_tell("sources", claim, f"none of them is known to {', '.join(pin.name for pin in pins)}")
        return
    page.judge("sources", claim, [f"{said}; changed: {', '.join(other[:8])}"] if other else [], said)


def _sources(subject: Subject) -> Iterator[str]:
    """TRM's sources among the files: copies beside weights, and a repository's own."""
    count = 0
    for name in subject.names:
        file = PurePosixPath(name)
        inside = ("/".join(file.parts[depth:]) for depth in range(min(3, len(file.parts))))
        if file.name in COPIES or any(map(CODE.fullmatch, inside)):
            count += 1
            if count <= MOST and (subject.root / name).stat().st_size <= SIZE:
                yield name


def _is_reference_engine(found: dict[str, str]) -> bool:
    """Whether they are what our own engine puts beside its checkpoints."""
    engine = Path(__file__).parents[1] / "engine"
    ours = {git_blob(path) for path in engine.glob("*.py")}
    return set(found.values()) <= ours


def _pins(clones: Sequence[Path]) -> Iterator[Pin]:
    """The pinned upstreams whose commit is in one of the clones."""
    if not SHIPPED.is_dir():
        return
    for base in sorted((SHIPPED / "base").glob("*.yaml")):
        upstream = (read_yaml(base) or {}).get("upstream")
        if not isinstance(upstream, dict) or "commit" not in upstream:
            continue
        for clone in clones:
            tree = _tree(clone, upstream["commit"])
            if tree:
                yield Pin(upstream["name"], upstream["commit"], clone, tree)
                break


def _tree(clone: Path, commit: str) -> dict[str, str]:
    """The files of a commit: path → git's name of the content; empty where the clone has no such commit."""
    if not clone.is_dir() or not ((clone / ".git").exists() or (clone / "objects").is_dir()):
        return {}  # else git would look for one around it
    try:
        listed = git(clone, "ls-tree", "-r", "-z", commit)
    except OSError:
        return {}
    lines = (line.partition("\t") for line in listed.stdout.split("\0") if "\t" in line)
    return {path: head.split()[2] for head, _, path in lines} if listed.returncode == 0 else {}


def _matches(pin: Pin, name: str, blob: str) -> bool:
    """Whether a pinned tree has this content under this name, wherever it lies."""
    return any(
        blob == other and PurePosixPath(path).name == PurePosixPath(name).name for path, other in pin.tree.items()
    )


def _ever(pin: Pin, blob: str) -> bool:
    """Whether any commit that the clone holds has this content."""
    try:
        return git(pin.clone, "cat-file", "-e", blob).returncode == 0
    except (OSError, ReproError):
        return False
