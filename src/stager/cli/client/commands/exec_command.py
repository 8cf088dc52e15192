"""`stager exec`: a command or a shell in a preview's instance, on the local terminal."""

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
from stager.cli.client.command import ClientCommand, EndpointOption, ServiceOption, Which, server

if TYPE_CHECKING:
    from stager.cli.client.api.connection import Connection

COMMAND = "stager.command"
"""The key in the context's `meta` of the arguments after `--`."""


class ExecCommand(ClientCommand):
    """Separates the arguments after `--`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments before `--`; keep those after it."""
        before, after = args, []
        if "--" in args:
            index = args.index("--")
            before, after = args[:index], args[index + 1 :]
        ctx.meta[COMMAND] = after
        return super().parse_args(ctx, before)


def mount(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command("exec", cls=ExecCommand)(exec_)


def exec_(
    which: Which, ctx: typer.Context, service: ServiceOption = "", endpoint: EndpointOption = ""
) -> None:
    """Run a command or a shell in a preview.

    `stager exec [IMAGE] NAME -- COMMAND` runs a command; without one, a shell starts. The exit code is the
    command's. Standard input is only passed on from a terminal.

    \b
    Examples:
      stager exec shop my-branch
      stager exec shop my-branch -- python manage.py migrate
      stager exec shop my-branch --service database -- psql -U postgres
    """
    with server(endpoint) as api:
        preview = find(api, which)
        code = _run(api.connection, preview.id, ctx.meta[COMMAND], service)
    raise typer.Exit(code)


def _run(connection: Connection, id_: str, command: list[str], service: str) -> int:
    columns, rows = _terminal_size()
    query: list[tuple[str, str]] = [("command", word) for word in command]
    query += [("service", service)] if service else []
    query += [("rows", str(rows)), ("columns", str(columns)), ("kind", os.environ.get("TERM", "xterm"))]
    with (
        connection.socket(f"/api/v1/environments/{id_}/exec", query) as socket,
        _raw_terminal() as has_terminal,
    ):
        if has_terminal:
            threading.Thread(target=_send_input, args=(socket,), daemon=True).start()
            _send_size_changes(socket)
        return _show(socket, raw=has_terminal)


def _show(socket: Any, *, raw: bool) -> int:
    """Write the output until the command ends. Returns its exit code."""
    for message in socket:
        if isinstance(message, str):
            end = json.loads(message)
            code = end.get("exit_code")
            if code is not None:
                return int(code)
            break
        sys.stdout.buffer.write(message if raw else message.replace(b"\r\n", b"\n"))
        sys.stdout.buffer.flush()
    raise ClientError(
        "The instance stopped while the command was running.", code=Code.FAILED, reason="shell-interrupted"
    )


def _send_input(socket: Any) -> None:
    """Send standard input."""
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415 (as in `connection`)

    try:
        while typed := os.read(sys.stdin.fileno(), 4096):
            socket.send(typed)
    except (OSError, ConnectionClosed):
        return


def _terminal_size() -> os.terminal_size:
    """Return the size of the terminal. COLUMNS and LINES may be stale, so they are used without a terminal
    only."""
    try:
        return os.get_terminal_size(sys.stdin.fileno())
    except (OSError, ValueError):  # no terminal
        return shutil.get_terminal_size()


def _send_size_changes(socket: Any) -> None:
    """Send the terminal's size whenever it changes."""

    def changed(*_: object) -> None:
        columns, rows = _terminal_size()
        socket.send(json.dumps({"rows": rows, "columns": columns}))

    signal.signal(signal.SIGWINCH, changed)


@contextmanager
def _raw_terminal() -> Iterator[bool]:
    """Put the terminal into raw mode, so that Ctrl-C is sent, too. Yields whether there is a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield False
        return
    # These modules don't exist on Windows.
    import termios  # noqa: PLC0415
    import tty  # noqa: PLC0415

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin, termios.TCSADRAIN)  # keep pending input
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
