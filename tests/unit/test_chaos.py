"""What may happen behind a run's back: kills at random moments (a sample of make chaos), and folders, disks, clocks, signals
and files that are not what they were. Each has its message; what can be made good again leads to the same manifest.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.chaos.__main__ import Place, one_run, undisturbed  # noqa: E402
from tests.chaos.kills import kill, started_for, wait_until_gone  # noqa: E402
from tests.chaos.same import differences  # noqa: E402

RUN = "trm_arc2_paper_repro"
STATE = f".repro/runs/{RUN}"
CLONE = "upstream/TinyRecursiveModels"
DATA = f"{CLONE}/data/arc2concept-aug-1000"
CHECKPOINTS = f"{CLONE}/checkpoints/Arc2concept-aug-1000-ACT-torch/{RUN}"
BUNDLE = f"{CLONE}/kaggle_dataset_arc2_{RUN}"
LAST = f"{CHECKPOINTS}/step_723914"
MOUNTS = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
needs_mounts = pytest.mark.skipif(not MOUNTS, reason="needs a mount namespace of its own: root")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """All of arc2-paper against the stand-in, run once, undisturbed."""
    made = Place(tmp_path_factory.mktemp("chaos"), "paper")
    made.prepare()
    undisturbed(made)
    made.runbook.rename(made.folder / "done")
    yield made
    for pid in started_for(made.token):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(made.folder)


@pytest.fixture
def done(place: Place) -> Iterator[Place]:
    """The same, with all that the undisturbed run has left."""
    for folder in (place.runbook, place.folder / "elsewhere"):
        shutil.rmtree(folder, ignore_errors=True)
    # cp keeps the times to the nanosecond; a copy's ctime is new, and all is read once
    subprocess.run(["cp", "-a", place.folder / "done", place.runbook], check=True)
    here = Path.cwd()
    os.chdir(place.runbook)
    yield place
    os.chdir(here)
    kill_all(place)


def kill_all(place: Place) -> None:
    for pid in started_for(place.token):
        os.kill(pid, signal.SIGKILL)


def make(place: Place, *words: str, seconds: float = 240) -> tuple[int, str]:
    """`make all`, or other words: their exit code and what they said."""
    (place.folder / "said").write_bytes(b"")
    try:
        code = place.start(*words).wait(seconds)
    except subprocess.TimeoutExpired:
        kill_all(place)
        code = -1
    said = (place.folder / "said").read_text(errors="replace")
    assert code != -1, f"it hangs:\n{said}"
    return code, said


def comes_out_the_same(place: Place) -> None:
    """`make all` completes, and its manifest is the undisturbed one."""
    code, said = make(place)
    assert code == 0, said
    assert not differences(place.folder / "undisturbed.json", place.manifest())


def stale(*steps: int) -> None:
    """These steps have to run again."""
    for step in steps:
        next(Path(STATE).glob(f"0{step}-*.stamp")).unlink()


def ended() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_killed_probe_left_is_removed_by_the_next(tmp_path: Path) -> None:
    from trm_repro.machine.folders import look

    names = [f".trm-repro-{socket.gethostname()}-{pid}-x" for pid in (ended(), os.getpid())]
    for name in names:
        (tmp_path / name).mkdir()
    look("TRM_DIR", tmp_path, trying=True)
    assert [path.name for path in tmp_path.iterdir()] == names[1:]


@pytest.mark.deep
def test_what_killed_writers_left_is_removed_and_swallows_nothing(done: Place) -> None:
    leftovers = [Path(folder, f".a.{ended()}.part") for folder in (STATE, f"artifacts/{RUN}", ".repro")]
    for path in leftovers:
        path.write_text("half a")
    for name in ("guards", "commands"):
        with Path(f"{STATE}/{name}.jsonl").open("a") as file:
            file.write('{"step": "06-verify", "gua')
    stale(6, 7)
    comes_out_the_same(done)
    assert not any(path.exists() for path in leftovers)


def test_kills_at_random(place: Place) -> None:
    """Four kills, the same each time; make chaos does as many as one likes."""
    result = one_run(place, "sample/1", 4)
    assert len(result["hits"]) >= 3, result  # type: ignore[arg-type]


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["paper", "rehearsal"])
def test_more_kills_at_random(kind: str) -> None:
    with tempfile.TemporaryDirectory(prefix="c") as folder:  # pytest's is too long for the path of a socket in it
        words = ["--kills", "40", "--seed", "2", "--kinds", kind, "--folder", folder]
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos", *words], cwd=ROOT, capture_output=True, text=True, timeout=1700
        )
        assert done.returncode == 0, done.stdout + done.stderr


# ---- files that are not what they were ----


def garbage(*names: str) -> Callable[[], None]:
    """These files hold bytes that are no text, entries that are none, and half a one."""

    def act() -> None:
        for name in names:
            Path(name).write_bytes(b'\xff\xfe\x00\n[1]\n"x"\n{"step": 5}\n{"step": "05-train"')

    return act


def a_folder(name: str) -> Callable[[], None]:
    """A folder stands where a file must be."""

    def act() -> None:
        Path(name).unlink()
        Path(name).mkdir()

    return act


def edited(name: str, old: bytes, new: bytes) -> Callable[[], None]:
    def act() -> None:
        data = Path(name).read_bytes()
        assert old in data
        Path(name).write_bytes(data.replace(old, new))

    return act


def voucher_without_sense() -> None:
    stale(5)
    path = Path(f"{CHECKPOINTS}.voucher.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "means": "[]"}))


def elsewhere(name: str) -> Callable[[], None]:
    """A folder is a link to where it has been moved."""

    def act() -> None:
        target = Path("../elsewhere").resolve()
        Path(name).rename(target)
        Path(name).symlink_to(target)

    return act


def to_nowhere(name: str) -> Callable[[], None]:
    """A folder is a link to nothing."""

    def act() -> None:
        shutil.rmtree(name)
        Path(name).symlink_to("/nowhere/at/all")

    return act


def a_file(name: str) -> Callable[[], None]:
    """A file stands where a folder must be."""

    def act() -> None:
        shutil.rmtree(name)
        Path(name).write_bytes(b"")

    return act


def both(*acts: Callable[[], None]) -> Callable[[], None]:
    def act() -> None:
        for one in acts:
            one()

    return act


def half_an_environment() -> None:
    """Step 3 was killed while it installed."""
    stale(3)
    Path(f"{CLONE}/.venv.voucher.json").unlink()
    Path(f"{CLONE}/.venv.begun").touch()
    shutil.rmtree(next(Path(f"{CLONE}/.venv").glob("lib/python*/site-packages")))


def in_the_future() -> None:
    for path in Path().rglob("*"):
        if path.is_file() and not path.is_symlink() and ".git" not in path.parts:
            os.utime(path, (4e9, 4e9))


FINISHED = "05-train of this run is finished, and something it depends on has changed since (above)"
NO_FOLDER = "must be folders that this user may write to"
# what happened; what the user is told; 0 where it goes on by itself, to the same manifest
DISTURBED: dict[str, tuple[Callable[[], None], int, str]] = {
    "a stamp is no text": (garbage(f"{STATE}/05-train.stamp"), 0, "taken up again"),
    "a stamp is a folder": (a_folder(f"{STATE}/04-dataset.stamp"), 0, "04-dataset: not done yet"),
    "a stamp says another file": (edited(f"{STATE}/05-train.stamp", b"step_361957", b"step_9"), 0, "outputs changed"),
    "step 6 runs again": (garbage(f"{STATE}/06-verify.stamp"), 0, "06-verify: not done yet"),
    "a voucher is no text": (both(garbage(f"{DATA}.voucher.json"), lambda: stale(4)), 0, "there is no voucher"),
    "a voucher's meaning is none": (voucher_without_sense, 2, "there is no voucher"),
    "records are no text": (both(garbage(f"{STATE}/commands.jsonl"), lambda: stale(6)), 2, ""),
    "guards are no text": (both(garbage(f"{STATE}/guards.jsonl"), lambda: stale(6)), 0, ""),
    "what was held is no text": (both(garbage(f"{STATE}/inputs.json"), lambda: stale(6)), 2, "make step-5: a finished"),
    "the lock is no text": (both(garbage(f"{STATE}/lock"), lambda: stale(6)), 0, ""),
    "the digests are no text": (garbage(".repro/digests.json"), 0, "05-train: fresh"),
    "metrics are no text": (garbage(f"{CHECKPOINTS}/metrics.jsonl"), 2, FINISHED),
    "metrics are edited": (edited(f"{CHECKPOINTS}/metrics.jsonl", b"0.333", b"0.999"), 2, FINISHED),
    "logs are gone": (lambda: shutil.rmtree("logs"), 0, ""),
    "the checkpoint is cut off": (lambda: os.truncate(LAST, 9_999_999), 2, FINISHED),
    "the checkpoint is another file": (lambda: shutil.copy("docs/report.png", LAST), 2, FINISHED),  # type: ignore[dict-item, return-value]
    "the manifest is no text": (garbage(f"artifacts/{RUN}/manifest.json"), 0, "06-verify: outputs changed"),
    "a file of the bundle is another": (garbage(f"{BUNDLE}/README.md"), 0, "07-publish: outputs changed"),
    "the dataset lies elsewhere": (both(elsewhere(DATA), lambda: stale(4)), 0, ""),
    "the checkpoints lie elsewhere": (both(elsewhere(CHECKPOINTS), lambda: stale(5)), 0, "taken up again"),
    "the clone lies elsewhere": (both(elsewhere(CLONE), lambda: stale(2)), 0, ""),
    "the state lies elsewhere": (both(elsewhere(".repro"), lambda: stale(6)), 0, ""),
    "the dataset is a link to nothing": (to_nowhere(DATA), 0, "set aside as"),
    "the checkpoints are a link to nothing": (to_nowhere(CHECKPOINTS), 2, FINISHED),
    "the state is a link to nothing": (to_nowhere(".repro"), 2, NO_FOLDER),
    "the state is a file": (a_file(".repro"), 2, NO_FOLDER),
    "the artifacts are a link to nothing": (to_nowhere("artifacts"), 2, NO_FOLDER),
    "the logs are a file": (both(a_file("logs"), lambda: stale(6)), 2, NO_FOLDER),
    "the environment is half of one": (half_an_environment, 0, "was begun by an attempt that did not finish"),
    "every file is of the future": (both(in_the_future, lambda: stale(4)), 0, ""),
}


@pytest.mark.deep
@pytest.mark.parametrize("name", DISTURBED)
def test_what_is_not_what_it_was(done: Place, name: str) -> None:
    act, expected, words = DISTURBED[name]
    act()
    code, said = make(done)
    assert code == expected, said
    assert words in said, said
    assert "Traceback" not in said, said
    if expected:
        assert re.search("^hint: ", said, re.M), said
    elif name == "guards are no text":  # what nobody recorded is not vouched for
        assert not json.loads(done.manifest().read_text())["faithful"], said
    else:
        assert not differences(done.folder / "undisturbed.json", done.manifest()), said


# ---- folders and disks that take nothing ----


def begun_anew() -> None:
    """Nothing is stamped or vouched for; what was made lies there."""
    shutil.rmtree(STATE)
    for path in [*Path(CLONE).glob("*/*.voucher.json"), *Path(CLONE).glob("*/*/*.voucher.json")]:
        path.unlink()


def ours_fails(said: str) -> bool:
    """Whether a traceback shows code of this tool; a wrapped program may print its own, Python one of a Ctrl-C as it starts."""
    traces = said.split("Traceback")[1:]
    return any("/trm_repro/" in trace and "importlib._bootstrap" not in trace for trace in traces)


@needs_mounts
@pytest.mark.deep
@pytest.mark.parametrize(
    "folder", [".", ".repro", "logs", "artifacts", f"artifacts/{RUN}", CLONE, f"{CLONE}/data", CHECKPOINTS, BUNDLE]
)
def test_a_read_only_folder_is_named(done: Place, folder: str) -> None:
    begun_anew()
    parent = str(Path(CHECKPOINTS).parent) if folder == CHECKPOINTS else folder
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 99; PATH=$2 exec make all'
    steps_path = f"{done.folder}/stubs/bin:{done.folder}/suite/bin"
    words = ["env", f"PATH={os.environ['PATH']}", "unshare", "--mount", "bash", "-c", mount, "bash", parent, steps_path]
    code, said = make(done, *words)
    if folder == BUNDLE:  # a mount point, replaced beside itself
        return
    assert code == 2, said
    assert re.search("cannot write to|nothing can be written to|is read-only", said), said
    assert "hint: " in said and not ours_fails(said), said
    comes_out_the_same(done)


@needs_mounts
@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", range(1, 9))
def test_a_full_disk_in_every_step_is_told_and_trusted_nowhere(step: int) -> None:
    """On a tmpfs of its own, filled up to a few kilobytes or megabytes before the step begins."""
    script = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
import test_chaos; test_chaos.on_a_full_disk({step})"""
    words = ["unshare", "--mount", "bash", "-c", 'mount -t tmpfs -o size=500m none /mnt && exec "$@"', "bash"]
    ran = subprocess.run([*words, sys.executable, "-c", script], capture_output=True, text=True, timeout=850)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def on_a_full_disk(step: int) -> None:
    """The step on /mnt, with more and more room, until it completes; then all must complete, and be the same."""
    place = Place(Path(f"/mnt/chaos{step}"), "paper")  # processes are known by it
    place.prepare()
    undisturbed(place)
    os.chdir(place.runbook)
    stale(*range(step, 9))
    if step in (3, 4, 5):
        for path in Path(CLONE).glob({3: ".venv*", 4: "data/*1000*", 5: "checkpoints/*/*"}[step]):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    if step == 2:
        shutil.rmtree(CLONE)
    told = 0
    for left in (0, 4096, 40_000, 400_000, 4_000_000, 40_000_000):
        filler = Path("/mnt/filler")
        free = os.statvfs("/mnt").f_bavail * os.statvfs("/mnt").f_frsize
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free - left - 4096))
        df = place.folder / "stubs/bin/df"  # a stub, which has plenty, and without which step 1 finds too little
        if step > 1:
            df.rename(df.with_name("no df"))
        code, said = make_with_log_elsewhere(place, f"step-{step}")
        if step > 1:
            df.with_name("no df").rename(df)
        filler.unlink()
        print(f"step {step}, {left} bytes left: {code}, {said.strip().splitlines()[-3:]}")
        assert not ours_fails(said), said
        if code == 0:
            break
        told += 1
        assert "the disk of" in said or "No space left" in said, said  # the latter before there is a log
    assert told, "it was never full"
    os.chdir(place.runbook)
    comes_out_the_same(place)


def make_with_log_elsewhere(place: Place, word: str) -> tuple[int, str]:
    """`make WORD`; what it says needs no room on that disk."""
    pairs = (place.folder / "environment").read_text().rstrip("\0").split("\0")
    ran = subprocess.run(
        ["make", word],
        cwd=place.runbook,
        env=dict(pair.split("=", 1) for pair in pairs),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=200,
        stdin=subprocess.DEVNULL,
    )
    return ran.returncode, ran.stdout + ran.stderr


# ---- signals, clocks, two at once ----


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_in_every_step_ends_it_and_leaves_nothing_at_work(place: Place, name: str) -> None:
    place.renew()
    number = signal.Signals[name]
    for step in range(1, 9):
        (place.folder / "said").write_bytes(b"")
        process = place.start()
        logs = f"logs/*/0{step}-*.log"  # written in: the step has begun, and says how it ends
        wait_for(place, lambda logs=logs: any(log.stat().st_size for log in place.runbook.glob(logs)))
        time.sleep(place.seconds[step] * step / 16)  # at another moment of each
        kill(process.pid, "group", place.token, number)
        code = process.wait(60)
        if code == 0 and place.stamped() == 8:  # the signal came when all was done
            break
        assert code != 0, f"step {step} went on"
        assert not wait_until_gone(place.token, 30), f"step {step} left processes"
        said = (place.folder / "said").read_text(errors="replace")
        assert not ours_fails(said), said
        last = [line for line in said.splitlines() if not line.startswith(("make:", "error: interrupted"))][-1]
        between_steps = re.match(r"0\d-\w+: ", last)  # a machine that is busy elsewhere: the step had ended
        if name != "SIGHUP":  # whose terminal is gone: nobody reads
            assert "hint: the log of this step is" in said or between_steps, said
    comes_out_the_same(place)


def wait_for(place: Place, there: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, (place.folder / "said").read_text(errors="replace")
        time.sleep(0.01)


@pytest.mark.deep
def test_two_whole_runs_at_once(place: Place) -> None:
    place.renew()
    (place.folder / "said").write_bytes(b"")
    both = [place.start(), place.start()]
    codes = [process.wait(240) for process in both]
    said = (place.folder / "said").read_text(errors="replace")
    assert codes == [0, 0], said
    assert said.count("-> ") and len(list(place.runbook.glob("logs/*/05-*.log"))) == 1, said
    comes_out_the_same(place)


@pytest.mark.deep
def test_a_clock_that_was_set_back(done: Place) -> None:
    """Attempts and times go backwards; the last attempt counts all the same."""
    stale(5, 6, 7, 8)
    Path(f"{CHECKPOINTS}.voucher.json").unlink()
    date = done.folder / "stubs/bin/date"
    date.write_text(f'#!/bin/sh\nexec {shutil.which("date")} --date "2 days ago" "$@"\n')
    date.chmod(0o755)
    try:
        comes_out_the_same(done)
        stale(6)
        comes_out_the_same(done)
    finally:
        date.unlink()
