"""What must be the same on all nodes of a run, and that nothing else would tell.

A process that was started with another learning rate, or that reads another dataset, would train on: wrongly, and without
a word. And a training state is one folder to which every process adds its part, so that all nodes must see the same one.
Each check ends the run on all processes alike, with the same error.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trm_repro.digests import digest_file
from trm_repro.engine.data import Split
from trm_repro.engine.world import World
from trm_repro.errors import InvariantBroken, UsageError
from trm_repro.files import write_text

# What may differ from node to node: where files lie, and what a process computes with.
PER_NODE = {"data_paths", "data_paths_test", "load_checkpoint", "load_adapters", "checkpoint_path", "threads", "entity"}


def check_alike(world: World, config: Mapping[str, Any], splits: Sequence[Split]) -> None:
    """Checks that every process has the configuration and the data of rank 0.

    Raises:
        UsageError: one has not.
    """
    mine = {key: repr(value) for key, value in config.items() if key not in PER_NODE}
    mine |= {f"the {split.name} data": fingerprint(split) for split in splits}
    host = socket.gethostname()
    problems = [
        f"{key}: rank {rank} on {there} has {theirs.get(key)}, rank 0 on {host} has {mine.get(key)}"
        for rank, (there, theirs) in enumerate(world.collect((host, mine)))
        for key in sorted(mine.keys() | theirs.keys())
        if theirs.get(key) != mine.get(key)
    ]
    if problems := world.agree(problems):
        raise UsageError(
            "the processes do not do the same:\n  " + "\n  ".join(problems[:8]),
            hint="start the same command on every node, with the same dataset in its data_paths",
        )


def check_shared(world: World, folder: Path) -> None:
    """Checks that every process sees the files that rank 0 makes in ``folder``.

    The other processes look there only now, after rank 0 has written: a network file system may keep in mind what a node
    has looked for in vain.

    Raises:
        InvariantBroken: one does not.
    """
    if world.size == 1:
        return
    mark, token = folder / ".seen-by-all", world.agree(secrets.token_hex(8))
    if world.leads:
        write_text(mark, token)
    world.wait()
    seen = mark.exists() and mark.read_text() == token
    told = world.collect((socket.gethostname(), seen))
    blind = world.agree([f"rank {rank} on {host}" for rank, (host, saw) in enumerate(told) if not saw])
    if world.leads:
        mark.unlink()
    if blind:
        raise InvariantBroken(
            f"{folder} of rank 0 is not seen by {', '.join(blind[:8])}",
            hint="checkpoint_path must lie on a file system that all nodes share; or keep_checkpoints=0: rank 0 alone "
            "writes, and a run that is killed starts again",
        )


def fingerprint(split: Split) -> str:
    """What tells one dataset from another in a second: sizes, indices, and the names of the augmentations."""
    facts = hashlib.sha256(repr((split.metadata, split.inputs.shape)).encode())
    for array in (split.puzzle_identifiers, split.puzzle_indices, split.group_indices):
        facts.update(array.tobytes())
    names = split.folder / "identifiers.json"
    facts.update(digest_file(names).sha256.encode() if names.exists() else b"")
    return facts.hexdigest()[:16]
