"""Every command that a recipe renders is its document's, token by token; each difference is a numbered deviation."""

import re
import shlex
import subprocess
from pathlib import Path
from string import Template

import pytest
import yaml

from trm_repro.provenance.deviations import applying
from trm_repro.recipes.bases import list_recipes
from trm_repro.recipes.checkpoints import DEVIATION, L_CYCLES
from trm_repro.recipes.read import read_recipe
from trm_repro.recipes.shell import assignments, shell_words

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
ARRAYS = {"builder": "BUILDER", "weights": "FETCH_WEIGHTS", "train": "TRAIN"}
ENTRIES = yaml.safe_load((ROOT / "tests/fixtures/seed-commands.yaml").read_text())
COMMANDS = [entry for entry in ENTRIES if "recipe" in entry]


def transcribed(entry):
    """The words of the document's command."""
    return shlex.split(Template(entry["text"].replace("\\\n", " ")).substitute(entry.get("with", {})))


def without(words, removed):
    """The words without some of them; each removed word must be there exactly once."""
    for word in removed:
        assert words.count(word) == 1, f"{word} stands {words.count(word)} times in {shlex.join(words)}"
    return [word for word in words if word not in removed]


def rendered(entry):
    """The words that a step gets, through a real shell."""
    given = entry.get("with", {})
    name = given.get("RUN_NAME") or given.get("run_name") or "a_name"
    words = shell_words(
        read_recipe(RECIPES, entry["recipe"]), available=entry.get("gpus", 1), run_name=name, environ={}
    )
    script = f'{assignments(words)}\nprintf "%s\\0" "${{{ARRAYS[entry["command"]]}[@]}}"'
    out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    return out.split("\0")[:-1]


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: f"{entry['recipe']}-{entry['command']}")
def test_the_rendered_command_is_the_documents(entry):
    differences = entry.get("differences", {}).values()
    expected = without(transcribed(entry), [word for each in differences for word in each.get("missing", [])])
    found = without(rendered(entry), [word for each in differences for word in each.get("added", [])])
    assert found == expected


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: f"{entry['recipe']}-{entry['command']}")
def test_each_difference_is_a_deviation_of_the_recipes_runs(entry):
    known = {
        deviation["id"] for deviation in applying(read_recipe(RECIPES, entry["recipe"]), ROOT / "docs/deviations.md")
    }
    assert set(entry.get("differences", {})) <= known


@pytest.mark.parametrize("name", list_recipes(RECIPES))
def test_every_command_of_a_faithful_recipe_is_compared(name):
    recipe = read_recipe(RECIPES, name)
    compared = {entry["command"] for entry in COMMANDS if entry["recipe"] == name}
    if recipe.faithful:
        assert compared == {"builder", "train", *(["weights"] if recipe.weights else [])}


@pytest.mark.parametrize(
    "entry", [entry for entry in ENTRIES if "recipe" not in entry], ids=lambda entry: entry["text"][:40]
)
def test_a_command_that_no_recipe_runs_is_a_deviation_of_its_documents_runs(entry):
    family = {"000": "samsung", "001": "trelis", "002": "nvarc", "003": "samsung", "004": "alphaxiv"}[entry["document"]]
    recipes = [recipe for name in list_recipes(RECIPES) if (recipe := read_recipe(RECIPES, name)).upstream]
    known = [
        {deviation["id"] for deviation in applying(recipe, ROOT / "docs/deviations.md")}
        for recipe in recipes
        if recipe.upstream.name == family
    ]
    assert any(entry["instead"] in numbers for numbers in known)


@pytest.mark.parametrize("name", list_recipes(RECIPES))
def test_what_computes_with_other_cycles_than_its_weights_warns_and_nothing_else_does(name):
    recipe = read_recipe(RECIPES, name)
    known = {deviation["id"] for deviation in applying(recipe, ROOT / "docs/deviations.md")}
    said = shell_words(recipe, available=4, run_name="x", environ={})["RECIPE_WARNING"]
    assert bool(said) == (DEVIATION in known)
    assert not said or (f"{DEVIATION}: " in said and "trained with L_cycles 4" in said and "with L_cycles 6" in said)


def test_cycles_that_nobody_names_are_upstreams():
    assert yaml.safe_load((ROOT / "src/trm_repro/engine/config/arch/trm.yaml").read_text())["L_cycles"] == L_CYCLES


def test_hydra_refuses_the_seeds_resume_and_takes_ours():
    """Seed 003's ``load_checkpoint=`` names a key that upstream's file does not have; the engine's file is like upstream's."""
    from hydra import compose, initialize_config_dir
    from hydra.errors import ConfigCompositionException

    with initialize_config_dir(str(ROOT / "src/trm_repro/engine/config"), version_base=None):
        with pytest.raises(ConfigCompositionException, match="load_checkpoint"):
            compose("cfg_pretrain", overrides=["load_checkpoint=checkpoints/my_project/my_run/step_10000"])
        assert compose("cfg_pretrain", overrides=["++load_checkpoint=step_10000"]).load_checkpoint == "step_10000"


def test_every_recipe_names_its_seed_and_paragraph():
    for name in list_recipes(RECIPES):
        recipe = read_recipe(RECIPES, name)
        if recipe.engine == "upstream":
            assert re.match(r"seed 00[0-4][ ,:]", recipe.source), name


def test_the_entries_of_a_recipe_agree_on_the_seed():
    for entry in COMMANDS:
        if entry["document"] != "README":
            assert f"seed {entry['document']}" in read_recipe(RECIPES, entry["recipe"]).source
