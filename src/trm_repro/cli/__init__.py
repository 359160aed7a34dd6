"""The command line: ``trm-repro VERB …``, the only way the shell steps reach Python.

Each room has a module here with ``register(verbs)``, which adds its verbs to the parser. Handlers take the parsed
arguments and return an exit code or None; they import what they compute with only when called, so that a light verb
starts in a few hundredths of a second. The answer goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence

from trm_repro import __version__
from trm_repro.errors import ReproError

# What a machine may refuse, and what to do then.
MACHINE = {
    errno.ENOSPC: "the disk is full: free some space; what was begun is not trusted, and the same command does it again",
    errno.EDQUOT: "the disk quota is used up: free some space, and give the same command again",
    errno.EROFS: "the disk is read-only: use another folder (TRM_DIR, VENV_DIR), or mount it for writing",
    errno.EACCES: "this user may not do that there: change the owner or the mode, or use another folder",
    errno.EPERM: "this user may not do that there: change the owner or the mode, or use another folder",
    errno.ENOTDIR: "a file stands where a folder must be, or a link leads to none: move it away",
    errno.EISDIR: "a folder stands where a file must be: move it away",
    errno.ELOOP: "a link leads to itself: remove it",
}
# The verbs as a person looks for them.
GROUPS = {
    "this run": ("status", "watch", "report"),
    "recipes": ("recipe", "job"),
    "data": ("tasks", "dataset", "submission"),
    "checkpoints": ("evaluate", "fetch-weights"),
    "proof": ("verify", "compare", "attest", "attestations", "statement"),
    "publishing": ("publish", "notebook"),
    "behind make": ("step",),
}


def parser() -> argparse.ArgumentParser:
    """The whole command line's parser."""
    from trm_repro.cli import arc, engine, proof, publish, recipes, run, step, submission, tasks

    root = argparse.ArgumentParser(
        prog="trm-repro",
        description="Reproduce the Tiny Recursive Model, checkably.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=__version__)
    verbs = root.add_subparsers(dest="verb", metavar="VERB", required=True, help="one of those below")
    for room in (run, recipes, tasks, arc, submission, engine, proof, publish, step):
        room.register(verbs)
    said = {choice.dest: choice.help for choice in verbs._choices_actions}
    verbs._choices_actions.clear()  # argparse would list them all in one row, in order of registration
    lines = [(group, *(f"  {name:14} {said[name]}" for name in names)) for group, names in GROUPS.items()]
    root.epilog = "\n\n".join(f"{group}:\n" + "\n".join(rest) for group, *rest in lines)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the process's exit code."""
    _open_streams()
    try:
        arguments = parser().parse_args(argv)
        return _handled(arguments)
    except ReproError as error:
        from trm_repro.runs.records import masked

        print(masked(f"error: {error}"), file=sys.stderr)
        if error.hint:
            print(masked(f"hint: {error.hint}"), file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # whoever read what this says has gone, and with it what it found: no success, but what a shell reports for SIGPIPE
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror}\nhint: {MACHINE[error.errno]}", file=sys.stderr)
        return 3


def _handled(arguments: argparse.Namespace) -> int:
    """Runs the verb's handler.

    Raises:
        MissingPrerequisite: it needs an extra that is not installed.
    """
    try:
        return arguments.handler(arguments) or 0
    except ModuleNotFoundError as error:
        from trm_repro.extras import missing

        said = missing(error.name or "", f"trm-repro {arguments.verb}", getattr(arguments, "extra", ""))
        if said is None:
            raise
        raise said from None


def _open_streams() -> None:
    """A stream that the caller has closed is nobody's: what is said there is lost, and goes into no file."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
