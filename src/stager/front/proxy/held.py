"""Requests to sleeping hosts. They are held until the host is awake, and then served as if they had arrived
only now.

A held request isn't read any further: the start of it stays in the buffer of its connection, the rest in
the kernel. So it loses nothing, takes a bounded amount of memory, and can be passed on to a successor of
this front.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stager.domain.route import Endpoint, is_asleep
from stager.front.http.head import RequestHead
from stager.front.http.limits import Limits
from stager.front.http.visitors import is_navigation
from stager.front.proxy.backends import Backends
from stager.front.table.live_table import LiveTable

if TYPE_CHECKING:
    from stager.front.proxy.downstream import Downstream


_RELEASE_SECONDS = 0.002
"""Interval at which requests to a host that has woken are served."""
_TICKS_PER_SLOT = 4
"""After so many intervals, one request more may be unanswered: some may wait for others."""
_WINDOW = 6 * _TICKS_PER_SLOT
"""Six requests may be unanswered at first."""


class HeldRequest:
    """A request that waits for its host.

    Args:
        head: the head of the request.
        head_bytes: the size of the head.
        size: of everything that was received with it, in bytes.
        limits: how long it may wait.
    """

    __slots__ = ("deadline", "head", "head_bytes", "is_navigation", "is_probed", "size", "started")

    def __init__(self, head: RequestHead, head_bytes: int, size: int, limits: Limits) -> None:
        self.head = head
        self.head_bytes = head_bytes
        self.size = size
        self.is_navigation = is_navigation(head)
        seconds = limits.wake_seconds
        if self.is_navigation:
            seconds = min(seconds, limits.navigation_seconds)
        self.deadline = time.monotonic() + seconds
        self.started = time.perf_counter()
        self.is_probed = False


class Held:
    """The held requests of all connections.

    Args:
        limits: the maximum number of held requests and of their bytes, and how long they may wait.
        table: the live route table.
        backends: the open requests of each endpoint.
        publish: sends an event to the control plane.
    """

    def __init__(
        self, limits: Limits, table: LiveTable, backends: Backends, publish: Callable[[dict[str, Any]], None]
    ) -> None:
        self.count = 0
        self.inherited: frozenset[str] = frozenset()
        """Hosts whose requests the predecessor of this front holds."""
        self._limits = limits
        self._table = table
        self._backends = backends
        self._publish = publish
        self._bytes = 0
        self._clients: dict[str, dict[Downstream, None]] = {}
        self._windows: dict[str, int] = {}
        """Hosts whose requests are being released, with the number of requests that may be unanswered, in
        units of `1 / _TICKS_PER_SLOT`."""
        self._refused: set[str] = set()
        """Hosts of which a request was refused since the last `announce`."""

    @property
    def hosts(self) -> list[str]:
        """The hosts whose requests are held."""
        return list(self._clients)

    def add(self, client: Downstream, head: RequestHead, head_bytes: int, size: int) -> HeldRequest | None:
        """Hold a request and announce its host, if there is room.

        Args:
            client: its connection.
            head: its head.
            head_bytes: the size of the head.
            size: of everything that was received with it, in bytes.

        Returns:
            None if too many requests are held.
        """
        if head.host not in self._clients and head.host not in self._refused:
            self._announce(head.host)
        if self.count >= self._limits.held_requests or self._bytes + size > self._limits.held_bytes:
            self._refused.add(head.host)
            return None
        self.count += 1
        self._bytes += size
        self._clients.setdefault(head.host, {})[client] = None
        return HeldRequest(head, head_bytes, size, self._limits)

    def remove(self, client: Downstream, held: HeldRequest) -> None:
        """Stop holding a request."""
        self.count -= 1
        self._bytes -= held.size
        clients = self._clients[held.head.host]
        del clients[client]
        if not clients:
            del self._clients[held.head.host]

    def announce(self) -> None:
        """Announce all hosts again, in case the control plane missed an event. Called once a second."""
        for host in {*self._clients, *self._refused, *self.inherited}:
            if is_asleep(self._table.find(host)):
                self._announce(host)
        self._refused.clear()

    def release(self) -> None:
        """Begin to serve the requests to hosts that no longer sleep. Called after each change of the
        table."""
        for host in list(self._clients):
            if host not in self._windows and not is_asleep(self._table.find(host)):
                self._windows[host] = _WINDOW
                self._release_next(host)

    def _release_next(self, host: str) -> None:
        """Serve as many of a host's requests as its application is likely to accept, and continue soon.

        A server whose queue is full drops connections, and clients notice only after seconds. The queue of
        Python's `socketserver`, for example, is 5 long.
        """
        target = self._table.find(host)
        clients = list(self._clients.get(host, ()))
        if not clients or is_asleep(target):
            del self._windows[host]
            return
        if isinstance(target, Endpoint):
            room = self._windows[host] // _TICKS_PER_SLOT - self._backends.unanswered(target)
            clients = clients[: max(0, room)]
        for client in clients:
            client.release()
        self._windows[host] += 1
        asyncio.get_running_loop().call_later(_RELEASE_SECONDS, self._release_next, host)

    def _announce(self, host: str) -> None:
        self._publish({"event": "wake", "host": host})


def peer_state(descriptor: int) -> int:
    """What is known about the other side of a connection from which nothing is read: `poll` flags. `POLLERR`
    or `POLLHUP`: it is gone; `POLLRDHUP`: it sends no more; 0: neither."""
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    found = poll.poll(0)
    return found[0][1] if found else 0
