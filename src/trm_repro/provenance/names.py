"""What a published run may be called.

Kaggle takes a title of 6–50 characters, a slug of 6–50 characters (letters, digits, '-'), a subtitle of 20–80
characters and one license of its own list. Its client checks a part of that, and the server refuses the rest only after
the upload; so everything is checked here, before a run is trained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from trm_repro.errors import InvariantBroken

# The seed's title leaves 50 − 24 = 26 characters for the run's name.
DATASETS = {"arc2": "ARC-AGI-2", "arc1": "ARC-AGI-1", "sudoku": "Sudoku-Extreme", "maze": "Maze-Hard"}
NAME_LENGTH = range(6, 51)
SUBTITLE_LENGTH = range(20, 81)
NO_OWNER = "your-kaggle-username"  # stands in the metadata of a bundle that was packaged without an owner

# Kaggle's spelling of the licenses it knows. MIT is not among them.
LICENSES = (
    *("CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"),
    *("CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "apache-2.0", "GPL-2", "GPL-3.0", "LGPL-3.0", "AGPL-3.0", "ODbL-1.0"),
    *("ODC-BY-1.0", "PDDL", "DbCL-1.0", "CDLA-Permissive-1.0", "CDLA-Sharing-1.0", "FDL-1.3"),
    *("copyright-authors", "other"),
)


@dataclass(frozen=True)
class Names:
    """The checked names of one published run."""

    title: str
    slug: str
    owner: str

    @property
    def id(self) -> str:
        """Kaggle's name for the dataset, ``owner/slug``."""
        return f"{self.owner}/{self.slug}"


def names(run_name: str, *, slug: str = "", owner: str = "", target: str = "arc2") -> Names:
    """The names under which a run is published.

    Args:
        run_name: the run's name, as in ``RUN_NAME``.
        slug: the dataset's slug; empty for the seed's ``trm-arc2-weights-RUN_NAME``.
        owner: the Kaggle user; empty while it is not known.
        target: which dataset the run is about, a key of :data:`DATASETS`.

    Raises:
        InvariantBroken: Kaggle would refuse one of them; the message lists every reason.
    """
    title = f"TRM {DATASETS.get(target, target)} Weights ({run_name})"
    normal = normal_slug(slug or f"trm-{target}-weights-{run_name}")
    problems = []
    if len(title) not in NAME_LENGTH:
        most = len(run_name) + NAME_LENGTH[-1] - len(title)
        problems.append(
            f"title “{title}” has {len(title)} characters, Kaggle takes 6–50: RUN_NAME must have at most {most}"
        )
    if len(normal) not in NAME_LENGTH:
        problems.append(f"slug “{normal}” has {len(normal)} characters, Kaggle takes 6–50: set KAGGLE_DATASET_SLUG")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", normal):
        problems.append(f"slug “{normal}” may hold letters, digits and '-' only: set KAGGLE_DATASET_SLUG")
    if owner and not re.fullmatch(r"[A-Za-z0-9_-]+", owner):
        problems.append(f"KAGGLE_USERNAME “{owner}” is not the name of a Kaggle account")
    if problems:
        raise InvariantBroken(
            "; ".join(problems), hint="choose a shorter or plainer RUN_NAME or KAGGLE_DATASET_SLUG before training"
        )
    return Names(title, normal, owner or NO_OWNER)


def normal_slug(slug: str) -> str:
    """The slug as Kaggle writes it: lower case, '_', '.' and blanks as '-', none of them doubled or at an end."""
    return re.sub(r"[-_.\s]+", "-", slug.lower()).strip("-")


def kaggle_license(name: str) -> str:
    """Kaggle's spelling of a license, in whatever case it was given.

    Raises:
        InvariantBroken: Kaggle does not offer it.
    """
    for known in LICENSES:
        if known.lower() == name.lower():
            return known
    raise InvariantBroken(
        f"license “{name}” is not one of Kaggle's", hint=f"set PUBLISH_LICENSE to one of: {', '.join(LICENSES)}"
    )
