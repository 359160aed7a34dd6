"""Every recipe of every upstream: what the record of its run is checked against."""

import subprocess
from pathlib import Path

import pytest
from training_support import manifest

from trm_repro.provenance.faithful import TRAIN, command_problems, processes
from trm_repro.provenance.promises import (
    _filled,
    _known,
    _nested,
    config_problems,
    expected_config,
    is_trm,
    known_config,
    settings,
    step_problems,
)
from trm_repro.recipes.bases import list_recipes
from trm_repro.recipes.read import read_recipe
from trm_repro.training.inspection import source_problems
from trm_repro.training.state import Place

RECIPES = Path(__file__).parents[2] / "recipes"
NAMES = list_recipes(RECIPES)


def record(name, **changes):
    """As much of the manifest of a recipe's run as the checks look at: its command as its authors ran it."""
    recipe = read_recipe(RECIPES, name)
    count = recipe.process_count(recipe.max_gpus_to_use)
    argv = recipe.train_command(processes=count, run_name=recipe.run_name)
    run = {"name": recipe.run_name, "target_dataset": recipe.target_dataset}
    return manifest(recipe, run=run, commands=[{"step": TRAIN, "argv": argv, "exit_code": 0}], **changes)


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_command_is_the_recipes_on_as_many_gpus(name):
    held = record(name)
    recipe = read_recipe(RECIPES, name)
    assert processes(held["commands"][0]["argv"]) == recipe.process_count(recipe.max_gpus_to_use)
    assert command_problems(held, TRAIN) == []


def test_a_command_s_words_are_read_as_hydra_s_own_library_reads_them():
    from omegaconf import OmegaConf  # the engine's; a verifier has no time to load it

    values = [
        "1e-4",
        "1e5",
        "1.5E-3",
        "12e03",
        "1_0e3",
        "1e",
        "e5",
        "-1e-8",
        "+3",
        "1.",
        ".5",
        "0x1F",
        "010",
        "1_000",
        "nan",
    ]
    values += [".nan", "true", "False", "yes", "on", "null", "~", "", "None", "'1'", '"x y"', "[1,2e-3,x]", "[]"]
    values += ["{b: 1e-3, c: [d]}", "2026-01-31", "2026-01-31_12", "1:30", "path/x:y", "a=b", "['data/x']"]
    words = [f"a.b{number}={value}" for number, value in enumerate(values)]
    assert repr(_nested(words)) == repr(OmegaConf.to_container(OmegaConf.from_dotlist(words)))
    folder = RECIPES.parent / "src/trm_repro/engine/config"
    arch = OmegaConf.to_container(OmegaConf.create({"arch": OmegaConf.load(folder / "arch/trm.yaml")}), resolve=True)
    assert _filled({"arch": _known("arch/trm")}) == arch
    layers = [
        OmegaConf.load(folder / f"{name}.yaml") for name in ("cfg_pretrain", "cfg_pretrain_lora", "cfg_kaggle_lora")
    ]
    del layers[0]["defaults"], layers[1]["defaults"], layers[2]["defaults"]
    assert known_config("config/cfg_kaggle_lora.yaml") == OmegaConf.to_container(OmegaConf.merge(*layers))


def counted(groups, puzzles, examples):
    """The outputs that say how large a dataset is."""
    sizes = {"group_indices": groups + 1, "puzzle_identifiers": puzzles, "inputs": examples}
    return [{"path": f"data/x/train/all__{name}.npy", "rows": rows} for name, rows in sizes.items()]


@pytest.mark.parametrize("name", [name for name in NAMES if read_recipe(RECIPES, name).expected.checkpoints])
def test_the_last_step_is_known_or_follows_from_the_dataset(name):
    recipe = read_recipe(RECIPES, name)
    held = record(name, outputs=counted(1280, 1_191_729, 5_163_277))
    if known := recipe.expected.steps:
        assert step_problems(held, known) == []
        assert step_problems(held, known[:-1]) == [f"step_{known[-1]}: the last one is missing"]
        return
    assert len(step_problems(held, [3])) == 1
    assert "steps fit the dataset and the command" in step_problems(held, [3])[0]


@pytest.mark.parametrize("name", [name for name in NAMES if read_recipe(RECIPES, name).expected.steps])
def test_as_many_steps_are_known_as_there_are_evaluations(name):
    recipe = read_recipe(RECIPES, name)
    plan = settings(recipe.train.config, recipe.train_command(processes=1, run_name="any"))
    assert len(recipe.expected.steps) == plan.epochs // plan.eval_interval


def test_a_batch_of_another_size_is_counted_with_the_schedule_of_upstreams_file():
    held = record("trelis-arc2-small-batch", outputs=counted(1280, 1_191_729, 5_163_277))
    assert (
        step_problems(held, [30_000_000]) == []
    )  # 100,000 epochs × 1280 groups × 4.33 examples / 16, less what is cut off


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("samsung-arc2-")])
def test_another_architecture_is_held_to_its_command_and_to_no_other_architectures_file(name):
    recipe = read_recipe(RECIPES, name)
    expected = expected_config(record(name))
    assert "hidden_size" not in expected.get("arch", {})
    found = {
        **expected,
        "run_name": recipe.run_name,
        "arch": {"name": f"recursive_reasoning.{name}@Model", "H_layers": 8},
    }
    assert config_problems(expected, found) == []
    assert config_problems(expected, {**found, "ema": False}) == ["ema: expected True, found False"]
    assert not is_trm(found["arch"])


def git(folder, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def committed(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "pinned")
    return git(folder, "rev-parse", "HEAD")


def test_the_sources_of_a_submodule_are_pinned_by_upstreams_tree(tmp_path):
    samsung, nvarc = tmp_path / "samsung", tmp_path / "nvarc"
    for folder in (samsung, nvarc):
        folder.mkdir()
        git(folder, "init", "--quiet")
    (samsung / "trm.py").write_text("# the model\n")
    committed(samsung)
    git(nvarc, "submodule", "--quiet", "add", str(samsung), "external/TinyRecursiveModels")
    (nvarc / "pretrain-no-eval.py").write_text("# the script\n")
    commit = committed(nvarc)
    recipe = read_recipe(RECIPES, "nvarc-pretrain")
    recipe = recipe.model_copy(update={"upstream": recipe.upstream.model_copy(update={"commit": commit})})
    folder = nvarc / recipe.train.checkpoints
    folder.mkdir(parents=True)
    place = Place(tmp_path, nvarc, nvarc / recipe.dataset.folder, folder, recipe)
    (folder / "trm.py").write_text("# the model\n")
    assert list(source_problems(place)) == []
    (nvarc / "external/TinyRecursiveModels/trm.py").write_text("# another\n")
    committed(nvarc / "external/TinyRecursiveModels")
    (folder / "trm.py").write_text("# another\n")
    assert list(source_problems(place)) == ["trm.py: not a file of the pinned commit"]
