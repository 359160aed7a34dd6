"""The command line: ``trm-repro VERB …``, the only way the shell steps reach Python.

Each room has a module here with ``register(verbs)``, which adds its verbs to the parser. Handlers take the parsed
arguments and return an exit code or None; they import what they compute with only when called, so that a light verb
starts in a few hundredths of a second. The answer goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trm_repro import __version__, interrupt
from trm_repro.errors import ReproError, printable

if TYPE_CHECKING:
    from trm_repro.cli.common import Verbs

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
    errno.ENAMETOOLONG: "no file can be called so: a path is asked for, not what the file holds",
}
# So many new objects between two searches for cyclic garbage, of which verbs make little: at Python's 700 the searches take
# a third of the time of reading ARC-AGI-2's tasks (0.32 s, and 0.21 so), a twentieth of importing PyTorch.
NEW_OBJECTS = 200_000
# The verbs as a person looks for them.
GROUPS = {
    "a run": ("status", "watch", "report", "doctor"),
    "recipes": ("recipe", "job"),
    "data": ("tasks", "dataset", "submission"),
    "checkpoints": ("demo", "evaluate", "solve", "fetch-weights", "audit"),
    "proof": ("verify", "compare", "attest", "attestations", "statement"),
    "publishing": ("publish", "notebook"),
    "this command line": ("help", "completion"),
}
PLUMBING = {"what only the steps call": ("step",)}  # trm-repro help --all


def parser(*, plumbing: bool = False) -> argparse.ArgumentParser:
    """The whole command line's parser.

    Args:
        plumbing: whether its help lists what only the steps call.
    """
    from textwrap import fill

    from trm_repro.cli import arc, audit, demo, engine, proof, publish, recipes, run, step, submission, tasks
    from trm_repro.cli.parse import Grouped, Parser, describe

    root: argparse.ArgumentParser = Parser(
        prog="trm-repro",
        description="Reproduce the Tiny Recursive Model, checkably.",
        formatter_class=Grouped,
    )
    root.add_argument("--version", action="version", version=__version__)
    verbs = root.add_subparsers(dest="verb", metavar="VERB", required=True, help="one of those below")
    for room in (run, recipes, tasks, arc, submission, engine, demo, audit, proof, publish, step):
        room.register(verbs)
    _register(verbs)
    describe(root)
    said = {choice.dest: choice.help for choice in verbs._choices_actions}
    groups = {**GROUPS, **PLUMBING} if plumbing else GROUPS
    blank = " " * 17
    lines = [
        [f"{group}:", *(fill(f"  {name:14} {said[name]}", 80, subsequent_indent=blank) for name in names)]
        for group, names in groups.items()
    ]
    root.epilog = "\n\n".join(map("\n".join, lines))
    return root


def _register(verbs: Verbs) -> None:
    """Adds the verbs about the command line itself."""
    about = verbs.add_parser("help", help="a verb's help; --all: what only the steps call, too")
    about.add_argument("words", nargs="*", metavar="VERB")
    about.add_argument("--all", action="store_true", help="list what only the steps call, too")
    about.set_defaults(handler=_help)
    switch = 'eval "$(trm-repro completion bash)"'
    shells = verbs.add_parser(
        "completion",
        help=f"verbs, options, recipes with TAB: {switch}",
        description=f"Prints a script that completes verbs, options, files and recipes. To switch it on, here or in "
        f"~/.bashrc: {switch}",
    )
    shells.add_argument("shell", choices=("bash", "zsh", "fish"))
    shells.set_defaults(handler=_completion)


def _help(arguments: argparse.Namespace) -> None:
    try:
        parser(plumbing=arguments.all).parse_args([*arguments.words, "--help"])
    except SystemExit as end:  # argparse's way to end, after a help as well
        if end.code:
            raise


def _completion(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.common import known_recipes
    from trm_repro.cli.parse import completion
    from trm_repro.recipes.bases import list_recipes

    print(
        completion(
            parser(),
            arguments.shell,
            list_recipes(known_recipes()),
            [name for names in PLUMBING.values() for name in names],
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the process's exit code."""
    gc.set_threshold(NEW_OBJECTS)
    _open_streams()
    interrupt.raise_ours()
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        return _handled(parser().parse_args(words, argparse.Namespace(argv=words)))
    except ReproError as error:
        from trm_repro.runs.records import masked

        said = f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}"
        print("\n".join(printable(line.expandtabs()) for line in masked(said).split("\n")), file=sys.stderr)
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
    """A stream that the caller has closed is nobody's: what is said there is lost, and goes into no file.

    A terminal that lacks a sign (×, …) shows a question mark in its place.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")
