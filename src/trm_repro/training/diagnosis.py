"""Why a training failed, read from the end of its output, and the legitimate next move.

What counts is what processes ended with (:mod:`~trm_repro.training.endings`), held against a table
(:mod:`~trm_repro.training.causes`). The first root cause among all processes is the diagnosis; only without one does it count
that somebody ended a process, or that one lost another. A wrong cause is worse than none: what fits no rule is shown whole, and
called unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache

from trm_repro.training.causes import CAUSES, ENDED, ROOT, SYMPTOM, Alarm, Cause
from trm_repro.training.endings import Failure, Output, read

QUOTED = 600  # characters of what is quoted beside a known cause
WHOLE = 4000  # and of an unknown one
LAUNCHERS = ("ChildFailedError", "SystemExit", "SignalException")  # what the launcher ends with
# exceptions behind which the handling of them may fail as well, without being the cause
HARD = (
    "out of GPU memory",
    "out of memory",
    "disk full",
    "disk quota",
    "read-only file system",
    "file system failed",
    "GPU hardware",
)
UNKNOWN = (
    "No rule knows this failure. Read the log from its end, around those words; then run the same command "
    "once more: make all. If "
    "they come again, report them. Flags are never changed to get past a failure."
)


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter, in a sentence with the words that say so, and what to do."""

    name: str
    finding: str
    remedy: str


@dataclass(frozen=True)
class _Verdict:
    failure: Failure
    cause: Cause | None

    @property
    def rank(self) -> int:
        return self.cause.rank if self.cause else ROOT


def diagnose(lines: Iterable[str], exit_code: int) -> Diagnosis:
    """Why a training ended badly.

    Args:
        lines: the end of its output.
        exit_code: as a shell reports it; 128 + n for signal n.
    """
    output = read(lines, _fatal())
    verdicts = [_verdict(failure, output) for failure in output.failures]
    verdicts = list(_counting(verdicts))
    signalled = _signalled(output, exit_code)
    chosen = next((verdict for verdict in verdicts if verdict.rank == ROOT), None)
    if chosen and not chosen.cause and output.first:  # torchrun's word on who failed first, where no rule has one
        theirs = [
            verdict for verdict in verdicts if verdict.rank == ROOT and verdict.failure.rank == output.first[0] != ""
        ]
        chosen = theirs[-1] if theirs else chosen
        if signalled and signalled.cause and signalled.rank == ENDED and output.first[1] < 0:
            chosen = signalled
    if not chosen:
        candidates = [*verdicts, *([signalled] if signalled else [])]
        chosen = min(candidates, key=lambda verdict: verdict.rank, default=None)
    if chosen and chosen.cause:
        return _found(chosen.cause, chosen.failure)
    if chosen:
        if hint := _own(chosen.failure):
            return Diagnosis("unknown", f"unknown (exit code {exit_code}): {chosen.failure.said[0]}", hint)
        return Diagnosis("unknown", f"unknown (exit code {exit_code}): {_quoted(chosen.failure, WHOLE)}", UNKNOWN)
    last = next((line.text.strip() for line in reversed(output.lines) if line.text.strip()), "")
    said = f"no exception ended it; its last line: {last[:QUOTED]}" if last else "no output"
    return Diagnosis("unknown", f"unknown (exit code {exit_code}): {said}", UNKNOWN)


def alarmed(alarm: Alarm, line: str) -> Diagnosis:
    """What a line that ended a run means."""
    return Diagnosis(alarm.name, f"{alarm.name}: {alarm.means} (it said: {line.strip()[:QUOTED]})", alarm.remedy)


def _verdict(failure: Failure, output: Output) -> _Verdict:
    """The cause that a failure, or what it was raised from, shows."""
    own = _Verdict(failure, _rule(failure, output))
    if failure.under is None:
        return own
    below = _verdict(failure.under, output)
    counts = below.cause and below.rank != SYMPTOM and (failure.direct or below.cause.name in HARD)
    vague = own.cause is None or own.rank != ROOT or own.cause.name == "checkpoint not written"
    if counts and vague and (own.cause is None or below.rank == ROOT):
        return _Verdict(replace(below.failure, at=failure.at, rank=failure.rank, doubt=failure.doubt), below.cause)
    return own


def _rule(failure: Failure, output: Output) -> Cause | None:
    frames = "\n".join(failure.frames)
    for reading in (*_warned(failure, output), *failure.readings()):
        for cause in CAUSES:
            how = cause.raised if failure.kind else cause.printed
            text = reading if failure.kind else failure.said[0]
            if not any(_compiled(pattern).match(text) for pattern in how):
                continue
            if cause.frames and not _compiled(cause.frames).search(frames):
                continue
            if cause.outside and _compiled(cause.outside).search(frames):
                continue
            if cause.beside and not (
                _compiled(cause.beside).match(text)
                or any(_compiled(cause.beside).match(line.text) for line in output.lines)
            ):
                continue
            return cause
    return None


def _warned(failure: Failure, output: Output) -> Iterator[str]:
    """Why torch sees no GPU, which it says in a warning before it fails for want of one."""
    if failure.kind == "RuntimeError" and failure.said[0].startswith(
        ("No CUDA GPUs are available", "Cannot access accelerator")
    ):
        for line in output.lines:
            if warning := re.search(r"UserWarning: CUDA initialization: (.*)", line.text):
                yield f"RuntimeError: {warning[1]}"


def _counting(verdicts: list[_Verdict]) -> Iterator[_Verdict]:
    """Without what processes survived, and what the launcher says when they have ended."""
    verdicts = [one for one in verdicts if one.failure.doubt < 3 and (one.cause or one.failure.kind not in LAUNCHERS)]
    for at, verdict in enumerate(verdicts):
        failure, later = verdict.failure, verdicts[at + 1 :]
        if failure.doubt == 2 and later:
            continue
        if failure.doubt == 1 and any(other.rank == ROOT and other.failure.frames for other in later):
            continue
        yield verdict


def _signalled(output: Output, exit_code: int) -> _Verdict | None:
    """The signal that ended a process, as torchrun or the exit code tells."""
    number, said = 0, ""
    if output.first and output.first[1] < 0:
        number, said = -output.first[1], f"exit code {output.first[1]}"
    elif 128 < exit_code < 160 and exit_code != 255:
        number, said = exit_code - 128, f"exit code {exit_code}"
    cause = next((cause for cause in CAUSES if number in cause.signals), None)
    if cause is None:
        return None
    rank = output.first[0] if output.first and output.first[1] < 0 else ""
    return _Verdict(Failure(rank, "", [said], len(output.lines)), cause)


def _own(failure: Failure) -> str:
    """The hint of an error that this package's own programs end with."""
    if failure.kind or not failure.said[0].startswith("error: "):
        return ""
    return next((line.removeprefix("hint: ") for line in failure.said if line.startswith("hint: ")), "")


def _found(cause: Cause, failure: Failure) -> Diagnosis:
    return Diagnosis(cause.name, f"{cause.name}: {cause.means} (it said: {_quoted(failure, QUOTED)})", cause.remedy)


def _quoted(failure: Failure, longest: int) -> str:
    who = f"rank {failure.rank}: " if failure.rank else ""
    text = f"{who}{failure.text}"
    return text if len(text) <= longest else f"{text[:longest]} …"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@cache
def _fatal() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for cause in CAUSES for pattern in cause.printed))
