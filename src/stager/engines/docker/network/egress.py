"""Resolves the host names of `egress_allow` to addresses for the firewall."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address

import structlog

from stager.domain.profile import Destination

log = structlog.get_logger(__name__)

Resolve = Callable[[str], Awaitable[list[str]]]

LOOKUP_TIMEOUT = 3.0
"""Seconds for one lookup."""
KEEP_SECONDS = 600.0
"""How long an address stays allowed after it was last resolved, because an application may still use it."""
MAX_ADDRESSES = 4
"""Maximum number of addresses per name."""


class HostAddresses:
    """A cache of the addresses of destinations' hosts.

    Args:
        resolve: resolves a name to addresses; raises OSError.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, resolve: Resolve | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._resolve = resolve or _resolved
        self._clock = clock
        self._seen: dict[str, dict[str, float]] = {}

    async def look_up(self, destinations: Iterable[Destination], *, again: bool) -> None:
        """Resolve the names of these destinations. A name that can't be resolved keeps its last addresses,
        and is logged.

        Args:
            destinations: the destinations; addresses are ignored.
            again: whether to resolve known names again.
        """
        names = {each.host for each in destinations if not _is_address(each.host)}
        await asyncio.gather(*(self._resolve_name(name) for name in names if again or name not in self._seen))

    def addresses(self, host: str) -> list[str]:
        """Return the addresses of a host; an address is returned as is. Empty if it couldn't be resolved."""
        if _is_address(host):
            return [str(ip_address(host))]
        newest = sorted(self._seen.get(host, {}).items(), key=lambda pair: (-pair[1], pair[0]))
        return sorted(address for address, _ in newest[:MAX_ADDRESSES])

    async def _resolve_name(self, name: str) -> None:
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                found = await self._resolve(name)
        except (OSError, TimeoutError, UnicodeError) as error:
            log.warning("egress_name_unresolved", name=name, error=str(error) or "timeout")
            return
        now = self._clock()
        kept = {a: seen for a, seen in self._seen.get(name, {}).items() if now - seen < KEEP_SECONDS}
        self._seen[name] = {**kept, **dict.fromkeys(filter(_is_unicast, found), now)}


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_unicast(address: str) -> bool:
    """Whether it is a unicast address; a name server may return any address."""
    found = ip_address(address)
    return not (found.is_unspecified or found.is_multicast)


async def _resolved(name: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]).partition("%")[0] for *_, address in found]
