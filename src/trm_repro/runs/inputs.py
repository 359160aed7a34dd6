"""The bytes that a training is given, held from its start to its manifest.

As step 5 begins, every byte of the dataset and of the checkpoint to start from is read, compared with what step 4 put out,
and held: digests and identities in ``inputs.json`` in the run's state folder. Just before the training starts and after it
ended, the identities (:func:`trm_repro.digests.identity`) are looked at again: nobody but root can change a file and keep its
ctime. As step 6 writes the manifest, it reads every byte again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from trm_repro.digests import Digest, identity
from trm_repro.errors import InvariantBroken
from trm_repro.files import read_json, write_text
from trm_repro.recipes.schema import Recipe
from trm_repro.runs.layout import Run
from trm_repro.runs.stamps import read_stamp

FILE, CHANGED = "inputs.json", "inputs.changed"
DATASET = "04-dataset"


def input_files(recipe: Recipe, work: Path) -> list[Path]:
    """The files that a training reads: its dataset's, and the checkpoint to start from."""
    files = sorted(path for path in (work / recipe.dataset.folder).rglob("*") if path.is_file())
    return [*files, *([work / recipe.weights.path] if recipe.weights else [])]


def task_files(recipe: Recipe, work: Path) -> list[Path]:
    """The ARC task files that a dataset is made of, as far as they are there."""
    files = [work / recipe.tasks.folder / name for name in recipe.task_files]
    if recipe.tasks.selection:
        files += sorted((work / recipe.tasks.selection).glob("*.json"))
    return [path for path in files if path.is_file()]


def problem(run: Run, recipe: Recipe, work: Path, found: Mapping[Path, Digest]) -> str:
    """Why a training must not be given these files, in words; empty where step 4, or else the recipe, vouches for them."""
    folder = work / recipe.dataset.folder
    if not any(folder in path.parents for path in found):
        return f"there is no dataset in {folder}"
    stamp = read_stamp(run.path(DATASET))
    if stamp:
        expected = {(run.repository / name).resolve(): digest.sha256 for name, digest in stamp.outputs.items()}
        source = "step 4 put out"
    elif recipe.dataset.digests:
        listed = read_json(run.repository / "recipes" / recipe.dataset.digests)
        expected = {(folder / name).resolve(): entry["sha256"] for name, entry in listed.items()}
        source = "the recipe names"
        found = {path: digest for path, digest in found.items() if folder in path.parents}
    else:
        return f"no stamp of step 4 vouches for {folder}"
    names = {path.resolve(): digest for path, digest in found.items()}
    lines = [f"{path}: not what {source}" for path in names if names[path].sha256 != expected.get(path)]
    inside = folder.resolve()
    lines += [f"{path}: missing" for path in expected if inside in path.parents and path not in names]
    return f"{lines[0]} (and {len(lines) - 1} more)" if lines[1:] else "".join(lines)


def held(found: Mapping[Path, Digest]) -> str:
    """Digests and identities as ``inputs.json`` has them."""
    files = {
        str(path.resolve()): {"sha256": digest.sha256, "bytes": digest.bytes, "identity": identity(path)}
        for path, digest in found.items()
    }
    return json.dumps(files, ensure_ascii=False)


def changed(state: Path) -> str:
    """What of the held files is not what it was, by identity; empty where all are. It is noted for the step, too."""
    try:
        files = _read(state)
        lines = [str(path) for path, (_, known) in files.items() if _identity(path) != known]
    except InvariantBroken:
        lines = [str(state / FILE)]
    said = (
        f"{lines[0]} was changed or replaced" + (f" (and {len(lines) - 1} more)" if lines[1:] else "") if lines else ""
    )
    write_text(state / CHANGED, said)
    return said


def _identity(path: Path) -> list[int]:
    try:
        return identity(path)
    except OSError:
        return []


def digests_held(state: Path) -> dict[Path, Digest]:
    """The digests that step 5 holds."""
    return {path: digest for path, (digest, _) in _read(state).items()}


def _read(state: Path) -> dict[Path, tuple[Digest, list[int]]]:
    """The digests and identities held; none where step 5 has not begun."""
    path = state / FILE
    if not path.exists():
        return {}
    try:
        entries = read_json(path).items()
        return {Path(name): (Digest(entry["sha256"], entry["bytes"]), entry["identity"]) for name, entry in entries}
    except (InvariantBroken, AttributeError, KeyError, TypeError):
        raise InvariantBroken(
            f"{path}: not what step 5 wrote",
            hint=f"rm {state}/05-train.stamp; make step-5: a finished training is taken up again, and this is written anew",
        ) from None
