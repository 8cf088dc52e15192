"""Output of the client commands: results on standard output, everything else on standard error.

Text from servers, logs and pull requests is written without terminal control sequences.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.columns import Column, lines
from stager.domain.errors import sentences
from stager.domain.text import as_on_screen

if TYPE_CHECKING:
    from rich.console import Console


def plain(text: str) -> str:
    """Replace control and bidirectional formatting characters."""
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in as_on_screen(text))


def echo(text: str) -> None:
    """Write a line of the result."""
    typer.echo(plain(text))


def echo_json(value: object) -> None:
    """Write the result as JSON."""
    typer.echo(json.dumps(value, indent=2))


def note(text: str) -> None:
    """Write a line to standard error."""
    if not is_completing():
        typer.echo(plain(text), err=True)


def warn(text: str) -> None:
    """Write a warning to standard error."""
    note(f"warning: {text}")


def console() -> Console:
    """Return standard error as a console for progress. Obeys `NO_COLOR` and `TERM=dumb`."""
    from rich.console import Console  # noqa: PLC0415 (50 ms of processor time, needed for progress only)

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def echo_columns(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Write a table that fits the terminal; all of it if the output isn't a terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in lines(columns, [[plain(cell) for cell in row] for row in rows], width):
        typer.echo(line)


def local_time(text: object) -> str:
    """Format a time of the API in the local time zone."""
    try:
        return datetime.fromisoformat(str(text)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return ""


def echo_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table. Cells are wrapped on a terminal only."""
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


def report_error(error: ClientError, *, as_json: bool) -> None:
    """Write an error to standard error."""
    if as_json:
        fields = {
            "message": error.message,
            "hint": error.hint,
            "reason": error.reason,
            "code": int(error.code),
            "lines": list(error.lines),
        }
        typer.echo(json.dumps({"error": fields}, indent=2), err=True)
        return
    note(f"stager: {sentences(error.message, error.hint)}")
    for line in error.lines:
        note(f"  {line}")


def is_interactive() -> bool:
    """Whether standard input and standard error are terminals, so the user can be prompted."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not is_completing()


def is_completing() -> bool:
    """Whether the shell runs this process for tab completion."""
    return "_STAGER_COMPLETE" in os.environ


def ask(question: str, *, hidden: bool = False, hint: str = "") -> str:
    """Prompt the user and return the answer.

    Args:
        hidden: don't echo what is typed.
        hint: what to do without a terminal, a sentence.

    Raises:
        ClientError: there is no terminal, or the user cancels the prompt.
    """
    if not is_interactive():
        raise ClientError(
            "Credentials are needed, and there is no terminal to ask for them.",
            hint=hint,
            code=Code.NOT_SIGNED_IN,
        )
    with suppress(typer.Abort):
        answer: str = typer.prompt(question, hide_input=hidden, err=True)
        return answer.strip() if not hidden else answer
    note("")
    raise ClientError("Cancelled.", hint=hint, code=Code.NOT_SIGNED_IN)


def has_display() -> bool:
    """Whether a browser can be opened on this machine."""
    if sys.platform in ("darwin", "win32") or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
