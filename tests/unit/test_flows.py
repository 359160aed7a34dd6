"""Every kind of flow in the recipes, on the reference engine, from data made here.

The words are the recipes' own: builder arguments to our builders, training arguments to our engine; what makes them small
enough for a test is added behind them.
"""

import contextlib
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_support import run_forked

from trm_repro import cli
from trm_repro.recipes.read import read_recipe
from trm_repro.report.sweep import Sweep, evaluate, markdown
from trm_repro.runs.metrics import evaluations, read_all

RECIPES = Path(__file__).parents[2] / "recipes"
TOY = [
    *("arch.hidden_size=16", "arch.num_heads=2", "arch.expansion=1", "arch.puzzle_emb_len=1", "arch.halt_max_steps=2"),
    *(
        "arch.forward_dtype=float32",
        "global_batch_size=4",
        "epochs=2",
        "eval_interval=1",
        "lr=1e-3",
        "lr_warmup_steps=2",
    ),
    *("arch.H_cycles=1", "arch.L_cycles=1", "++threads=1", "++device=cpu"),
]


def verb(folder, *words):
    """A verb of ours, in a folder."""
    with contextlib.chdir(folder):
        assert cli.main(list(words)) == 0


def task(rng):
    """A task of small grids: the answer is the question with its colours exchanged."""

    def pair():
        grid = rng.integers(1, 5, size=(2, 3))
        return {"input": grid.tolist(), "output": (5 - grid).tolist()}

    return {"train": [pair() for _ in range(3)], "test": [pair()]}


def write_tasks(folder):
    """The seven subsets of upstream's tasks, two tasks each; ``test`` has no solutions."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for subset in ("training", "evaluation", "concept", "training2", "evaluation2", "manual_evaluation", "test"):
        tasks = {f"{subset}{i}": task(rng) for i in range(2)}
        solutions = {name: [pair.pop("output") for pair in t["test"]] for name, t in tasks.items()}
        (folder / f"arc-agi_{subset}_challenges.json").write_text(json.dumps(tasks))
        if subset != "test":
            (folder / f"arc-agi_{subset}_solutions.json").write_text(json.dumps(solutions))


def write_boards(folder, question, answer):
    folder.mkdir()
    for name, count in (("train", 8), ("test", 4)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["source", "question", "answer", "rating"])
            writer.writerows(["made", question, answer, 1] for _ in range(count))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The folder where commands run: tasks and boards in it, nothing built yet."""
    folder = tmp_path_factory.mktemp("work")
    write_tasks(folder / "kaggle" / "combined")
    solved = "".join("".join(str((3 * r + r // 3 + c) % 9 + 1) for c in range(9)) for r in range(9))
    write_boards(folder / "sudoku", "." + solved[1:40] + "." * 20 + solved[60:], solved)
    maze = "S" + " " * 898 + "G"
    write_boards(folder / "maze", maze, "S" + "o" * 898 + "G")
    return folder


def build(work, recipe):
    """Builds the recipe's dataset with the recipe's arguments, unless it is there."""
    if (work / recipe.dataset.folder.removeprefix("TRM/")).exists():
        return
    kind = recipe.target_dataset.rstrip("12")
    toy = {"arc": ["--num-aug", "1"], "sudoku": ["--subsample-size", "4", "--num-aug", "2", "--source", "sudoku"]}
    arguments = [*recipe.dataset.arguments, *toy.get(kind, ["--source", "maze", "--output-dir", recipe.dataset.folder])]
    verb(work, "dataset", kind, *arguments)


def train(work, name, *more):
    """Builds and trains as the recipe says, at toy scale; returns the checkpoint folder."""
    recipe = read_recipe(RECIPES, name)
    build(work, recipe)
    words = [*recipe.train.arguments, *TOY, *more]
    run_forked(work, [word.replace("{run_name}", name) for word in words])
    return work / recipe.checkpoint_folder(name).removeprefix("TRM/")


def steps(folder):
    return sorted(int(path.name[5:]) for path in folder.glob("step_*") if path.is_file())


def weights(folder):
    return torch.load(folder / f"step_{steps(folder)[-1]}", weights_only=True)


def part(state, end):
    return next(value for key, value in state.items() if key.endswith(end))


def check(folder, *, evaluated=2, submission=True, scored=True):
    """What every training leaves: two checkpoints; metrics of each evaluation; a submission, or none, and its score."""
    found = steps(folder)
    assert len(found) == 2
    assert (folder / "all_config.yaml").is_file()
    results = evaluations(read_all(folder / "metrics.jsonl"))
    assert len(results) == evaluated
    assert all(("ARC/pass@2" in entry) == (submission and scored) for entry in results)
    assert all("all.exact_accuracy" in entry for entry in results)
    assert (folder / f"evaluator_ARC_step_{found[-1]}" / "submission.json").is_file() == submission


@pytest.fixture(scope="module")
def pretrained(work):
    """A base checkpoint, where the recipes of LoRA, embeddings and fine-tuning look for theirs."""
    folder = train(work, "arc2-paper")
    for name in ("pretrained/step_723914", "pretrained/step_217602", "checkpoint/step_220708"):
        (work / name).parent.mkdir(exist_ok=True)
        for source, target in ((folder / f"step_{steps(folder)[-1]}", name), (folder / "all_config.yaml", None)):
            place = work / target if target else (work / name).parent / "all_config.yaml"
            place.write_bytes(source.read_bytes())
    return folder


def test_arc2(pretrained):
    check(pretrained)


@pytest.mark.deep
def test_arc1(work):
    folder = train(work, "samsung-arc1")
    check(folder)


@pytest.mark.deep
@pytest.mark.parametrize("name", ["samsung-sudoku-mlp", "samsung-sudoku-att", "samsung-maze"])
def test_puzzles_without_an_arc_evaluator(work, name):
    folder = train(work, name)
    check(folder, submission=False)
    mixes = [key for key in weights(folder) if ".mlp_t." in key]
    assert bool(mixes) == (name == "samsung-sudoku-mlp")


def test_lora_changes_the_adapters_and_not_the_base(work, pretrained):
    folder = train(work, "trelis-lora-manual")
    check(folder)
    before, after = weights(pretrained), weights(folder)
    projection = "L_level.layers.0.self_attn.qkv_proj.weight"
    assert torch.equal(part(before, projection), part(after, projection))
    assert part(after, "qkv_proj._lora_B").any()
    assert not torch.equal(part(before, "embed_tokens.embedding_weight"), part(after, "embed_tokens.embedding_weight"))


@pytest.mark.deep
def test_lora_on_a_test_set_without_solutions_leaves_a_submission(work, pretrained):
    folder = train(work, "trelis-lora-kaggle")
    check(folder, scored=False)
    submission = json.loads((folder / f"evaluator_ARC_step_{steps(folder)[-1]}" / "submission.json").read_text())
    assert sorted(submission) == ["test0", "test1"]


@pytest.mark.deep
def test_embedding_post_training_changes_nothing_but_the_puzzle_vectors(work, pretrained):
    folder = train(work, "trelis-embeddings")
    check(folder)
    before, after = weights(pretrained), weights(folder)
    changed = {key.split("model.inner.")[1] for key in after if not torch.equal(before[key], after[key])}
    assert changed == {"puzzle_emb.weights"}


@pytest.fixture(scope="module")
def nvarc(work):
    """NVARC's two data folders, which its recipes download."""
    for recipe, source in (("nvarc-pretrain", "arc2-paper"), ("nvarc-eval-k-10", "trelis-lora-eval2")):
        built = read_recipe(RECIPES, source)
        build(work, built)
        place = work / Path(read_recipe(RECIPES, recipe).dataset.folder).name
        place.symlink_to(work / built.dataset.folder)


@pytest.mark.deep
def test_pretraining_without_evaluation(work, nvarc):
    train(work, "nvarc-pretrain", "++evaluate=False", "+run_name=unused", "++checkpoint_path=./checkpoint-own")
    check(work / "checkpoint-own", evaluated=0, submission=False)


@pytest.mark.deep
def test_fine_tuning_and_then_evaluation_with_ten_attempts(work, pretrained, nvarc):
    ten = "evaluators=[{name: arc@ARC, submission_K: 10}]"
    folder = train(work, "nvarc-eval-k-10", ten, "++puzzle_emb_reinit_strategy=mean")
    check(folder)
    submission = json.loads((folder / f"evaluator_ARC_step_{steps(folder)[-1]}" / "submission.json").read_text())
    attempts = next(iter(submission.values()))[0]
    assert list(attempts) == [f"attempt_{i}" for i in range(1, 11)]


def test_evaluation_alone(work, pretrained):
    checkpoint = pretrained / f"step_{steps(pretrained)[-1]}"
    dataset = read_recipe(RECIPES, "arc2-paper").dataset.folder
    words = ["--checkpoint", str(checkpoint), "--dataset", dataset, "--one-batch", "--batch-size", "4"]
    verb(work, "evaluate", *words)
    report = json.loads((work / "evaluation" / "evaluation.json").read_text())
    assert report["one_batch"] and report["checkpoints"][0]["examples"] == 4
    assert 0 <= report["checkpoints"][0]["vote"]["scores"]["pass@2 per task"]["share"] <= 1


@pytest.mark.deep
def test_a_sweep_evaluates_checkpoints_with_other_cycles_once(work, pretrained, tmp_path):
    recipe = read_recipe(RECIPES, "arc2-paper")
    (tmp_path / "recipes").symlink_to(RECIPES)
    (tmp_path / recipe.trm_dir).parent.mkdir()
    (tmp_path / recipe.trm_dir).symlink_to(work)
    artifacts = tmp_path / "artifacts" / recipe.run_name
    artifacts.mkdir(parents=True)
    outputs = [
        {"role": role, "path": f"$TRM_DIR/{path.relative_to(work)}", "sha256": role}
        for role, path in (
            ("final-checkpoint", pretrained / f"step_{steps(pretrained)[-1]}"),
            ("config", pretrained / "all_config.yaml"),
        )
    ]
    metrics = {"step": steps(pretrained)[-1], "ARC/pass@2": 0.0}
    (artifacts / "manifest.json").write_text(json.dumps({"outputs": outputs, "metrics": metrics, "faithful": True}))
    (artifacts / "verdict.json").write_text(json.dumps({"evaluations": []}))
    sweep = Sweep(title="t", source="s", recipes=["arc2-paper"], evaluations=[["H_cycles=2", "L_cycles=1"]])
    evaluate(sweep, tmp_path)
    (folder,) = (artifacts / "evaluations").iterdir()
    made = (folder / "evaluation.json").stat().st_mtime_ns
    evaluate(sweep, tmp_path)
    assert (folder / "evaluation.json").stat().st_mtime_ns == made
    assert "| H_cycles=2 L_cycles=1 | – | 1 | " in markdown(sweep, tmp_path)
