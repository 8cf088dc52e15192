"""What `stager up` asks and prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

import typer

from stager.cli.client.output import echo, plain


class Terminal(Protocol):
    """Asks and prints. `is_interactive`: whether somebody can answer."""

    @property
    def is_interactive(self) -> bool: ...

    def say(self, text: str) -> None:
        """Print one or more lines."""

    def ask(self, question: str, default: str = "", *, is_hidden: bool = False) -> str:
        """Return the answer; `default` for an empty one."""

    def confirm(self, question: str) -> bool:
        """Return whether the answer is yes, which is the default."""


class StandardTerminal:
    """A `Terminal` on standard input and output."""

    @property
    def is_interactive(self) -> bool:
        """Whether both are a terminal."""
        return sys.stdin.isatty() and sys.stdout.isatty()

    def say(self, text: str) -> None:
        """See `Terminal.say`. Control characters of files' names and logs are removed."""
        for line in text.split("\n"):
            echo(line)

    def ask(self, question: str, default: str = "", *, is_hidden: bool = False) -> str:
        """See `Terminal.ask`."""
        shown = plain(question)
        return str(typer.prompt(shown, default=default, hide_input=is_hidden, show_default=bool(default)))

    def confirm(self, question: str) -> bool:
        """See `Terminal.confirm`."""
        return typer.confirm(plain(question), default=True)


class SilentTerminal:
    """A `Terminal` that prints nothing and answers every question with its default."""

    is_interactive = False

    def say(self, text: str) -> None:
        """See `Terminal.say`."""

    def ask(self, question: str, default: str = "", *, is_hidden: bool = False) -> str:  # noqa: ARG002
        """See `Terminal.ask`."""
        return default

    def confirm(self, question: str) -> bool:  # noqa: ARG002
        """See `Terminal.confirm`."""
        return True


def choose(terminal: Terminal, question: str, options: Sequence[str]) -> int:
    """Return the index of the chosen option; the first one is the default."""
    for number, option in enumerate(options, 1):
        terminal.say(f"  {number}  {option}")
    while True:
        answer = terminal.ask(question, "1")
        if answer.isdecimal() and 1 <= int(answer) <= len(options):
            return int(answer) - 1
        terminal.say(f"Enter a number from 1 to {len(options)}.")


def listed(names: Sequence[str], most: int = 6) -> str:
    """Join names with commas; of many, only the first are named."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
