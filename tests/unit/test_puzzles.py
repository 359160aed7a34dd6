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
        boards = [a_maze(random) for _ in range(count)]
        write(folder / f"{name}.csv", [["s", board.replace("o", " "), board, 0] for board in boards])
    return folder


def a_maze(random, side=30):
    """An answer: a path down a column and along a row, among random walls."""
    board = random.choice(list("# "), (side, side))
    row, column = random.randint(1, side, 2)
    board[: row + 1, column] = board[row, : column + 1] = "o"
    board[0, column], board[row, 0] = "S", "G"
    return "".join(board.ravel())


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


QUESTION = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
TITLES = "source,question,answer,rating"
ROW = f"s,{QUESTION},{ANSWER},12"


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{TITLES}\n{ROW}\n",
        f"{TITLES}\r\n{ROW}\r\n",
        f"{TITLES}\n{ROW}",
        f"id,puzzle,solution,difficulty\n{ROW}\n",
        f'{TITLES}\n"a, b","{QUESTION}","{ANSWER}","12.0"\n',
        f"{TITLES}\ns,{QUESTION.replace('.', '0')},{ANSWER},\n",
    ],
    ids=["BOM", "CRLF", "no end", "other titles", "quotes and 12.0", "zeros and no rating"],
)
def test_a_csv_file_is_read_as_upstreams_builder_reads_it(tmp_path, text):
    (tmp_path / "train.csv").write_bytes(text.encode())
    questions, answers = read_boards(tmp_path / "train.csv", SUDOKU)
    assert questions.tolist() == [[1 if cell == "." else int(cell) + 1 for cell in QUESTION]]
    assert answers.tolist() == [[int(cell) + 1 for cell in ANSWER]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: no titles"),
        (f"{ROW}\n{ROW}\n", "line 1: a board where titles must be"),
        (f"{TITLES}\n", "no boards"),
        (f"{TITLES}\n{ROW}\n\n", "line 3: a blank line, expected source, question, answer, rating"),
        (f",{TITLES}\n0,{ROW}\n", "line 2: 5 columns"),
        (f"{TITLES}\ns,{QUESTION[1:]},{ANSWER},0\n", "line 2: not 81 cells"),
        (f"{TITLES}\n{ROW}\ns,x{QUESTION[1:]},{ANSWER},0\n", "line 3: not 81 cells out of"),
        (f"{TITLES}\n{ROW}\ns,{QUESTION},{ANSWER[:-1]}.,0\n", "line 3: the answer is no solved Sudoku"),
        (f"{TITLES}\n{ROW}\ns,{QUESTION},35{ANSWER[2:]},0\n", "line 3: the answer is no solved Sudoku"),
        (f"{TITLES}\n{ROW}\ns,{ANSWER[:18]}{QUESTION[18:]},{ANSWER[9:18]}{ANSWER[:9]}{ANSWER[18:]},0\n",
         "line 3: the answer is that of another question"),
        (f"{TITLES}\n{'s' * 200_000},{QUESTION},{ANSWER},0\n", "line 2: field larger than"),
        ("\xff".encode("latin1"), "not UTF-8 text"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_boards_is_refused_by_line(tmp_path, text, complaint):
    (tmp_path / "train.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvariantBroken, match=rf"train\.csv: {complaint}"):
        read_boards(tmp_path / "train.csv", SUDOKU)


@pytest.mark.parametrize("rating", ["", "12.0", "hard", "1e1"])
def test_a_rating_must_be_a_whole_number_where_boards_are_left_out_by_it(tmp_path, rating):
    (tmp_path / "train.csv").write_text(f"{TITLES}\ns,{QUESTION},{ANSWER},{rating}\n")
    assert len(read_boards(tmp_path / "train.csv", SUDOKU)[0]) == 1
    with pytest.raises(InvariantBroken, match=f"line 2: rating '{rating}' is not a whole number"):
        read_boards(tmp_path / "train.csv", SUDOKU, min_difficulty=5)


def test_a_hint_tells_of_the_index_that_pandas_writes(tmp_path):
    (tmp_path / "train.csv").write_text(f",{TITLES}\n0,{ROW}\n")
    with pytest.raises(InvariantBroken) as caught:
        read_boards(tmp_path / "train.csv", SUDOKU)
    assert "index=False" in caught.value.hint


SMALL = ("S  #" "## #" "#  #" "#G##", "Soo#" "##o#" "#oo#" "#G##")  # fmt: skip


@pytest.mark.parametrize(
    ("question", "answer", "complaint"),
    [
        (*SMALL, None),
        (SMALL[0].replace("S", " "), SMALL[1].replace("S", "o"), "one S, one G and no o"),
        (SMALL[1], SMALL[1], "one S, one G and no o"),
        (SMALL[0], SMALL[1].replace("#", " ", 1), "not its question with a path"),
        (SMALL[0], SMALL[1].replace("o", "#", 1), "not its question with a path"),
        (SMALL[0], SMALL[0], "does not lead from S to G"),
        (SMALL[0], SMALL[1][:9] + " " + SMALL[1][10:], "does not lead from S to G"),
        ("S   " "####" "    " "##G ", "Soo " "####" " oo " "##G ", "does not lead from S to G"),
    ],
)  # fmt: skip
def test_a_maze_is_a_square_of_any_size_and_its_answer_leads_from_start_to_goal(tmp_path, question, answer, complaint):
    write(tmp_path / "train.csv", [["s", *SMALL, ""], ["s", question, answer, ""]])
    if complaint is None:
        assert read_boards(tmp_path / "train.csv", MAZE)[0].shape == (2, 16)
        return
    with pytest.raises(InvariantBroken, match=rf"train\.csv: line 3: .*{complaint}"):
        read_boards(tmp_path / "train.csv", MAZE)


def test_mazes_of_two_sizes_are_refused(mazes, tmp_path, capsys):
    write(tmp_path / "mixed.csv", [["s", *SMALL, ""], ["s", "S G" * 3, "S G" * 3, ""]])
    with pytest.raises(InvariantBroken, match="line 3: not 16 cells"):
        read_boards(tmp_path / "mixed.csv", MAZE)
    write(mazes / "test.csv", [["s", *SMALL, ""]])
    assert build("maze", mazes, tmp_path / "set") == 4
    assert "test.csv: boards of 16 cells, where train.csv has 900" in capsys.readouterr().err


def test_small_mazes_are_built_turned_checked_told_and_shown(tmp_path, capsys):
    for split in ("train", "test"):
        write(tmp_path / f"{split}.csv", [["s", *SMALL, ""]])
    assert build("maze", tmp_path, tmp_path / "set", "--aug") == 0
    assert load(tmp_path / "set", "train")[0].shape == (8, 16)
    assert verify(tmp_path / "set") == []
    capsys.readouterr()
    assert main(["dataset", "info", str(tmp_path / "set")]) == 0
    said = capsys.readouterr().out
    assert "maze, 4 × 4; tokens 1 to 5 are '#' ' ' 'S' 'G' 'o'" in said and "checkpoints" not in said
    assert main(["dataset", "show", str(tmp_path / "set"), "0", "--output", str(tmp_path / "m.png")]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  board 0, as it is",
        "  board 0, turned a quarter to the left",
        "  board 0, turned by half",
        "  board 0, turned a quarter to the right",
    ]
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


def test_sudokus_are_told_and_shown_and_those_that_are_not_there_refused(sudokus, tmp_path, capsys):
    assert build("sudoku", sudokus, tmp_path / "set", "--num-aug", "2") == 0
    capsys.readouterr()
    assert main(["dataset", "info", str(tmp_path / "set")]) == 0
    assert capsys.readouterr().out.startswith("boards                sudoku, 9 × 9; tokens 1 to 10 are '.0' '1' '2'")
    words = ["dataset", "show", str(tmp_path / "set"), "--output", str(tmp_path / "s.png")]
    assert main([*words, "6"]) == main([*words, "test:2"]) == 0
    assert "board 6, shuffled, 2 of 2" in capsys.readouterr().out
    for absent in ("7", "test:3", "-1", "other:0", "x"):
        assert main([*words, "--", absent]) == 2
        assert f"no board {absent}" in capsys.readouterr().err
    assert main([*words, "0", "--augmentations", "-1"]) == 2
    assert "-1 augmentations" in capsys.readouterr().err
