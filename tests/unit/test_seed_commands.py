"""Every command that a recipe renders is its document's, token by token; each difference is a numbered deviation."""

import re
import shlex
import subprocess
from pathlib import Path
from string import Template

import pytest
import yaml

from trm_repro.provenance.deviations import applying
from trm_repro.recipe import read_recipe
from trm_repro.recipe_files import list_recipes
from trm_repro.recipe_shell import render_shell

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
ARRAYS = {"builder": "BUILDER", "weights": "FETCH_WEIGHTS", "train": "TRAIN"}
COMMANDS = yaml.safe_load((ROOT / "tests/fixtures/seed-commands.yaml").read_text())


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
    assignments = render_shell(
        read_recipe(RECIPES, entry["recipe"]), available=entry.get("gpus", 1), run_name=name, environ={}
    )
    script = f'{assignments}\nprintf "%s\\0" "${{{ARRAYS[entry["command"]]}[@]}}"'
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


def test_every_recipe_of_an_upstream_has_a_transcribed_command():
    transcripts = {entry["recipe"] for entry in COMMANDS if entry["command"] == "train"}
    for name in list_recipes(RECIPES):
        recipe = read_recipe(RECIPES, name)
        if recipe.engine == "upstream" and recipe.faithful:
            assert name in transcripts


def test_every_recipe_names_its_seed_and_paragraph():
    for name in list_recipes(RECIPES):
        recipe = read_recipe(RECIPES, name)
        if recipe.engine == "upstream":
            assert re.match(r"seed 00[0-4][ ,:]", recipe.source), name


def test_the_entries_of_a_recipe_agree_on_the_seed():
    for entry in COMMANDS:
        if entry["document"] != "README":
            assert f"seed {entry['document']}" in read_recipe(RECIPES, entry["recipe"]).source
