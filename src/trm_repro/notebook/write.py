"""The notebook that takes over on Kaggle: bundle and tasks in, ``submission.json`` out, without internet.

Competition notebooks have no internet, so the code comes from the wheel in the bundle. The notebook is short: what
computes is in :mod:`trm_repro.notebook.solve`, and tested there. ``kernel-metadata.json`` beside it makes
``kaggle kernels push`` work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trm_repro.files import write_json, write_text
from trm_repro.provenance.bundle import UNFAITHFUL, Bundle
from trm_repro.provenance.names import NAME_LENGTH, normal_slug
from trm_repro.publish.card import dataset_name

COMPETITION = "arc-prize-2025"

SETTINGS = """\
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded: its threads wait without computing
import torch

ROOT = Path(os.environ.get("KAGGLE_ROOT", "/kaggle"))  # Kaggle's folders: input/ is read, working/ is written
SUBSET = os.environ.get("SUBSET", "test")  # the competition's task file arc-agi_SUBSET_challenges.json
HOURS = float(os.environ.get("HOURS", "11"))  # for everything; Kaggle stops a notebook after 12
FINE_TUNE = os.environ.get("FINE_TUNE", "embeddings")  # what learns the tasks' examples: embeddings, lora or none
FINE_TUNE_SHARE = float(os.environ.get("FINE_TUNE_SHARE", "0.5"))  # of the time
AUGMENTATIONS = int(os.environ.get("AUGMENTATIONS", "1000"))  # variants of each task that vote, time permitting
BATCH = int(os.environ.get("BATCH", "96" if torch.cuda.is_available() else "8"))  # examples at a time

INPUT, WORKING = ROOT / "input", ROOT / "working"
"""

INSTALL = """\
import shutil
import sys

bundle = next(INPUT.rglob("model.ckpt")).parent
shutil.unpack_archive(next(bundle.glob("trm_repro-*.whl")), WORKING / "packages", "zip")  # what pip does to a pure wheel
sys.path.insert(0, str(WORKING / "packages"))

from trm_repro.files import read_json, write_json
from trm_repro.notebook import solve

budget = solve.Budget(3600 * HOURS)
print("bundle:", bundle)
"""

TASKS = """\
challenges = solve.find(INPUT, f"arc-agi_{SUBSET}_challenges.json")
tasks = read_json(challenges)
shutil.rmtree(WORKING / "dataset", ignore_errors=True)
dataset = solve.build(challenges, WORKING / "dataset", augmentations=AUGMENTATIONS)
print(len(tasks), "tasks,", sum(len(task["test"]) for task in tasks.values()), "test inputs")
"""

LOAD = """\
model, known = solve.load(bundle, dataset)
print(f"{known} of {len(read_json(dataset / 'identifiers.json')) - 1} puzzles have a trained vector")
"""

FINE_TUNE = """\
if FINE_TUNE != "none":
    seconds = FINE_TUNE_SHARE * budget.left
    steps = solve.fine_tune(model, bundle, dataset, what=FINE_TUNE, seconds=seconds, batch=BATCH)
    print(steps, "steps of fine-tuning")
"""

PREDICT = """\
answers = solve.predict(model, dataset, seconds=0.95 * budget.left, batch=BATCH)
print(f"{answers.predictions} of {answers.wanted} predictions made, {answers.answered} test inputs answered")
"""

SUBMIT = """\
submission = solve.submission(answers, tasks)  # raises unless the competition would accept it
write_json(WORKING / "submission.json", submission)
shutil.rmtree(WORKING / "dataset")  # only the submission is the notebook's output
print("submission.json:", len(submission), "tasks")
"""

SCORE = """\
solutions = challenges.with_name(challenges.name.replace("_challenges", "_solutions"))
if solutions.exists():
    print(*solve.scores(submission, tasks, read_json(solutions)), sep="\\n")
"""

PICTURE = "%matplotlib inline\nsolve.picture(submission, tasks)"


def write_notebook(bundle: Bundle, path: Path) -> None:
    """Writes the notebook for a bundle, and ``kernel-metadata.json`` beside it."""
    import nbformat

    faithful = "" if bundle.faithful else f"\n\n{UNFAITHFUL}: {'; '.join(bundle.manifest['reasons'])}."
    cells = [
        f"# TRM on {dataset_name(bundle.manifest)}\n\nFrom the weights `{bundle.id}` to `submission.json`, offline."
        f"{faithful}\n\nAttach the dataset `{bundle.id}` and the competition `{COMPETITION}`, switch the internet off, "
        "choose a GPU.",
        (SETTINGS,),
        "## Code\n\nThe package comes from the wheel in the dataset.",
        (INSTALL,),
        "## Tasks\n\nThe competition's tasks, and variants of them: turned, mirrored and recoloured.",
        (TASKS,),
        "## Model\n\nPuzzles known from training keep their vector, the others start from the mean.",
        (LOAD,),
        "## Fine-tuning\n\nThe puzzle vectors (and with `lora` adapters of rank 1) learn the tasks' own examples.",
        (FINE_TUNE,),
        "## Prediction\n\nThe variants of a task vote. When the time is over, what there is is submitted.",
        (PREDICT,),
        (SUBMIT,),
        "## Result\n\nScored where the solutions are known, in both of ARC's metrics.",
        (SCORE,),
        (PICTURE,),
    ]
    book: Any = nbformat.v4.new_notebook()
    for number, cell in enumerate(cells):
        v4 = nbformat.v4
        made = v4.new_markdown_cell(cell) if isinstance(cell, str) else v4.new_code_cell(cell[0].strip())
        made["id"] = f"cell-{number:02d}"
        book.cells.append(made)
    book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.validate(book)
    write_text(path, nbformat.writes(book) + "\n")
    write_json(path.with_name("kernel-metadata.json"), kernel_metadata(bundle, path.name))


def kernel_metadata(bundle: Bundle, code_file: str) -> dict[str, Any]:
    """What ``kaggle kernels push`` reads: private, offline, on a GPU, with the dataset and the competition attached."""
    owner, _, slug = bundle.id.partition("/")
    title = f"TRM {bundle.manifest['run']['name']}"[: NAME_LENGTH[-1]]
    return {
        "id": f"{owner}/{normal_slug(title)}",
        "title": title,
        "code_file": code_file,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": True,
        "enable_internet": False,
        "dataset_sources": [f"{owner}/{slug}"],
        "competition_sources": [COMPETITION],
        "kernel_sources": [],
        "model_sources": [],
    }
