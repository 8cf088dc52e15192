"""Deliveries that are set aside, for `stager doctor`."""

from __future__ import annotations

from collections.abc import Sequence

from stager.ports.diagnostics import Finding, Verdict
from stager.ports.store import SetAside, Store


class SetAsideDeliveries:
    """Whether forges' deliveries are processed, all of them."""

    subject = "deliveries"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.look`."""
        found = await self._store.read(lambda tx: tx.deliveries_set_aside())
        if not found:
            return [Finding(self.subject, Verdict.FINE, "None is set aside.")]
        return [Finding(self.subject, Verdict.WARNING, _told(one), HINT) for one in found]


HINT = (
    "Stager's log says more. Once the cause is removed, have the forge send it again: the webhook's page on"
    " GitHub has `Redeliver`."
)


def _told(one: SetAside) -> str:
    when = one.at.isoformat(sep=" ", timespec="seconds")
    return f"{one.forge}'s delivery {one.delivery} ({one.event}) was {one.outcome}, at {when}."
