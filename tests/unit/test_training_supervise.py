"""A supervised training: its output, its signals, its end; with real processes, and once with the real torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest
from training_support import gone

from trm_repro.training import supervise
from trm_repro.training.causes import ALARMS

ROOT = Path(__file__).parents[2]
STANDIN = ROOT / "tests" / "fixtures" / "standin-upstream"
LIMIT = 100  # seconds until a wait is given up, on a machine with other work to do
SUPERVISED = """
import os, sys
from trm_repro.training import supervise
from trm_repro.training.causes import ALARMS
supervise.GRACE, supervise.REDRAW = float(os.environ.get("GRACE", 2)), 0.5
ending = supervise.Supervisor([sys.executable, "-u", "-c", sys.argv[1]], alarms=ALARMS).run()
print(f"ending: {ending.exit_code} {ending.stopped!r} {ending.diagnosis and ending.diagnosis.name}", flush=True)
"""
# Two processes in sessions of their own, as torchrun makes them; the launcher ends them when it is asked to end.
LAUNCHER = """
import signal, subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) for _ in "12"]
def end(*_):
    for child in children: child.terminate()
    print("workers were asked to end", flush=True); sys.exit(1)
signal.signal(signal.SIGTERM, end)
print("children", *(child.pid for child in children), flush=True)
"""


def start(program: str, **environment: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", SUPERVISED, program]
    environment = {**os.environ, **environment}
    return subprocess.Popen(words, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True, env=environment)


def supervised(program: str) -> tuple[str, str]:
    """stdout and stderr of a supervised program that ends by itself."""
    return start(program).communicate(timeout=LIMIT)


def children_of(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout
    return [int(word) for word in process.stdout.readline().split()[1:]]


def test_output_passes_through_and_success_is_success() -> None:
    out, err = supervised(
        "import sys; print('to stdout'); print('to stderr', file=sys.stderr); sys.stdout.write('no newline')"
    )
    assert out == "to stdout\nno newline\nending: 0 None None\n"
    assert err == "to stderr\n"


def test_a_failure_has_its_exit_code_and_diagnosis() -> None:
    out, _ = supervised("raise OSError(28, 'No space left on device')")
    assert out.endswith("ending: 1 None disk full\n")
    out, _ = supervised("import os; os.kill(os.getpid(), 9)")
    assert out.endswith("ending: 137 None killed\n")


def test_the_first_failure_of_many_processes_is_not_forgotten() -> None:
    program = """import sys
print("[rank7]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.", flush=True)
for number in range(30000): sys.stderr.write(f"\\r  6%|#| {number}/723914 [3:28:43<94:39:17]")
for number in range(2000): print(f'[rank0]:   File "/w/torch/x.py", line {number}, in f', file=sys.stderr)
print("[rank0]: torch.distributed.DistBackendError: NCCL error in: x.cpp:3, unhandled system error", file=sys.stderr)
sys.exit(1)"""
    assert supervised(program)[0].endswith("ending: 1 None out of GPU memory\n")


REAL = """
import os, time, traceback, hydra, torch, torch.distributed as dist, tqdm
@hydra.main(config_path=None, version_base=None)
def launch(config):
    dist.init_process_group("gloo")
    for step in tqdm.trange(1000, disable=dist.get_rank() != 0):
        dist.all_reduce(torch.ones(4))
        if step == 5 and dist.get_rank() == 0:
            try: raise OSError(122, "Disk quota exceeded")
            except OSError: traceback.print_exc()
        if step == 20 and dist.get_rank() == 1:
            match os.environ["FAILURE"]:
                case "out of GPU memory": raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
                case "crash in compiled code": os.kill(os.getpid(), 11)
                case "disk full":
                    try: raise OSError(28, "No space left on device")
                    except OSError as error: raise RuntimeError("could not save") from error
                case "unknown": raise ValueError("of ours")
        time.sleep(0.02)
launch.__wrapped__(None) if os.environ.get("PLAIN") else launch()
"""


@pytest.mark.deep
@pytest.mark.parametrize("plain", ["", "1"])
@pytest.mark.parametrize("failure", ["out of GPU memory", "disk full", "crash in compiled code", "unknown"])
def test_the_cause_in_the_output_of_the_real_torchrun_and_hydra(tmp_path: Path, failure: str, plain: str) -> None:
    (tmp_path / "real.py").write_text(REAL)
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    words = [torchrun, "--nproc-per-node", "2", "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", "real.py"]
    program = SUPERVISED.replace('[sys.executable, "-u", "-c", sys.argv[1]]', repr(words))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FAILURE": failure, "PLAIN": plain}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.stdout.splitlines()[-1] == f"ending: 1 None {failure}", done.stdout + done.stderr


@pytest.mark.deep
def test_what_was_printed_before_an_exception_is_no_sign_that_it_was_survived() -> None:
    program = """import os
os.write(1, b"TRAIN\\nSAVE CHECKPOINT\\n" * 2000)
os.write(2, b"torch.OutOfMemoryError: CUDA out of memory.\\n")
os._exit(1)"""
    for _ in range(5):
        assert supervised(program)[0].endswith("ending: 1 None out of GPU memory\n")


def test_each_line_can_be_heard() -> None:
    heard: list[str] = []
    words = [sys.executable, "-c", "print('one'); print('two')"]
    assert supervise.Supervisor(words, hear=heard.append).run().exit_code == 0
    assert heard == ["one\n", "two\n"]


def test_it_reads_no_terminal() -> None:
    assert "EOFError" in supervised("input()")[1]


def test_a_progress_bar_is_thinned() -> None:
    program = (
        "import sys, time\nfor i in range(100): sys.stderr.write(f'\\r{i}%|'); sys.stderr.flush(); time.sleep(0.01)"
    )
    began = time.monotonic()
    _, err = supervised(program + "\nsys.stderr.write('\\rdone\\n')")
    drawn = err.splitlines()
    assert 2 <= len(drawn) <= 2 + (time.monotonic() - began) / 0.5
    assert drawn[-1] == "done"


@pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)
def test_what_upstream_prints_and_ignores_ends_the_run(alarm: supervise.Alarm) -> None:
    out, _ = supervised(f"import time; print({alarm.pattern.pattern!r}); time.sleep(600)")
    assert f"None {alarm.name}" in out
    assert "ending: 0" not in out


def test_an_alarm_at_the_very_end_is_not_missed() -> None:
    out, _ = supervised("print('No evaluator found')")
    assert out.endswith("ending: 1 None no evaluator\n")


def test_the_first_interrupt_asks_to_end_and_leaves_nothing() -> None:
    process = start(LAUNCHER + "time.sleep(600)")
    children = children_of(process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=LIMIT)
    assert out == "workers were asked to end\nending: 130 <Signals.SIGINT: 2> None\n"
    assert gone(children)


SAYS = """
import signal, sys, time
class Ended(Exception): pass
Ended.__module__, Ended.__qualname__ = NAMES
def end(*_): raise Ended("Process 7 got signal: 15")
signal.signal(signal.SIGTERM, end)
print("children", flush=True)
try:
    time.sleep(600)
finally:
    print("workers are ended", file=sys.stderr)
"""


@pytest.mark.parametrize("name", ["torch.distributed.elastic.multiprocessing.api.SignalException", "some.Other"])
def test_who_interrupts_is_spared_torchruns_own_traceback_and_no_other(name: str) -> None:
    process = start(SAYS.replace("NAMES", repr(name.rsplit(".", 1))))
    children_of(process)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=LIMIT)
    assert out == "ending: 130 <Signals.SIGINT: 2> None\n"
    first, _, rest = said.partition("\n")
    assert first == "workers are ended"
    assert rest == "" if "torch" in name else rest.startswith("Traceback") and "some.Other: Process 7" in rest


STUBBORN = (
    LAUNCHER.replace("def end(*_):", "def end(*_):\n    print('asked', flush=True); return")
    + "\nwhile True: time.sleep(1)"
)


def test_the_second_interrupt_kills() -> None:
    process = start(STUBBORN, GRACE="600")
    children = children_of(process)
    assert process.stdout
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=LIMIT)
    assert out == "ending: 130 <Signals.SIGINT: 2> None\n"
    assert gone(children)


@pytest.mark.deep
def test_who_does_not_end_when_asked_is_killed() -> None:
    process = start(STUBBORN)
    children = children_of(process)
    process.terminate()
    out, _ = process.communicate(timeout=LIMIT)
    assert out == "asked\nending: 143 <Signals.SIGTERM: 15> None\n"
    assert gone(children)


def test_workers_of_a_killed_launcher_do_not_live_on() -> None:
    out, _ = supervised(LAUNCHER + "import os; os.kill(os.getpid(), 9)")
    assert "ending: 137" in out
    assert gone([int(word) for word in out.splitlines()[0].split()[1:]])


def test_it_ends_when_its_parent_is_gone() -> None:
    script = f'"{sys.executable}" -c "$SUPERVISED" "$PROGRAM"; true'
    environment = {**os.environ, "SUPERVISED": SUPERVISED, "PROGRAM": LAUNCHER + "time.sleep(600)"}
    shell = subprocess.Popen(["bash", "-c", script], stdout=PIPE, text=True, env=environment)
    children = children_of(shell)
    shell.kill()
    assert "ending: 129 <Signals.SIGHUP: 1> None" in shell.communicate(timeout=LIMIT)[0]
    assert gone(children)


def test_if_the_supervisor_fails_itself_nothing_is_left() -> None:
    def fail() -> None:
        raise RuntimeError("a fault of ours")

    pids = []
    words = [sys.executable, "-u", "-c", LAUNCHER + "time.sleep(600)"]
    watcher = supervise.Supervisor(words, every_second=fail, hear=lambda line: pids.extend(line.split()[1:]))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        watcher.run()
    assert len(pids) == 2
    assert gone([int(pid) for pid in pids])


def test_nohup_stays_nohup() -> None:
    words = [
        "nohup",
        sys.executable,
        "-c",
        SUPERVISED,
        "import time; print('begun', flush=True); time.sleep(2); print('done')",
    ]
    process = subprocess.Popen(words, stdout=PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=LIMIT)[0] == "done\nending: 0 None None\n"


def dataset(folder: Path) -> None:
    """The stand-in's dataset, in ``folder/data/arc2concept-aug-1000``."""
    words = ["-m", "dataset.build_arc_dataset", "--input-file-prefix", "kaggle/combined/arc-agi", "--output-dir"]
    subsets = ["--subsets", "training2", "evaluation2", "concept", "--test-set-name", "evaluation2"]
    output = str(folder / "data" / "arc2concept-aug-1000")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, *words, output, *subsets], cwd=STANDIN, check=True, capture_output=True, env=environment
    )


@pytest.mark.parametrize(
    ("failure", "ending"), [("", "0 None None"), pytest.param("killed", "1 None killed", marks=pytest.mark.deep)]
)
def test_the_real_torchrun_the_real_wandb_and_the_tap(tmp_path: Path, failure: str, ending: str) -> None:
    dataset(tmp_path)
    torchrun = Path(sys.executable).with_name("torchrun")
    arguments = ["arch=trm", "data_paths=[data/arc2concept-aug-1000]", "arch.L_cycles=4", "+run_name=r", "ema=True"]
    launch = ["--nproc-per-node", "2", "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", "--nnodes=1"]
    command = [str(torchrun), *launch, str(STANDIN / "pretrain.py"), *arguments]
    program = SUPERVISED.replace('[sys.executable, "-u", "-c", sys.argv[1]]', repr(command))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src" / "trm_repro" / "tap"),
        "TRM_REPRO_METRICS": str(tmp_path / "metrics.jsonl"),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "STANDIN_STEPS": "361957 723914",
        "STANDIN_FAIL": failure,
    }
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250)
    assert done.stdout.splitlines()[-1] == f"ending: {ending}", done.stdout + done.stderr
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0] == {"step": 0, "time": lines[0]["time"], "num_params": 6829058}
    assert [line["step"] for line in lines if "ARC/pass@2" in line] == ([361957] if failure else [361957, 723914])
