"""Where a run's files lie, from the root of the repository.

``.repro/runs/RUN_NAME/`` its state: stamps, records, its knobs, the lock · ``artifacts/RUN_NAME/`` what it delivers ·
``logs/RUN_NAME/`` one log an attempt at a step. What its training needs and leaves lies below TRM_DIR, where its recipe says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trm_repro.digests import Cache

DEFAULT = "arc2-paper"  # RECIPE where nobody names one, as env.sh has it


def meaning(text: str, *, recipe: str, run_name: str, default_name: str) -> str:
    """A text whose ``make all`` and ``make step-N`` mean this run where no knob is set.

    Args:
        text: what says how to go on.
        recipe: the run's RECIPE.
        run_name: its RUN_NAME.
        default_name: the name that the recipe gives a run.
    """
    knobs = {"RECIPE": (recipe, DEFAULT), "RUN_NAME": (run_name, default_name)}
    said = "".join(f" {name}={value}" for name, (value, default) in knobs.items() if value != default)
    return re.sub(r"\bmake (all|step-\d)\b", rf"\g<0>{said}", text)


@dataclass(frozen=True)
class Run:
    """One run, and where it keeps things.

    Args:
        repository: the root of the repository; all paths in stamps are relative to it.
        name: RUN_NAME.
        recipe: RECIPE.
        environ: the knobs' values.
    """

    repository: Path
    name: str
    recipe: str
    environ: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """The run's state folder."""
        return self.repository / ".repro" / "runs" / self.name

    @property
    def artifacts(self) -> Path:
        """The folder of its deliverables."""
        return self.repository / "artifacts" / self.name

    @property
    def steps(self) -> list[str]:
        """The names of all steps, in order."""
        return sorted(path.stem for path in (self.repository / "steps").glob("[0-9][0-9]-*.sh"))

    def cache(self, *, believed: bool = True) -> Cache:
        """The digests of files already hashed in this repository; not believed, it only learns."""
        return Cache(self.repository / ".repro" / "digests.json", believed=believed)

    def logs(self, step: str) -> list[Path]:
        """The logs of a step's attempts, the last one last."""
        return sorted((self.repository / "logs" / self.name).glob(f"{step}.*.log"))

    def path(self, step: str) -> Path:
        """Where the stamp of a step lies."""
        return self.folder / f"{step}.stamp"

    def environment_file(self, target_dataset: str, suffix: str) -> Path:
        """What step 3 wrote about the environment: the listing (``.txt``) and, for upstream, the inventory (``.json``)."""
        return self.repository / ".repro" / f"env_{target_dataset}_{self.name}{suffix}"
