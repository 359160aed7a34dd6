import json
from pathlib import Path

import pytest
import yaml

from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.recipes.read import read_recipe
from trm_repro.report import sweep as module
from trm_repro.report.sweep import Finished, evaluate, markdown, read_sweep

ROOT = Path(__file__).parents[2]
SWEEPS = sorted(path.stem for path in (ROOT / "recipes" / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_valid_and_its_recipes_differ_in_their_commands_only(name):
    sweep = read_sweep(ROOT / "recipes", name)
    first, *others = [read_recipe(ROOT / "recipes", recipe) for recipe in sweep.recipes]
    for other in others:
        assert other.dataset == first.dataset
        assert not other.faithful and other.train.variation
        assert other.model_copy(update={"train": first.train}).train == first.train


def test_an_unknown_sweep_names_the_known_ones():
    with pytest.raises(UsageError) as caught:
        read_sweep(ROOT / "recipes", "nothing")
    assert "cycles-rehearsal" in caught.value.hint


@pytest.fixture
def repository(tmp_path):
    """A repository where both recipes of the rehearsal's sweep have been run."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    sweep = read_sweep(ROOT / "recipes", "cycles-rehearsal")
    for number, name in enumerate(sweep.recipes):
        recipe = read_recipe(ROOT / "recipes", name)
        (tmp_path / f"config{number}").write_text(
            yaml.safe_dump({"arch": {"H_cycles": 3, "L_cycles": 4 + 2 * number, "halt_max_steps": 4}, "lr": 1})
        )
        outputs = [
            {"role": "final-checkpoint", "path": f"$TRM_DIR/step_{number}", "sha256": str(number)},
            {"role": "config", "path": f"config{number}", "sha256": ""},
        ]
        folder = tmp_path / "artifacts" / recipe.run_name
        folder.mkdir(parents=True)
        metrics = {"step": 9, "ARC/pass@2": 0.25, "all.exact_accuracy": 0.125}
        manifest = {"outputs": outputs, "metrics": metrics, "faithful": not number}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        evaluations = [{"votes": 1, "interval": [0, 1]}, {"votes": 2, "interval": [0.05, 0.7]}]
        (folder / "verdict.json").write_text(json.dumps({"evaluations": evaluations}))
    return tmp_path, sweep


@pytest.fixture
def evaluations(monkeypatch):
    """The evaluations that are started, in place of their computation."""
    started = []

    def run(command, **_):
        options = dict(word.removeprefix("--").split("=", 1) for word in command if word.startswith("--"))
        started.append(options)
        scores = {"pass@2 per task": {"share": 0.75, "interval_95": [0.3, 0.95]}}
        report = {"checkpoints": [{"exact_accuracy": 0.5, "vote": {"scores": scores}}]}
        (Path(options["output-dir"]) / "evaluation.json").write_text(json.dumps(report))
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(module.subprocess, "run", run)
    said = type("Said", (), {"word": "COMPARED", "why": "the second with the first"})
    monkeypatch.setattr(module, "compare", lambda first, second: said)
    return started


def test_each_checkpoint_is_evaluated_once_with_the_cycles_asked_for(repository, evaluations):
    root, sweep = repository
    evaluate(sweep, root)
    checkpoints = [options["checkpoint"] for options in evaluations]
    assert checkpoints == [f"{root}/.repro/work/step_{i}" for i in (0, 1) for _ in sweep.evaluations]
    arch = yaml.safe_load(Path(evaluations[1]["config"]).read_text())["arch"]
    assert arch == {"H_cycles": 3, "L_cycles": 6, "halt_max_steps": 4}
    evaluate(sweep, root)
    assert len(evaluations) == 4, "what is done is not done again"


def test_another_checkpoint_is_evaluated_again(repository, evaluations):
    root, sweep = repository
    evaluate(sweep, root)
    path = root / "artifacts" / "arc2_rehearsal" / "manifest.json"
    path.write_text(path.read_text().replace('"sha256": "0"', '"sha256": "new"'))
    evaluate(sweep, root)
    assert len(evaluations) == 4 + len(sweep.evaluations)


def test_the_table_has_a_line_for_each_training_and_each_evaluation(repository, evaluations):
    root, sweep = repository
    evaluate(sweep, root)
    text = markdown(sweep, root)
    lines = [line for line in text.splitlines() if line.startswith("| arc2")]
    assert len(lines) == 2 + 2 * len(sweep.evaluations)
    trained = "| arc2-rehearsal | H_cycles=3 L_cycles=4 halt_max_steps=4 |"
    assert lines[0] == f"{trained} as in training | yes | 2 | – | 25.00 % (5.0 to 70.0) | 12.50 % |"
    assert lines[1] == f"{trained} H_cycles=3 L_cycles=4 | – | 1 | – | 75.00 % (30.0 to 95.0) | 50.00 % |"
    assert "as in training | no | 2 |" in lines[3]
    assert "* `arc2-rehearsal-h3l6`: COMPARED: the second with the first" in text


def test_a_run_that_is_not_finished_has_a_line_and_the_others_their_evaluations(repository, evaluations):
    root, sweep = repository
    (root / "artifacts" / "arc2_rehearsal" / "manifest.json").unlink()
    evaluate(sweep, root)
    assert len(evaluations) == len(sweep.evaluations)
    text = markdown(sweep, root)
    assert "| arc2-rehearsal | not finished | – |" in text
    assert "COMPARED" not in text


def test_a_recipe_that_has_not_been_run_is_named(repository):
    root, _ = repository
    with pytest.raises(MissingPrerequisite, match="trm_arc2_paper_repro"):
        Finished.read(root, "arc2-paper")


def test_an_evaluation_cannot_change_what_training_fixed(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "wide.yaml").write_text("{title: t, source: s, recipes: [], evaluations: [[hidden_size=9]]}")
    with pytest.raises(InvariantBroken, match="hidden_size"):
        read_sweep(tmp_path, "wide")
