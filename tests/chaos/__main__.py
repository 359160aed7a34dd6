"""make chaos: kill -9 at random moments in every step, `make all` again, and what must come of it.

Two things are broken: one epoch of the rehearsal (real tasks, real engine, two processes) and all of arc2-paper against the
stand-in upstream. First each is run undisturbed: that gives the manifest to compare with and how long, and how many files,
each step takes. A *run* starts from nothing; in each of its steps in turn it is killed none to four times, each time at a
moment drawn over the step's duration, or after one of its writes, and started again at once; at the end it may complete.

Who is killed: the process group, the session, or everything that was started. What must hold:

- the last `make all` succeeds, the next finds everything fresh, and no process is left;
- the manifest equals the undisturbed one, times and names of attempts aside (same.py);
- a step whose stamp was written is never run again;
- nothing is missing that the undisturbed run has; what is left beside it is counted, by kind.

The same seed draws the same plan. Moments are relative to durations, so a replay hits the same place on a machine as busy.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.kills import HOW, Watch, kill, started_for, wait_until_gone
from tests.chaos.same import differences

HERE = Path(__file__).parent
KINDS = ("paper", "rehearsal")
LIMIT = 600  # seconds for one `make all`
TIME = re.compile(r"\d{8}T\d{6}Z(_\d+)?")


class Broken(Exception):
    """Something that must hold does not."""


@dataclass(frozen=True)
class Kill:
    """One kill: in which step, who, and when: a share of the step's duration or of its writes."""

    step: int
    how: str
    by: str
    share: float


@dataclass
class Place:
    """Where one kind of run is made again and again."""

    folder: Path
    kind: str
    seconds: dict[int, float] = field(default_factory=dict)
    writes: dict[int, int] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    @property
    def runbook(self) -> Path:
        """The folder of the repository that is run."""
        return self.folder / "runbook"

    @property
    def token(self) -> str:
        """What STARTED_FOR is in the environment of all that is started here."""
        return str(self.folder / "stubs")

    def prepare(self) -> None:
        """Makes what is copied for each run."""
        subprocess.run([HERE / "prepare.bash", self.folder, self.kind], check=True, timeout=LIMIT)

    def renew(self) -> None:
        """Nothing is done yet."""
        for name in ("runbook", "stubs", "tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(self.folder / "pristine", self.runbook, symlinks=True)
        shutil.copytree(self.folder / "stubs.pristine", self.folder / "stubs", symlinks=True)
        (self.folder / "tmp").mkdir()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts these words in a session of their own; what they say is appended to FOLDER/said."""
        pairs = (self.folder / "environment").read_text().rstrip("\0").split("\0")
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                words or ("make", "all"),
                cwd=self.runbook,
                env=dict(pair.split("=", 1) for pair in pairs),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def stamped(self) -> int:
        """How many steps have a stamp, from the first on."""
        done = {path.name for path in self.runbook.glob(".repro/runs/*/*.stamp")}
        return next((number for number in range(8) if not any(name.startswith(f"0{number + 1}") for name in done)), 8)

    def logs(self) -> collections.Counter[str]:
        """How many attempts at each step there have been."""
        return collections.Counter(path.name[:2] for path in self.runbook.glob("logs/*/0*.log"))

    def manifest(self) -> Path:
        """The run's manifest."""
        return next(self.runbook.glob("artifacts/*/manifest.json"))

    def present(self) -> set[str]:
        """The names of all files but logs; times in them, and numbers of processes, are made alike."""
        found = set()
        for root, folder in (self.runbook, ""), (self.folder / "tmp", "/tmp/"):
            for place, folders, files in os.walk(root):
                folders[:] = [
                    name for name in folders if name not in (".git", ".venv", "logs", "__pycache__", "outputs")
                ]
                found |= {folder + os.path.relpath(Path(place, name), root) for name in files}
        return {TIME.sub("TIME", name) for name in found}


def undisturbed(place: Place) -> None:
    """Runs it once without a kill; keeps what it leaves, how long each step takes and how much it writes."""
    place.renew()
    watch, process = Watch(place.runbook), place.start()
    began, writes, done = time.monotonic(), 0, 0
    while process.poll() is None and time.monotonic() < began + LIMIT + 1:
        watch.look()
        while done < place.stamped():
            done += 1
            place.seconds[done], place.writes[done] = time.monotonic() - began, watch.count - writes
            began, writes = time.monotonic(), watch.count
        time.sleep(0.01)
    watch.close()
    if process.poll() != 0 or done != 8:
        kill(process.pid, "everything", place.token)
        tail = "\n".join((place.folder / "said").read_text(errors="replace").splitlines()[-20:])
        raise Broken(f"undisturbed, it does not complete; {place.folder / 'said'} ends with:\n{tail}")
    shutil.copy(place.manifest(), place.folder / "undisturbed.json")
    place.files = place.present()


def drawn(rng: random.Random) -> list[Kill]:
    """The kills of a run, in the steps' order."""
    return [
        Kill(step, rng.choice(HOW), rng.choice(["time", "writes"]), rng.random())
        for step in range(1, 9)
        for _ in range(rng.randint(0, 4))
    ]


def kill_once(place: Place, planned: Kill) -> dict[str, object] | None:
    """Starts `make all`, and kills it as planned; what was hit, or None where it completed before."""
    before, again = place.stamped(), place.logs()
    watch, process = Watch(place.runbook), place.start()
    began, end, writes = time.monotonic(), time.monotonic() + LIMIT, 0
    moment, nth = 0.0, 0
    last = before
    while process.poll() is None and time.monotonic() < end:
        watch.look()
        if (done := place.stamped()) != last:
            if done == last + 1 and last >= before + 1:  # a whole step was seen: how long they take now
                place.seconds[done] = 0.7 * place.seconds[done] + 0.3 * (time.monotonic() - began)
            last, began, writes = done, time.monotonic(), watch.count
        if done >= planned.step:
            break
        if done == planned.step - 1:
            moment = planned.share * (place.seconds[planned.step] + (done == before) * 0.3)
            nth = 1 + int(planned.share * place.writes[planned.step])
            if planned.by == "time" and time.monotonic() >= began + moment:
                break
            if planned.by == "writes" and watch.count - writes >= nth:
                break
        time.sleep(0.001)
    late = time.monotonic() >= end
    if process.poll() is not None:
        watch.close()
        if process.returncode != 0:
            raise Broken(f"make all ended with {process.returncode}")
        return None
    killed = kill(process.pid, planned.how, place.token)
    process.wait(60)
    watch.close()
    if late:
        raise Broken(f"make all took more than {LIMIT} s")
    logs = place.logs()
    # what the killed `make all` had to do, and did again
    if twice := [step for step in logs if int(step) <= before and logs[step] > again[step]]:
        raise Broken(f"steps {twice} were finished, and were run again")
    return {
        "step": place.stamped() + 1,
        "how": planned.how,
        "by": planned.by,
        "processes": killed,
        "lost": time.monotonic() - began,
        "after": watch.last.removeprefix(str(place.runbook)),
    }


def complete(place: Place) -> None:
    """`make all`, twice: it must succeed, and then find everything fresh."""
    before, logs = place.stamped(), place.logs()
    process = place.start()
    try:
        code = process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        kill(process.pid, "everything", place.token)
        raise Broken(f"the last make all took more than {LIMIT} s") from None
    if code:
        raise Broken(f"the last make all ended with {code}")
    if twice := [step for step, count in place.logs().items() if int(step) <= before and count > logs[step]]:
        raise Broken(f"steps {twice} were finished, and were run again")
    if left := wait_until_gone(place.token, 20):
        raise Broken(f"processes {left} are left")
    said = (place.folder / "said").stat().st_size
    if code := place.start().wait(LIMIT):
        raise Broken(f"once more, make all ended with {code}")
    with (place.folder / "said").open("rb") as file:
        file.seek(said)
        fresh = file.read().decode(errors="replace")
    if fresh.count(": fresh") != 8:
        raise Broken(f"once more, not everything is fresh:\n{fresh}")


def one_run(place: Place, seed: str, most: int) -> dict[str, object]:
    """One run with its kills, and what came of it.

    Raises:
        Broken: something that must hold does not.
    """
    place.renew()
    (place.folder / "said").write_bytes(b"")
    hits = []
    for planned in drawn(random.Random(seed))[:most]:
        if planned.step > place.stamped() and (hit := kill_once(place, planned)):
            hits.append(hit)
            with (place.folder / "said").open("a") as said:
                said.write(f"\n######## killed: {hit}\n")
    trained = 0
    complete(place)
    if found := differences(place.folder / "undisturbed.json", place.manifest()):
        raise Broken("the manifest is another than the undisturbed one:\n" + "\n".join(found[:60]))
    if missing := place.files - place.present():
        raise Broken(f"missing: {sorted(missing)}")
    for line in next(place.runbook.glob(".repro/runs/*/commands.jsonl")).read_text().splitlines():
        trained += '"step": "05-train"' in line
    if trained > 1 + sum(hit["step"] == 5 for hit in hits):
        raise Broken(f"{trained} trainings ran to their end")
    left = list(kinds_of(place.present() - place.files))
    return {"kind": place.kind, "hits": hits, "left": left, "trained_again": trained - 1}


def kinds_of(names: set[str]) -> Iterator[str]:
    """What files were left behind, by kind: a folder set aside is one thing."""
    found = set()
    for name in names:
        aside = re.match(r"(.*?\.set-aside-TIME)", name)
        found.add(aside[1] if aside else re.sub(r"[0-9a-z_]{8}(?=$|\.tmp|/)|\d{3,}", "*", name))
    yield from sorted(found)


def report(results: list[dict[str, object]], seconds: float) -> str:
    """What came of all of them, in words and numbers."""
    hits = [hit for result in results for hit in result["hits"]]  # type: ignore[attr-defined]
    lines = [f"{len(hits)} kills in {len(results)} runs, {len(results)} recovered, in {seconds:.0f} s"]
    for name in ("step", "how", "by"):
        counts = collections.Counter(hit[name] for hit in hits)
        lines.append(f"  by {name}: " + ", ".join(f"{key} {counts[key]}" for key in sorted(counts)))
    lost = [float(hit["lost"]) for hit in hits]
    lines.append(
        f"lost: no finished step; of the steps at work {sum(lost):.0f} s, {max(lost, default=0):.1f} s at most"
    )
    again = sum(result["trained_again"] for result in results)  # type: ignore[misc]
    lines.append(f"  of these, trainings that had ended, killed before their voucher was written: {again}")
    left = collections.Counter(name for result in results for name in result["left"])  # type: ignore[attr-defined]
    lines.append("left behind" + (":" if left else ": nothing"))
    lines += [f"  {count} x {name}" for name, count in left.most_common(40)]
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--run", type=int, help="only this one of the seed's runs, all its kills: a replay")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="taken in turn")
    parser.add_argument("--folder", type=Path, help="where to work; kept")
    parser.add_argument("--at-most", type=float, default=1e9, metavar="SECONDS", help="no run begins after that")
    parser.add_argument("--json", type=Path, help="write there what came of each run, a line each")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="chaos."))).absolute()
    began, results, number = time.monotonic(), [], options.run or 0
    places = {kind: Place(folder / kind, kind) for kind in dict.fromkeys(options.kinds)}
    try:
        left = options.kills
        while left > 0 and (not results or time.monotonic() < began + options.at_most):
            place = places[options.kinds[number % len(options.kinds)]]
            if not place.seconds:
                place.prepare()
                undisturbed(place)
            seed = f"{options.seed}/{number}"
            try:
                result = one_run(place, seed, left if options.run is None else 1000)
            except Broken as problem:
                words = f"make chaos SEED={options.seed} RUN={number} ARGS='--kinds {' '.join(options.kinds)}'"
                print(
                    f"BROKEN in run {number} ({place.kind}): {problem}\nagain: {words}\nsee {place.folder}, said and runbook"
                )
                print(report(results, time.monotonic() - began))
                folder = Path("/kept")  # it stays, to be looked at
                return 1
            results.append(result)
            left -= len(result["hits"])  # type: ignore[arg-type]
            if options.json:
                with options.json.open("a") as file:
                    file.write(json.dumps({"seed": seed, **result}) + "\n")
            print(f"run {number} ({place.kind}): {len(result['hits'])} kills, recovered", flush=True)  # type: ignore[arg-type]
            number += 1
            if options.run is not None:
                break
    finally:
        for place in places.values():
            for pid in started_for(place.token):
                os.kill(pid, 9)
        if not options.folder and folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
    print(report(results, time.monotonic() - began))
    return 0


if __name__ == "__main__":
    sys.exit(main())
