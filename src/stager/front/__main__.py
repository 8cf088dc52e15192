"""`python -m stager.front`: read the command line, get the sockets, serve.

What goes wrong at start is said in one line on standard error, with exit code 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import socket
import sys
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

from stager.front.http import limits
from stager.front.process.server import Front, ServerOptions
from stager.front.process.sockets import (
    Kind,
    Listener,
    SocketError,
    adopt,
    is_alive,
    is_at,
    listen,
    request_listeners,
)
from stager.front.process.tls import Certificate
from stager.front.proxy.connections import LOOPBACK, NO_PROXIES

_UMASK = 0o077
"""The table, the log and the key are for nobody else."""

# Of these, each start has its own.
_NOT_SETTINGS = ("--fd", "--tls-fd", "--take-over")


def main(arguments: list[str] | None = None) -> int:
    """Run a front until it is told to stop; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    asked = _parser().parse_args(given)
    os.umask(_UMASK)
    try:
        asked.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate = _certificate(asked)
        predecessor, listeners = _listeners(asked)
        _raise_file_limit()
        options = ServerOptions(
            asked.state_dir,
            settings_of(given),
            limits.from_arguments(asked),
            () if asked.no_trusted_proxies else tuple(asked.trusted_proxy or LOOPBACK),
            not asked.no_access_log,
            certificate,
        )
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(options, listeners, predecessor))
    except (SocketError, OSError) as error:
        sys.stderr.write(f"stager front: {error}\n")
        return 1
    return 0


def settings_of(arguments: list[str]) -> list[str]:
    """The part of a command line by which a running front is recognised."""
    return [argument for argument in arguments if argument.partition("=")[0] not in _NOT_SETTINGS]


async def _serve(
    options: ServerOptions, listeners: list[Listener], predecessor: socket.socket | None
) -> None:
    await Front(options, listeners).run(predecessor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stager.front", description="The data plane of Stager.")
    add = parser.add_argument
    add(
        "--listen",
        default="127.0.0.1:8000",
        metavar="HOST:PORT",
        help="where to serve HTTP (default %(default)s)",
    )
    add("--tls-listen", metavar="HOST:PORT", help="where to serve HTTPS")
    add("--tls-certificate", type=Path, metavar="FILE", help="its certificate with the chain, PEM")
    add("--tls-key", type=Path, metavar="FILE", help="the key of the certificate, PEM")
    add("--state-dir", type=Path, required=True, metavar="DIR", help="for the table, the log and the sockets")
    add(
        "--trusted-proxy",
        type=_network,
        action="append",
        metavar="CIDR",
        help=f"a proxy whose word about its clients counts; may be repeated (default {', '.join(LOOPBACK)})",
    )
    add(NO_PROXIES, action="store_true", help="there is no proxy whose word counts, not even on loopback")
    add("--no-access-log", action="store_true", help="keep no access log")
    add("--fd", type=int, metavar="N", help="an inherited socket that listens for HTTP; write --fd=N")
    add("--tls-fd", type=int, metavar="N", help="the same for HTTPS; write --tls-fd=N")
    add(
        "--take-over",
        action="store_true",
        help="take the sockets over from the front that runs in the state directory",
    )
    limits.add_arguments(parser)
    return parser


def _network(text: str) -> str:
    return str(ip_network(text, strict=False))


def _certificate(asked: argparse.Namespace) -> Certificate | None:
    if not asked.tls_listen:
        return None
    if not (asked.tls_certificate and asked.tls_key):
        raise SocketError("--tls-listen needs --tls-certificate and --tls-key.")
    try:
        return Certificate(asked.tls_certificate, asked.tls_key)
    except OSError as error:
        raise SocketError(f"The certificate {asked.tls_certificate} can't be loaded: {error}.") from error


def _listeners(asked: argparse.Namespace) -> tuple[socket.socket | None, list[Listener]]:
    """The sockets to serve on: handed over, inherited, or new, in this order."""
    control = asked.state_dir / "front.sock"
    running = is_alive(control)
    if running and not asked.take_over:
        raise SocketError(f"Another front runs in {asked.state_dir}. Stop it, or use --take-over.")
    predecessor, handed = (
        request_listeners(asked.state_dir / "handover.sock", "take") if running else (None, [])
    )
    wanted: list[tuple[Kind, str | None, int | None]] = [
        ("plain", asked.listen, asked.fd),
        ("tls", asked.tls_listen, asked.tls_fd),
    ]
    return predecessor, [_listener(kind, address, fd, handed) for kind, address, fd in wanted if address]


def _listener(kind: Kind, address: str, fd: int | None, handed: list[Listener]) -> Listener:
    for listener in handed:
        if listener.kind == kind and is_at(listener, address):
            return listener
    return listen(kind, address) if fd is None else adopt(kind, fd)


def _raise_file_limit() -> None:
    """Each client may need two file descriptors, and the usual limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed: it halves the cost of a request."""
    try:
        import uvloop  # noqa: PLC0415 (optional)
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    raise SystemExit(main())
