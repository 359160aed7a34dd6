"""The public checkpoints that are known: where they lie, their digests, with which cycles they were trained.

The one table of them: an audit names a file by it, and what computes with other cycles than its weights were trained with
(deviation D-28) is warned of by it. Their numbers are in :mod:`trm_repro.recipes.published`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from trm_repro.recipes.schema import Recipe

DEVIATION = "D-28"
L_CYCLES = 6  # what upstream's file arch/trm.yaml says, and its forks' at their pins; who says nothing computes with it


@dataclass(frozen=True)
class Checkpoint:
    """Weights that somebody published.

    Attributes:
        who: whose they are.
        repository: ``hf:owner/name``, or ``kaggle:owner/slug``.
        file: their place in it; empty where it is not known.
        bytes: the file's size; 0 where it is not known.
        sha256: its digest; empty where it is not known.
        dataset: the folder name of the dataset that they were trained on; empty where it is not known.
        results: the names of their numbers in ``published.RESULTS``.
        upstream: whose code trained them, as recipes call it; empty where it is none of ours.
        L_cycles: what they were trained with; 0 where it is not known.
        surely: whether that is known, or only probable.
        note: what else is known.
    """

    who: str
    repository: str
    file: str = ""
    bytes: int = 0
    sha256: str = ""
    dataset: str = ""
    results: tuple[str, ...] = ()
    upstream: str = ""
    L_cycles: int = 0
    surely: bool = True
    note: str = ""

    @property
    def place(self) -> str:
        """Where it lies, as ``fetch-weights`` takes it."""
        return f"{self.repository}/{self.file}" if self.file else self.repository

    @property
    def trained(self) -> str:
        """What it was trained with, in words."""
        return f"{'' if self.surely else 'probably '}trained with L_cycles {self.L_cycles}"


_ARC1, _ARC2 = "arc1concept-aug-1000", "arc2concept-aug-1000"
_PRIZE = "hf:arcprize/trm_arc_prize_verification"

CHECKPOINTS = (
    Checkpoint(
        "ARC Prize", _PRIZE, "arc_v2_public/step_723914", 2_467_988_810,
        "8d7036b97e7ea38c7dd29d01216bfcfc4e212af3024d5233fe40dd3059e8f4a9", _ARC2,
        ("arc2-prize", "arc2-prize-alone", "arc2-prize-alone-pass1"), note="digest known from two independent sources",
    ),
    Checkpoint(
        "ARC Prize", _PRIZE, "arc_v1_public/step_518071", 1_822_205_258,
        "53689643ad1606d7c22c758f8af0a71b3b66275dea074f214d2f1048d9a01fb0", _ARC1,
        ("arc1-prize", "arc1-prize-alone", "arc1-prize-alone-pass1"), note="digest known from one source",
    ),
    Checkpoint(
        "Trelis", "hf:Trelis/TRM-ARC-AGI-II", "step_723914", 2_467_988_810, dataset=_ARC2, results=("arc2-trelis",),
        upstream="trelis", L_cycles=4, surely=False, note="ten steps, each with a submission",
    ),
    Checkpoint(
        "Sanjin2024", "hf:Sanjin2024/TinyRecursiveModels-ARC-AGI-2", "step_217602", upstream="trelis", L_cycles=4,
        surely=False,
    ),
    Checkpoint("Sanjin2024", "hf:Sanjin2024/TinyRecursiveModels-ARC-AGI-1", "step_155718"),
    Checkpoint(
        "alphaXiv", "hf:alphaXiv/trm-model-maze", "maze_hard_step_32550", dataset="maze-30x30-hard-1k",
        results=("maze-alphaxiv",), upstream="alphaxiv", L_cycles=4,
    ),
    Checkpoint(
        "alphaXiv", "hf:alphaXiv/trm-model-arc-agi-1", "step_259320_arc_ag1_attn_type_h3l4", dataset=_ARC1,
        results=("arc1-alphaxiv-h3l4",), upstream="alphaxiv", L_cycles=4,
    ),
    Checkpoint(
        "alphaXiv", "hf:alphaXiv/trm-model-sudoku", "step_32550_sudoku_epoch50k", dataset="sudoku-extreme-1k-aug-1000",
        results=("sudoku-alphaxiv-mlp",), upstream="alphaxiv", L_cycles=6,
    ),
    Checkpoint(
        "seconds-0", "hf:seconds-0/trm-arc2-8gpu",
        note="its weights are of step 119,432, the score published with them of step 72,385",
    ),
    Checkpoint("NVARC", "kaggle:cpmpml/arc-prize-trm-031", results=("arc2-nvarc",)),
)  # fmt: skip


def by_digest(sha256: str) -> Checkpoint | None:
    """The known checkpoint of a digest."""
    return next((one for one in CHECKPOINTS if sha256 and one.sha256 == sha256), None)


def by_place(source: str, file: str = "") -> Checkpoint | None:
    """The known checkpoint that should lie there: by its repository, or by a place that no other has (not ``step_N`` alone).

    Args:
        source: ``hf:owner/name…``, ``[hf://]owner/name/file``, or a path.
        file: the file, relative to the source, where that is not named.
    """
    whole = f"{source.replace('hf://', 'hf:')}/{file}".strip("/").lower()
    for one in CHECKPOINTS:
        repository, place = one.repository.lower(), one.file.lower()
        if repository.partition(":")[2] + "/" in f"{whole}/" and (not place or whole.endswith(place)):
            return one
    named = (one for one in CHECKPOINTS if not _bare(one.file))
    return next((one for one in named if f"/{whole}".endswith(f"/{one.file.lower()}")), None)


def base_of(path: str) -> Checkpoint | None:
    """The known checkpoint that a configuration's ``load_checkpoint`` names, where recipes and seeds put it."""
    folder, _, file = path.rpartition("/")
    ours = folder.rpartition("/")[2] == "pretrained" and _bare(file)
    return next((one for one in CHECKPOINTS if ours and one.file == file and one.upstream), None) or by_place(path)


def _bare(file: str) -> bool:
    """Whether a checkpoint is called by nothing but its step, as anybody's may be."""
    return file.removeprefix("step_").isdecimal() or not file


def other_cycles(recipe: Recipe) -> str:
    """What to know of a recipe that computes with other cycles than the weights it is about; nothing of any other recipe.

    It is about those that it starts from or evaluates, or else those that its upstream published of the same dataset. Who
    says the cycles himself means them.
    """
    train, weights = recipe.train, recipe.weights
    words = [*train.arguments, *train.scale, *train.variation]
    if not recipe.upstream or any(word.lstrip("+").startswith("arch.L_cycles=") for word in words):
        return ""
    if weights:
        source = next((word for word in weights.program if "/" in word), "")
        known = by_place(f"hf:{source}", weights.file) or by_place(f"hf:{source}")
    else:
        data = PurePosixPath(recipe.dataset.folder).name
        own = (one for one in CHECKPOINTS if (one.upstream, one.dataset) == (recipe.upstream.name, data))
        known = next(own, None)
    if not known or known.L_cycles in (0, L_CYCLES):
        return ""
    return warning(known, "this recipe computes", starts=weights is not None)


def warning(known: Checkpoint, computes: str, L_cycles: int = L_CYCLES, *, starts: bool = True) -> str:
    """The words: what weights were trained with, what computes with something else, what comes of it."""
    what = f"the published weights of {known.who} ({known.place})"
    said = f"{DEVIATION}: {what} were {known.trained}; {computes} with L_cycles {L_cycles}. "
    if not starts:
        return said + "It trains its own weights so: they are another model than those, and half as slow again to train"
    return said + (
        "Nothing fails, and the number is another: elsewhere 3.75 % in place of 40 %. `trm-repro evaluate --probe-cycles` "
        "tells with which they were trained, before anything is spent"
    )
