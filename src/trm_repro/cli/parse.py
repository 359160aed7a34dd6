"""The command line's parser: argparse's, with errors that say what was meant and how to go on, and completion for shells.

Each verb that answers a question takes ``--json`` (:func:`add_json`): its answer is then one JSON object on stdout. Exit codes
stay what they are, and an error is text on stderr as ever.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

ALIKE = 0.6  # how like a name another has to be to be taken for it misspelt, 0 to 1


class Parser(argparse.ArgumentParser):
    """Errors are ours (``error:``, ``hint:``, exit code 2), and name the word or option that was meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's; what a verb does not know is its own error, and not the whole command's, which knows no options."""
        found, left = super().parse_known_args(args, namespace)
        if left and self._subparsers is None:
            self.error(f"unrecognized arguments: {' '.join(left)}", meant(left, self._option_string_actions))
        return found, left

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            where = f" {action.metavar}" if isinstance(action.metavar, str) else ""
            self.error(f"there is no{where} {value!r}", meant([str(value)], map(str, action.choices)))

    def error(self, message: str, hint: str = "") -> NoReturn:
        """Says what is wrong, and how to go on; ends with exit code 2."""
        hints = [hint, f"{self.prog} --help"]
        self.exit(2, f"error: {message}\nhint: {'; '.join(filter(None, hints))}\n")


class Grouped(argparse.RawDescriptionHelpFormatter):
    """Help that leaves the list of verbs to the parser's epilog, where they stand in groups."""

    def _iter_indented_subactions(self, action: argparse.Action) -> Generator[argparse.Action, None, None]:
        yield from ()


def describe(root: argparse.ArgumentParser) -> None:
    """Lets the help of each verb begin with what it does: as the list of verbs has it, where it says no more itself."""
    for action in root._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                verb = action.choices[choice.dest]
                said = str(choice.help)
                verb.description = verb.description or f"{said[0].upper()}{said[1:]}{'' if said[-1] in '…?' else '.'}"
                describe(verb)


def meant(words: Sequence[str], known: Iterable[str]) -> str:
    """Which of the known names were meant, as a question; else, of a few, which there are."""
    from difflib import get_close_matches

    names = list(known)
    found = [near for word in words for near in get_close_matches(word.partition("=")[0], names, 1, ALIKE)]
    if found:
        return f"did you mean {' '.join(dict.fromkeys(found))}?"
    return "" if names and names[0].startswith("-") else f"there are {', '.join(names)}"


def add_json(parser: argparse.ArgumentParser) -> None:
    """Lets a verb answer programs."""
    parser.add_argument("--json", action="store_true", help="the answer as one JSON object, for programs")


def print_json(value: Any) -> None:
    """The one way in which a verb answers a program."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def completion(root: argparse.ArgumentParser, shell: str, recipes: Sequence[str], hidden: Sequence[str]) -> str:
    """The script that completes verbs, options, files and recipes in a shell.

    Args:
        root: the parser of what is to be completed.
        shell: ``bash``, ``zsh`` or another that shtab knows.
        recipes: their names.
        hidden: verbs that are not offered.
    """
    import shtab

    parsers = [root]
    for parser in parsers:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += dict.fromkeys(action.choices.values())
                for choice in action._choices_actions:
                    choice.help = argparse.SUPPRESS if choice.dest in hidden else choice.help
            elif action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.metavar == "RECIPE":
                action.choices = recipes
    return str(shtab.complete(root, shell))
