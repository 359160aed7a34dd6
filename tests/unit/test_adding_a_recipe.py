"""docs/adding-a-recipe.md, followed word by word."""

import re
import shutil
from pathlib import Path

from trm_repro.machine.jobs import job
from trm_repro.recipes.bases import list_recipes
from trm_repro.recipes.catalogue import print_catalogue
from trm_repro.recipes.read import read_recipe
from trm_repro.recipes.schema import Recipe

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "adding-a-recipe.md").read_text()


def followed(tmp_path):
    folder = tmp_path / "recipes"
    shutil.copytree(ROOT / "recipes", folder)
    name = re.search(r"Save it as `recipes/(.+?)\.yaml`", TEXT)[1]
    (folder / f"{name}.yaml").write_text(re.search(r"```yaml\n(.+?)```", TEXT, re.DOTALL)[1])
    return folder, name


def test_the_recipe_of_the_page_is_valid_and_says_what_the_page_says(tmp_path, capsys):
    folder, name = followed(tmp_path)
    recipe = read_recipe(folder, name)
    assert recipe.dataset.arguments[-2:] == ["--num-aug", "333"]
    assert recipe.dataset.program == read_recipe(folder, "arc2-paper").dataset.program
    command = recipe.train_command(processes=4, run_name="r")
    assert "data_paths=[data/arc2concept-aug-333]" in command
    assert command[:3] == ["torchrun", "--nproc-per-node", "4"]
    assert len({read_recipe(folder, other).run_name for other in list_recipes(folder)}) == len(list_recipes(folder))
    print_catalogue([recipe])
    assert "ARC-AGI-2 with 333 augmentations a task" in capsys.readouterr().out


def test_the_pages_commands_exist(tmp_path):
    folder, name = followed(tmp_path)
    words = set(re.findall(r"^make (\w+)|`make (\w+)", TEXT, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    for word in {one or other for one, other in words}:
        assert re.search(rf"^{word}:", makefile, re.MULTILINE), word
    assert "#SBATCH" in job("slurm", read_recipe(folder, name), run_name="r", folder=ROOT / "machines")


def test_the_page_names_every_part_of_a_recipe():
    parts = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    fields = {
        name for name, field in Recipe.model_fields.items() if "trm_repro.recipes.schema" in str(field.annotation)
    }
    assert set(parts) == fields
    for part in parts:
        row = re.search(rf"^\| `{part}` \| (.+) \|$", TEXT, re.MULTILINE)[1]
        annotation = Recipe.model_fields[part].annotation
        model = next(one for one in [annotation, *getattr(annotation, "__args__", ())] if hasattr(one, "model_fields"))
        missing = {key for key in model.model_fields if f"`{key}`" not in row and key not in ("select", "selection")}
        assert not missing, f"{part}: {missing}"
