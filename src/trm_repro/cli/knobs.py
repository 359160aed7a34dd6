"""Knobs: what each of them may be, looked at together before anything begins.

``env.sh`` sets them (the environment, then ``env.local.sh``, then its defaults); here every value is held against its
rule, and every name that was meant to be a knob and is none is found: in ``env.local.sh``, on make's command line, in the
environment. All problems are told at once. A switch is 1 or 0 and nothing else: another word is an error, never a silent no.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from trm_repro.errors import UsageError, printable
from trm_repro.provenance.names import LICENSES
from trm_repro.recipes.bases import list_recipes, offered
from trm_repro.runs.records import is_secret, masked

Rule = Callable[[str], str]  # what a value should be; empty if it is

LONGEST_NAME = 100  # of a run: it is a part of file names
LONGEST_PART = 255  # bytes of one part of a path, on the usual file systems
SHOWN = 40  # characters of a value
# How like a knob a name has to be to be taken for one misspelt, 0 to 1: what stands in the environment is seldom meant
# for us (RUNNER_NAME, WANDB_TAGS), what stands in env.local.sh or behind make always is.
ALIKE, ALIKE_OURS = 0.85, 0.7
SCHEMELESS = re.compile(r"[^/@:]+:[^/@]*@")  # user:password@host, an address that lost its beginning
TRANSPORTS = ("https", "http", "ssh", "git", "file")
SECRETS = ("KAGGLE_KEY", "KAGGLE_API_TOKEN", "HF_TOKEN")  # env.sh's, beside the knob among them
MAKE_SWITCHES = ("FORCE", "MEASURE", "ONCE", "YES", "DATA", "UPGRADE", "JSON")
MAKE_WORDS = (
    *MAKE_SWITCHES,
    *("PYTHON", "JOBS", "ENGINE", "BUNDLE", "CHECKPOINT", "DATASET", "ARGS", "SWEEP", "BENCH", "SEEDS", "LOCK"),
    *("SIZE", "SEED", "CASES", "KILLS", "RUN", "LIGHT", "TOOL", "STEPS"),
)


def _one_of(*words: str) -> Rule:
    return lambda value: "" if value in words else f"use {' or '.join(words)}"


def _like(pattern: str, should: str) -> Rule:
    known = re.compile(pattern)
    return lambda value: "" if known.fullmatch(value) else should


def _recipe(value: str) -> str:
    known = list_recipes(Path("recipes"))
    if value in known:
        return ""
    part = "a part of recipes, not one; " if value.startswith("base/") else ""
    return f"{part}no recipe '{_shown(value)}'; {offered(value, known)}"


def _run_name(value: str) -> str:
    if len(value) > LONGEST_NAME:
        return f"{len(value)} characters; {LONGEST_NAME} at most"
    return _like(r"[A-Za-z0-9][A-Za-z0-9._-]*", "not safe as a file name: use letters, digits, '.', '_' and '-'")(value)


def _path(value: str) -> str:
    if not value or value.startswith("-"):
        return "a path, not beginning with '-'"
    if any(len(os.fsencode(part)) > LONGEST_PART for part in value.split("/")):
        return f"a part of this path is longer than {LONGEST_PART} bytes"
    return ""


def _existing_file(value: str) -> str:
    return "" if not value or Path(value).is_file() else "no such file"


def _lock(value: str) -> str:
    locks = sorted(path.stem for path in Path("locks").glob("cu[0-9]*.txt") if "-" not in path.stem)
    return _one_of("auto", *locks)(value)


def _guards(value: str) -> str:
    """Every word names a guard; the guards are the functions of lib/*.bash whose names begin with ``g_``."""
    text = "".join(path.read_text() for path in sorted(Path("lib").glob("*.bash")))
    known = {name.upper().replace("_", "-") for name in re.findall(r"^(g_[a-z0-9_]+)\(\)", text, re.MULTILINE)}
    unknown = [word for word in value.replace(",", " ").split() if word not in known]
    return "; ".join(f"there is no guard {_shown(word)}{_did_you_mean(_nearest(word, known, 0.6))}" for word in unknown)


def _remote(value: str) -> str:
    """A folder or an address that git may fetch from: no option, no command, no place that a host name smuggles one into."""
    if value.startswith("-") or re.match(r"[\w+.-]+::", value):
        return "an address or a folder; options, and transports that run a command (ext::), are refused"
    if SCHEMELESS.match(value):
        return "a password where no https:// stands before it: git would take the user for the host, and show the rest"
    if "://" not in value:
        host = re.match(r"(?:[^/@]*@)?([^/:]*):", value)
        return "an address whose host begins with '-' is refused" if host and host[1].startswith("-") else ""
    try:
        parts = urlsplit(value)
        port, host_name = parts.port, parts.hostname or ""
    except ValueError:
        return "not an address: the part before its first '/' is no host; write '/', '@' and ':' of a password as %2F, %40, %3A"
    if parts.scheme not in TRANSPORTS or not value.startswith(parts.scheme):  # git knows them in small letters
        return f"an address that begins with {'://, '.join(TRANSPORTS)}://"
    if (not host_name or host_name.startswith("-") or port == 0) and parts.scheme != "file":
        return "an address without a host"
    if parts.password is not None and parts.scheme not in ("https", "http"):
        return f"{parts.scheme}:// takes no password in an address"
    return ""


def _index(value: str) -> str:
    """An index of packages: pip is told of it on its command line, so it must hold no password."""
    try:
        parts = urlsplit(value)
    except ValueError:  # such as a host in brackets that is no IPv6 address
        return "an address"
    if parts.scheme not in ("https", "http", "file"):
        return "an address that begins with https://"
    return (
        "no user and password in this address: put them into ~/.netrc, where pip looks" if "@" in parts.netloc else ""
    )


def _anything(value: str) -> str:
    return ""


SWITCH = _one_of("1", "0")
RULES: Mapping[str, Rule] = {
    "RECIPE": _recipe,
    "TARGET_DATASET": _like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", "the name of a dataset, such as arc2"),
    "TRM_DIR": _path,
    "PY": _like(r"[^-].*", "a program"),
    "USE_VENV": SWITCH,
    "VENV_DIR": _path,
    "ENV_LOCK": _one_of("locks", "none"),
    "CUDA_LOCK": _lock,
    "TORCH_INDEX_URL": _index,
    "RUN_NAME": _run_name,
    "MAX_GPUS_TO_USE": _like(r"[1-9][0-9]{0,3}", "a number of GPUs, such as 4"),
    "WANDB_API_KEY": _like(r"[!-~]*", "a key has no blanks"),
    "PUBLISH_TO_KAGGLE": SWITCH,
    "KAGGLE_USERNAME": _like(r"<.*>|[A-Za-z0-9_-]*", "the name of a Kaggle account"),
    "KAGGLE_DATASET_SLUG": _anything,  # G-KAGGLE-NAMES looks at what Kaggle takes
    "KAGGLE_DS_DIR": _path,
    "KAGGLE_COMPETITION": _like(
        r"[a-z0-9]+(-[a-z0-9]+)*", "a competition's name as in its address, such as arc-prize-2026-arc-agi-2"
    ),
    "TRM_REMOTE": _remote,
    "EXTRA_BUILDER_ARGS": _anything,
    "EXTRA_TRAIN_ARGS": _anything,
    "OVERRIDE": _guards,
    "PUBLISH_UNFAITHFUL": SWITCH,
    "WANDB_TAP": SWITCH,
    "RESUME": _like(r"(warm)?", "use warm, or unset it: a training starts from the beginning"),
    "CHECK_REMOTE": SWITCH,
    "GPU_HOUR_USD": _like(r"[0-9]{1,6}(\.[0-9]{1,6})?", "a number of dollars, such as 2.5"),
    "DATASET_BUILDER": _one_of("exact", "fast"),
    "KAGGLE_PUBLIC": SWITCH,
    "PUBLISH_VERIFY": _one_of("sizes", "download"),
    "PUBLISH_TIMEOUT": _like(r"[0-9]{1,7}(\.[0-9]{1,3})?", "a number of seconds, such as 3600"),
    "PUBLISH_LICENSE": lambda value: (
        "" if value.lower() in map(str.lower, LICENSES) else f"Kaggle's licenses are {', '.join(LICENSES)}"
    ),
    "PUBLISH_TO_HF": SWITCH,
    "HF_REPO_ID": _like(r"([\w.-]+/[\w.-]+)?", "owner/name"),
    "HF_PUBLIC": SWITCH,
    "HF_BENCHMARK": _like(r"([\w.-]+/[\w.-]+:[\w.-]+)?", "owner/dataset:task_id"),
    "SIGNING_KEY": _existing_file,
}


def check_knobs(environ: Mapping[str, str], local: Path | None) -> None:
    """Checks every knob, in the repository that is the working folder.

    Args:
        environ: the environment as a step has it, every knob of env.sh in it; those that are missing are not looked at.
        local: ``env.local.sh``, if it was read.

    Raises:
        UsageError: something is wrong; the message lists all of it.
    """
    problems = [*_values(environ), *_names(environ, local)]
    if problems:
        title = "the knobs are not what they can be" if problems[1:] else "a knob is not what it can be"
        raise UsageError(
            f"{title}:\n" + "\n".join(f"  {problem}" for problem in problems),
            hint="make env shows what is in force, and env.sh says what each knob means; nothing was started",
        )


def _values(environ: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with values."""
    known = "RECIPE" not in environ or not _recipe(environ["RECIPE"])
    for name, rule in RULES.items():
        value = environ.get(name)
        if value is None or not (value or known):  # what a recipe that is none would have said
            continue
        if any(not char.isprintable() for char in value):
            yield f"{name} is {_told(name, value)}: it holds what is no printable UTF-8"
        elif should := rule(value):
            yield f"{name} is {_told(name, value)}: {should}"
    if environ.get("PUBLISH_TO_HF") == "1" and not environ.get("HF_REPO_ID"):
        yield "PUBLISH_TO_HF is 1 and HF_REPO_ID is empty: owner/name of the repository there"
    for name, value in _behind_make(environ).items():
        if name in MAKE_SWITCHES and value not in ("1", "0", ""):
            yield f"{name} is {_told(name, value)}: {SWITCH(value)}"


def _names(environ: Mapping[str, str], local: Path | None) -> Iterator[str]:
    """Names that were meant to be knobs, and are none."""
    known = {*RULES, *SECRETS}
    text = local.read_text(errors="replace") if local and local.is_file() else ""
    assigned = re.findall(r"^\s*(export\s+|declare\s+-x\s+)?([A-Za-z_]\w*)\+?=", text, re.MULTILINE)
    for export, name in dict.fromkeys(assigned):
        if name in known and (name in RULES or export):
            continue
        if near := _nearest(name, known - {name}, ALIKE_OURS):
            yield f"{name} in env.local.sh is no knob{_did_you_mean(near)}"
        elif not export and name not in environ and not re.search(rf"\$\{{?{name}\b", text):
            yield f"{name} in env.local.sh is no knob, and nothing sees it: write export {name}=…, or remove it"
    said = {name for _, name in assigned}
    behind_make = _behind_make(environ)
    for name in sorted(environ.keys() - known - set(MAKE_WORDS) - said):
        ours = name in behind_make
        near = _nearest(name, known | set(MAKE_WORDS) if ours else RULES, ALIKE_OURS if ours else ALIKE)
        if near:
            yield f"{name} is set, and no knob has that name{_did_you_mean(near)}"


def _behind_make(environ: Mapping[str, str]) -> dict[str, str]:
    """What stood on make's command line, NAME=VALUE each."""
    return dict(re.findall(r"(?<!\S)([A-Za-z_]\w*)=(\S*)", environ.get("MAKEFLAGS", "").partition("-- ")[2]))


def _nearest(name: str, known: Iterable[str], alike: float) -> str:
    """The name that another one is most like; empty if none is alike enough. Case does not matter."""
    upper, best = name.upper(), ("", alike)
    for other in sorted(known):
        length = len(upper) + len(other)
        # the cheap upper bound first: difflib is loaded only where it can matter
        if 2 * min(len(upper), len(other)) < best[1] * length or len(other) < 4:
            continue
        if 2 * sum(min(upper.count(char), other.count(char)) for char in set(upper)) < best[1] * length:
            continue
        from difflib import SequenceMatcher

        ratio = SequenceMatcher(None, upper, other, autojunk=False).ratio()
        if ratio >= best[1]:
            best = other, ratio
    return best[0]


def _did_you_mean(near: str) -> str:
    return f": did you mean {near}?" if near else ""


def _told(name: str, value: str) -> str:
    """A value as a message shows it: a secret not at all."""
    return "not shown here" if is_secret(name) or SCHEMELESS.match(value) else f"'{_shown(value)}'"


def _shown(value: str) -> str:
    text = masked(value)
    text = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return printable(text)
