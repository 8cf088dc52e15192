"""`stager exec`: a command, mostly a shell, inside a preview's instance, on the terminal of whoever sits
here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.api.resolve import find
from stager.cli.client.command import ClientCommand, EndpointOption, Which, server

if TYPE_CHECKING:
    from stager.cli.client.api.connection import Connection

COMMAND = "stager.command"
"""Where the words after `--` are, among the context's own."""


class ExecCommand(ClientCommand):
    """Keeps apart what comes after `--`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words before it are ours."""
        before, after = args, []
        if "--" in args:
            place = args.index("--")
            before, after = args[:place], args[place + 1 :]
        ctx.meta[COMMAND] = after
        return super().parse_args(ctx, before)


def mount(app: typer.Typer) -> None:
    """Add this command."""
    app.command("exec", cls=ExecCommand)(exec_)


def exec_(which: Which, ctx: typer.Context, endpoint: EndpointOption = "") -> None:
    """Run a command or a shell in a preview.

    `stager exec PREVIEW -- COMMAND` runs a command; without one, a shell starts. The exit code is the
    command's. Standard input is only passed on from a terminal.
    """
    with server(endpoint) as api:
        preview = find(api, which)
        code = _run(api.connection, preview.id, ctx.meta[COMMAND])
    raise typer.Exit(code)


def _run(connection: Connection, id_: str, command: list[str]) -> int:
    columns, rows = _terminal_size()
    query: list[tuple[str, str]] = [("command", word) for word in command]
    query += [("rows", str(rows)), ("columns", str(columns)), ("kind", os.environ.get("TERM", "xterm"))]
    with (
        connection.socket(f"/api/v1/environments/{id_}/exec", query) as socket,
        _raw_terminal() as is_typed_at,
    ):
        if is_typed_at:
            threading.Thread(target=_type, args=(socket,), daemon=True).start()
            _tell_size(socket)
        return _show(socket, as_is=is_typed_at)


def _show(socket: Any, *, as_is: bool) -> int:
    """Write what comes, until the command has ended. Returns what with."""
    for message in socket:
        if isinstance(message, str):
            told = json.loads(message)
            code = told.get("exit_code")
            if code is not None:
                return int(code)
            break
        sys.stdout.buffer.write(message if as_is else message.replace(b"\r\n", b"\n"))
        sys.stdout.buffer.flush()
    raise ClientError(
        "The instance went away in the middle of it.", code=Code.FAILED, reason="shell-interrupted"
    )


def _type(socket: Any) -> None:
    """Send what is typed, as it is typed."""
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 (as in `connection`)

    try:
        while typed := os.read(sys.stdin.fileno(), 4096):
            socket.send(typed)
    except (OSError, ConnectionClosed):
        return


def _terminal_size() -> os.terminal_size:
    """That of the terminal itself: COLUMNS and LINES in the environment may be another's."""
    try:
        return os.get_terminal_size(sys.stdin.fileno())
    except (OSError, ValueError):  # there is none
        return shutil.get_terminal_size()


def _tell_size(socket: Any) -> None:
    """Tell of each change of the window, from now on."""

    def changed(*_: object) -> None:
        columns, rows = _terminal_size()
        socket.send(json.dumps({"rows": rows, "columns": columns}))

    signal.signal(signal.SIGWINCH, changed)


@contextmanager
def _raw_terminal() -> Iterator[bool]:
    """Have each key go to the other end, Ctrl-C among them. Says whether there is a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield False
        return
    # There are none of these on Windows.
    import termios  # noqa: PLC0415
    import tty  # noqa: PLC0415

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin, termios.TCSADRAIN)  # what was typed ahead stays
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
