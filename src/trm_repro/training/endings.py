"""Reads the end of a training's output: which processes ended, by what exception, and which of them failed first.

Several processes write to one stream, some behind a prefix (``[rank3]:``), and progress bars glue themselves to what follows.
What counts is the exception that a process ended with, and what the system says of a process that it ended. An exception is

* what stands behind the frames of a traceback, or alone on a line and looks like one, with the lines of its message;
* *survived* if its process went on: a bar that advanced, a step, "retrying" behind it. It is then not what ended it;
* *doubtful* if anything else was printed behind it, or a warning introduced it: any later one comes before it;
* *certain* between Hydra's "Error executing job with overrides" and the end of that traceback;
* linked with the exception that it was raised from, or in the handling of.

torchrun's table says which process ended first, and by which signal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


ANSI = _any(r"\x1b\[[0-9;?]*[ -/]*[@-~]", r"\x1b\][^\x07]*\x07", r"\x1b[@-Z\\-_]")
BAR = _any(  # tqdm's, with a known total and without; the brackets may hold a postfix
    r"^[^|\n]*?\d{1,3}%\|[^|]*\|\s*(?P<done>[\d.]+)[kMG]?/[\d.?]+[kMG]?(?:\s*\[[^\[\]]*\])?",
    r"^(?:[^\n\[]*: )?(?P<count>\d+)it \[[^\[\]]*\]",
)
STAMP = _any(
    r"^ ?\[?\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?(?: std(?:out|err) [FP])?(?: -)? ?",
    r"^\[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]? ",
    r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ kernel: ",
    r"^\[ *\d+\.\d+\] (?=NVRM|Memory cgroup|Out of memory)",
)
LABEL = _any(  # torch's own and torchrun's, mpirun's, Ray's, srun --label's, docker compose's
    r"^\[(?P<hook>rank)?(?(hook)|[A-Za-z_]+)(?P<a>\d+)\]:(?(hook) ?)",
    r"^\[\d+,(?P<b>\d+)\]<std(?:out|err)>:? ?",
    r"^\([\w. ]*?(?:rank|pid)[ =]?(?P<c>\d+)[^)]*\) ?",
    r"^ {0,3}(?P<d>\d{1,3}): (?=\S| {2,4}\S)",
    r"^[A-Za-z][\w.-]* +\| ",
)
LOGGED = re.compile(
    r"^\[?(?P<level>[EWIFV])(?:\d{3,4} [\d:.]+)? (?:\d+ )?(?P<file>[^\s\]]+\.(?:py|cpp|cc|hpp|h|cu):\d+)\] ?"
)
LEVELLED = _any(
    r"^(?:wandb|DEBUG|INFO|WARNING|ERROR|CRITICAL|slurmstepd|srun|NCCL (?:INFO|WARN))\b[: ]", r"^\S+:\d+:\d+ \[\d+\] "
)
HEADER = re.compile(r"^(?P<original>Original )?Traceback \(most recent call last\):")
CHAIN = re.compile(r"^(?:During handling of the above exception|The above exception was (?P<direct>the direct cause))")
HEADLINE = re.compile(r"^(?P<type>(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?::(?: (?P<said>.*))?)?$")
ALONE = _any(  # a headline without its traceback has to look like one
    r"\w(?:Error|Exception|Failed|Interrupt|Timeout)$",
    r"NVMLError_\w+$",
    r"(?:OutOfResources|TritonMissing|GPUTooOldForTriton|InvalidCxxCompiler|MissingMandatoryValue|TimeoutExpired)$",
    r"\.(?:exceptions|errors|exc)\.[A-Z]\w+$",
    r"\.(?:Error|Exception)$",
)
WATCHDOG = re.compile(r"^(?:\[[^\]]*\] )*(?:Process group|NCCL) watchdog thread terminated with exception: ")
TERMINATE = _any(
    r"^terminate called after throwing an instance of '(?P<type>[^']+)'", r"^ {1,2}what\(\): +(?P<what>.*)"
)
NOTICE = _any(
    "^Exception ignored (?:in|on)",
    "^--- Logging error ---",
    "^Error in atexit",
    "^Task exception was never",
    "^Exception in callback",
)
THREAD = _any(r"^Exception in thread ", r"^Process \S+:$")
CERTAIN = re.compile(r"^Error executing job with overrides: ")
INTRODUCED = re.compile(
    r"(?i)\b(?:warn(?:ing)?|retry(?:ing)?|ignor\w+|non-?fatal|skipp\w+|recover\w*|fall(?:ing)? ?back|continu\w+)\b"
    r"|^ERROR:torch\._"
)
WENT_ON = re.compile(
    r"(?i)\b(?:retry(?:ing)?|retried|recovered|continu(?:e|ed|es|ing)|falling back|fallback|ignor(?:ed|ing)|skipp(?:ed|ing)"
    r"|proceeding|going on|goes on|went on|succeeded|will try again|trying again|resum(?:ed|ing))\b"
)
STEP = _any(
    r"(?i:^\W*(?:step|iter(?:ation)?|epoch|batch)\W{0,3}\d)",
    r"(?i:\bloss\W{1,3}\d)",
    r"^\[Rank \d+, World Size \d+\]: Epoch",
    r"^(?:TRAIN|EVALUATE|SAVE CHECKPOINT|SWITCH TO EMA)$",
    r"^Processing batch \d+",
    r"^All evaluators completed",
)
TAIL = _any(  # what the messages of torch, NCCL, Triton and Hydra go on with
    "^(?:CUDA kernel errors might|For debugging consider|Compile with `TORCH_USE|Device-side assertion|Search for `cuda)",
    r"^(?:GPU device may be out of range|Last error:|nccl\w+Error: |Exception raised from |frame #\d+: )",
    "^(?:Set TORCH|You can suppress this exception|Set the environment variable HYDRA_FULL_ERROR|The original traceback)",
    "^(?:Please increase|It is possible that|`ptxas`|ptxas |Repro command|Command:|Output:|Executing |Bootstrap)",
    r"^(?:Cuda failure|Error(?:: failed to extend| while creating shared memory)|socket\w* ?:|Net : |NET/|Duplicate GPU)",
)
QUIET = _any(  # what is printed in any case while processes end
    r"^\s*$",
    r"^\s+",
    r"^[=*#~─-]{5,}\s*$",
    "^[│╭╰]",
    r"^\^C$",
    r'^"""$',
    r"^wandb\b",
    "^NCCL",
    "^TORCH_",
    "^(?:hint|error|srun|slurmstepd): ",
    r"^make(?:\[\d+\])?: \*\*\*",
    r"^\[\d+\]:$",
    r"^\S+ FAILED$",
    "^(?:Root Cause|(?:Other )?Failures:|Aborted|Fatal Python error|Thread 0x|Current thread|Extension modules|To suppress)",
    "^(?:Some NCCL operations|To avoid data)",
    r"\b\w*Warning: |warnings\.warn|resource_tracker|destroy_process_group|exitcode|Sending process|death signal",
)
WRAPPERS = ("BackendCompilerFailed", "InductorError", "InternalTorchDynamoError", "LoweringException")
INNER = re.compile(
    r"(?:[A-Za-z_]\w*\.)*(\w*(?:Error|Exception|Failed|OutOfResources|Missing|ForTriton|Compiler|Error_\w+)): "
)
NESTED = ("_RemoteTraceback", "RemoteTraceback", "SubprocException", "ProcessRaisedException")
MULTIPART = (
    *NESTED,
    *WRAPPERS,
    "CppCompileError",
    "CUDACompileError",
    "PTXASError",
    "ValidationError",
)  # blank lines in messages
ADVANCE = 5  # steps that a bar may advance while another process is already at its end
LONG = 300  # lines of a message


@dataclass
class Failure:
    """What a process ended with.

    Attributes:
        rank: the process, as its prefix has it; empty without one.
        kind: the exception's type without its module; empty for what is none.
        said: the lines of its message, or of what was printed.
        at: the number of its first line.
        frames: the lines of its traceback.
        doubt: 0 for none; 1 if text stood behind it that may be part of its message; 2 for other text, a warning before it, or
            a thread; 3 if its process went on.
        under: the exception that it was raised from, or in the handling of.
        direct: whether it was raised from it.
    """

    rank: str
    kind: str
    said: list[str]
    at: int
    frames: list[str] = field(default_factory=list)
    doubt: int = 0
    certain: bool = False
    under: Failure | None = None
    direct: bool = False

    @property
    def text(self) -> str:
        """All of it, in one line."""
        lines = [line.strip() for line in self.said if line.strip()]
        return ": ".join(part for part in (self.kind, " | ".join(lines)) if part)

    def readings(self) -> Iterator[str]:
        """``type: message``, of what the exception wraps first."""
        message = "\n".join(self.said).strip("\n")
        wrapped = re.sub(r"^backend='\w+' raised:\n|^No valid triton configs\. ", "", message)
        inner = INNER.match(wrapped)
        if inner and (wrapped != message or self.kind in WRAPPERS):
            yield from Failure(self.rank, inner[1], wrapped[inner.end() :].split("\n"), self.at).readings()
        yield f"{self.kind}: {message}"


@dataclass(frozen=True)
class Line:
    """A line without what it is wrapped in: its rank, its text, and its place."""

    at: int
    rank: str
    text: str
    level: str = ""
    file: str = ""
    hooked: bool = False  # what torch puts before the exception that ends a process, and before nothing else


@dataclass
class Output:
    """The end of an output.

    Attributes:
        lines: its lines, unwrapped.
        failures: what processes ended with, in the order of their first lines; none that is only linked from another.
        first: (rank, exit code) of the process that torchrun saw ending first; a signal is a negative code.
    """

    lines: list[Line]
    failures: list[Failure]
    first: tuple[str, int] | None


def unwrapped(lines: Iterable[str]) -> tuple[list[Line], list[tuple[int, str, float]]]:
    """(lines, bars): each line without colours, bars, timestamps and prefixes; each bar's place, rank, and how far it is."""
    found: list[Line] = []
    bars: list[tuple[int, str, float]] = []
    at = 0
    for line in lines:
        for piece in re.split(r"[\r\n]+|(?<=[^\s:])(?=\[rank\d+\]: )", ANSI.sub("", line).strip("\r\n")):
            at += 1
            text, rank, level, file, hooked, drawn = piece.rstrip(), "", "", "", False, False
            for _ in range(6):
                if match := STAMP.match(text):
                    pass
                elif match := LABEL.match(text):
                    rank = next((match[name] for name in "abcd" if match[name]), rank)
                    hooked = bool(match["hook"])
                elif match := BAR.match(text):
                    drawn = True
                    bars.append((at, rank, float(match["done"] or match["count"])))
                else:
                    break
                text = text[match.end() :]
            if match := LOGGED.match(text):
                level, file, text = match["level"], match["file"], text[match.end() :]
            if text.strip() or not drawn:
                found.append(Line(at, rank, text, level, file, hooked))
    return found, bars


def read(lines: Iterable[str], fatal: re.Pattern[str]) -> Output:
    """Reads the end of an output.

    Args:
        lines: its lines, as they were printed.
        fatal: how a line begins that says the end of a process without an exception.
    """
    clean, bars = unwrapped(lines)
    reader = _Reader(fatal)
    for line in clean:
        reader.hear(line)
    reader.close()
    for failure in reader.failures:
        drawn = [(at, done) for at, rank, done in bars if rank == failure.rank]
        before = [done for at, done in drawn if at < failure.at]
        after = [done for at, done in drawn if at > failure.at]
        if after and not failure.certain and max(after) - (before[-1] if before else after[0]) >= ADVANCE:
            failure.doubt = 3
    linked = {id(failure.under) for failure in reader.failures}
    failures = [failure for failure in reader.failures if id(failure) not in linked and failure.kind not in NESTED[:2]]
    return Output(clean, sorted(failures, key=lambda failure: failure.at), _first(clean))


def _first(lines: list[Line]) -> tuple[str, int] | None:
    """The process that torchrun saw ending first: its table says it, or else the line that it logs."""
    rank, root = "", False
    codes: list[tuple[str, int]] = []
    for line in lines:
        if line.text.startswith("Root Cause (first observed failure)"):
            root = True
        elif match := re.match(r"\s+rank\s+: (\d+)", line.text):
            rank = match[1]
        elif match := re.match(r"\s+exitcode\s*: (-?\d{1,9})\b", line.text):
            if root:
                return rank, int(match[1])
            codes.append((rank, int(match[1])))
        elif match := re.match(r"\s+traceback\s*: Signal (\d{1,9}) \(SIG", line.text):
            codes.append((rank, -int(match[1])))
        elif match := re.search(r"failed \(exitcode: (-?\d{1,9})\) local_rank: (\d+)", line.text):
            return match[2], int(match[1])
    return next((entry for entry in codes if entry[1] != -15), codes[0] if codes else None)


@dataclass
class _Stream:
    """What one process, or all without a prefix, is printing."""

    frames: list[str] = field(default_factory=list)
    header: int = 0  # where a traceback began that has no exception yet
    open: Failure | None = None  # the message goes on
    last: Failure | None = None
    above: Failure | None = None  # a traceback follows that is linked with it
    direct: bool = False
    outer: Failure | None = None  # the traceback that follows is part of its message
    doubt: int = 0  # of the traceback that follows
    before: str = ""
    certain: int = 0  # processes whose exception Hydra is printing
    dropped: bool = False


class _Reader:
    def __init__(self, fatal: re.Pattern[str]) -> None:
        self.fatal = fatal
        self.failures: list[Failure] = []
        self.streams: dict[str, _Stream] = {}

    def close(self) -> None:
        for stream in self.streams.values():
            stream.open = None

    def hear(self, line: Line) -> None:
        stream, text = self.streams.setdefault(line.rank, _Stream()), line.text
        if line.level and line.file.partition(":")[0].endswith(".py"):
            return  # torch's own log: what it says of an exception, it goes on with
        if HEADER.match(text):
            self._begin(line, stream, bool(HEADER.match(text)["original"]))  # type: ignore[index]
        elif chained := CHAIN.match(text):
            stream.above, stream.direct, stream.open = stream.last, bool(chained["direct"]), None
        elif text.startswith("hint: ") and stream.before.startswith("error: "):  # this package's own programs
            self._add(Failure(line.rank, "", [stream.before, text], line.at - 1), stream)
        elif WATCHDOG.match(text):
            self._add(Failure(line.rank, "DistBackendError", [text], line.at), stream)
        elif match := TERMINATE.match(text):
            self._terminate(line, stream, match)
        elif self.fatal.match(text) and line.level not in ("W", "I", "V"):
            stream.header = 0
            if stream.open and not line.level and TAIL.match(text):
                stream.open.said.append(text)
            else:
                self._add(Failure(line.rank, "", [text], line.at), stream)
        elif stream.header and (text.startswith((" ", "\t")) or not text.strip()):
            stream.frames.append(text)
        elif self._alone(text, stream):
            self._headline(line, stream)
        elif stream.header:  # a piece of a line that another process wrote into
            stream.frames.append(text)
        else:
            self._other(line, stream)
        if text.strip():
            stream.before = text

    def _begin(self, line: Line, stream: _Stream, original: bool) -> None:
        if stream.open and (original or stream.open.kind in NESTED):
            stream.outer = stream.open
        stream.dropped = bool(NOTICE.match(stream.before))
        warned = INTRODUCED.search(stream.before) and not re.search(r"\w+Warning:", stream.before)
        stream.doubt = 2 if THREAD.match(stream.before) or (warned and not stream.open) else 0
        stream.header, stream.frames, stream.open = line.at, [], None

    def _alone(self, text: str, stream: _Stream) -> bool:
        match = HEADLINE.match(text)
        if match and stream.header and (match["said"] is not None or "." in match["type"]):
            return True  # any name will do behind the frames of a traceback
        if not match or not ALONE.search(match["type"]):
            return False
        if not stream.open:
            return True
        last = stream.open.said[-1] if stream.open.said else ""
        return not (re.match(r"nccl\w+Error$", match["type"]) or last.endswith("raised:"))

    def _headline(self, line: Line, stream: _Stream) -> None:
        match = HEADLINE.match(line.text)
        assert match
        kind, said = match["type"].rpartition(".")[2], match["said"] or ""
        if not stream.header and stream.above is None:
            stream.frames, stream.doubt, stream.dropped = [], 0, bool(NOTICE.match(stream.before))
        failure = Failure(
            line.rank, kind, [said], stream.header or line.at, stream.frames, stream.doubt, stream.certain > 0
        )
        if stream.outer:
            outer, stream.outer = stream.outer, None
            outer.under, outer.direct = failure, True
        elif stream.above:
            failure.under, failure.direct, stream.above = stream.above, stream.direct, None
            failure.at = failure.under.at
        stream.header = 0
        if stream.dropped:
            stream.open = None
            return
        self._add(failure, stream)
        stream.open = failure

    def _add(self, failure: Failure, stream: _Stream) -> None:
        self.failures.append(failure)
        stream.last, stream.open = failure, None

    def _terminate(self, line: Line, stream: _Stream, match: re.Match[str]) -> None:
        """C++ says the type first, and what it has to say in a line of its own."""
        if match["type"]:
            failure = Failure(line.rank, match["type"].rpartition("::")[2], [], line.at)
            self._add(failure, stream)
        elif stream.last and not stream.last.said:
            stream.last.said.append(match["what"])
            stream.open = stream.last

    def _other(self, line: Line, stream: _Stream) -> None:
        """A line that is no exception: of the message before it, or printed by a process that went on, or of no weight."""
        text, failure = line.text, stream.open
        if text.startswith("Set the environment variable HYDRA_FULL_ERROR"):
            stream.certain, stream.open = max(0, stream.certain - 1), None
            return
        if CERTAIN.match(text):
            stream.certain, stream.open = stream.certain + 1, None
            return
        if failure:
            if not text.strip():
                if failure.kind not in MULTIPART:
                    stream.open = None
                return
            part = TAIL.match(text) or text.startswith((" ", "\t")) or failure.kind in MULTIPART
            frame = text.startswith("  File ") and failure.kind not in MULTIPART
            logged = line.level or LEVELLED.match(text)
            went_on = not part and (STEP.search(text) or WENT_ON.search(text))
            if not (frame or logged or went_on) and len(failure.said) < LONG:
                failure.said.append(text)
                if not (part or line.hooked or failure.certain or QUIET.search(text)):
                    failure.doubt = max(failure.doubt, 1)
                return
        stream.open = None
        self._weigh(line, stream)

    def _weigh(self, line: Line, stream: _Stream) -> None:
        """What a line says of the exceptions before it in its stream."""
        last = stream.last
        if last is None or last.certain or line.level or NOTICE.match(line.text):
            return
        if STEP.search(line.text) or (WENT_ON.search(line.text) and not line.text.startswith("wandb: Find")):
            for failure in self.failures:
                if failure.rank == line.rank and not failure.certain:
                    failure.doubt = 3
        elif last.kind and not QUIET.search(line.text) and not TAIL.match(line.text):
            last.doubt = max(last.doubt, 2)
