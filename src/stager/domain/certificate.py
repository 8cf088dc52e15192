"""Certificates for HTTPS: which name covers a host, when one is renewed, and when an order may be placed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

MIN_BACKOFF = timedelta(minutes=15)
"""Let's Encrypt allows 5 failed validations of a name per hour."""
MAX_BACKOFF = timedelta(days=1)
WEEK = timedelta(days=7)
_RENEWED_AFTER = 2 / 3
"""The share of its lifetime after which a certificate is renewed, as Let's Encrypt recommends."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The validity of a stored certificate.

    Args:
        name: a host, or `*.` and the domain of all hosts that it covers.
    """

    name: str
    begins: datetime
    expires: datetime

    @property
    def renewal(self) -> datetime:
        """When it is to be renewed."""
        lifetime: timedelta = self.expires - self.begins
        return self.begins + timedelta(seconds=lifetime.total_seconds() * _RENEWED_AFTER)

    def is_valid(self, now: datetime) -> bool:
        return self.begins <= now < self.expires


@dataclass(frozen=True, slots=True)
class OrderFailure:
    """The last failed order of a name.

    Args:
        count: failed orders since the last successful one.
        at: the time of the last one.
        message: what happened, a sentence.
        hint: what to do; may be empty.
    """

    count: int
    at: datetime
    message: str
    hint: str = ""

    @property
    def retry_at(self) -> datetime:
        """The earliest time of the next order."""
        return self.at + min(MIN_BACKOFF * (1 << min(self.count - 1, 10)), MAX_BACKOFF)


def is_certifiable(host: str) -> bool:
    """Whether a public issuer can issue a certificate for this host: neither an address nor a name of this
    machine or its network only (RFC 6761, RFC 6762)."""
    try:
        ip_address(host)
    except ValueError:
        return "." in host and host.rpartition(".")[2] not in {"localhost", "local", "internal"}
    return False


def wildcard_of(host: str) -> str:
    """The wildcard name that covers a host: `*.example.org` for `shop.example.org`."""
    return f"*.{host.partition('.')[2]}"


def names_for(home: str, domain: str, hosts: Iterable[str]) -> list[str]:
    """The names of the certificates that cover Stager's own host and those of all previews by wildcards.

    Args:
        home: the host of Stager's own pages.
        domain: the domain of the previews.
        hosts: those of the previews, which may be several labels below `domain`.
    """
    wildcards = dict.fromkeys([f"*.{domain}", *(wildcard_of(host) for host in hosts)])
    return [*([] if wildcard_of(home) in wildcards else [home]), *wildcards]


def is_due(
    certificate: Certificate | None,
    failure: OrderFailure | None,
    issued: Sequence[datetime],
    now: datetime,
    weekly_limit: int,
) -> bool:
    """Whether a certificate is to be ordered now.

    Args:
        certificate: the stored one.
        failure: the last failed order.
        issued: when new certificates were issued. Renewals aren't limited: issuers exempt them.
        weekly_limit: maximum number of new certificates in 7 days.
    """
    # A failure far in the future is from a time when the clock was wrong.
    if failure is not None and failure.at - MIN_BACKOFF <= now < failure.retry_at:
        return False
    if certificate is not None:
        return now >= certificate.renewal
    return not is_limit_reached(issued, now, weekly_limit)


def is_limit_reached(issued: Sequence[datetime], now: datetime, weekly_limit: int) -> bool:
    """Whether no new certificate may be ordered now."""
    return sum(now - at < WEEK for at in issued) >= weekly_limit


def lacking(
    names: Iterable[str],
    certificates: Mapping[str, Certificate],
    failures: Mapping[str, OrderFailure],
    now: datetime,
) -> dict[str, OrderFailure]:
    """The names without a valid certificate whose last order failed."""
    return {
        name: failures[name]
        for name in names
        if name in failures and not (name in certificates and certificates[name].is_valid(now))
    }
