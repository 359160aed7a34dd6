"""A run on two nodes: two processes, each in a folder of its own; once with two of torchrun's agents that meet here."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from engine_support import ALONE, Forked, arguments, config, environment, grown, metrics, write_dataset

from trm_repro.engine import cluster, pretrain
from trm_repro.engine.data import Split
from trm_repro.engine.world import World
from trm_repro.errors import UsageError
from trm_repro.runs.checkpoints import checkpoints


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "toy")


class Nodes:
    """Two agents, each in the folder of its node; ``folder`` is one that both see.

    Args:
        args: the words of the training, the same on both.
        homes: the folder that each starts in.
    """

    def __init__(self, args, homes):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            meeting = f"--rdzv-endpoint=127.0.0.1:{free.getsockname()[1]}"
        words = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=run", meeting]
        words += ["-m", "trm_repro.engine.pretrain"]
        self.agents = [
            subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", f"--rdzv-conf=is_host={int(not node)}", *words, *args],
                cwd=home,
                env=environment(),
                stderr=subprocess.PIPE,
                text=True,
            )
            for node, home in enumerate(homes)  # the first keeps the store, and is not the one that is lost
        ]

    def end(self):
        """Waits for both; their exit codes and what they said."""
        said = [agent.communicate(timeout=300)[1] for agent in self.agents]
        return [agent.returncode for agent in self.agents], said

    def lose(self, node):
        """kill -9 of all that runs on a node."""
        for pid in family(self.agents[node].pid):
            os.kill(pid, signal.SIGKILL)


def family(pid):
    """A process and all that it started."""
    found = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = dict(map(int, line.split()) for line in found.splitlines())
    members = [pid]
    for member in members:
        members += [child for child, parent in parents.items() if parent == member]
    return members


@pytest.fixture
def homes(tmp_path):
    """A folder for each node, and a third one that both see."""
    for name in ("first", "second", "shared"):
        (tmp_path / name).mkdir()
    return tmp_path / "first", tmp_path / "second"


@pytest.mark.deep
@pytest.mark.timeout(1000)
def test_two_nodes_are_one_process_and_a_lost_one_is_made_good(data, homes, tmp_path):
    changes = {"checkpoint_every_n_steps": 4, "epochs": 24, "eval_interval": 12}
    shared = tmp_path / "shared"

    def words(name):
        return [*arguments(data, name, **changes), f"++checkpoint_path={shared / name}", "++resume=True"]

    pretrain.Pretraining(config(data, folder=shared / "alone", **changes), ALONE).train()
    codes, said = Nodes(words("whole"), homes).end()
    assert codes == [0, 0], said
    alone, whole = (metrics(shared / name) for name in ("alone", "whole"))
    assert [line["step"] for line in alone] == [line["step"] for line in whole]
    for a, b in zip(alone[:20], whole[:20], strict=True):  # the order of a sum differs, and what that does grows slowly
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)

    broken = Nodes(words("broken"), homes)
    grown(shared / "broken/metrics.jsonl", 1500)
    broken.lose(1)
    codes, said = broken.end()
    assert codes[0] != 0
    assert "another process is lost" in said[0] and "resume=True" in said[0]
    codes, said = Nodes(words("broken"), homes).end()
    assert codes == [0, 0], said
    assert "resuming after step" in "".join(said)
    for folder in ("whole", "broken"):
        assert not list(shared.glob(f"{folder}/training_state/.*"))
    assert metrics(shared / "broken") == metrics(shared / "whole")
    for path in checkpoints(shared / "whole"):
        assert (shared / "broken" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.deep
def test_nodes_that_share_no_folder_are_told_so_before_they_train(data, homes):
    codes, said = Forked(homes[:2], arguments(data, "apart")).end()
    assert 0 not in codes
    for text in said:
        assert "training_state of rank 0 is not seen by rank 1" in text and "Traceback" not in text.split("error:")[0]
    assert not [path for home in homes for path in home.rglob("step_*")]


@pytest.mark.deep
def test_without_training_states_they_need_share_none(data, homes):
    codes, said = Forked(homes[:2], arguments(data, "apart", keep_checkpoints=0, eval_save_outputs="[preds]")).end()
    assert codes == [0, 0], said
    found = sorted(path.name for home in homes for path in home.rglob("*_all_preds.?"))
    assert found[0].endswith("preds.0") and len({name[-1] for name in found}) == 2


class Pair(World):
    """Rank 0 of two, of which the other says what it is made to say."""

    def __init__(self, other):
        super().__init__(0, 2, ALONE.device)
        object.__setattr__(self, "other", other)

    def collect(self, value):
        return [value, ("elsewhere", self.other)]

    def agree(self, value):
        return value


def test_nodes_that_do_not_do_the_same_are_told_so(data, tmp_path):
    run = config(data).model_dump()
    facts = {key: repr(value) for key, value in run.items() if key not in cluster.PER_NODE}
    same = Split(data, "train")
    alike = facts | {"the train data": cluster.fingerprint(same)}
    cluster.check_alike(Pair(alike), run | {"threads": 9, "data_paths": ["elsewhere"]}, [same])
    other = Split(write_dataset(tmp_path / "toy", seed=1), "train")
    with pytest.raises(UsageError, match=r"lr: rank 1 on elsewhere has 0\.02, rank 0 on \S+ has 0\.01"):
        cluster.check_alike(Pair(alike | {"lr": "0.02"}), run, [same])
    with pytest.raises(UsageError, match="the train data: rank 1 on elsewhere has"):
        cluster.check_alike(Pair(alike), run, [other])
    (data / "identifiers.json").write_text("[]")
    with pytest.raises(UsageError, match="the train data"):
        cluster.check_alike(Pair(alike), run, [same])
