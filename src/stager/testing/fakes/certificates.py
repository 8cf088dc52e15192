"""A fake issuer of certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from stager.domain.certificate import WEEK, Certificate, OrderFailure
from stager.domain.errors import StagerError


class FakeCertificates:
    """See `stager.ports.certificates.Certificates`.

    Attributes:
        orders: the names that were ordered, in order.
        error: raised by each order.
        gate: orders wait for it.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        has_wildcards: bool = False,
        weekly_limit: int = 40,
        lifetime: timedelta = timedelta(days=90),
    ) -> None:
        self.has_wildcards = has_wildcards
        self.weekly_limit = weekly_limit
        self.orders: list[str] = []
        self.error: StagerError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._now = now
        self._lifetime = lifetime
        self._stored: dict[str, Certificate] = {}
        self._failures: dict[str, OrderFailure] = {}
        self._issued: list[datetime] = []

    def stored(self) -> Mapping[str, Certificate]:
        return dict(self._stored)

    def failures(self) -> Mapping[str, OrderFailure]:
        return dict(self._failures)

    def issued(self) -> Sequence[datetime]:
        return [at for at in self._issued if self._now() - at < WEEK]

    async def order(self, name: str) -> Certificate:
        self.orders.append(name)
        await self.gate.wait()
        if self.error is not None:
            count = self._failures[name].count + 1 if name in self._failures else 1
            self._failures[name] = OrderFailure(count, self._now(), self.error.message, self.error.hint)
            raise self.error
        if name not in self._stored:
            self._issued.append(self._now())
        self._failures.pop(name, None)
        self._stored[name] = Certificate(name, self._now(), self._now() + self._lifetime)
        return self._stored[name]

    async def tidy(self) -> None:
        pass

    def remove(self, name: str) -> None:
        self._stored.pop(name, None)
        self._failures.pop(name, None)
