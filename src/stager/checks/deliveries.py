"""Checks for webhook deliveries: the last one, and those without effect, with the cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stager.domain.pull_requests.events import NO_APPLICATION
from stager.ports.diagnostics import Finding, Verdict
from stager.ports.store import DeliveryRecord, RefusedDeliveries, SetAsideDelivery, Store

RECENT = 50
"""Deliveries in which causes are looked for."""

HINT = (
    "Stager's log has details. Once the cause is fixed, redeliver it: the webhook's page on GitHub has"
    " `Redeliver`."
)


class DeliveryCheck:
    """Reports the last delivery, and why others had no effect."""

    subject = "deliveries"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        aside, recent, refused = await self._store.read(
            lambda tx: (tx.deliveries_set_aside(), tx.recent_deliveries(RECENT), tx.refused_deliveries())
        )
        newest = {one.forge: one.received_at for one in reversed(recent)}
        return [
            Finding(self.subject, Verdict.OK, _last(recent)),
            *(Finding(self.subject, Verdict.WARNING, _set_aside(one), HINT) for one in aside),
            *(_of_refused(one) for one in refused if one.forge not in newest or one.at > newest[one.forge]),
            *_without_application(recent),
        ]


def _last(recent: Sequence[DeliveryRecord]) -> str:
    if not recent:
        return "No delivery has arrived yet."
    one = recent[0]
    when = one.received_at.isoformat(sep=" ", timespec="seconds")
    about = f" of {one.about}" if one.about else ""
    return f"The last one ({one.event}{about}) arrived at {when}: {one.outcome or 'in progress'}."


def _set_aside(one: SetAsideDelivery) -> str:
    when = one.at.isoformat(sep=" ", timespec="seconds")
    return f"{one.forge}'s delivery {one.delivery} ({one.event}) was {one.outcome}, at {when}."


def _of_refused(one: RefusedDeliveries) -> Finding:
    """Those since the last accepted delivery of their forge; earlier causes have been removed."""
    when = one.at.isoformat(sep=" ", timespec="seconds")
    deliveries = "A delivery was" if one.count == 1 else f"{one.count} deliveries were"
    message = f"{deliveries} refused ({one.reason}), last at {when}: {one.message}"
    return Finding(DeliveryCheck.subject, Verdict.WARNING, message, one.hint)


def _without_application(recent: Sequence[DeliveryRecord]) -> Iterator[Finding]:
    """One finding for each repository without an application."""
    outcomes = dict.fromkeys(one.outcome for one in recent if one.outcome.startswith(NO_APPLICATION))
    for outcome in outcomes:
        name = outcome.removeprefix(NO_APPLICATION)
        hint = f"Add an entry with `repo: {name}` under `images:`, or ignore it."
        yield Finding(DeliveryCheck.subject, Verdict.WARNING, f"A delivery was {outcome}.", hint)
