"""Sign-in links for administrators, which the running server creates on request of this machine's user."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
import threading
import time
from contextlib import closing, suppress
from urllib.parse import urlsplit

import typer

from stager.cli.control_socket import request
from stager.domain.errors import StagerError
from stager.front.process.client import FrontClient
from stager.state import StateDirectory

PATH = "/control/login-link"
POLL_INTERVAL = 0.1
START_SECONDS = 60.0
"""Seconds that a start may take."""
DEFAULT_PORTS = {"http": 80, "https": 443}
ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 (compared only)
ELSEWHERE = ("192.0.2.1", 9)
"""An address on another network (RFC 5737). Nothing is sent to it."""


def create(state: StateDirectory) -> str:
    """Create a link. Returns its URL.

    Raises:
        Retry: the server doesn't answer.
    """
    return _url(state, request(state, "POST", PATH).json())


def print_if_unused(state: StateDirectory) -> None:
    """Print a link if no way to sign in is configured and no link was used yet."""
    with suppress(StagerError):
        answer = request(state, "POST", f"{PATH}?if_unused=true")
        if answer.status == 201:
            typer.echo(
                "No way to sign in is configured yet. This link signs in an administrator, once, within an"
                f" hour:\n{_url(state, answer.json())}"
            )
            sys.stdout.flush()


def print_first(state: StateDirectory) -> None:
    """Print such a link once the server of this process runs, unless the output is kept in a log."""
    if not _is_kept():
        threading.Thread(target=_print_when_ready, args=(state,), daemon=True).start()


def _print_when_ready(state: StateDirectory) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(StagerError):
            request(state, "GET", "/readyz")
            print_if_unused(state)
            return
        time.sleep(POLL_INTERVAL)


def _is_kept() -> bool:
    """Whether standard output is a file or the journal (systemd.exec, $JOURNAL_STREAM), which others may read
    later."""
    return "JOURNAL_STREAM" in os.environ or stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)


def _url(state: StateDirectory, link: dict[str, object]) -> str:
    home, path = str(link["home"]), str(link["path"])
    return (home if link["is_home_known"] else _reachable(home, asyncio.run(_listen(state)))) + path


def _reachable(home: str, listen: str) -> str:
    """Return Stager's URL while its domain isn't known: with this machine's own address if the front listens
    on all addresses, or the address that it listens on."""
    address, parts = listen.rpartition(":")[0].strip("[]"), urlsplit(home)
    if address in ANY_ADDRESS and listen:
        address = _own_address()
    if not address or address.startswith("127."):
        return home
    host = f"[{address}]" if ":" in address else address
    has_port = parts.port not in (None, DEFAULT_PORTS.get(parts.scheme))
    return f"{parts.scheme}://{host}:{parts.port}" if has_port else f"{parts.scheme}://{host}"


def _own_address() -> str:
    """Return the address by which this machine reaches other networks; empty when it reaches none."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


async def _listen(state: StateDirectory) -> str:
    """Return where the front listens; empty when it doesn't answer."""
    client = FrontClient(state.front)
    try:
        return (await client.connect()).listen
    except StagerError:
        return ""
    finally:
        await client.close()
