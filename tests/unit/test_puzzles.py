"""Sudoku and maze datasets, from CSV files made here; boards are judged by the rules of the game."""

import csv
import json

import numpy as np
import pytest

from trm_repro.arc.grids import dihedral
from trm_repro.arc.soundness import verify
from trm_repro.cli import main
from trm_repro.digests import digest_tree
from trm_repro.errors import InvariantBroken
from trm_repro.puzzles.boards import read_boards
from trm_repro.puzzles.maze import MAZE
from trm_repro.puzzles.sudoku import SUDOKU, _lines, shuffles

COLUMNS = ["source", "question", "answer", "rating"]


def write(path, rows, columns=COLUMNS):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def solved(random):
    """A valid Sudoku as a string."""
    digits = random.permutation(np.arange(1, 10))
    return "".join(str(digits[(row * 3 + row // 3 + column) % 9]) for row in range(9) for column in range(9))


@pytest.fixture
def sudokus(tmp_path):
    folder, random = tmp_path / "sudoku", np.random.RandomState(0)
    folder.mkdir()
    for name, count in (("train", 7), ("test", 3)):
        answers = [solved(random) for _ in range(count)]
        questions = ["".join("." if random.rand() < 0.6 else digit for digit in answer) for answer in answers]
        write(folder / f"{name}.csv", [["s", q, a, i] for i, (q, a) in enumerate(zip(questions, answers, strict=True))])
    return folder


@pytest.fixture
def mazes(tmp_path):
    folder, random = tmp_path / "maze", np.random.RandomState(0)
    folder.mkdir()
    for name, count in (("train", 4), ("test", 2)):
        boards = ["".join(random.choice(list("# SGo"), 900)) for _ in range(count)]
        write(folder / f"{name}.csv", [["s", board.replace("o", " "), board, 0] for board in boards])
    return folder


def build(kind, source, output, *more):
    return main(["dataset", kind, "--source", str(source), "--output-dir", str(output), *more])


def load(output, split):
    return [np.load(output / split / f"all__{name}.npy") for name in ("inputs", "labels", "group_indices")]


def is_solved(board):
    """Every row, column and box has the tokens of 1 to 9."""
    grid = board.reshape(9, 9)
    boxes = grid.reshape(3, 3, 3, 3).transpose(0, 2, 1, 3).reshape(9, 9)
    return all(set(part.tolist()) == set(range(2, 11)) for lines in (grid, grid.T, boxes) for part in lines)


def test_a_plain_sudoku_dataset_is_the_csv(sudokus, tmp_path):
    assert build("sudoku", sudokus, tmp_path / "set") == 0
    inputs, labels, groups = load(tmp_path / "set", "train")
    questions, answers = read_boards(sudokus / "train.csv", SUDOKU)
    assert np.array_equal(inputs, questions)
    assert np.array_equal(labels, answers)
    assert groups.tolist() == list(range(8))
    text = (sudokus / "train.csv").read_text().splitlines()[1].split(",")[1]
    assert inputs[0].tolist() == [1 if cell == "." else int(cell) + 1 for cell in text]
    assert json.loads((tmp_path / "set/train/dataset.json").read_text()) == {
        "pad_id": 0,
        "ignore_label_id": 0,
        "blank_identifier_id": 0,
        "vocab_size": 11,
        "seq_len": 81,
        "num_puzzle_identifiers": 1,
        "total_groups": 7,
        "mean_puzzle_examples": 1.0,
        "total_puzzles": 7,
        "sets": ["all"],
    }
    assert verify(tmp_path / "set") == []


def test_shuffled_boards_are_valid_and_keep_their_clues(sudokus, tmp_path):
    assert build("sudoku", sudokus, tmp_path / "set", "--num-aug", "50") == 0
    inputs, labels, groups = load(tmp_path / "set", "train")
    assert groups.tolist() == list(range(0, 358, 51))
    assert all(is_solved(board) for board in labels)
    clues = inputs != 1
    assert np.array_equal(inputs[clues], labels[clues])
    assert len({board.tobytes() for board in inputs}) > 340
    assert len(load(tmp_path / "set", "test")[0]) == 3
    assert verify(tmp_path / "set") == []


def test_a_shuffle_moves_digits_bands_rows_stacks_and_columns_and_transposes():
    board = np.arange(81, dtype=np.uint8) % 10 + 1
    expand = shuffles(np.random.default_rng(0), 400)
    shown, _ = expand(board, board)
    assert np.array_equal(shown[0], board)
    assert len({row.tobytes() for row in shown}) == 401
    # With the relabelling taken out: which cell of the board each cell shows.
    generator = np.random.default_rng(1)
    cells = np.full(81, 1, np.uint8)
    first_cells = set()
    for place in (0, 1, 9, 80):
        one = cells.copy()
        one[place] = 5
        shown, _ = shuffles(generator, 300)(one, one)
        first_cells |= {int((row != 1).argmax()) for row in shown[1:]}
    assert first_cells == set(range(81)), "any cell may go anywhere"
    row_of_ones = cells.copy()
    row_of_ones[:9] = 7
    shown, _ = shuffles(generator, 400)(row_of_ones, row_of_ones)
    transposed = sum(len(set((np.flatnonzero(row != 1) % 9).tolist())) == 1 for row in shown[1:])
    assert 150 < transposed < 250


def test_bands_and_the_rows_of_each_move_independently():
    lines = _lines(np.random.default_rng(0), 5000)
    assert np.array_equal(np.sort(lines, axis=1), np.tile(np.arange(9), (5000, 1)))
    bands, rows = lines.reshape(-1, 3, 3) // 3, lines.reshape(-1, 3, 3) % 3
    assert (bands == bands[:, :, :1]).all()
    assert len({order.tobytes() for order in bands}) == 6
    assert len({order.tobytes() for order in rows}) == 6**3


def test_digits_are_relabelled_and_empty_cells_stay_empty():
    for token, becomes in ((5, set(range(2, 11))), (1, {1})):
        board = np.full(81, token, np.uint8)
        question, answer = shuffles(np.random.default_rng(0), 300)(board, board)
        assert set(question[1:].ravel().tolist()) == becomes
        assert np.array_equal(question, answer)


def test_the_seed_decides_and_is_written_down(sudokus, tmp_path):
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        assert build("sudoku", sudokus, tmp_path / name, "--num-aug", "3", "--subsample-size", "4", "--seed", seed) == 0
    trees = [digest_tree(tmp_path / name) for name in "abc"]
    assert trees[0] == trees[1]
    assert trees[0]["train/all__inputs.npy"] != trees[2]["train/all__inputs.npy"]
    record = json.loads((tmp_path / "c/build.json").read_text())
    assert (record["seed"], record["subsample_size"], record["variants"]) == (6, 4, 4)
    assert set(record["sha256"]) == {"train.csv", "test.csv"}


def test_drawn_boards_are_distinct_and_from_the_file(sudokus, tmp_path):
    every = {board.tobytes() for board in read_boards(sudokus / "train.csv", SUDOKU)[0]}
    for seed in "0123":
        assert build("sudoku", sudokus, tmp_path / seed, "--subsample-size", "6", "--seed", seed) == 0
        inputs, _, _ = load(tmp_path / seed, "train")
        assert len({board.tobytes() for board in inputs} & every) == 6
    assert build("sudoku", sudokus, tmp_path / "all", "--subsample-size", "500") == 0
    assert len(load(tmp_path / "all", "train")[0]) == 7


def test_easy_boards_can_be_left_out(sudokus, tmp_path, capsys):
    assert build("sudoku", sudokus, tmp_path / "set", "--min-difficulty", "2") == 0
    assert [len(load(tmp_path / "set", split)[0]) for split in ("train", "test")] == [5, 1]
    assert build("sudoku", sudokus, tmp_path / "none", "--min-difficulty", "5") == 4
    assert "test.csv: no boards" in capsys.readouterr().err


def test_mazes_turn_only_when_asked(mazes, tmp_path):
    assert build("maze", mazes, tmp_path / "plain") == 0
    assert build("maze", mazes, tmp_path / "turned", "--aug") == 0
    plain, turned = load(tmp_path / "plain", "train"), load(tmp_path / "turned", "train")
    questions, answers = read_boards(mazes / "train.csv", MAZE)
    assert np.array_equal(plain[0], questions)
    assert np.array_equal(plain[1], answers)
    assert turned[2].tolist() == [0, 8, 16, 24, 32]
    for k in range(8):
        assert np.array_equal(turned[1][8 + k].reshape(30, 30), dihedral(answers[1].reshape(30, 30), k))
    text = (mazes / "train.csv").read_text().splitlines()[1].split(",")[1]
    assert plain[0][0].tolist() == ["?# SGo".index(cell) for cell in text]
    assert verify(tmp_path / "plain") == []
    assert verify(tmp_path / "turned") == []


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (["s", "." * 80, "1" * 81, "0"], "line 2: not 81 cells"),
        (["s", "." * 81, "1" * 80 + "x", "0"], "line 2: not 81 cells out of"),
        (["s", "." * 81, "1" * 81], "line 2: not four columns"),
        (["s", "." * 81, "1" * 81, "hard"], "line 2: not four columns with a whole rating"),
    ],
)
def test_a_bad_board_is_refused_by_line(tmp_path, row, complaint):
    write(tmp_path / "train.csv", [row])
    with pytest.raises(InvariantBroken, match=rf"train\.csv: {complaint}"):
        read_boards(tmp_path / "train.csv", SUDOKU)


def test_bad_sources_leave_nothing(sudokus, tmp_path, capsys):
    write(sudokus / "test.csv", [], ["question", "answer"])
    assert build("sudoku", sudokus, tmp_path / "set") == 4
    assert "columns ['question', 'answer']" in capsys.readouterr().err
    (sudokus / "test.csv").unlink()
    assert build("sudoku", sudokus, tmp_path / "set") == 3
    assert main(["dataset", "sudoku", "--output-dir", str(tmp_path / "set"), "--revision", "main"]) == 2
    assert "must be a full commit, not 'main'" in capsys.readouterr().err
    assert build("sudoku", sudokus, tmp_path / "set", "--num-aug", "-1") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["sudoku"]


def test_the_hub_is_asked_for_that_commit(sudokus, tmp_path, monkeypatch):
    asked = []

    def download(repo, filename, *, repo_type, revision):
        asked.append((repo, filename, repo_type, revision))
        return str(sudokus / filename)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    commit = "0123456789" * 4
    assert main(["dataset", "sudoku", "--output-dir", str(tmp_path / "set"), "--revision", commit]) == 0
    assert asked == [("sapientinc/sudoku-extreme", f"{split}.csv", "dataset", commit) for split in ("train", "test")]
    assert json.loads((tmp_path / "set/build.json").read_text())["revision"] == commit


def test_a_failed_download_is_a_failed_command(tmp_path, monkeypatch, capsys):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def download(*_, **__):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert main(["dataset", "maze", "--output-dir", str(tmp_path / "set"), "--revision", "0" * 40]) == 5
    assert "train.csv could not be downloaded: no network" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
