"""Checks for webhook deliveries that failed."""

from __future__ import annotations

from collections.abc import Sequence

from stager.ports.diagnostics import Finding, Verdict
from stager.ports.store import SetAside, Store


class DeliveryCheck:
    """Reports deliveries that were set aside because their processing failed."""

    subject = "deliveries"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        found = await self._store.read(lambda tx: tx.deliveries_set_aside())
        if not found:
            return [Finding(self.subject, Verdict.OK, "No delivery is set aside.")]
        return [Finding(self.subject, Verdict.WARNING, _message(one), HINT) for one in found]


HINT = (
    "Stager's log has details. Once the cause is fixed, redeliver it: the webhook's page on GitHub has"
    " `Redeliver`."
)


def _message(one: SetAside) -> str:
    when = one.at.isoformat(sep=" ", timespec="seconds")
    return f"{one.forge}'s delivery {one.delivery} ({one.event}) was {one.outcome}, at {when}."
