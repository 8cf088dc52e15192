"""The name servers that Docker's containers use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

RESOLV_CONF = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""resolv.conf(5), and the file with the real servers of systemd-resolved. Docker reads the second if the
first names systemd-resolved itself."""
DAEMON = Path("/etc/docker/daemon.json")
MAX_SERVERS = 8


def read_resolvers(files: Iterable[Path] = RESOLV_CONF, daemon: Path = DAEMON) -> tuple[str, ...]:
    """Return the addresses of the name servers, without duplicates. Loopback addresses are left out:
    containers can't reach them; Docker queries them itself."""
    found = dict.fromkeys([*_of_daemon(daemon), *(name for file in files for name in _of_file(file))])
    return tuple(address for address in found if not ip_address(address).is_loopback)[:MAX_SERVERS]


def _of_file(file: Path) -> Iterator[str]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            yield from _address(words[1])


def _of_daemon(file: Path) -> Iterator[str]:
    """Return the `dns` entries of Docker's configuration."""
    try:
        servers = json.loads(file.read_text()).get("dns") or []
    except (OSError, ValueError, AttributeError):
        return
    for server in servers if isinstance(servers, list) else []:
        yield from _address(str(server))


def _address(text: str) -> Iterator[str]:
    try:
        yield str(ip_address(text.split("%", maxsplit=1)[0]))
    except ValueError:
        return
