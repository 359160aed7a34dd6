import re
import shlex
import subprocess
from pathlib import Path

import pytest

from trm_repro.errors import InvariantBroken, UsageError
from trm_repro.provenance.faithful import command_difference
from trm_repro.provenance.names import names
from trm_repro.recipes.bases import list_recipes, recipe_files, top_level
from trm_repro.recipes.catalogue import print_catalogue
from trm_repro.recipes.published import RESULTS
from trm_repro.recipes.read import read_recipe
from trm_repro.recipes.shell import assignments, shell_words

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "base").mkdir()
    for path in recipe_files(RECIPES, "arc2-paper"):
        (tmp_path / path.relative_to(RECIPES)).write_text(path.read_text())
    return tmp_path


def edited(folder, old, new):
    path = folder / "arc2-paper.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("name", list_recipes(RECIPES))
def test_every_recipe_is_valid(name):
    recipe = read_recipe(RECIPES, name)
    assert recipe.task_files or recipe.tasks.repository, "the dataset is made of known files"
    if recipe.dataset.digests:
        assert (RECIPES / recipe.dataset.digests).is_file()


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(UsageError) as caught:
        read_recipe(RECIPES, "arc3")
    assert "arc2-paper" in caught.value.hint


def test_an_unknown_key_is_an_error(folder):
    edited(folder, "faithful: true", "faithful: true\nlearning_rate: 1")
    with pytest.raises(InvariantBroken, match="learning_rate"):
        read_recipe(folder, "arc2-paper")


def test_a_missing_base_is_an_error(folder):
    edited(folder, "base: samsung-arc2", "base: nothing")
    with pytest.raises(InvariantBroken, match="nothing"):
        read_recipe(folder, "arc2-paper")


def test_a_base_of_itself_is_an_error(folder):
    edited(folder, "base: samsung-arc2", "base: ../arc2-paper")
    with pytest.raises(InvariantBroken, match="is based on it"):
        read_recipe(folder, "arc2-paper")


def test_a_broken_reference_is_an_error(folder):
    edited(folder, "publish: upload", "publish: ${nowhere.at_all}")
    with pytest.raises(InvariantBroken, match="nowhere"):
        read_recipe(folder, "arc2-paper")


def test_a_reference_to_anything_but_a_text_is_an_error(folder):
    edited(folder, "publish: upload", "publish: ${dataset.arguments}")
    with pytest.raises(InvariantBroken, match=r"dataset\.arguments.* no text"):
        read_recipe(folder, "arc2-paper")


def test_a_reference_may_lead_to_another_and_never_to_itself(folder):
    edited(folder, "title: TRM on", "title: ${tasks.folder} of ${run_name}, TRM on")
    edited(folder, "publish: upload", "publish: upload\ntasks: {folder: 'for ${run_name}'}")
    named = "trm_arc2_paper_repro"
    assert read_recipe(folder, "arc2-paper").title.startswith(f"for {named} of {named}, TRM on")
    edited(folder, "for ${run_name}", "for ${title}")
    with pytest.raises(InvariantBroken, match="to itself"):
        read_recipe(folder, "arc2-paper")


def test_yaml_merge_keys_are_no_keys_and_days_are_words(folder):
    edited(folder, "run_name: trm_arc2_paper_repro", "run_name: 2026-01-31\nneeds: {<<: {memory: 5}, disk: 6}")
    recipe = read_recipe(folder, "arc2-paper")
    assert (recipe.run_name, recipe.needs.memory, recipe.needs.disk) == ("2026-01-31", 5, 6)


def test_a_key_that_stands_twice_is_an_error(folder):
    edited(folder, "publish: upload", "publish: upload\npublish: package")
    with pytest.raises(InvariantBroken, match="publish stands twice"):
        read_recipe(folder, "arc2-paper")


def test_a_faithful_recipe_adds_no_flag(folder):
    edited(folder, "publish: upload", "publish: upload\ntrain: {scale: [lr=1]}")
    with pytest.raises(InvariantBroken, match=r"no train\.scale"):
        read_recipe(folder, "arc2-paper")


def test_training_on_another_folder_than_the_one_built_is_an_error(folder):
    edited(folder, "publish: upload", "publish: upload\ntrain: {arguments: ['data_paths=[data/other]']}")
    with pytest.raises(InvariantBroken, match=r"dataset\.folder"):
        read_recipe(folder, "arc2-paper")


def test_the_rendering_survives_a_shell_word_for_word():
    recipe = read_recipe(RECIPES, "arc2-paper")
    words = shell_words(recipe, available=8, run_name="a b'c", environ={"EXTRA_TRAIN_ARGS": "lr=1 x=2"})
    text = assignments(words)
    script = text + "printf '%s\\n' \"${TRAIN[@]}\""
    words = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()
    expected = recipe.train_command(processes=8, run_name="a b'c")
    assert words == [*expected, "lr=1", "x=2"]
    assert "8" in expected
    assert "+run_name=a b'c" in expected


def test_the_digest_follows_the_content(folder):
    before = read_recipe(folder, "arc2-paper").sha256
    assert read_recipe(RECIPES, "arc2-paper").sha256 == before
    edited(folder, "publish: upload", "publish: package")
    assert read_recipe(folder, "arc2-paper").sha256 != before


def test_the_fast_builder_takes_the_recipes_arguments_and_needs_digests(folder):
    recipe = read_recipe(RECIPES, "arc2-paper")
    assert recipe.builder_for("exact") == recipe.builder_command
    assert recipe.builder_for("fast") == ["trm-repro", "dataset", "arc", *recipe.dataset.arguments]
    with pytest.raises(UsageError, match="no digests"):
        read_recipe(RECIPES, "arc2-rehearsal").builder_for("fast")


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ("a b", "missing: c"),
        ("a b c d", "added: d"),
        ("a c b", "order"),
        ("a b c c", "order or repetition"),
    ],
)
def test_a_difference_between_commands_is_named(found, line):
    assert line in "\n".join(command_difference(["a", "b", "c"], shlex.split(found)))
    assert command_difference(["a", "b", "c"], ["a", "b", "c"]) == []


def test_subsets_and_task_files_follow_the_builder_command():
    recipe = read_recipe(RECIPES, "arc2-paper")
    assert recipe.subsets == ["training2", "evaluation2", "concept"]
    assert len(recipe.task_files) == 6
    assert len(read_recipe(RECIPES, "arc2-rehearsal").task_files) == 4


def test_no_two_recipes_share_a_run_name():
    names = [read_recipe(RECIPES, name).run_name for name in list_recipes(RECIPES)]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("name", list_recipes(RECIPES))
def test_every_default_name_is_one_that_kaggle_takes(name):
    recipe = read_recipe(RECIPES, name)
    assert names(recipe.run_name, target=recipe.target_dataset)


@pytest.mark.parametrize("name", list_recipes(RECIPES))
def test_what_env_sh_reads_is_what_the_recipe_says(name):
    recipe = read_recipe(RECIPES, name)
    for key in ("target_dataset", "run_name", "trm_dir"):
        assert top_level(RECIPES / f"{name}.yaml", key) == getattr(recipe, key)
    assert top_level(RECIPES / f"{name}.yaml", "max_gpus_to_use") in ("", str(recipe.max_gpus_to_use))


def test_words_that_are_no_yaml_are_an_error(folder):
    edited(folder, "publish: upload", "publish: [upload")
    with pytest.raises(InvariantBroken, match=r"arc2-paper\.yaml"):
        read_recipe(folder, "arc2-paper")


def test_loading_another_checkpoint_than_the_one_fetched_is_an_error(folder):
    edited(
        folder, "publish: upload", "publish: upload\ntrain: {config: a.yaml, arguments: ['+load_checkpoint=x/step_1']}"
    )
    with pytest.raises(InvariantBroken, match="load the checkpoint of weights"):
        read_recipe(folder, "arc2-paper")


def test_a_command_without_data_path_names_the_file_that_has_it(folder):
    edited(folder, "publish: upload", "publish: upload\ntrain: {arguments: [ema=True]}")
    with pytest.raises(InvariantBroken, match=r"train\.config"):
        read_recipe(folder, "arc2-paper")


def test_a_published_number_is_named_in_a_recipe_and_stands_in_one_place(folder):
    paper = read_recipe(RECIPES, "arc2-paper").expected
    assert (paper.value, paper.reference) == (RESULTS["arc2-paper"].value, RESULTS["arc2-paper"].source)
    assert read_recipe(RECIPES, "arc2-h3l6").expected.value is None, "an ablation takes back its base's"
    for path in RECIPES.rglob("*.yaml"):
        assert not re.search(r"^ +(value|reference):", path.read_text(), re.MULTILINE), path
    edited(folder, "published: arc2-paper", "published: arc2-papre")
    with pytest.raises(InvariantBroken, match="no result 'arc2-papre' among arc2-paper"):
        read_recipe(folder, "arc2-paper")
    edited(folder, "published: arc2-papre", "published: [arc2-paper]")
    with pytest.raises(InvariantBroken, match="no result"):
        read_recipe(folder, "arc2-paper")


def test_paths_in_commands_are_relative_to_the_folder_they_run_in():
    recipe = read_recipe(RECIPES, "nvarc-eval-k-10")
    assert recipe.work == "TRM"
    assert recipe.dataset.folder == "TRM/arc-prize-trm-evaluation-data"
    assert recipe.weights.path == "TRM/checkpoint/step_220708"
    assert "data_paths=[arc-prize-trm-evaluation-data]" in recipe.train.arguments
    assert recipe.checkpoint_folder("any") == "TRM/checkpoint-eval"


def test_the_catalogue_says_what_each_recipe_needs_and_yields(capsys):
    print_catalogue(read_recipe(RECIPES, name) for name in list_recipes(RECIPES))
    said = capsys.readouterr().out.splitlines()
    lines = {line.split()[0]: line for line in said if not line.startswith(" ")}
    assert set(list_recipes(RECIPES)) <= set(lines)
    assert max(map(len, said)) <= 80, "a terminal's width"
    assert "    TRM on ARC-AGI-2, as the paper's authors published it" in said
    for part in ("4 × H100", "72", "pass@2 7.80 %"):
        assert part in lines["arc2-paper"]
    assert "no number known" in lines["nvarc-pretrain"]
    assert "CPU" in lines["arc2-rehearsal"]
