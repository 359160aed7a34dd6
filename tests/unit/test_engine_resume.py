"""A run that was killed and resumed is the run that was never interrupted: bit for bit, metrics too."""

import io
import json
import os
import random
import shutil
import signal
import time
import zipfile
from functools import partial

import pytest
import torch
from engine_support import ALONE, Forked, arguments, config, grown, metrics, run_forked, write_dataset

from trm_repro.engine import pretrain, resume
from trm_repro.errors import InvariantBroken, UsageError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "toy")


def files(folder):
    """The exported checkpoints, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("step_*")}


def finish(data, folder, **changes):
    pretrain.Pretraining(config(data, folder=folder, **changes), ALONE).train()
    return files(folder), metrics(folder)


class Killed(BaseException):
    """What stands for kill -9 inside one process: nothing of ours may catch it."""


def stop_after(monkeypatch, steps):
    """Kills the run right after its n-th training step."""
    real = pretrain.Training.train_step
    done = []

    def step(self, batch):
        result = real(self, batch)
        done.append(self.step)
        if len(done) == steps:
            raise Killed
        return result

    monkeypatch.setattr(pretrain.Training, "train_step", step)


DROPOUT = {"arch.lora_rank": 2, "arch.lora_dropout": 0.5}


@pytest.mark.parametrize(
    ("every", "changes"),
    [(1, {}), (3, {}), (None, {}), (3, DROPOUT), (2, {"min_eval_interval": 1})],
    ids=["1", "3", "intervals", "dropout", "late evaluation"],
)
def test_resumed_equals_uninterrupted(data, tmp_path, monkeypatch, every, changes):
    monkeypatch.setattr("trm_repro.engine.model.Q_HEAD_BIAS", 1.0)  # rows want to halt, so that exploration decides
    weights, log = finish(data, tmp_path / "whole", **changes)
    assert len(weights) == 2 - changes.get("min_eval_interval", 0) and len(log) > 8
    for steps in (1, 4, 5, 7) if every == 1 else (4, 7):
        folder = tmp_path / f"killed{steps}"
        changes = changes | {"checkpoint_every_n_steps": every}
        with monkeypatch.context() as patch:
            stop_after(patch, steps)
            with pytest.raises(Killed):
                finish(data, folder, **changes)
        with monkeypatch.context() as patch:  # and again, a few steps later
            stop_after(patch, 2)
            with pytest.raises(Killed):
                finish(data, folder, resume=True, **changes)
        assert finish(data, folder, resume=True, **changes) == (weights, log)


def test_two_runs_with_one_seed_are_bit_identical(data, tmp_path):
    first, second = (finish(data, tmp_path / name) for name in "ab")
    other = finish(data, tmp_path / "c", seed=1)
    assert first == second
    assert first[0] != other[0]


def die_while_writing(nth):
    """Kills this process in the middle of what it writes as the n-th."""
    real, countdown = torch.save, [nth]

    def save(value, file, *rest):
        countdown[0] -= 1
        real(value, file, *rest)
        if countdown[0] == 0:
            file.flush()
            os.truncate(file.fileno(), file.tell() // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save


@pytest.mark.deep
def test_killed_while_it_writes_a_checkpoint(data, tmp_path):
    args = arguments(data, "killed", checkpoint_every_n_steps=1)
    whole = finish(data, tmp_path / "whole", checkpoint_every_n_steps=1)
    folder = tmp_path / "checkpoints/Toy-ACT-torch/killed"
    for nth in (2, 4, 2):  # a training state of the first steps; a later one, after a resume; the exported weights
        codes, said = Forked([tmp_path], [*args, "++resume=True"], partial(die_while_writing, nth)).end()
        assert codes == [-signal.SIGKILL], said
        assert list(folder.rglob(".*.part")), "it was to die in the middle"
    assert list(folder.glob(".step_*.part"))
    run_forked(tmp_path, [*args, "++resume=True"])
    assert (files(folder), metrics(folder)) == whole
    assert not list(folder.rglob(".*.part"))


@pytest.mark.deep
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_random(data, tmp_path, processes):
    """kill -9 of all processes of the run, at moments that nobody chose."""
    changes = {"checkpoint_every_n_steps": 2, "epochs": 16, "eval_interval": 8}
    project = tmp_path / "checkpoints/Toy-ACT-torch"
    run_forked(tmp_path, arguments(data, "whole", **changes), processes)
    args = [*arguments(data, "killed", **changes), "++resume=True"]
    log = project / "killed/metrics.jsonl"
    for _ in range(2):
        before = log.stat().st_size if log.exists() else 0
        begun = Forked([tmp_path] * processes, args)
        grown(log, before + 1000)
        time.sleep(random.random() * 0.2)
        begun.kill(*range(processes))
        begun.end()
    run_forked(tmp_path, args, processes)
    assert files(project / "killed") == files(project / "whole")
    assert metrics(project / "killed") == metrics(project / "whole")


@pytest.mark.parametrize("nth", [1, 5])
def test_killed_while_it_removes_a_training_state(data, tmp_path, monkeypatch, nth):
    """The only one that is kept, too: the fifth is the one from right before the evaluation."""
    changes = {"checkpoint_every_n_steps": 1, "keep_checkpoints": 1}
    whole = finish(data, tmp_path / "whole", **changes)
    real, removed = shutil.rmtree, []

    def killed(folder, **options):
        if not options:  # it has some where it removes what another attempt left, before the first step
            removed.append(folder)
        if len(removed) == nth:
            next(folder.iterdir()).unlink()
            raise Killed
        real(folder, **options)

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(Killed):
            finish(data, tmp_path / "run", **changes)
    states = resume.TrainingStates(tmp_path / "run", keep=1)
    assert [path.name for path in states.newest().iterdir()] == ["rank_0.pt"]
    assert finish(data, tmp_path / "run", resume=True, **changes) == whole


def test_training_states_are_whole_or_absent_and_few(tmp_path):
    states = resume.TrainingStates(tmp_path, keep=2)
    names = ["step_9.0", "step_10.0", "step_10.1"]
    for done, name in enumerate(names):
        states.begin(name)
        states.write(name, {"name": name})
        assert states.newest() == (states.folder / names[done - 1] if done else None)
        states.commit(name)
    assert [path.name for path in states.complete()] == names[1:]
    states.begin("step_11.1")
    states.write("step_11.1", {})
    assert states.newest().name == "step_10.1"


def test_a_folder_of_another_run_is_refused(data, tmp_path):
    finish(data, tmp_path / "run")
    with pytest.raises(InvariantBroken, match="holds the checkpoints of a run"):
        finish(data, tmp_path / "run")
    with pytest.raises(UsageError, match=r"lr: was 0\.01, is 0\.02"):
        finish(data, tmp_path / "run", resume=True, lr=0.02)


def test_a_finished_run_is_left_as_it_is(data, tmp_path):
    before = finish(data, tmp_path / "run")
    assert finish(data, tmp_path / "run", resume=True) == before


def test_no_training_state_is_written_when_none_is_wanted(data, tmp_path):
    finish(data, tmp_path / "run", keep_checkpoints=0)
    assert not (tmp_path / "run/training_state").exists()


def one_bit_of_a_number(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    spot = largest.header_offset + largest.file_size // 2
    return content[:spot] + bytes([content[spot] ^ 1]) + content[spot + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: content[:10], lambda content: content[:-1000], one_bit_of_a_number],
    ids=["empty", "all but gone", "cut off", "one bit of a number"],
)
def test_a_damaged_training_state_is_named_and_the_one_before_it_can_be_resumed(data, tmp_path, damage):
    whole = finish(data, tmp_path / "run")
    newest = resume.TrainingStates(tmp_path / "run", keep=2).newest()
    part = newest / "rank_0.pt"
    part.write_bytes(damage(part.read_bytes()))
    with pytest.raises(InvariantBroken, match=r"rank_0.pt: not a readable checkpoint") as caught:
        finish(data, tmp_path / "run", resume=True)
    assert f"move {newest} away" in caught.value.hint
    newest.rename(tmp_path / "away")
    assert finish(data, tmp_path / "run", resume=True) == whole


def test_what_cannot_be_resumed_is_left_alone(data, tmp_path):
    whole = finish(data, tmp_path / "run")
    shutil.move(tmp_path / "run/training_state", tmp_path / "away")
    with pytest.raises(InvariantBroken, match="no training_state to go on from"):
        finish(data, tmp_path / "run", resume=True)
    assert (files(tmp_path / "run"), metrics(tmp_path / "run")) == whole
    shutil.move(tmp_path / "away", tmp_path / "run/training_state")
    log = tmp_path / "run/metrics.jsonl"
    log.write_bytes(log.read_bytes()[:-1])
    with pytest.raises(InvariantBroken, match=r"metrics\.jsonl: \d+ bytes; the training state was written when it had"):
        finish(data, tmp_path / "run", resume=True)


def test_a_dataset_that_was_built_anew_is_refused(tmp_path):
    data = write_dataset(tmp_path / "toy")
    finish(data, tmp_path / "run")
    names = json.loads((data / "identifiers.json").read_text())
    (data / "identifiers.json").write_text(json.dumps([names[0], *reversed(names[1:])]))
    with pytest.raises(InvariantBroken, match=r"is not the one that the run in .* began with"):
        finish(data, tmp_path / "run", resume=True)


def test_another_number_of_processes_is_refused(data, tmp_path):
    finish(data, tmp_path / "run")
    newest = resume.TrainingStates(tmp_path / "run", keep=2).newest()
    state = torch.load(newest / "rank_0.pt", weights_only=True)
    state["shared"]["world_size"] = 2
    torch.save(state, newest / "rank_0.pt")
    with pytest.raises(UsageError, match="written by 2 processes"):
        finish(data, tmp_path / "run", resume=True)
