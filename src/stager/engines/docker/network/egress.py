"""Exceptions from the firewall's rules: host names become addresses."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address

import structlog

from stager.domain.egress import Destination

log = structlog.get_logger(__name__)

Resolve = Callable[[str], Awaitable[list[str]]]

LOOKUP = 3.0
"""Seconds until a name server isn't waited for any more."""
KEEP = 600.0
"""Seconds that an address counts after a name server last gave it: an application may still use it."""
MOST = 4
"""Addresses of one name that count at the same time."""


class Names:
    """The addresses of destinations' hosts, as they were last looked up.

    Args:
        resolve: gives a name's addresses; raises OSError.
        clock: seconds that only grow.
    """

    def __init__(self, resolve: Resolve | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._resolve = resolve or _resolved
        self._clock = clock
        self._seen: dict[str, dict[str, float]] = {}

    async def look_up(self, destinations: Iterable[Destination], *, again: bool) -> None:
        """Look up all names among these; only those that are new, unless `again`. One that can't be found
        keeps its last addresses, and is logged."""
        names = {each.host for each in destinations if not _is_address(each.host)}
        await asyncio.gather(*(self._find(name) for name in names if again or name not in self._seen))

    def addresses(self, host: str) -> list[str]:
        """The addresses of an address or a name; none where it couldn't be found."""
        if _is_address(host):
            return [str(ip_address(host))]
        newest = sorted(self._seen.get(host, {}).items(), key=lambda pair: (-pair[1], pair[0]))
        return sorted(address for address, _ in newest[:MOST])

    async def _find(self, name: str) -> None:
        try:
            async with asyncio.timeout(LOOKUP):
                found = await self._resolve(name)
        except (OSError, TimeoutError, UnicodeError) as error:
            log.warning("egress_name_unresolved", name=name, error=str(error) or "timeout")
            return
        now = self._clock()
        kept = {a: seen for a, seen in self._seen.get(name, {}).items() if now - seen < KEEP}
        self._seen[name] = {**kept, **dict.fromkeys(filter(_is_of_one, found), now)}


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_of_one(address: str) -> bool:
    """Whether one machine has it: a name server may say anything."""
    found = ip_address(address)
    return not (found.is_unspecified or found.is_multicast)


async def _resolved(name: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]).partition("%")[0] for *_, address in found]
