"""Verifying, describing and drawing datasets: a verifier is worth what it finds."""

import json
import re
import shutil

import arc_support
import numpy as np
import pytest

from trm_repro.arc.builder import build
from trm_repro.arc.grids import encode
from trm_repro.arc.layout import digests, read_split
from trm_repro.arc.picture import variants
from trm_repro.arc.soundness import _first_bad_canvas, verify
from trm_repro.cli import main
from trm_repro.runs import schedule
from trm_repro.runs.packing import checkpoint_steps


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "set"
    build(arc_support.options("edge_aug8", arc_support.EDGE), folder)
    return folder


@pytest.fixture
def dataset(built, tmp_path):
    shutil.copytree(built, tmp_path / "set")
    return tmp_path / "set"


def test_what_was_built_is_sound(dataset):
    assert verify(dataset) == []
    assert verify(dataset, digests(dataset)) == []


def test_digests_have_bytes_and_rows(dataset):
    facts = digests(dataset)
    assert len(facts) == 14
    assert facts["train/all__inputs.npy"]["rows"] == 335
    assert facts["train/all__inputs.npy"]["bytes"] == 128 + 335 * 900
    assert "rows" not in facts["identifiers.json"]


def test_moving_the_folder_changes_nothing(dataset, tmp_path):
    expected = digests(dataset)
    dataset.rename(tmp_path / "elsewhere")
    assert verify(tmp_path / "elsewhere", expected) == []


@pytest.mark.parametrize("path", sorted(arc_support.CASES["edge_aug8"]["variants"][0]["files"]))
def test_any_changed_byte_is_found_and_named(dataset, path):
    expected = digests(dataset)
    content = bytearray((dataset / path).read_bytes())
    content[-1] ^= 1
    (dataset / path).write_bytes(content)
    lines = verify(dataset, expected)
    assert lines[0].startswith(f"different: {path}: expected sha256 {expected[path]['sha256']}")
    assert digests(dataset)[path]["sha256"] in lines[0]
    assert not any(line.startswith("different") for line in lines[1:])


@pytest.mark.parametrize("path", sorted(arc_support.CASES["edge_aug8"]["variants"][0]["files"]))
def test_any_missing_file_is_found_with_and_without_digests(dataset, path):
    expected = digests(dataset)
    (dataset / path).unlink()
    assert f"missing: {path}" in verify(dataset, expected)
    assert any(path.split("/")[-1] in line for line in verify(dataset))


def test_extra_files_and_other_rows_are_named(dataset):
    expected = digests(dataset)
    (dataset / "train/more.npy").write_bytes(b"x")
    expected["train/all__inputs.npy"]["rows"] = 334
    assert verify(dataset, expected)[:2] == [
        "extra: train/more.npy",
        "different: train/all__inputs.npy: expected 334 rows, found 335",
    ]


def change_array(path, change):
    array = np.load(path)
    change(array)
    np.save(path, array)


def change_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def put(place, value):
    return lambda thing: thing.__setitem__(place, value)


DAMAGES = [
    ("train/all__puzzle_indices.npy", put(0, 1), "train/all__puzzle_indices.npy: does not begin with 0"),
    (
        "train/all__puzzle_indices.npy",
        put(-1, 334),
        "train/all__puzzle_indices.npy: ends at 334, but there are 335 examples",
    ),
    ("train/all__puzzle_indices.npy", put(5, 0), "train/all__puzzle_indices.npy: not ascending after 4"),
    ("test/all__group_indices.npy", put(-1, 99), "test/all__group_indices.npy: ends at 99"),
    ("test/all__puzzle_identifiers.npy", put(0, 9999), "test/all__puzzle_identifiers.npy: .*outside 0..127"),
    ("test/all__puzzle_identifiers.npy", put(0, -1), "test/all__puzzle_identifiers.npy: -1.*outside"),
    ("test/all__puzzle_identifiers.npy", put(3, 1), "test: puzzle 3, .* is not a variant of its group's task"),
    ("test/all__puzzle_identifiers.npy", put(0, 1), "test: task .* is not in test_puzzles.json"),
    ("train/all__inputs.npy", put((7, 899), 12), "train/all__inputs.npy: example 7: not a grid on a canvas"),
    ("train/all__labels.npy", put(9, 0), "train/all__labels.npy: example 9: not a grid on a canvas"),
    ("test/all__labels.npy", lambda array: put(0, array[-1])(array), "test: task .*: output 0 is not that"),
    ("train/dataset.json", put("total_puzzles", 5), "train/dataset.json: total_puzzles is 5"),
    ("train/dataset.json", put("num_puzzle_identifiers", 5), "train/dataset.json: num_puzzle_identifiers is 5"),
    ("test/dataset.json", put("mean_puzzle_examples", 1.0), "test/dataset.json: mean_puzzle_examples is 1.0"),
    ("identifiers.json", put(0, "blank"), 'the first is not "<blank>"'),
    ("identifiers.json", put(2, "one_by_one"), "names occur twice"),
    ("identifiers.json", put(3, 5), "not a list of names"),
    ("test_puzzles.json", put("ghost", {"train": [], "test": []}), "task ghost is not in the test split"),
    ("test_puzzles.json", put("eval_full30", 7), "not a JSON object of tasks"),
    ("test_puzzles.json", put("eval_full30", {"test": [{}]}), "test_puzzles.json: eval_full30: a grid must be"),
    ("test_puzzles.json", lambda puzzles: puzzles["eval_full30"]["test"].pop(), "task eval_full30 has 1 examples"),
]


@pytest.mark.parametrize(("path", "damage", "complaint"), DAMAGES)
def test_what_cannot_be_true_is_found_without_digests(dataset, path, damage, complaint, capsys):
    change = change_array if path.endswith(".npy") else change_json
    change(dataset / path, damage)
    lines = verify(dataset)
    assert any(re.search(complaint, line) for line in lines), lines
    assert main(["dataset", "verify", str(dataset)]) == 1
    assert complaint.split(".*")[-1] in capsys.readouterr().out


def test_a_cut_off_array_is_found(dataset):
    path = dataset / "train/all__inputs.npy"
    path.write_bytes(path.read_bytes()[:-900])
    assert any("train/all__inputs.npy: not a complete array" in line for line in verify(dataset))


def test_a_canvas_is_checked_token_by_token(built):
    canvases = np.load(built / "train/all__inputs.npy")[:60]
    assert _first_bad_canvas(canvases) == 60
    random = np.random.RandomState(0)
    missed = 0
    for _ in range(300):
        changed = canvases.copy()
        row, place = random.randint(0, 60), random.randint(0, 900)
        old = changed[row, place]
        changed[row, place] = random.choice([token for token in range(13) if token != old])
        colours = old >= 2 and 2 <= changed[row, place] <= 11  # another grid, a legal one
        one_cell_wide = (canvases[row] >= 2).sum() <= 30  # may lose or win a whole side with one token
        missed += _first_bad_canvas(changed) != row and not colours and not one_cell_wide
    assert missed == 0


@pytest.mark.parametrize(("place", "token"), [(31, 12), (31, 1), (31, 0), (3, 2), (3, 0), (90, 2), (90, 0), (899, 1)])
def test_a_wrong_token_in_a_grid_or_its_end_is_found(place, token):
    canvas = encode(np.full((3, 3), 4, np.uint8))[None]
    assert _first_bad_canvas(canvas) == 1
    canvas[0, place] = token
    assert _first_bad_canvas(canvas) == 0


def test_the_verb_says_what_it_found(dataset, tmp_path, capsys):
    assert main(["dataset", "digests", str(dataset)]) == 0
    (tmp_path / "digests.json").write_text(capsys.readouterr().out)
    command = ["dataset", "verify", str(dataset), "--digests", str(tmp_path / "digests.json")]
    command += ["--cache", str(tmp_path / "cache.json")]
    assert main(command) == 0
    assert (tmp_path / "cache.json").exists()
    assert "14 files" in capsys.readouterr().out
    (dataset / "identifiers.json").unlink()
    assert main(command) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "missing: identifiers.json"
    assert main(["dataset", "verify", str(tmp_path / "none")]) == 3
    for other in ("null", "3", "[]", '{"a": null}', '{"a": {"train": []}}', '{"a": {"sha256": 3, "bytes": 1}}'):
        (tmp_path / "digests.json").write_text(other)
        assert main(command) == 4
        assert "digests.json: not digests of a dataset" in capsys.readouterr().err


def test_info_tells_what_training_comes_to(dataset, capsys):
    assert main(["dataset", "info", str(dataset)]) == 0
    out = capsys.readouterr().out
    assert "15 groups, 127 puzzles, 335 examples of 900 tokens" in out
    assert f"{27_318_280 + 2048 * 128:,} bytes" in out


def test_info_takes_the_schedule_of_a_recipe_and_of_the_file_that_it_names(dataset, capsys):
    assert main(["dataset", "info", str(dataset), "--recipe", "trelis-lora-manual"]) == 0
    assert "5,000 epochs, batches of 96, an evaluation every 1,000 epochs" in capsys.readouterr().out
    assert main(["dataset", "info", str(dataset), "--recipe", "alphaxiv-eval-arc1"]) == 0
    assert "epochs" not in capsys.readouterr().out, "an evaluation trains nothing"


def test_info_of_a_dataset_whose_steps_cannot_be_told(dataset, capsys):
    path = dataset / "train" / "all__puzzle_indices.npy"
    indices = np.load(path)
    indices[1] += 1
    np.save(path, indices)
    assert main(["dataset", "info", str(dataset)]) == 0
    assert "10, of numbers that cannot be told beforehand" in capsys.readouterr().out


def test_the_steps_are_those_of_the_batches_packed_one_by_one(built):
    split = read_split(built, "train")
    settings = schedule.Settings(epochs=30, eval_interval=10, global_batch_size=7, seed=3)
    sizes = np.diff(split.puzzle_indices)
    steps, done = [], 0
    for iteration in (1, 2, 3):
        generator = np.random.Generator(np.random.Philox(seed=3 + iteration))
        order = np.concatenate([generator.permutation(len(split.group_indices) - 1) for _ in range(10)])
        room = 7
        for group in order:
            puzzle = generator.integers(split.group_indices[group], split.group_indices[group + 1])
            room -= min(room, sizes[puzzle])
            if room == 0:
                done, room = done + 1, 7
        steps.append(done)
    assert checkpoint_steps(split, settings) == steps


def test_checkpoint_sizes_are_those_seen():
    assert schedule.checkpoint_bytes(1_191_730, 12, schedule.Settings()) == 2_467_981_320
    assert schedule.checkpoint_bytes(1, 11, schedule.Settings()) == 27_316_232  # Sudoku, attention
    assert schedule.checkpoint_bytes(1, 6, schedule.Settings()) == 27_295_752  # Maze


def test_settings_come_from_a_command_line():
    words = [
        "arch=trm",
        "epochs=20",
        "+arch.hidden_size=64",
        "arch.forward_dtype=float32",
        "lr=1e-3",
        "global_batch_size=16",
    ]
    settings = schedule.Settings.from_overrides(words)
    assert settings == schedule.Settings(epochs=20, hidden_size=64, forward_dtype="float32", global_batch_size=16)


def test_a_picture_shows_the_task_and_its_variants_and_says_what_they_are(dataset, tmp_path, capsys):
    found = variants(dataset, "eval_full30", 2)
    assert len(found) == 3
    assert next(iter(found)) == "eval_full30"
    puzzle = json.loads((dataset / "test_puzzles.json").read_text())["eval_full30"]
    expected = {(role, str(pair["input"]), str(pair["output"])) for role in ("train", "test") for pair in puzzle[role]}
    assert {(split, str(a.tolist()), str(b.tolist())) for split, a, b in found["eval_full30"]} == expected
    output = tmp_path / "picture.png"
    assert main(["dataset", "show", str(dataset), "eval_full30", "--output", str(output)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [str(output), "  eval_full30, as it is"]
    assert len(said) == 5 and all(" → " in line and "|||" not in line for line in said[2:])
    assert output.read_bytes().startswith(b"\x89PNG")
    assert main(["dataset", "show", str(dataset), "nosuchtask", "--output", str(output)]) == 2


def test_a_folder_that_is_no_dataset_is_refused_in_words(dataset, tmp_path, capsys):
    (tmp_path / "train").mkdir()
    for text in ('{"seq_len": 900}', "[]", "{"):
        shutil.copytree(dataset / "train", tmp_path / "train", dirs_exist_ok=True)
        (tmp_path / "train/dataset.json").write_text(text)
        for words in (["info"], ["show"], ["verify"]):
            code = main(["dataset", *words, str(tmp_path), *(["x"] if words == ["show"] else [])])
            assert code in (1, 2, 3, 4), (text, words)
    assert main(["dataset", "info", str(tmp_path.parent)]) == 3
    assert "no dataset: it has no train and no test in it" in capsys.readouterr().err
    shutil.copytree(dataset, tmp_path / "x")
    (tmp_path / "x/identifiers.json").write_text("[1]")
    assert main(["dataset", "show", str(tmp_path / "x"), "1"]) == 4
    assert "not a list of names" in capsys.readouterr().err


def test_info_says_how_many_answers_are_known(dataset, tmp_path, capsys):
    shutil.copytree(dataset, tmp_path / "x")
    puzzles = json.loads((dataset / "test_puzzles.json").read_text())
    for puzzle in puzzles.values():
        for pair in puzzle["test"]:
            pair["output"] = [[0]]
    tests = sum(len(puzzle["test"]) for puzzle in puzzles.values())
    (tmp_path / "x/test_puzzles.json").write_text(json.dumps(puzzles))
    assert main(["dataset", "info", str(tmp_path / "x")]) == 0
    assert f"known answers         0 of {tests} test inputs: nothing to score" in capsys.readouterr().out
