"""What every connection of one front shares."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from stager.domain.route import Endpoint, Target
from stager.front.http.cookies import settable
from stager.front.http.head import RequestHead, ResponseHead, is_for_others
from stager.front.http.limits import Limits
from stager.front.proxy.access_gate import Gate
from stager.front.proxy.access_log import AccessLog
from stager.front.proxy.backends import Backends
from stager.front.proxy.connections import Connections
from stager.front.proxy.error_pages import Sheet
from stager.front.table.live_table import LiveTable

Event = dict[str, Any]

SILENCES = 3
"""So many requests in a row without an answer make an app unresponsive."""
NOINDEX = (b"X-Robots-Tag: noindex",)
NOTHING_MORE: tuple[bytes, ...] = ()


def _all_of(head: ResponseHead) -> list[bytes]:
    """The lines of what was set aside, but for what concerns the connection."""
    kept = [name for name in head.special if name == b"set-cookie" or is_for_others(name)]
    return [name.title() + b": " + value for name in kept for value in head.special[name]]


class Context:
    """The table, the limits, the counters, and a clock that is wound once a second.

    Args:
        limits: for everybody.
        table: by which to serve.
        visitors: who is connected.
        log: of requests.
        gate: of private previews.
    """

    def __init__(
        self, limits: Limits, table: LiveTable, visitors: Connections[Any], log: AccessLog, gate: Gate
    ) -> None:
        self.limits = limits
        self.table = table
        self.visitors = visitors
        self.log = log
        self.gate = gate
        self.backends = Backends(limits)
        self.draining = False
        self.outcomes: Counter[str] = Counter()
        self.watchers: set[Callable[[Event], None]] = set()
        self.started = self.now = time.monotonic()
        self.silences: dict[str, tuple[Target | None, int]] = {}
        """Hosts, each with its app, and how many requests in a row that has left without an answer."""
        self._told: dict[str, float] = {}
        # Ids of requests: random by process, counted within it.
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(6).encode()

    def next_id(self) -> bytes:
        """An id for a request that came without one."""
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    def lookup(self, host: str) -> Endpoint | Sheet:
        """Where a request for `host` goes: to an endpoint, or it is answered with a sheet."""
        target = self.table.find(host)
        if isinstance(target, Endpoint):
            return target
        if target is not None:
            return Sheet.of(target, host)
        return Sheet("away") if self.table.is_home(host) else Sheet("unknown", name=host)

    def lookup_door(self, door: int, head: RequestHead) -> Endpoint | Sheet:
        """The same for a request that came in by a door.

        Its `Host` decides when that is a preview's or lies under the domain of previews, so that an nginx
        that doesn't know a host yet, or no longer, never shows another preview. Any other request becomes
        one for the door's host. A door never leads to Stager's own pages, not even one whose host is gone.
        """
        table = self.table
        if not table.is_home(head.host):
            return self.lookup(head.host)
        host = table.ports.get(door, "")
        if host not in table.routes:
            return Sheet("unknown", name=host or head.host)
        head.readdress(host)
        return self.lookup(host)

    def more_of(self, head: ResponseHead, host: str) -> Sequence[bytes]:
        """The lines that a response of this host's app has besides: whether it may be listed by search
        engines, and its cookies, as far as it may set them. Stager's own are its own business."""
        table, cookies = self.table, head.special.get(b"set-cookie", ())
        if not cookies and host in table.routes and host not in table.terms:
            return NOINDEX  # as nearly always
        if table.is_home(host):
            return _all_of(head)
        terms = table.terms.get(host)
        robots = NOINDEX if terms is None or not terms.index else NOTHING_MORE
        domain = table.domain.encode("latin-1")
        return [*(b"Set-Cookie: " + value for value in settable(cookies, domain)), *robots]

    def unreachable(self, host: str, state: str, why: str = "") -> Sheet:
        """The sheet for a host whose endpoint let us down, once those who watch have been told.

        Args:
            why: a sentence on what is wrong with what it sent; empty when it sent nothing.
        """
        if self.table.is_home(host):
            return Sheet("away")
        if self.now - self._told.get(host, -10.0) >= 1.0:
            self._told[host] = self.now
            self.tell({"event": state, "host": host, **({"why": why} if why else {})})
        if state == "silent":
            self._note_silence(host)
            within = f"within {self.limits.response_seconds:g} s"
            return Sheet(state, host, message=f"It got the request, and didn't begin to answer {within}.")
        return Sheet(state, host, message=f"What it sent isn't proper HTTP. {why}" if why else "")

    def _note_silence(self, host: str) -> None:
        target = self.table.routes.get(host)
        before, count = self.silences.get(host, (None, 0))
        count = count + 1 if before == target else 1
        self.silences[host] = target, count
        if count == SILENCES:
            self.tell({"event": "unresponsive", "host": host})

    def heard(self, host: str) -> None:
        """The app of this host has answered, after some of them have not."""
        _, count = self.silences.pop(host, (None, 0))
        if count >= SILENCES:
            self.tell({"event": "responsive", "host": host})

    def unresponsive(self) -> list[str]:
        """The hosts whose app, the one that they lead to now, has left so many requests in a row without an
        answer."""
        return sorted(
            host
            for host, (target, count) in self.silences.items()
            if count >= SILENCES and target is not None and self.table.routes.get(host) == target
        )

    def tell(self, event: Event) -> None:
        """Tell everybody who watches."""
        for watcher in list(self.watchers):
            watcher(event)

    def record(  # noqa: PLR0913 (the fields of a line of the access log)
        self,
        head: RequestHead,
        *,
        status: int,
        size: int,
        started: float,
        client: str,
        request_id: bytes,
        endpoint: str,
        outcome: str,
        why: str = "",
    ) -> None:
        """Count a request that has ended, and note it in the log; `why` as for `unreachable`."""
        self.outcomes[outcome] += 1
        self.log.add(
            host=head.host,
            method=head.method,
            target=head.target,
            status=status,
            size=size,
            seconds=time.perf_counter() - started,
            client=client,
            request_id=request_id,
            endpoint=endpoint,
            outcome=outcome,
            why=why,
        )

    def tick(self) -> None:
        """Wind the clock. Called once a second; nothing here needs a finer one."""
        self.now = time.monotonic()
        if self.silences:
            routes = self.table.routes
            self.silences = {host: s for host, s in self.silences.items() if routes.get(host) == s[0]}
        self._told = {host: when for host, when in self._told.items() if self.now - when < 1.0}

    def stats(self) -> dict[str, Any]:
        """Figures for the control plane, which exports them."""
        return {
            "uptime": round(time.monotonic() - self.started, 3),
            "connections": len(self.visitors.connections),
            "requests": dict(self.outcomes),
            "open": {backend.name: len(backend.busy) for backend in self.backends if backend.busy},
            "routes": len(self.table),
            "unresponsive": self.unresponsive(),
            "draining": self.draining,
        }
