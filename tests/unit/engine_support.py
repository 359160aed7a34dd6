"""What the engine's tests share: golden cases, a small dataset of made-up tokens, and runs in processes of their own."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from trm_repro import cli
from trm_repro.engine import checkpoint, pretrain, world
from trm_repro.engine.act import Batch
from trm_repro.engine.config import ArchConfig, PretrainConfig, parse
from trm_repro.engine.data import Metadata
from trm_repro.engine.train import Training
from trm_repro.engine.world import World

GOLDEN = Path(__file__).parents[1] / "golden"
ALONE = World(0, 1, torch.device("cpu"))
TINY = {
    "arch.hidden_size": 16,
    "arch.num_heads": 2,
    "arch.L_layers": 1,
    "arch.H_cycles": 2,
    "arch.L_cycles": 2,
    "arch.expansion": 1,
    "arch.puzzle_emb_len": 2,
    "arch.halt_max_steps": 3,
    "arch.halt_exploration_prob": 0.5,
    "arch.forward_dtype": "float32",
    "global_batch_size": 8,
    "epochs": 4,
    "eval_interval": 2,
    "lr": 0.01,
    "lr_warmup_steps": 4,
    "ema": True,
    "ema_rate": 0.9,
    "evaluators": "[]",
    "device": "cpu",
    "threads": 1,
}


class Golden:
    """A recorded case."""

    def __init__(self, name):
        self.name = name
        self.facts = json.loads((GOLDEN / f"engine/{name}.json").read_text())
        self.arrays = np.load(GOLDEN / f"engine/{name}.npz")

    def weights(self, part):
        start = f"{part}/{checkpoint.PREFIX}"
        return {key[len(start) :]: torch.from_numpy(self.arrays[key]) for key in self.arrays if key.startswith(start)}

    def batch(self, step):
        return Batch(
            *(torch.from_numpy(self.arrays[name][step]) for name in ("inputs", "labels", "puzzle_identifiers"))
        )

    def training(self, world=ALONE, **changes):
        facts, settings = self.facts, dict(self.facts["train"])
        total = settings.pop("total_steps")
        arch = ArchConfig(**facts["arch"], loss={"loss_type": facts["loss_type"]})
        values = {"data_paths": ["unused"], "epochs": total, "ema": True, **settings, **changes}
        config = PretrainConfig(arch=arch, **values)
        model = arch.build(facts["vocab_size"], facts["seq_len"], facts["num_puzzle_identifiers"])
        checkpoint.load_weights(model, self.weights("init"), source=self.name)
        data = Metadata(0, 0, 0, facts["vocab_size"], facts["seq_len"], facts["num_puzzle_identifiers"], 1, 1.0, 1, ())
        data = Metadata(**{**data.__dict__, "mean_puzzle_examples": float(config.global_batch_size)})
        return Training(config, model.to(world.device), data, world)


def relative(found, expected):
    """The largest difference, relative to the larger of 1 and the expected magnitude."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected).max())))


def distance(found, expected):
    """The length of the difference, relative to the length of what is expected."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def write_dataset(folder, *, groups=9, seq_len=12, vocab_size=6, identifiers=None, seed=0):
    """A dataset in which the label of a token is the token, turned round by the puzzle's number."""
    random = np.random.RandomState(seed)
    for split in ("train", "test"):
        inputs, numbers, puzzle_ends, group_ends = [], [], [0], [0]
        for _group in range(groups):
            for _ in range(random.randint(1, 4)):
                number = min(len(numbers) + 1, (identifiers or 10**9) - 1)
                inputs += [random.randint(1, vocab_size, seq_len) for _ in range(random.randint(1, 4))]
                numbers.append(number)
                puzzle_ends.append(len(inputs))
            group_ends.append(len(numbers))
        labels = [(tokens + 1) % vocab_size for tokens in inputs]
        (folder / split).mkdir(parents=True)
        arrays = {
            "inputs": np.array(inputs, np.uint8),
            "labels": np.array(labels, np.uint8),
            "puzzle_identifiers": np.array(numbers, np.int32),
            "puzzle_indices": np.array(puzzle_ends, np.int32),
            "group_indices": np.array(group_ends, np.int32),
        }
        for name, array in arrays.items():
            np.save(folder / split / f"all__{name}.npy", array)
        facts = {
            "pad_id": 0,
            "ignore_label_id": 0,
            "blank_identifier_id": 0,
            "vocab_size": vocab_size,
            "seq_len": seq_len,
            "num_puzzle_identifiers": identifiers or 40,
            "total_groups": groups,
            "mean_puzzle_examples": len(inputs) / len(numbers),
            "total_puzzles": len(numbers),
            "sets": ["all"],
        }
        (folder / split / "dataset.json").write_text(json.dumps(facts))
    names = ["<blank>"] + [f"puzzle{i}" for i in range(1, identifiers or 40)]
    (folder / "identifiers.json").write_text(json.dumps(names))
    return folder


def arguments(data, name, **changes):
    """The command-line overrides of a tiny run, written as a user would."""
    values = {**TINY, **changes}
    pairs = [f"{key}={'null' if value is None else value}" for key, value in values.items()]
    return ["arch=trm", f"data_paths=[{data}]", f"++run_name={name}", *[f"++{pair}" for pair in pairs]]


def config(data, name="run", folder=None, **changes):
    """The same as a validated configuration, for runs within the test's own process."""
    import yaml

    values = {"arch": {}, "data_paths": [str(data)], "run_name": name, "puzzle_emb_lr": 0.01, "weight_decay": 0.1}
    values |= {"puzzle_emb_weight_decay": 0.1}
    for key, value in {**TINY, **changes}.items():
        value = yaml.safe_load(value) if isinstance(value, str) else value
        if key.startswith("arch."):
            values["arch"][key[5:]] = value
        else:
            values[key] = value
    values["arch"].setdefault("puzzle_emb_ndim", values["arch"]["hidden_size"])
    if folder:
        values["checkpoint_path"] = str(folder)
    return parse(values)


def environment():
    """The environment of a run: nothing of the user's that would change it."""
    dropped = ("TRM_REPRO_METRICS", "WANDB_API_KEY", "LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    return {key: value for key, value in os.environ.items() if key not in dropped} | {"OMP_NUM_THREADS": "1"}


def run(cwd, args, program=("trm_repro.engine.pretrain",), torchrun=0):
    """A run as a user starts it, to its end; ``torchrun`` is the number of its processes, 0 goes without."""
    launcher = ["torch.distributed.run", f"--nproc-per-node={torchrun}", "--rdzv-backend=c10d", "--nnodes=1"]
    launcher = [*launcher, "--rdzv-endpoint=localhost:0", "-m"] if torchrun else []
    words = [sys.executable, "-m", *launcher, *program, *args]
    done = subprocess.run(words, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["trm_repro.engine.pretrain", "trm_repro.cli", "torch._dynamo"])


class Forked:
    """The same for a tenth of the time: ranks forked from a process that has imported everything already.

    Args:
        homes: the folder that each rank starts in.
        args: the words of the training; or "evaluate" and its words.
        prepare: called in each rank before it begins.
        environ: more of the environment.
    """

    def __init__(self, homes, args, prepare=None, environ=()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        size = str(len(homes))
        world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        self.logs = [tempfile.NamedTemporaryFile() for _ in homes]  # noqa: SIM115
        self.ranks = []
        for rank, (home, log) in enumerate(zip(homes, self.logs, strict=True)):
            own = environment() | dict(environ)
            own |= world | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if len(homes) > 1 else {}
            words = [str(word) for word in args]
            self.ranks.append(FORKS.Process(target=_forked, args=(home, words, own, log.name, prepare)))
            self.ranks[-1].start()

    def kill(self, *ranks):
        """kill -9 of these ranks."""
        for rank in ranks:
            self.ranks[rank].kill()

    def end(self):
        """Waits for all; their exit codes, negative for a signal, and what they said."""
        deadline = time.monotonic() + 200
        for rank in self.ranks:
            rank.join(deadline - time.monotonic())
            rank.kill()
            rank.join()
        return [rank.exitcode for rank in self.ranks], [log.read().decode() for log in self.logs]


def _forked(home, words, environ, log, prepare):
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(home)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["pretrain", *words]
    if prepare:
        prepare()
    if words[0] == "evaluate":
        sys.exit(cli.main(words))
    pretrain.main()


def run_forked(cwd, args, processes=1, environ=()):
    """To the end, well; what was said."""
    codes, said = Forked([cwd] * processes, args, environ=environ).end()
    assert codes == [0] * processes, "".join(said)[-3000:]
    return "".join(said)


def grown(path, size):
    """Waits until a file has more than so many bytes."""
    deadline = time.monotonic() + 100
    while not path.exists() or path.stat().st_size <= size:
        assert time.monotonic() < deadline, f"{path} did not grow"
        time.sleep(0.01)


def metrics(folder):
    """The logged lines, without their time."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def collect_in_pieces(rank, port, folder, room):
    """A process of three: rank 0 writes down what the others' values are, which travel in pieces of ``room`` bytes in all."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "3", "RANK": str(rank)}
    os.environ |= {"LOCAL_RANK": str(rank)}
    world.ROOM, largest, gather = room, 0, dist.gather

    def measured(tensor, parts, **how):
        nonlocal largest
        largest = max(largest, tensor.nbytes * 3)
        gather(tensor, parts, **how)

    dist.gather = measured
    with world.join("cpu", threads=1) as here:
        values = [None, {"rank": 1, "votes": np.arange(5000)}, "x" * 777]
        told = here.collect(values[rank]), here.collect(rank)
    if rank == 0:
        same = len(told[0]) == 3 and told[0][0] is None and told[0][2] == values[2]
        same = same and np.array_equal(told[0][1]["votes"], values[1]["votes"])
        (folder / "told").write_text(json.dumps([same, told[1], largest]))
    else:
        assert told == ([], [])
