"""Certificates that Stager orders itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from stager.domain.certificate import Certificate, OrderFailure


class Certificates(Protocol):
    """The issuer of certificates, and those that it has issued. The front reads them from the same folder."""

    weekly_limit: int
    """Maximum number of new certificates in 7 days."""

    @property
    def has_wildcards(self) -> bool:
        """Whether the issuer can issue certificates for wildcard names."""

    def stored(self) -> Mapping[str, Certificate]:
        """The stored certificates by name, also expired ones."""

    def failures(self) -> Mapping[str, OrderFailure]:
        """The failed orders by name, until an order of that name succeeds."""

    def issued(self) -> Sequence[datetime]:
        """When new certificates were issued in the last 7 days. Renewals don't count."""

    async def order(self, name: str) -> Certificate:
        """Order a certificate, and store it. An order that was interrupted, even by a SIGKILL, is continued.

        Args:
            name: a host, or a wildcard name.

        Raises:
            Retry, Fault: it failed. The failure is stored, except when this call is cancelled.
        """

    async def tidy(self) -> None:
        """Withdraw what orders published that were interrupted after their certificate was stored."""

    def remove(self, name: str) -> None:
        """Remove what is stored about this name. Idempotent."""
