"""Diagnoses, from the words that PyTorch, NCCL, wandb and the system leave."""

from __future__ import annotations

import pytest

from trm_repro.training.diagnosis import ALARMS, CAUSES, diagnose

SAID = {
    "out of GPU memory": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.27 GiB.",
    "/dev/shm too small": "RuntimeError: DataLoader worker (pid 42) is killed by signal: Bus error. It is possible that "
    "dataloader's workers are out of shared memory. Please try to raise your shared memory limit.",
    "disk full": "OSError: [Errno 28] No space left on device",
    "missing extension": "ModuleNotFoundError: No module named 'adam_atan2_backend'",
    "no compiler": "torch._inductor.exc.InductorError: RuntimeError: Failed to find C compiler. Please specify via CC",
    "missing module": "ModuleNotFoundError: No module named 'argdantic'",
    "Weights & Biases refuses": "wandb.errors.errors.UsageError: No API key configured. Use `wandb login` to log in.",
    "port in use": "The server socket has failed to listen on any local network address. port: 29500, EADDRINUSE",
    "too many open files": "OSError: [Errno 24] Too many open files",
    "no process group": "ValueError: Default process group has not been initialized.",
    "configuration refused": "Could not override 'run_name'.",
    "GPU or driver": "RuntimeError: CUDA error: uncorrectable ECC error encountered",
    "killed": "  traceback : Signal 9 (SIGKILL) received by PID 4242",
    "NCCL": "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2251, unhandled system error",
    "no test split": "NO EVAL DATA FOUND",
    "no evaluator": "No evaluator found",
    "missing predictions": "Puzzle 0e000002 has no predictions.",
    "puzzle table reset": "Resetting puzzle embedding as shape is different. Found torch.Size([876406, 512]), Expected ...",
}


def test_every_cause_has_its_words() -> None:
    assert {cause.name for cause in (*CAUSES, *ALARMS)} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_a_cause_is_found_among_other_lines(name: str) -> None:
    torchrun = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: pretrain.py FAILED"
    found = diagnose(["Traceback (most recent call last):", SAID[name], torchrun], 1)
    assert found.name == name
    assert SAID[name].strip()[:60] in found.finding
    assert found.remedy


def test_the_root_cause_comes_before_what_it_does_to_the_other_processes() -> None:
    assert diagnose([SAID["NCCL"], SAID["out of GPU memory"]], 1).name == "out of GPU memory"
    assert diagnose([SAID["NCCL"], SAID["killed"]], 1).name == "killed"
    assert diagnose([SAID["killed"], SAID["/dev/shm too small"]], 1).name == "/dev/shm too small"


@pytest.mark.parametrize(
    "bar",
    [
        " 84%|████████▍ | 46/55 [02:01<00:23,  2.64s/it]",
        "training: 100%|##########| 1.2k/1.2k [10:00<00:00, 1.9it/s, loss=0.3]",
        "46it [00:10,  4.50it/s]",
        "  2%|▏         | 1/55 [00:02<02:11,  2.4s/it]  4%|▎         | 2/55 [00:05<02:14,  2.5s/it]",
    ],
)
@pytest.mark.parametrize("line", ["RuntimeError: something new", SAID["out of GPU memory"]])
def test_a_progress_bar_that_stands_before_a_line_is_not_quoted(bar: str, line: str) -> None:
    found = diagnose([bar + line, "torch.distributed.elastic.ChildFailedError: FAILED"], 1)
    assert line[:40] in found.finding and "it]" not in found.finding and "it/s" not in found.finding


def test_an_exit_code_alone_can_tell_a_kill() -> None:
    assert diagnose(["TRAIN"], 137).name == "killed"


def test_an_unknown_failure_shows_its_first_error() -> None:
    found = diagnose(["RuntimeError: something new", "torch.distributed.elastic.ChildFailedError: FAILED", "x"], 1)
    assert found.name == "unknown"
    assert "something new" in found.finding
    assert diagnose([], 3).finding == "exit code 3: no output"


def test_no_remedy_changes_what_is_trained() -> None:
    for cause in (*CAUSES, *ALARMS):
        for word in ("batch_size", "reduce MAX_GPUS", "MAX_GPUS_TO_USE=", "ema=", "lr=", "L_cycles", "--nproc"):
            assert word not in cause.remedy, cause.name
    memory = next(cause for cause in CAUSES if cause.name == "out of GPU memory")
    assert "fewer GPUs need more memory each" in memory.remedy
    assert "flags are never changed" in memory.remedy
