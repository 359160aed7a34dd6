"""The one family of errors that a user is meant to read.

Every error says what was wrong and where; its *hint* says what to do next. The class decides the process's exit code
(house rule: 0 done, 1 checked and the answer is no, 2 usage, 3 prerequisite missing, 4 invariant broken, 5 a wrapped
command failed). Library code raises; only the command line exits.
"""

from __future__ import annotations


class ReproError(Exception):
    """Checked, and the answer is no (exit code 1).

    Args:
        message: what was wrong, and where.
        hint: what the user can do next.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # what a notebook or a library's caller sees below the message


class UsageError(ReproError):
    """The call itself is wrong (exit code 2)."""

    exit_code = 2


class MissingPrerequisite(ReproError):
    """Something the work needs is not there (exit code 3)."""

    exit_code = 3


class InvariantBroken(ReproError):
    """Something that must hold does not: bad input, a changed file, a wrong digest (exit code 4)."""

    exit_code = 4


class Interrupted(ReproError):
    """Ctrl-C (exit code 130, as a shell reports it)."""

    exit_code = 130


class CommandFailed(ReproError):
    """A wrapped program or service failed (exit code 5)."""

    exit_code = 5


def printable(line: str) -> str:
    """A line in which nothing that a stranger wrote can end the line, steer a terminal or break its encoding."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)
