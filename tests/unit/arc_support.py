"""What the tests of the ARC room share: the golden files, ARC-AGI-2's task files, and a slow dataset builder."""

import json
from pathlib import Path

import numpy as np

from trm_repro.arc.builder import Options
from trm_repro.arc.tasks import write_arc_agi_2

GOLDEN = Path(__file__).parents[1] / "golden"
EDGE = str(GOLDEN / "dataset/edge/arc-agi")
UPSTREAMS_FILES = Path(__file__).parents[3] / "shared/data/arc"  # outside the project; what needs it skips without
CASES = json.loads((GOLDEN / "dataset/digests.json").read_text())


def arc_agi_2_prefix(tmp_path_factory):
    """Where ARC-AGI-2's task files lie: written once a test session, also with several workers."""
    folder = tmp_path_factory.getbasetemp() / "arc-agi-2"
    if not folder.exists():
        write_arc_agi_2(folder)
    return str(folder / "arc-agi")


def options(name, prefix, first_split="train"):
    """The options of a golden case."""
    case = CASES[name]
    return Options(
        prefix, tuple(case["subsets"]), (case["test_set_name"],), case["num_aug"], case["seed"], first_split=first_split
    )


def slow_build(options):
    """The dataset's arrays by upstream's documented procedure, in plain Python with NumPy's global generator."""
    random = np.random.RandomState(options.seed)
    splits = {options.first_split: None} if options.subsets[0] in options.test_set_names else {}
    tasks = []

    def turned(grid, k, colours):
        grid = colours[np.array(grid)]
        turns = [
            lambda g: g,
            lambda g: np.rot90(g, 1),
            lambda g: np.rot90(g, 2),
            lambda g: np.rot90(g, 3),
            np.fliplr,
            np.flipud,
            np.transpose,
            lambda g: np.fliplr(np.rot90(g)),
        ]
        return turns[k](grid)

    for subset in options.subsets:
        challenges = json.loads(Path(f"{options.input_file_prefix}_{subset}_challenges.json").read_text())
        solutions = json.loads(Path(f"{options.input_file_prefix}_{subset}_solutions.json").read_text())
        items = list(challenges.items())
        random.shuffle(items)
        for name, puzzle in items:
            examples = []
            for role, pairs in puzzle.items():
                split = "test" if role == "test" and subset in options.test_set_names else "train"
                splits.setdefault(split, None)
                for i, pair in enumerate(pairs):
                    output = solutions[name][i] if role == "test" else pair["output"]
                    examples.append((split, pair["input"], output))
            found, seen, trials = [], set(), -1
            while len(found) <= options.num_aug and trials < 5 * options.num_aug:
                k, colours, label = 0, np.arange(10), name
                if trials >= 0:
                    k = random.randint(0, 8)
                    colours = np.concatenate([[0], random.permutation(np.arange(1, 10, dtype=np.uint8))])
                    label = f"{name}|||t{k}|||{''.join(map(str, colours))}"
                trials += 1
                pairs = [(split, turned(a, k, colours), turned(b, k, colours)) for split, a, b in examples]
                key = str(sorted((a.tolist(), b.tolist()) for _, a, b in pairs))
                if key not in seen:
                    seen.add(key)
                    found.append((label, pairs))
            tasks.append(found)

    names = ["<blank>"]
    result = {}
    for split in splits:
        inputs, labels, numbers, ends, groups = [], [], [], [0], [0]
        for found in tasks:
            here = [(label, [pair[1:] for pair in pairs if pair[0] == split]) for label, pairs in found]
            if not here[0][1]:
                continue
            for label, pairs in here:
                if label not in names:
                    names.append(label)
                numbers.append(names.index(label))
                stays = random.randint(0, len(pairs))
                for i, (a, b) in enumerate(pairs):
                    row = column = 0
                    if split == "train" and i != stays:
                        row = random.randint(0, 30 - max(a.shape[0], b.shape[0]) + 1)
                        column = random.randint(0, 30 - max(a.shape[1], b.shape[1]) + 1)
                    for grid, rows in ((a, inputs), (b, labels)):
                        canvas = np.zeros((32, 32), np.uint8)
                        canvas[row : row + grid.shape[0], column : column + grid.shape[1]] = grid + 2
                        canvas[row + grid.shape[0], column : column + grid.shape[1]] = 1
                        canvas[row : row + grid.shape[0], column + grid.shape[1]] = 1
                        rows.append(canvas[:30, :30].ravel())
                ends.append(len(inputs))
            groups.append(len(numbers))
        result[split] = [np.array(part) for part in (inputs, labels, numbers, ends, groups)]
    return names, result
