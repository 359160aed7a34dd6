import io
import re
import threading

from trm_repro import progress


def test_a_log_gets_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    for name in ("TRM_REPRO_TERMINAL", "TRM_REPRO_LOG"):
        monkeypatch.delenv(name, raising=False)
    with progress.track("building", total=3, unit="puzzles") as bar:
        for loss in (3, 2, 1):
            bar.note(f"loss {loss}")
            bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("building: 0/3 puzzles, 0 %") and "--:--:-- left" in lines[0]
    assert re.fullmatch(r"building: 3/3 puzzles, 100 %, \d\d:\d\d:\d\d gone, 00:00:00 left, loss 1", lines[-1])
    assert len(lines) == 5


def test_quiet_is_silent(capsys):
    with progress.track("x", total=1, quiet=True) as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")


def test_a_step_draws_on_its_terminal_and_writes_to_its_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRM_REPRO_TERMINAL", str(tmp_path / "terminal"))
    monkeypatch.setenv("TRM_REPRO_LOG", str(tmp_path / "log"))
    with progress.track("training", total=2) as bar:
        bar.advance(2)
    assert "training" in (tmp_path / "terminal").read_text()
    assert (tmp_path / "log").read_text().splitlines()[-1].startswith("training: 2/2 steps, 100 %")
    assert capsys.readouterr().err == ""


def test_the_clock_counts_hours():
    assert progress.clock(3 * 3600 + 4 * 60 + 5.9) == "03:04:05"


def test_the_time_left_is_that_of_what_is_done_here(capsys, monkeypatch):
    for name in ("TRM_REPRO_TERMINAL", "TRM_REPRO_LOG"):
        monkeypatch.delenv(name, raising=False)
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with progress.track("training", total=100, done=90) as bar:
        now = 9.0
        bar.advance(1)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("training: 90/100 steps, 90 %") and "--:--:-- left" in first
    assert last.startswith("training: 91/100 steps, 91 %, 00:00:09 gone, 00:01:21 left")


def test_what_is_done_soon_shows_nothing_and_what_lasts_shows_all_of_it(capsys, monkeypatch):
    for name in ("TRM_REPRO_TERMINAL", "TRM_REPRO_LOG"):
        monkeypatch.delenv(name, raising=False)
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with progress.track("predicting", total=8, after=2) as bar:
        bar.advance(3)
        now = 1.9
        bar.advance()
    assert capsys.readouterr().err == ""
    with progress.track("predicting", total=8, after=2) as bar:
        bar.note("task 5")
        bar.advance(4)
        now = 4.0
        bar.advance(2)
        now = 6.0
        bar.advance(1)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith(
        "predicting: 4/8 steps, 50 %, 00:00:02 gone, 00:00:02 left"
    )  # since it began, not was shown
    assert last.startswith("predicting: 7/8 steps, 87 %, 00:00:04 gone, 00:00:00 left, task 5")


def test_what_lasts_and_is_quiet_is_silent(capsys):
    with progress.track("x", total=1, after=1e-9, quiet=True) as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")


class Bar:
    """Progress that is only added up."""

    def __init__(self):
        self.done, self.moved = 0, threading.Event()

    def advance(self, amount=1):
        self.done += amount
        if self.done:
            self.moved.set()


def test_what_is_read_and_written_is_counted_in_mb():
    bar, inner = Bar(), io.BytesIO()
    file = progress.Counted(inner, bar)
    for _ in range(5):
        file.write(bytes(700_000))
    assert bar.done == 3
    file.seek(0)
    while file.read(300_000):
        pass
    assert bar.done == 7, "3.5 MB twice: nothing is lost between the pieces"


def test_a_file_that_others_write_is_followed_and_at_the_end_it_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "LOOK", 0.01)
    bar, file = Bar(), tmp_path / "model.ckpt"
    with progress.growing(file, 5_000_000, bar):
        (tmp_path / "part").write_bytes(bytes(3_000_000))
        (tmp_path / "part").rename(file)  # at once: a look in the middle of writing sees less
        assert bar.moved.wait(60)
        assert bar.done == 3
        file.unlink()  # as of a download that begins again
    assert bar.done == 5


def test_what_fails_half_way_is_not_called_done(tmp_path):
    bar = Bar()
    try:
        with progress.growing(tmp_path / "none", 5_000_000, bar):
            raise OSError
    except OSError:
        pass
    assert bar.done == 0
