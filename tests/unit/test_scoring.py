"""Scoring by vote: upstream's numbers to the last digit, and the written definition on random predictions."""

import hashlib
import json
import math
from collections import defaultdict

import arc_support
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trm_repro.arc import augment
from trm_repro.arc.builder import build
from trm_repro.arc.grids import encode
from trm_repro.arc.score import wilson
from trm_repro.arc.scoring import Votes
from trm_repro.errors import InvariantBroken

DATASETS = {
    "arc2_aug3": "arc2_aug3",
    "ties_arc2": "arc2_aug3",
    "edge_two_passes": "edge_aug50",
    "ties_and_gaps": "edge_aug50",
}


class Recorded:
    """The test split of a golden dataset, built once."""

    def __init__(self, folder):
        test = folder / "test"
        self.inputs = np.load(test / "all__inputs.npy")
        sizes = np.diff(np.load(test / "all__puzzle_indices.npy"))
        self.identifiers = np.repeat(np.load(test / "all__puzzle_identifiers.npy"), sizes)
        self.names = json.loads((folder / "identifiers.json").read_text())
        self.puzzles = json.loads((folder / "test_puzzles.json").read_text())

    def votes(self):
        return Votes(self.puzzles, self.names)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    prefixes = {"arc2_aug3": arc_support.arc_agi_2_prefix(tmp_path_factory), "edge_aug50": arc_support.EDGE}
    found = {}
    for name, prefix in prefixes.items():
        folder = tmp_path_factory.mktemp(name) / "set"
        build(arc_support.options(name, prefix), folder)
        found[name] = Recorded(folder)
    return found


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize("name", DATASETS)
def test_the_scores_after_each_pass_and_the_submission_are_upstreams(splits, name, in_pieces):
    golden = json.loads((arc_support.GOLDEN / f"score/{name}.json").read_text())
    recorded = np.load(arc_support.GOLDEN / f"score/{name}.npz")
    split = splits[DATASETS[name]]
    assert len(split.inputs) == golden["n"]
    votes = split.votes()
    for i, expected in enumerate(golden["results_after_each_pass"]):
        index, preds, q = (recorded[f"pass{i}/{key}"] for key in ("index", "preds", "q"))
        for part in np.array_split(np.arange(len(index)), 5 if in_pieces else 1):
            rows = index[part]
            votes.add(split.identifiers[rows], split.inputs[rows], preds[part], q[part])
        assert {f"ARC/pass@{k}": share for k, share in votes.pass_at_k().items()} == expected
    assert votes.submission() == golden["submission"]
    text = json.dumps(votes.submission())
    assert hashlib.sha256(text.encode()).hexdigest() == golden["submission_sha256"]


def slow_crop(tokens):
    """Upstream's rule, row by row."""
    canvas = tokens.reshape(30, 30)
    filled = (canvas >= 2) & (canvas <= 11)
    best, width = (0, 0), 30
    for row in range(30):
        run = 0
        while run < width and filled[row, run]:
            run += 1
        width = run
        if (row + 1) * width > best[0] * best[1]:
            best = (row + 1, width)
    return canvas[: best[0], : best[1]] - 2


def slow_scores(puzzles, names, rows, ks):
    """The written definition, with SHA-256 keys; [[0]] is no answer."""

    def key(grid):
        return hashlib.sha256(bytes(grid.shape) + np.ascontiguousarray(grid, np.uint8).tobytes()).hexdigest()

    ballots = defaultdict(dict)
    for number, tokens, pred, q in rows:
        if number == 0:
            continue
        task, code = augment.parse(names[number])
        place = ballots[task, key(augment.undo(slow_crop(tokens), code))]
        grid = augment.undo(slow_crop(pred), code)
        votes, total, _ = place.get(key(grid), (0, 0.0, grid))
        place[key(grid)] = (votes + 1, total + 1 / (1 + math.exp(-float(q))), grid)
    shares, submission = dict.fromkeys(ks, 0.0), {}
    known = {task: [pair["output"] != [[0]] for pair in puzzle["test"]] for task, puzzle in puzzles.items()}
    scorable = sum(map(any, known.values()))
    for task, puzzle in puzzles.items():
        submission[task] = []
        for pair in puzzle["test"]:
            found = ballots.get((task, key(np.array(pair["input"], np.uint8))), {})
            ranked = sorted(found, key=lambda grid: (-found[grid][0], -found[grid][1] / found[grid][0]))
            truth = key(np.array(pair["output"], np.uint8))
            for k in ks if pair["output"] != [[0]] else ():
                shares[k] += (truth in ranked[:k]) / sum(known[task]) / scorable
            if ranked:
                best = [found[grid][2].tolist() for grid in [*ranked, ranked[0]][:2]]
                submission[task].append(dict(zip(("attempt_1", "attempt_2"), best, strict=True)))
    return shares if scorable else {}, submission


def little_grid(random, most=4):
    return random.randint(0, 10, random.randint(1, most + 1, 2)).astype(np.uint8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1))
def test_random_predictions_score_as_the_definition_says(seed):
    random = np.random.RandomState(seed)
    puzzles, names = {}, ["<blank>"]
    for task in range(random.randint(1, 4)):
        tests = [{"input": little_grid(random), "output": little_grid(random)} for _ in range(random.randint(1, 4))]
        if random.rand() < 0.3:
            tests.append({"input": tests[0]["input"], "output": little_grid(random)})
        puzzles[f"task{task}"] = {
            "train": [],
            "test": [{side: grid.tolist() for side, grid in pair.items()} for pair in tests],
        }
        codes = [augment.code(random.randint(0, 8), [0, *random.permutation(np.arange(1, 10))]) for _ in range(3)]
        names += [augment.name(f"task{task}", code) for code in (augment.ORIGINAL, *codes)]
    names.append("stranger")
    rows = []
    for _ in range(random.randint(0, 80)):
        number = random.randint(0, len(names))
        task, code = augment.parse(names[number])
        tests = puzzles.get(task, puzzles["task0"])["test"]
        pair = tests[random.randint(0, len(tests))]
        tokens = encode(augment.apply(np.array(pair["input"], np.uint8), code))
        truth = np.array(pair["output"], np.uint8)
        kind = random.rand()
        if kind < 0.4:  # the same wrong grid again and again, so that candidates tie with several votes each
            truth = np.full((1, 1 + random.randint(0, 2)), 5, np.uint8)
        pred = encode(augment.apply(truth, code))
        if 0.3 < kind < 0.4:
            pred[random.randint(0, 130)] = random.randint(0, 12)
        elif 0.4 < kind < 0.5:
            pred = random.randint(0, 12, 900).astype(np.uint8)
        elif 0.5 < kind < 0.55:
            pred = np.full(900, random.randint(0, 12), np.uint8)
        if random.rand() < 0.1:
            tokens = encode(little_grid(random))
        rows.append((number, tokens, pred, np.float32(random.choice([-1, 0, 0.5, random.randn()]))))
    votes = Votes(puzzles, names)
    for part in (rows[:11], rows[11:]):
        if part:
            numbers, tokens, preds, q = (np.array(column) for column in zip(*part, strict=True))
            votes.add(numbers, tokens, preds, q)
    shares, submission = slow_scores(puzzles, names, rows, (1, 2, 5))
    assert votes.pass_at_k((1, 2, 5)) == pytest.approx(shares, abs=1e-12)
    assert votes.submission() == submission
    score = votes.score(shares)
    for k, share in shares.items():
        assert score.per_task[k].share == pytest.approx(share, abs=1e-12)
        marks = [mark for marks in votes.right(k).values() for mark in marks if mark is not None]
        assert (score.per_input[k].right, score.per_input[k].of) == (sum(marks), len(marks))


def test_more_attempts_than_grids_repeat_the_best(splits):
    split = splits["edge_aug50"]
    votes = split.votes()
    votes.add(split.identifiers[:1], split.inputs[:1], split.inputs[:1], np.zeros(1, np.float32))
    (attempts,) = [entry for entries in votes.submission(k=4).values() for entry in entries]
    assert list(attempts) == ["attempt_1", "attempt_2", "attempt_3", "attempt_4"]
    assert len({json.dumps(grid) for grid in attempts.values()}) == 1


def test_nothing_predicted_is_nothing_right(splits):
    votes = splits["edge_aug50"].votes()
    assert set(votes.pass_at_k().values()) == {0.0}
    assert all(entries == [] for entries in votes.submission().values())


def test_predictions_are_refused_that_cannot_be_scored(splits):
    split = splits["edge_aug50"]
    votes, q = split.votes(), np.zeros(1, np.float32)
    for number in (-1, len(split.names)):
        with pytest.raises(InvariantBroken, match=f"identifier {number}: there are {len(split.names)}"):
            votes.add(np.array([number]), split.inputs[:1], split.inputs[:1], q)
    with pytest.raises(InvariantBroken, match="1 of 1 q_halt logits are not numbers"):
        votes.add(split.identifiers[:1], split.inputs[:1], split.inputs[:1], q * np.nan)
    with pytest.raises(InvariantBroken, match="unequal shape"):
        votes.add(split.identifiers[:1], split.inputs[:1], split.inputs[:2], q)
    for name in (
        "t9|||0123456789",
        "t1|||0113456789",
        "t1|||1023456789",
        "t1",
        "t1|||012345678",
        "u1|||0123456789",
        "",
    ):
        votes = Votes(split.puzzles, ["<blank>", f"task|||{name}"])
        with pytest.raises(InvariantBroken, match="not the identifier of an augmented task"):
            votes.add(np.array([1]), split.inputs[:1], split.inputs[:1], q)


def test_padding_is_dropped_whatever_its_number(splits):
    split = splits["edge_aug50"]
    padding = int(split.identifiers[0])
    votes = Votes(split.puzzles, split.names, padding)
    votes.add(split.identifiers[:1], split.inputs[:1], split.inputs[:1], np.zeros(1, np.float32))
    assert not any(votes.submission().values())


def test_memory_holds_distinct_grids_not_predictions(splits):
    split = splits["arc2_aug3"]
    votes, q = split.votes(), np.zeros(len(split.inputs), np.float32)
    for _ in range(20):
        votes.add(split.identifiers, split.inputs, split.inputs, q)
    held = sum(cells.nbytes for _, _, _, cells in votes._grids)
    assert held < len(split.inputs) * 900 / 4
    assert votes._votes[: votes._count].sum() == 20 * len(split.inputs)
    assert len(votes._votes) < 4 * len(split.inputs)


def test_wilson_intervals():
    low, high = wilson(0.08 * 120, 120)  # the specification's example
    assert low == pytest.approx(0.044, abs=5e-4)
    assert high == pytest.approx(0.1426, abs=5e-4)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == pytest.approx(1.0)
    assert wilson(0, 0) == (0.0, 1.0)
    for n in (1, 7, 120):
        for k in range(n + 1):  # the bounds are where the normal test just rejects
            for bound in wilson(k, n):
                if 0 < bound < 1:
                    assert (k / n - bound) ** 2 == pytest.approx(1.96**2 * bound * (1 - bound) / n)
