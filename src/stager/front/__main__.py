"""`python -m stager.front`: parses the command line, opens the sockets, and serves.

An error at the start is one line on standard error, with exit code 1.
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
from stager.front.process.server import Front, HttpsOptions, ServerOptions
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
from stager.front.process.tls import Certificates
from stager.front.proxy.connections import LOOPBACK, NO_PROXIES

_UMASK = 0o077
"""The table, the log and the key are readable for their owner only."""

# These differ at each start.
_NOT_SETTINGS = ("--fd", "--tls-fd", "--take-over")


def main(arguments: list[str] | None = None) -> int:
    """Run a front until it is stopped or replaced; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    os.umask(_UMASK)
    try:
        options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        https = _https(options)
        predecessor, listeners = _listeners(options)
        _raise_file_limit()
        server_options = ServerOptions(
            options.state_dir,
            settings_of(given),
            limits.from_arguments(options),
            () if options.no_trusted_proxies else tuple(options.trusted_proxy or LOOPBACK),
            not options.no_access_log,
            https,
        )
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(server_options, listeners, predecessor))
    except (SocketError, OSError) as error:
        sys.stderr.write(f"stager front: {error}\n")
        return 1
    return 0


def settings_of(arguments: list[str]) -> list[str]:
    """The part of a command line that identifies a front's configuration."""
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
    add(
        "--acme-folder",
        type=Path,
        metavar="DIR",
        help="folder with `served/HOST.pem`, certificates with their keys, and `challenges/TOKEN`, instead of"
        " --tls-certificate and --tls-key",
    )
    add("--https-port", type=int, default=0, metavar="N", help="redirect HTTP to HTTPS at this port")
    add("--hsts", type=int, default=0, metavar="SECONDS", help="send Strict-Transport-Security over HTTPS")
    add(
        "--state-dir",
        type=Path,
        required=True,
        metavar="DIR",
        help="directory of the table, the log and the sockets",
    )
    add(
        "--trusted-proxy",
        type=_network,
        action="append",
        metavar="CIDR",
        help=f"a proxy whose forwarding headers are trusted; may be repeated (default {', '.join(LOOPBACK)})",
    )
    add(NO_PROXIES, action="store_true", help="trust no proxy, not even on loopback")
    add("--no-access-log", action="store_true", help="write no access log")
    add("--fd", type=int, metavar="N", help="an inherited listening socket for HTTP; use --fd=N")
    add("--tls-fd", type=int, metavar="N", help="the same for HTTPS; use --tls-fd=N")
    add(
        "--take-over",
        action="store_true",
        help="replace the front that runs in the state directory, and take over its sockets",
    )
    limits.add_arguments(parser)
    return parser


def _network(text: str) -> str:
    return str(ip_network(text, strict=False))


def _https(options: argparse.Namespace) -> HttpsOptions | None:
    if not options.tls_listen:
        return None
    folder: Path | None = options.acme_folder
    if folder is None and not (options.tls_certificate and options.tls_key):
        raise SocketError("--tls-listen needs --tls-certificate and --tls-key, or --acme-folder.")
    return HttpsOptions(
        _certificates(options),
        folder / "challenges" if folder else None,
        options.https_port,
        options.hsts,
    )


def _certificates(options: argparse.Namespace) -> Certificates:
    if options.acme_folder is not None:
        return Certificates(folder=options.acme_folder / "served")
    try:
        return Certificates((options.tls_certificate, options.tls_key))
    except OSError as error:
        raise SocketError(f"The certificate {options.tls_certificate} can't be loaded: {error}.") from error


def _listeners(options: argparse.Namespace) -> tuple[socket.socket | None, list[Listener]]:
    """Return the connection to the previous front, and the listeners: handed over, inherited, or new."""
    control = options.state_dir / "front.sock"
    running = is_alive(control)
    if running and not options.take_over:
        raise SocketError(f"Another front runs in {options.state_dir}. Stop it, or use --take-over.")
    predecessor, handed = (
        request_listeners(options.state_dir / "handover.sock", "take") if running else (None, [])
    )
    wanted: list[tuple[Kind, str | None, int | None]] = [
        ("plain", options.listen, options.fd),
        ("tls", options.tls_listen, options.tls_fd),
    ]
    return predecessor, [_listener(kind, address, fd, handed) for kind, address, fd in wanted if address]


def _listener(kind: Kind, address: str, fd: int | None, handed: list[Listener]) -> Listener:
    for listener in handed:
        if listener.kind == kind and is_at(listener, address):
            return listener
    return listen(kind, address) if fd is None else adopt(kind, fd)


def _raise_file_limit() -> None:
    """Each client may need two file descriptors; the usual limit is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, if it is installed: it halves the CPU time of a request."""
    try:
        import uvloop  # noqa: PLC0415 (optional)
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    raise SystemExit(main())
