"""Orders and renews certificates for Stager's own host and those of the previews."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from urllib.parse import urlsplit

import structlog

from stager.control.loops import CoalescingTasks
from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.domain.certificate import (
    is_certifiable,
    is_due,
    is_limit_reached,
    lacking,
    names_for,
    wildcard_of,
)
from stager.domain.errors import StagerError
from stager.domain.route import Page, normalise_host
from stager.ports.certificates import Certificates
from stager.ports.clock import Clock
from stager.ports.router import Router

log = structlog.get_logger(__name__)

INTERVAL = timedelta(minutes=1)
LIMIT_HINT = (
    "Hosts without a certificate get none until older orders are 7 days ago. `tls.acme.dns` orders one"
    " wildcard certificate for all; `tls.acme.certificates_per_week` changes the limit."
)
_CONCURRENT = 4
"""Concurrent orders by HTTP-01. Those by DNS-01 may use the same DNS record, so there is one at a time."""


class CertificateManager:
    """Keeps certificates for all hosts: wildcards from the start, or one for each host on its first
    request."""

    def __init__(self, certificates: Certificates, routes: Routes, urls: Urls, clock: Clock) -> None:
        self._certificates = certificates
        self._routes = routes
        self._urls = urls
        self._clock = clock
        self._turn = asyncio.Semaphore(1 if certificates.has_wildcards else _CONCURRENT)
        self._was_limited = False
        self._tasks = CoalescingTasks(self._work)

    async def check(self, report: Callable[[str, str], None]) -> None:
        """Order what is missing, renew what is old, and remove what is no longer needed. Called periodically.

        Args:
            report: called with `certificates` and the problem of the names that are needed at any time; an
                empty text without a problem.
        """
        await self._certificates.tidy()
        names = self._needed()
        for name in names:
            self._request(name)
        self._remove_unneeded(names)
        self._log_limit()
        report("certificates", self._problem(names))

    async def follow(self, router: Router) -> None:
        """Order certificates for hosts that visitors request, until the stream of the front ends."""
        async for host in router.certificate_requests():
            self.request(host)

    def request(self, host: str) -> None:
        """Order a certificate for a host that a visitor requests; no effect unless it is Stager's own or that
        of a preview, so that visitors can't make Stager order certificates for other names."""
        if self._is_served(host):
            self._request(wildcard_of(host) if self._uses_wildcard(host) else host)

    async def close(self) -> None:
        """Cancel running orders. They are continued after the next start."""
        await self._tasks.close()

    @property
    def _home(self) -> str:
        return normalise_host(urlsplit(self._urls.home).netloc)

    def _uses_wildcard(self, host: str) -> bool:
        return self._certificates.has_wildcards and host != self._home

    def _is_served(self, host: str) -> bool:
        target = self._routes.table.routes.get(host)
        is_gone = isinstance(target, Page) and target.state == "gone"
        return host == self._home or (target is not None and not is_gone)

    def _needed(self) -> list[str]:
        """The names whose certificates are ordered without a request, and those to renew."""
        hosts = [host for host in self._routes.table.routes if self._is_served(host)]
        if self._certificates.has_wildcards:
            return [name for name in names_for(self._home, self._urls.domain, hosts) if is_certifiable(name)]
        stored = self._certificates.stored()
        return [h for h in (self._home, *(host for host in hosts if host in stored)) if is_certifiable(h)]

    def _request(self, name: str) -> None:
        if is_certifiable(name) and self._is_due(name):
            self._tasks.request(name)

    def _is_due(self, name: str) -> bool:
        certificates, now = self._certificates, self._clock.now()
        certificate, failure = certificates.stored().get(name), certificates.failures().get(name)
        return is_due(certificate, failure, certificates.issued(), now, certificates.weekly_limit)

    async def _work(self, name: str) -> None:
        async with self._turn:
            if not self._is_due(name):
                return
            try:
                certificate = await self._certificates.order(name)
            except StagerError as error:
                log.warning(
                    "certificate_failed", name=name, reason=error.reason, error=error.message, hint=error.hint
                )
            except Exception:
                log.exception("certificate_order_broken", name=name)
            else:
                log.info("certificate_issued", name=name, expires=f"{certificate.expires:%Y-%m-%d %H:%M}")

    def _is_limit_reached(self) -> bool:
        certificates = self._certificates
        return is_limit_reached(certificates.issued(), self._clock.now(), certificates.weekly_limit)

    def _log_limit(self) -> None:
        """Log once when the limit is reached."""
        before, self._was_limited = self._was_limited, self._is_limit_reached()
        if self._was_limited and not before:
            log.warning("certificate_limit", limit=self._certificates.weekly_limit, hint=LIMIT_HINT)

    def _remove_unneeded(self, names: Iterable[str]) -> None:
        """Remove expired certificates, and failures, of hosts that no longer exist. A valid certificate
        stays: a reopened pull request has the same host. Those of hosts with a wildcard certificate are
        removed as well: the front would prefer them, and they aren't renewed."""
        stored, now = self._certificates.stored(), self._clock.now()
        for name in {*stored, *self._certificates.failures()} - set(names):
            is_unused = name not in stored or not stored[name].is_valid(now)
            if self._is_covered(name) or (is_unused and not self._is_served(name)):
                self._certificates.remove(name)

    def _is_covered(self, host: str) -> bool:
        """Whether a valid wildcard certificate covers this host."""
        wildcard = self._certificates.stored().get(wildcard_of(host))
        is_host = self._certificates.has_wildcards and not host.startswith("*.")
        return is_host and wildcard is not None and wildcard.is_valid(self._clock.now())

    def _problem(self, names: Iterable[str]) -> str:
        certificates, now = self._certificates, self._clock.now()
        always = names if certificates.has_wildcards else [self._home]
        stored = certificates.stored()
        failed = lacking(always, stored, certificates.failures(), now)
        if failed:
            name, failure = next(iter(failed.items()))
            return f"There is no valid certificate for {name}: {failure.message}"
        missing = [name for name in always if name not in stored]
        if missing and self._is_limit_reached():
            return f"There is no certificate for {missing[0]}, and `certificates_per_week` is reached."
        return ""
