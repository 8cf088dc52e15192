"""The state that all connections of a front share."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from stager.domain.route import Endpoint, Target
from stager.front.http.cookies import allowed_cookies
from stager.front.http.head import RequestHead, ResponseHead
from stager.front.http.limits import Limits
from stager.front.http.response_parser import is_for_intermediaries
from stager.front.http.visitors import is_visit
from stager.front.proxy.access_gate import AccessGate
from stager.front.proxy.access_log import AccessLog
from stager.front.proxy.backends import Backends
from stager.front.proxy.connections import Connections
from stager.front.proxy.error_pages import ErrorPage
from stager.front.proxy.held import Held
from stager.front.proxy.plain_http import PlainHttp
from stager.front.table.live_table import LiveTable

Event = dict[str, Any]
PassOn = Callable[[asyncio.Transport, int, bytes], None]
"""Passes a client connection to the successor: the transport, the ingress port, and what was received."""

UNANSWERED = 3
"""Number of consecutive requests without a response after which an app counts as unresponsive."""
_REPORT_SECONDS = 1.0
"""Minimum interval of events about the same host."""
_NOINDEX = (b"X-Robots-Tag: noindex",)
_REPEAT = "Repeat the request in a few seconds."
_NO_HEADERS: tuple[bytes, ...] = ()


def _special_headers(head: ResponseHead) -> list[bytes]:
    """The headers that the parser set apart, without those of the connection."""
    names = [name for name in head.special if name == b"set-cookie" or is_for_intermediaries(name)]
    return [name.title() + b": " + value for name in names for value in head.special[name]]


class Context:
    """The table, the limits, the counters, and a coarse clock, updated every second.

    Args:
        limits: the limits of all connections.
        table: the route table.
        connections: the open client connections.
        log: the access log.
        access_gate: enforces access policies.
    """

    def __init__(
        self,
        limits: Limits,
        table: LiveTable,
        connections: Connections[Any],
        log: AccessLog,
        access_gate: AccessGate,
    ) -> None:
        self.limits = limits
        self.table = table
        self.connections = connections
        self.log = log
        self.access_gate = access_gate
        self.backends = Backends(limits)
        self.plain_http: PlainHttp | None = None
        """Answers requests on the HTTP listener before they are routed; None without HTTPS."""
        self.hsts: Sequence[bytes] = _NO_HEADERS
        """The header `Strict-Transport-Security` of responses over HTTPS; empty without it."""
        self.draining = False
        self.pass_on: PassOn | None = None
        """Set once a successor has taken over: no further request is answered here."""
        self.outcomes: Counter[str] = Counter()
        self.watchers: set[Callable[[Event], None]] = set()
        self.started = self.now = time.monotonic()
        self.held = Held(limits, table, self.backends, self.publish)
        self.requested_at: dict[str, float] = {}
        """Host to the time of its last request by a visitor, by the coarse clock."""
        self.observed_since = self.now
        """The time since which `requested_at` is complete."""
        self.unanswered: dict[str, tuple[Target | None, int]] = {}
        """Host to its target and the number of consecutive requests that it hasn't answered."""
        self._reported_at: dict[str, float] = {}
        # Request ids: a random prefix for each process, and a counter.
        self._ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(6).encode()

    def next_id(self) -> bytes:
        """Return an id for a request without one."""
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    def lookup(self, host: str) -> Endpoint | ErrorPage:
        """Return the endpoint of `host`, or the page with which the front responds itself."""
        target = self.table.find(host)
        if isinstance(target, Endpoint):
            return target
        if target is not None:
            return ErrorPage.of(target, host)
        return ErrorPage("restarting") if self.table.is_home(host) else ErrorPage("unknown", name=host)

    def waking(self, host: str, message: str) -> ErrorPage:
        """Return the page of a sleeping host whose request isn't held any longer.

        Args:
            message: why, a sentence; empty if nothing is wrong.
        """
        page = self.lookup(host)
        if isinstance(page, Endpoint):
            page = ErrorPage("waking", host)
        if page.state == "asleep":
            page = replace(page, state="waking", message="", page=replace(page.details, hint=""))
        if message:
            page = replace(page, message=message, page=replace(page.details, hint=_REPEAT))
        return page

    def lookup_at_ingress(self, port: int, head: RequestHead) -> Endpoint | ErrorPage:
        """Return the target of a request that arrived at an ingress port.

        If the `Host` header is a preview's or under the domain of previews, it decides, so that an nginx with
        outdated vhosts never shows a wrong preview. Any other request is for the port's host. An ingress port
        never leads to Stager's own pages, not even if its host is gone.
        """
        table = self.table
        if not table.is_home(head.host):
            return self.lookup(head.host)
        host = table.ports.get(port, "")
        if host not in table.routes:
            return ErrorPage("unknown", name=host or head.host)
        head.readdress(host)
        return self.lookup(host)

    def extra_headers(self, head: ResponseHead, host: str) -> Sequence[bytes]:
        """Return the headers to add to a response of this host's app: `X-Robots-Tag`, unless search engines
        may index it, and the cookies that it may set. Stager's own responses aren't restricted."""
        table, cookies = self.table, head.special.get(b"set-cookie", ())
        if not cookies and host in table.routes and host not in table.policies:
            return _NOINDEX  # the usual case
        if table.is_home(host):
            return _special_headers(head)
        policy = table.policies.get(host)
        robots = _NOINDEX if policy is None or not policy.index else _NO_HEADERS
        domain = table.domain.encode("latin-1")
        return [*(b"Set-Cookie: " + value for value in allowed_cookies(cookies, domain)), *robots]

    def upstream_failed(self, host: str, state: str, why: str = "") -> ErrorPage:
        """Publish that a host's endpoint failed, and return the error page.

        Args:
            state: the error page's: `unreachable`, `bad-response` or `no-response`.
            why: a sentence on what is wrong with the response; empty if there was none.
        """
        if self.table.is_home(host):
            return ErrorPage("restarting")
        if self.now - self._reported_at.get(host, -10.0) >= _REPORT_SECONDS:
            self._reported_at[host] = self.now
            self.publish({"event": state, "host": host, **({"why": why} if why else {})})
        if state == "no-response":
            self._note_no_response(host)
            within = f"within {self.limits.response_seconds:g} s"
            message = f"The application received the request, but didn't begin to respond {within}."
            return ErrorPage(state, host, message=message)
        return ErrorPage(state, host, message=why)

    def _note_no_response(self, host: str) -> None:
        target = self.table.routes.get(host)
        before, count = self.unanswered.get(host, (None, 0))
        count = count + 1 if before == target else 1
        self.unanswered[host] = target, count
        if count == UNANSWERED:
            self.publish({"event": "unresponsive", "host": host})

    def note_response(self, host: str) -> None:
        """Reset the count of unanswered requests of this host."""
        _, count = self.unanswered.pop(host, (None, 0))
        if count >= UNANSWERED:
            self.publish({"event": "responsive", "host": host})

    def unresponsive(self) -> list[str]:
        """Return the hosts whose current target hasn't answered the last `UNANSWERED` requests."""
        return sorted(
            host
            for host, (target, count) in self.unanswered.items()
            if count >= UNANSWERED and target is not None and self.table.routes.get(host) == target
        )

    def note_request(self, head: RequestHead) -> None:
        """Record that a request to a preview arrived or is still open. Requests to Stager itself and those
        that no visitor sent don't count."""
        host = head.host
        # One comparison for most requests: the rest is at most once a second.
        if self.requested_at.get(host) != self.now and host in self.table.routes and is_visit(head):
            self.requested_at[host] = self.now

    def idle_seconds(self, host: str) -> float:
        """The time since the last request to this host, by the coarse clock."""
        return self.now - self.requested_at.get(host, self.observed_since)

    def is_unused(self, host: str, idle: float) -> bool:
        """Whether the host's endpoint has no open request and wasn't requested for `idle` seconds."""
        target = self.table.routes.get(host)
        return (
            isinstance(target, Endpoint)
            and not self.backends.is_busy(target)
            and self.idle_seconds(host) >= idle
        )

    def activity(self) -> dict[str, Any]:
        """Return the fields of `stager.domain.traffic.Activity`."""
        routes = self.table.routes
        return {
            "idle": {host: self.idle_seconds(host) for host in self.requested_at if host in routes},
            "uptime": self.now - self.observed_since,
        }

    def publish(self, event: Event) -> None:
        """Send an event to all watchers."""
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
        """Count a request that has ended, and write it to the access log; `why` as for `upstream_failed`."""
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
        """Update the clock and drop outdated counts. Called once a second."""
        self.now = time.monotonic()
        if self.unanswered:
            routes = self.table.routes
            self.unanswered = {
                host: entry for host, entry in self.unanswered.items() if routes.get(host) == entry[0]
            }
        if len(self.requested_at) > len(self.table):
            self.requested_at = {h: at for h, at in self.requested_at.items() if h in self.table.routes}
        self.held.announce()
        self._reported_at = {
            host: at for host, at in self._reported_at.items() if self.now - at < _REPORT_SECONDS
        }

    def stats(self) -> dict[str, Any]:
        """Return the figures that the control plane exports as metrics."""
        return {
            "uptime": round(time.monotonic() - self.started, 3),
            "connections": len(self.connections.open),
            "requests": dict(self.outcomes),
            "open": {backend.name: len(backend.busy) for backend in self.backends if backend.busy},
            "held": self.held.count,
            "routes": len(self.table),
            "unresponsive": self.unresponsive(),
            "draining": self.draining,
        }
