"""Diagnoses, from the words that PyTorch, Triton, NCCL, wandb, Hydra, Slurm and the system leave (tests/fixtures/endings)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from trm_repro.runs.records import PASSING
from trm_repro.training.causes import ALARMS, CAUSES, ENDED, SYMPTOM, as_markdown
from trm_repro.training.diagnosis import Diagnosis, alarmed, diagnose

ROOT = Path(__file__).parents[2]
TABLES = ("written", "held-out", "near-misses")
RANK = {cause.name: cause.rank for cause in CAUSES}

HYDRA = """\
Error executing job with overrides: ['arch=trm', 'data_paths=[data/arc2concept-aug-1000]', 'ema=True']
Traceback (most recent call last):
  File "/w/TinyRecursiveModels/pretrain.py", line 610, in launch
    metrics = train_batch(config, train_state, batch, global_batch_size, rank=RANK, world_size=WORLD_SIZE)
"""
TORCHRUN = """\
E0226 10:31:08.101000 4100 torch/elastic/api.py:882] failed (exitcode: {0}) local_rank: 2 (pid: 42) of binary: /w/python
Traceback (most recent call last):
  File "/w/.venv/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
pretrain.py FAILED
------------------------------------------------------------
Failures:
[1]:
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 40)
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-02-26_10:31:06
  rank      : 2 (local_rank: 2)
  exitcode  : {0} (pid: 42)
  traceback : {1}
============================================================
"""
PEER = """\
[rank{0}]: Traceback (most recent call last):
[rank{0}]:   File "/w/TinyRecursiveModels/pretrain.py", line 331, in train_batch
[rank{0}]:     dist.all_reduce(param.grad)
[rank{0}]: torch.distributed.DistBackendError: NCCL error in: x.cpp:3690, remote process exited or there was a network error
[rank{0}]: ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.
[rank{0}]: Last error:
[rank{0}]: socketProgress: Connection closed by remote peer node<50260>
"""
BAR = "\r  6%|▌         | 43001/723914 [3:28:43<94:39:17,  2.37it/s]"
HANDLED = """\
WARNING: the sample pictures could not be written, will try again
Traceback (most recent call last):
  File "/w/pics.py", line 4, in save
    f.write(x)
OSError: [Errno 28] No space left on device
step 1000 loss 0.51
TRAIN
"""


def torchrun(match: re.Match[str]) -> str:
    code, name = match.groups()
    enable = "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html"
    return TORCHRUN.format(code, f"Signal {code[1:]} ({name}) received by PID 42" if name else enable)


def written_out(text: str) -> str:
    """A text of a table, with what its marks stand for."""
    text = text.replace("<hydra>\n", HYDRA).replace(
        "</hydra>", "\nSet the environment variable HYDRA_FULL_ERROR=1 for more."
    )
    text = re.sub(r"<torchrun (-?\d+)(?: (\w+))?>\n?", torchrun, text)
    return re.sub(r"<rank (\d) lost a peer>\n", lambda match: PEER.format(match[1]), text).replace("<bar>", BAR)


def rows(*tables: str) -> Iterator[tuple[str, dict[str, str]]]:
    for table in tables:
        for number, row in enumerate(yaml.safe_load((ROOT / f"tests/fixtures/endings/{table}.yaml").read_text())):
            text = written_out(row["text"])
            yield f"{table} {number}", {**row, "text": text if text.endswith("\n") or not text else text + "\n"}


def said(text: str, exit_code: int = 1) -> Diagnosis:
    return diagnose(text.splitlines(keepends=True), exit_code)


def wrong(found: Diagnosis, row: dict[str, str]) -> str:
    """What is wrong with a diagnosis; empty if it is the row's."""
    right = found.name == row["cause"] and row.get("move", "") in found.remedy and row.get("said", "") in found.finding
    return "" if right else f"expected {row['cause']}, found {found.finding}"


@pytest.mark.parametrize("table", TABLES)
def test_each_ending_has_its_cause_and_its_next_move(table: str) -> None:
    assert [f"{name}: {text}" for name, row in rows(table) if (text := wrong(said(row["text"]), row))] == []


def test_enough_was_collected() -> None:
    found = {table: len(list(rows(table))) for table in TABLES}
    assert found["written"] >= 60
    assert found["held-out"] >= 60
    assert found["near-misses"] >= 30
    assert {cause.name for cause in CAUSES} - {row["cause"] for _, row in rows(*TABLES)} == set()


def each_line(before: str, after: str = "") -> Callable[[str], str]:
    return lambda text: "".join(f"{before}{line.rstrip(chr(10))}{after}\n" for line in text.splitlines(keepends=True))


@pytest.mark.parametrize(
    "dressed",
    [
        each_line("2026-02-18T12:54:22.864539078Z "),
        each_line("2026-02-18T12:54:22.864539078Z stderr F "),
        each_line("[2026-02-18 12:54:22,864] "),
        each_line("[default2]:"),
        each_line("0: "),
        each_line("[1,2]<stderr>:"),
        each_line("trainer-1  | "),
        each_line("\x1b[31m", "\x1b[0m"),
        each_line("", "\r"),
        lambda text: f"[Rank 0, World Size 4]: Epoch 0\nTRAIN\n{BAR}{text}",
        lambda text: HANDLED + text,
    ],
)
def test_what_lines_are_wrapped_in_or_stands_before_them_changes_nothing(dressed: Callable[[str], str]) -> None:
    assert [
        f"{name}: {text}"
        for name, row in rows(*TABLES)
        if row["text"] and (text := wrong(said(dressed(row["text"])), row))
    ] == []


@pytest.mark.parametrize("before", ["", PEER.format(5)])
def test_what_a_failure_does_to_the_other_processes_is_not_its_cause(before: str) -> None:
    after = PEER.format(6) + PEER.format(7) + written_out("<torchrun 1>")
    for name, row in rows(*TABLES):
        root = (
            RANK.get(row["cause"], 0) not in (ENDED, SYMPTOM)
            and "SIG" not in row["text"]
            and re.search("(?m)(Error|Out|Failed)", row["text"])
        )
        if root and "no exception" not in said(row["text"]).finding:
            assert wrong(said(before + row["text"] + after), row) == "", name


@pytest.mark.parametrize("dressed", [lambda text: text + BAR, lambda text: BAR + text.replace("\n", BAR + "\n", 1)])
def test_a_progress_bar_is_cut_off_what_it_is_glued_to(dressed: Callable[[str], str]) -> None:
    found = said(dressed("RuntimeError: of ours"))
    assert found.finding == "unknown (exit code 1): RuntimeError: of ours"


def test_two_processes_that_write_into_each_other_are_told_apart() -> None:
    mine = [
        "Traceback (most recent call last):",
        '  File "/w/p.py", line 8, in f',
        "    x",
        "torch.OutOfMemoryError: CUDA out of memory. Tried",
    ]
    lost = PEER.format(1).splitlines()
    mixed = [line for pair in zip(lost, [f"[rank3]: {line}" for line in mine], strict=False) for line in pair] + lost[
        4:
    ]
    assert diagnose(mixed, 1).finding.startswith("out of GPU memory: ")
    assert "rank 3: OutOfMemoryError: CUDA out of memory. Tried)" in diagnose(mixed, 1).finding


def test_a_bar_that_advances_shows_that_the_process_went_on_and_a_last_twitch_does_not() -> None:
    error = 'Traceback (most recent call last):\n  File "p.py", line 8, in f\n    x\nOutOfMemoryError: CUDA out of memory.\n'
    went_on = "\r  1%|  | 10/1000 [00:01<01:00]" + "\n" + error + "\r 50%|##| 500/1000 [00:50<00:50]"
    twitched = "\r  1%|  | 10/1000 [00:01<01:00]" + "\n" + error + "\r  1%|  | 11/1000 [00:50<00:50]"
    assert said(went_on).name == "unknown"
    assert said(twitched).name == "out of GPU memory"


@pytest.mark.parametrize(
    ("exit_code", "name"),
    [
        (137, "killed"),
        (139, "crash in compiled code"),
        (135, "bus error"),
        (143, "terminated"),
        (130, "interrupted"),
        (3, "unknown"),
    ],
)
def test_an_exit_code_alone_can_tell_a_signal(exit_code: int, name: str) -> None:
    assert said("TRAIN\n", exit_code).name == name


def test_an_exception_says_more_than_the_exit_code() -> None:
    assert (
        said("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.\n", 137).name == "out of GPU memory"
    )


def test_an_unknown_failure_shows_the_last_exception_of_who_failed_first_whole() -> None:
    message = "".join(f"[rank2]:   part {number} of it\n" for number in range(40))
    text = f'[rank2]: Traceback (most recent call last):\n[rank2]:   File "p.py"\n[rank2]: RuntimeError: it broke\n{message}'
    found = said(text + PEER.format(0) + "[rank3]: ValueError: later\n")
    assert found.finding.startswith("unknown (exit code 1): rank 2: RuntimeError: it broke | part 0 of it | ")
    assert found.finding.endswith("part 39 of it")
    assert said("", 3).finding == "unknown (exit code 3): no output"


def test_torchrun_knows_who_failed_first() -> None:
    text = "[rank0]: ValueError: an answer to what happened\n[rank2]: ValueError: what happened\n"
    assert "rank 0: " in said(text).finding
    assert "rank 2: ValueError: what happened" in said(text + written_out("<torchrun 1>")).finding


def test_the_engine_gives_its_own_hint() -> None:
    found = said("step 3\nerror: step_3 could not be written: the disk is full\nhint: free 3 GB and run it again\n")
    assert found.finding == "unknown (exit code 1): error: step_3 could not be written: the disk is full"
    assert found.remedy == "free 3 GB and run it again"


def test_a_line_that_ends_a_run_has_its_meaning() -> None:
    for alarm in ALARMS:
        found = alarmed(alarm, f"{alarm.pattern.pattern}\n")
        assert (found.name, found.remedy) == (alarm.name, alarm.remedy)
        assert found.finding.endswith(f"(it said: {alarm.pattern.pattern})")


def test_what_a_recipe_means_is_no_cause() -> None:
    text = "Resetting puzzle embedding as shape is other.\ntorch.OutOfMemoryError: CUDA out of memory. Tried.\n"
    assert said(text).name == "out of GPU memory"


def test_no_remedy_changes_what_is_trained_and_each_is_a_sentence_with_a_command() -> None:
    for cause in (*CAUSES, *ALARMS):
        for word in (
            "batch_size",
            "reduce MAX_GPUS",
            "ema=",
            "lr=",
            "L_cycles",
            "--nproc",
            "Otherwise then",
            "NCCL_P2P",
            "num_workers",
        ):
            assert word not in cause.remedy, cause.name
        assert re.search(r"\bmake (?:all|step-\d)", cause.remedy), cause.name
        assert re.fullmatch(r"[A-Za-z].*(?:\.|&)", cause.remedy), cause.name
    memory = next(cause for cause in CAUSES if cause.name == "out of GPU memory")
    assert "fewer GPUs need more memory each" in memory.remedy
    assert "flags are never changed" in memory.remedy


def test_a_remedy_names_no_variable_that_would_not_reach_the_training() -> None:
    knobs = (ROOT / "env.sh").read_text()
    for cause in CAUSES:
        for name in re.findall(r"\b[A-Z]+_[A-Z_]+\b", cause.remedy):
            assert re.search(PASSING, name) or name in knobs, f"{cause.name}: {name}"


def test_the_page_has_the_table() -> None:
    assert as_markdown() in (ROOT / "docs" / "troubleshooting.md").read_text(), (
        "docs/troubleshooting.md: put in python -c 'from trm_repro.training.causes import as_markdown; print(as_markdown())'"
    )


def test_a_hostile_text_takes_no_time() -> None:
    for text in (
        "a" * 4000,
        "[" * 4000,
        "x: " * 1300,
        "\\S: " * 1000,
        "1 " * 2000,
        "RuntimeError: " + "ptxas " * 600,
        "%|" * 2000,
        "NCCL error\n" * 3000,
    ):
        for before in (
            "",
            "torch.distributed.DistBackendError: ",
            "torch._inductor.exc.CppCompileError: C++ compile error\n\n",
            "CalledProcessError: Command '['gcc'",
        ):
            said(before + text + "\n")
