"""What is said to people and to programs: results on standard output, everything else on standard error.

What a server, a log or a pull request's author wrote is shown without whatever could steer a terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from stager.cli.client.api.errors import ClientError, Code
from stager.domain.errors import sentences
from stager.domain.text import as_on_screen

if TYPE_CHECKING:
    from rich.console import Console


def plain(text: str) -> str:
    """A line that moves no cursor, sets no title and turns no direction of writing."""
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in as_on_screen(text))


def say(text: str) -> None:
    """A line of the result."""
    typer.echo(plain(text))


def say_json(value: object) -> None:
    """The result, for programs."""
    typer.echo(json.dumps(value, indent=2))


def note(text: str) -> None:
    """A line beside the result."""
    if not is_completing():
        typer.echo(plain(text), err=True)


def warn(text: str) -> None:
    """Something to think over."""
    note(f"warning: {text}")


def console() -> Console:
    """Standard error, for what moves. Obeys `NO_COLOR` and `TERM=dumb`."""
    from rich.console import Console  # noqa: PLC0415 (50 ms of processor time; `--version` and completion skip it)

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def say_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows under headings; not cut to the terminal's width, where there is no terminal."""
    from rich.console import Console  # noqa: PLC0415 (as in `console`)
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    out = Console(highlight=False, markup=False, emoji=False)
    if not out.is_terminal:
        out.width = 10_000
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(plain(cell), overflow="fold") for cell in row))
    out.print(table)


def complain(error: ClientError, *, as_json: bool) -> None:
    """Say on standard error why it can't be done."""
    if as_json:
        told = {
            "message": error.message,
            "hint": error.hint,
            "reason": error.reason,
            "code": int(error.code),
            "lines": list(error.lines),
        }
        typer.echo(json.dumps({"error": told}, indent=2), err=True)
        return
    note(f"stager: {sentences(error.message, error.hint)}")
    for line in error.lines:
        note(f"  {line}")


def is_terminal() -> bool:
    """Whether a person sits there: who can be asked, and can read what they are asked."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not is_completing()


def is_completing() -> bool:
    """Whether the shell asks what it may offer: then whoever sits there is typing."""
    return "_STAGER_COMPLETE" in os.environ


def ask(question: str, *, hidden: bool = False, instead: str = "") -> str:
    """The answer of whoever sits there.

    Args:
        hidden: don't show what is typed.
        instead: what to do where nobody can be asked, in a sentence.

    Raises:
        ClientError: nobody can be asked, or nobody answers.
    """
    if not is_terminal():
        raise ClientError("Nobody can be asked here.", hint=instead, code=Code.NOT_SIGNED_IN)
    with suppress(typer.Abort):
        answer: str = typer.prompt(question, hide_input=hidden, err=True)
        return answer.strip() if not hidden else answer
    note("")
    raise ClientError("Nothing was answered.", hint=instead, code=Code.NOT_SIGNED_IN)


def has_display() -> bool:
    """Whether a browser could show something to whoever sits here."""
    if sys.platform in ("darwin", "win32") or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
