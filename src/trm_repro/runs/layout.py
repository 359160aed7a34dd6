"""Where a run's files lie, from the root of the repository.

``.repro/runs/RUN_NAME/`` its state: stamps, records, its knobs, the lock · ``artifacts/RUN_NAME/`` what it delivers ·
``logs/RUN_NAME/`` one log an attempt at a step. What its training needs and leaves lies below TRM_DIR, where its recipe says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trm_repro.digests import Cache


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
