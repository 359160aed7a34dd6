"""What the names in a training's folder say."""

import re
from pathlib import Path

import pytest

import trm_repro
from trm_repro.errors import MissingPrerequisite
from trm_repro.runs.checkpoints import (
    checkpoint_name,
    checkpoints,
    evaluated,
    evaluation_name,
    final_checkpoint,
    step_of,
)


@pytest.mark.parametrize(
    ("path", "step"),
    [
        (checkpoint_name(723914), 723914),
        (f"checkpoints/run/{evaluation_name(12)}/submission.json", 12),
        ("checkpoints/a_step_3_run/step_40", 40),
        ("maze_hard_step_32550", 32550),
        ("step_7_all_preds.0", 7),
        ("all_config.yaml", -1),
        ("timestep_5", -1),
    ],
)
def test_a_step_is_the_last_that_a_path_names(path: str, step: int) -> None:
    assert step_of(path) == step_of(Path(path)) == step


def test_checkpoints_are_files_of_that_name_alone_by_step_not_by_time(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="no checkpoint"):
        final_checkpoint(tmp_path)
    for name in ("step_10", "step_9", "step_11_all_preds.0", "step_12_adapters"):
        (tmp_path / name).touch()
    (tmp_path / "step_13").mkdir()
    for step in (10, 9):
        (tmp_path / evaluation_name(step)).mkdir()
        (tmp_path / evaluation_name(step) / "submission.json").touch()
    assert [path.name for path in checkpoints(tmp_path)] == ["step_9", "step_10"]
    assert final_checkpoint(tmp_path).name == "step_10"
    assert [step_of(path) for path in evaluated(tmp_path, "submission.json")] == [9, 10]


def test_no_other_module_spells_or_parses_these_names() -> None:
    package = Path(trm_repro.__file__).parent
    spelled = re.compile(r"""step_[{*(\[\\]|["']evaluator_ARC""")
    found = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if spelled.search(path.read_text())}
    assert found == {"runs/checkpoints.py"}
