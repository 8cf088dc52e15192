"""Redelivery of failed deliveries. GitHub sends each delivery once; an App can list its deliveries and
request failed ones again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from stager.domain.errors import Refused
from stager.forges.github.api import responses
from stager.forges.github.api.request import retry_if_unknown
from stager.forges.github.api.rest import Rest
from stager.forges.github.webhooks.events import READ_EVENTS
from stager.ports.forge import RateLimit, Redelivery

DELIVERIES = "/app/hook/deliveries"
ATTEMPTS = "/app/hook/deliveries/{delivery}/attempts"

MOST_PAGES = 20
MOST_REDELIVERED = 100
"""Per run. The rest is requested by the next run."""
MOST_ATTEMPTS = 3
"""Deliveries that failed this often aren't requested again."""


class GithubRedelivery(Redelivery):
    """Requests redeliveries.

    Args:
        rest: the client whose rate limit is reported.
        app_rest: the client of the App itself; None without an App, which leaves lost events to the resync.
    """

    def __init__(self, rest: Rest, app_rest: Rest | None) -> None:
        self._rest = rest
        self._app_rest = app_rest

    async def redeliver(self, since: datetime) -> int:
        if self._app_rest is None:
            return 0
        with retry_if_unknown("the App's deliveries"):
            missed = _missed(await self._log(self._app_rest, since))
        return sum([await self._attempt(self._app_rest, delivery) for delivery in missed[:MOST_REDELIVERED]])

    def limits(self) -> RateLimit | None:
        return self._rest.limits

    async def _log(self, rest: Rest, since: datetime) -> list[responses.DeliveryAttempt]:
        """All attempts since then, newest first; only the newest `MOST_PAGES` pages of them."""
        found: list[responses.DeliveryAttempt] = []
        cursor = ""
        for _ in range(MOST_PAGES):
            answer, cursor = await rest.read_after(DELIVERIES, {}, cursor)
            attempts = [responses.read_attempt(one) for one in answer]
            found += [attempt for attempt in attempts if attempt.at >= since]
            if not cursor or not attempts or attempts[-1].at < since:
                break
        return found

    async def _attempt(self, rest: Rest, delivery: str) -> bool:
        """Request another attempt. Returns whether GitHub accepts."""
        try:
            await rest.create(ATTEMPTS, {"delivery": delivery})
        except Refused:
            return False
        return True


def _missed(attempts: Iterable[responses.DeliveryAttempt]) -> list[str]:
    """Ids of the attempts to repeat, for deliveries that never arrived, oldest first."""
    by_delivery: dict[str, list[responses.DeliveryAttempt]] = {}
    for attempt in attempts:
        if attempt.event in READ_EVENTS:
            by_delivery.setdefault(attempt.guid, []).append(attempt)
    lost = (every for every in by_delivery.values() if not any(one.arrived for one in every))
    return [every[0].id for every in lost if len(every) < MOST_ATTEMPTS][::-1]
