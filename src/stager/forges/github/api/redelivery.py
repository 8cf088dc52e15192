"""Has lost deliveries sent again. GitHub sends each once; an App can look into its log and ask for more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from stager.domain.errors import Refused
from stager.forges.github.api import answers
from stager.forges.github.api.request import retry_when_in_doubt
from stager.forges.github.api.rest import Rest
from stager.forges.github.webhooks.events import READ_EVENTS
from stager.ports.forge import RateLimit, Recovery

DELIVERIES = "/app/hook/deliveries"
ATTEMPTS = "/app/hook/deliveries/{delivery}/attempts"

MOST_PAGES = 20
MOST_REDELIVERED = 100
"""At once. What is left is found the next time."""
MOST_ATTEMPTS = 3
"""What failed so often won't do better."""


class GithubRecovery(Recovery):
    """GitHub's log of deliveries.

    Args:
        rest: calls GitHub as whoever does the daily work.
        app_rest: calls GitHub as the App itself; None without one: then there is no log, and the resync has
            to do.
    """

    def __init__(self, rest: Rest, app_rest: Rest | None) -> None:
        self._rest = rest
        self._app_rest = app_rest

    async def redeliver(self, since: datetime) -> int:
        if self._app_rest is None:
            return 0
        with retry_when_in_doubt("the App's deliveries"):
            missed = _missed(await self._log(self._app_rest, since))
        return sum([await self._attempt(self._app_rest, delivery) for delivery in missed[:MOST_REDELIVERED]])

    def limits(self) -> RateLimit | None:
        return self._rest.limits

    async def _log(self, rest: Rest, since: datetime) -> list[answers.DeliveryAttempt]:
        """All attempts since then, newest first; only the newest `MOST_PAGES` pages of them."""
        found: list[answers.DeliveryAttempt] = []
        cursor = ""
        for _ in range(MOST_PAGES):
            answer, cursor = await rest.read_after(DELIVERIES, {}, cursor)
            attempts = [answers.read_attempt(one) for one in answer]
            found += [attempt for attempt in attempts if attempt.at >= since]
            if not cursor or not attempts or attempts[-1].at < since:
                break
        return found

    async def _attempt(self, rest: Rest, delivery: str) -> bool:
        """Ask for another attempt. Whether GitHub makes one."""
        try:
            await rest.create(ATTEMPTS, {"delivery": delivery})
        except Refused:
            return False
        return True


def _missed(attempts: Iterable[answers.DeliveryAttempt]) -> list[str]:
    """The ids by which to ask again for what never arrived, oldest first."""
    by_delivery: dict[str, list[answers.DeliveryAttempt]] = {}
    for attempt in attempts:
        if attempt.event in READ_EVENTS:
            by_delivery.setdefault(attempt.guid, []).append(attempt)
    lost = (every for every in by_delivery.values() if not any(one.arrived for one in every))
    return [every[0].id for every in lost if len(every) < MOST_ATTEMPTS][::-1]
