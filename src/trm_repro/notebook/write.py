"""The notebook that takes over on Kaggle: bundle and tasks in, ``submission.json`` out, without internet.

Competition notebooks have no internet, so the code comes from the wheel in the bundle. The notebook is short: what
computes is in :mod:`trm_repro.notebook.solve` and :mod:`~trm_repro.notebook.shares`, and tested there.
``kernel-metadata.json`` beside it makes ``kaggle kernels push`` work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trm_repro.files import write_json, write_text
from trm_repro.provenance.bundle import UNFAITHFUL, Bundle
from trm_repro.provenance.names import NAME_LENGTH, normal_slug
from trm_repro.publish.card import dataset_name

COMPETITION = "arc-prize-2026-arc-agi-2"  # the one that is open; KAGGLE_COMPETITION names another
MACHINE = "NvidiaL4"  # four L4 GPUs, as the client calls them; --accelerator of `kaggle kernels push` says otherwise

SETTINGS = """\
import os
import shutil
import sys
from glob import glob
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when torch is loaded: its threads wait for each other shortly
import torch

# Kaggle sets it when it scores a submission. Save Version only tries out that everything works. True: all of it, here too.
FULL = bool(os.environ.get("KAGGLE_IS_COMPETITION_RERUN"))

ROOT = Path(os.environ.get("KAGGLE_ROOT", "/kaggle"))  # Kaggle's folders: input/ is read, working/ is kept, temp/ is not
DATASET = os.environ.get("DATASET", "@DATASET@")  # the dataset or model with the weights, if several are attached
COMPETITION = os.environ.get("COMPETITION", "@COMPETITION@")  # the competition, if several are attached
SUBSET = os.environ.get("SUBSET", "test")  # its task file arc-agi_SUBSET_challenges.json
HOURS = float(os.environ.get("HOURS", "11"))  # for everything; Kaggle stops a notebook after 12
PRESET = os.environ.get("PRESET", "trelis")  # whose rates and cycles: trelis or nvarc
FINE_TUNE = os.environ.get("FINE_TUNE", "")  # what learns the tasks' examples: embeddings, lora, full, none; "": the preset's
FINE_TUNE_SHARE = float(os.environ.get("FINE_TUNE_SHARE", "0.5"))  # of the time
AUGMENTATIONS = int(os.environ.get("AUGMENTATIONS", "1000"))  # variants of each task that vote, time permitting
BATCH = int(os.environ.get("BATCH", "32" if torch.cuda.is_available() else "8"))  # examples at a time, on each GPU
PROCESSES = int(os.environ.get("PROCESSES", "0"))  # the tasks are dealt to so many; 0: one a GPU

if not FULL:
    HOURS, AUGMENTATIONS = min(HOURS, 0.25), min(AUGMENTATIONS, 10)
INPUT, WORKING, TEMP = ROOT / "input", ROOT / "working", ROOT / "temp"
print("full run, to be scored" if FULL else "short run: it tries out that everything works", f"({HOURS:g} hours)")
"""

INSTALL = """\
wheels = [INPUT / path for path in glob("**/trm_repro-*.whl", root_dir=INPUT, recursive=True)]
bundles = sorted({wheel.parent for wheel in wheels if (wheel.parent / "model.ckpt").exists()})
bundles = [path for path in bundles if DATASET in path.parts] or bundles
if not bundles:
    raise FileNotFoundError(f"no weights (model.ckpt beside trm_repro-*.whl) in {INPUT}: attach the dataset @OWNER@/{DATASET}")
if len(bundles) > 1:
    raise RuntimeError(f"weights in several places, detach all but one: {', '.join(map(str, bundles))}")
bundle = bundles[0]

shutil.rmtree(TEMP / "packages", ignore_errors=True)
for wheel in bundle.glob("trm_repro-*.whl"):
    shutil.unpack_archive(wheel, TEMP / "packages", "zip")  # what pip does to a pure wheel; the rest is there already
sys.path.insert(0, str(TEMP / "packages"))

from trm_repro.files import read_json
from trm_repro.notebook import shares, solve

budget = solve.Budget(3600 * HOURS)
plan = shares.Plan(PRESET, FINE_TUNE, FINE_TUNE_SHARE, AUGMENTATIONS, BATCH)
print("weights:", bundle)
"""

TASKS = """\
challenges = solve.find(INPUT, f"arc-agi_{SUBSET}_challenges.json", COMPETITION)
tasks = read_json(challenges)
print("tasks:", challenges)
print(len(tasks), "tasks,", sum(len(task["test"]) for task in tasks.values()), "test inputs")
submission = solve.write_submission(WORKING / "submission.json", None, tasks)  # whatever happens, there is one
"""

ANSWER = """\
answers = shares.run(bundle, challenges, TEMP, plan, seconds=0.95 * budget.left, processes=PROCESSES)
print(*answers.notes, sep="\\n")
print(f"{answers.predictions} of {answers.wanted} predictions made, {answers.answered} test inputs answered")
"""

SUBMIT = """\
submission = solve.write_submission(WORKING / "submission.json", answers, tasks)  # raises unless it is valid
print("submission.json is valid:", len(submission), "tasks,", sum(map(len, submission.values())), "test inputs")
"""

SCORE = """\
solutions = challenges.with_name(challenges.name.replace("_challenges", "_solutions"))
if solutions.exists() and not FULL:
    print(*solve.scores(submission, tasks, read_json(solutions)), sep="\\n")
"""

PICTURE = "%matplotlib inline\nNone if FULL else solve.picture(submission, tasks)"


def how_to_submit(dataset: str, competition: str) -> list[str]:
    """What a Kaggle user does, a line each."""
    return [
        f"open kaggle.com/competitions/{competition}, join the competition and accept its rules",
        "upload notebook.ipynb (Code, New Notebook, File, Import Notebook); or let `kaggle kernels push -p FOLDER` do this "
        "and the next two, which runs it once",
        f"Add Input: the dataset {dataset} and the competition {competition}",
        "Session options: Accelerator GPU L4 x4, Internet off",
        "Save Version, Save & Run All: a short run, a quarter of an hour at most, which ends with a valid submission.json",
        "Submit to Competition with that version: Kaggle runs the notebook again on the hidden tasks, with the whole time",
    ]


def write_notebook(bundle: Bundle, path: Path, competition: str = COMPETITION) -> None:
    """Writes the notebook for a bundle and a competition, and ``kernel-metadata.json`` beside it."""
    import nbformat

    faithful = "" if bundle.faithful else f"\n\n{UNFAITHFUL}: {'; '.join(bundle.manifest['reasons'])}."
    steps = "".join(f"\n{number}. {step}" for number, step in enumerate(how_to_submit(bundle.id, competition), 1))
    owner, _, dataset = bundle.id.partition("/")

    def filled(code: str) -> tuple[str]:
        return (code.replace("@DATASET@", dataset).replace("@OWNER@", owner).replace("@COMPETITION@", competition),)

    cells = [
        f"# TRM on {dataset_name(bundle.manifest)}\n\nFrom the weights `{bundle.id}` to `submission.json`, offline."
        f"{faithful}\n\nTo submit:\n{steps}",
        filled(SETTINGS),
        "## Code\n\nThe package comes from the wheel in the dataset; what it needs is on Kaggle already.",
        filled(INSTALL),
        "## Tasks",
        (TASKS,),
        "## Answers\n\nThe tasks are dealt to the GPUs. On each, variants of its tasks are made: turned, mirrored, recoloured. "
        "Puzzles known from training keep their vector, the others start from the mean. What `FINE_TUNE` names learns the "
        "tasks' own examples. Then the variants of a task vote. When the time is over, what there is is submitted.",
        (ANSWER,),
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
    write_json(path.with_name("kernel-metadata.json"), kernel_metadata(bundle, path.name, competition))


def kernel_metadata(bundle: Bundle, code_file: str, competition: str = COMPETITION) -> dict[str, Any]:
    """What ``kaggle kernels push`` reads: private, offline, on four GPUs, with the dataset and the competition attached."""
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
        "machine_shape": MACHINE,
        "dataset_sources": [f"{owner}/{slug}"],
        "competition_sources": [competition],
        "kernel_sources": [],
        "model_sources": [],
    }
