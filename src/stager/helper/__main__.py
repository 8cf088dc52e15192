"""The program: `python -I -m stager.helper --user stager`, or `stager-helper`.

Everything that affects security is set on its command line, not by callers.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import pwd
import signal
import stat
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stager.helper.builder.builder import Builder
from stager.helper.data.data import Data
from stager.helper.firewall.firewall import Firewall
from stager.helper.firewall.node_ports import NodePorts
from stager.helper.memory.memory import Memory
from stager.helper.protocol import DEFAULT_SOCKET, HelperError
from stager.helper.server import CONNECTIONS, TICK, Server
from stager.helper.verbs import Feature, Registry
from stager.version import __version__

log = logging.getLogger("stager-helper")

FEATURES: tuple[type[Feature], ...] = (Firewall, NodePorts, Builder, Data, Memory)
"""Each is created from the command line with `Feature.of(arguments)`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT. The firewall's rules stay in place afterwards."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    try:
        account = pwd.getpwnam(options.user)
    except KeyError:
        sys.exit(f"stager-helper: the user {options.user} doesn't exist; create it, or change --user")
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    if account.pw_uid and (path := writable_by(account.pw_uid, groups)):
        risk = f"{options.user} can change {path}, and could become root with that"
        sys.exit(f"stager-helper: {risk}; only root may write to it")
    registry = Registry(__version__, [feature.of(options) for feature in FEATURES])
    server = Server(options.socket, account.pw_uid, account.pw_gid, registry, tick=options.check_every)
    try:
        asyncio.run(_serve(server))
    except (OSError, HelperError) as error:
        sys.exit(f"stager-helper: {error}")


def writable_by(user: int, groups: Collection[int] = ()) -> Path | None:
    """Return a file or folder of this program that this user, one of these groups or everybody can change;
    None if there is none. In a folder with the sticky bit, users can't change files of others."""
    found = [Path(entry) for entry in sys.path if Path(entry).exists()]
    folders = [path for path in Path(__file__).parent.rglob("*") if path.is_dir()]
    roots = (Path(__file__).parent, *folders, Path(sys.prefix), Path(sys.executable).resolve(), *found)
    modules = [*Path(__file__).parent.rglob("*.py"), *Path(__file__).parents[1].glob("*.py")]
    for path in {*modules, *(each for start in roots for each in (start, *start.parents))}:
        facts = path.stat()
        is_sticky = path.is_dir() and facts.st_mode & stat.S_ISVTX
        by_group = facts.st_mode & stat.S_IWGRP and facts.st_gid in groups
        by_all = facts.st_mode & stat.S_IWOTH
        if facts.st_uid == user or ((by_group or by_all) and not is_sticky):
            return path
    return None


async def _serve(server: Server) -> None:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(2 * CONNECTIONS))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await server.run(stopped)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stager-helper", description="Performs the operations of Stager that need root."
    )
    parser.add_argument("--user", required=True, help="the user that Stager runs as")
    parser.add_argument("--socket", type=Path, default=Path(DEFAULT_SOCKET), help="default: %(default)s")
    parser.add_argument(
        "--check-every", type=float, default=TICK, metavar="SECONDS",
        help="interval of the checks of firewall, builder and data pool; default: %(default)s",
    )  # fmt: skip
    for feature in FEATURES:
        feature.add_arguments(parser)
    return parser


if __name__ == "__main__":
    if os.geteuid() != 0:
        log.warning("not running as root: most verbs will fail")
    main()
