"""What environments were and what happened to them: recorded configurations, deployments, audit log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stager.control.environments.queries import Queries
from stager.control.identity.audit import Audit
from stager.control.identity.authorizer import Authorizer
from stager.domain.configuration import Configuration, Difference, differences
from stager.domain.environment import Environment
from stager.domain.errors import Refused
from stager.domain.history import Event, concerns, event_of, events_of
from stager.domain.identity.accounts import AuditFilter
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.ports.store import Store

BATCH = 200
"""Audit records that are read at a time."""
MAX_BATCHES = 10
"""For one page: records of other environments with the same words are left out, and mustn't delay it."""
_POSITION = re.compile(r"(\d{1,9})-(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Page:
    """Some events of an environment, newest first.

    Args:
        older: the position of the next page; empty on the last one.
    """

    events: Sequence[Event]
    older: str = ""


class History:
    """Reads the history of environments, filtered by permission."""

    def __init__(self, store: Store, queries: Queries, authorizer: Authorizer, audit: Audit) -> None:
        self._store = store
        self._queries = queries
        self._authorizer = authorizer
        self._audit = audit

    async def configuration(
        self, environment_id: str, generation: int, actor: Actor
    ) -> tuple[Configuration, tuple[Difference, ...]]:
        """What a deployment was created from, and what differs from the deployment before it.

        Raises:
            Refused: 404 unless the actor may see the environment and the configuration is known; 403 unless
                they may read the names of secrets.
        """
        environment = await self._queries.visible(environment_id, actor)
        await self._authorizer.check(actor, Action.READ_SECRET_NAMES, environment.app)
        found, before = await self._store.read(
            lambda tx: (
                tx.configuration(environment_id, generation),
                tx.configuration_before(environment_id, generation),
            )
        )
        if found is None:
            raise Refused(
                f"The configuration of deployment {generation} isn't known.",
                hint="It is recorded when the services of a deployment are known, after its build.",
                reason="configuration-unknown",
                status=404,
            )
        return found, differences(before, found) if before else ()

    async def events(self, environment_id: str, actor: Actor, limit: int, position: str = "") -> Page:
        """What happened, newest first; actions of the audit log only for those who may read it.

        Args:
            position: `Page.older` of the page before; empty for the newest events.

        Raises:
            Refused: 404 unless the actor may see the environment.
        """
        environment = await self._queries.visible(environment_id, actor)
        own = events_of(await self._store.read(lambda tx: tx.deployments(environment_id)))
        match = _POSITION.fullmatch(position)
        rest, before = (int(match[1]), int(match[2])) if match else (len(own), None)
        own = own[max(0, len(own) - rest) :]
        actions: list[Event] = []
        if before != 0 and await self._authorizer.may(actor, Action.READ_AUDIT):
            actions = await self._actions(environment, limit + 1, before)
        return _page(own, actions, limit, before)

    async def _actions(self, environment: Environment, limit: int, before: int | None) -> list[Event]:
        only = AuditFilter(text=environment.name[:100], app=environment.app)
        found: list[Event] = []
        for _ in range(MAX_BATCHES):
            records = await self._audit.entries(limit=BATCH, before=before, only=only)
            found += [event_of(record) for record in records if concerns(record, environment)]
            if len(found) >= limit or len(records) < BATCH:
                break
            before = records[-1].seq
        return found[:limit]


def _page(own: Sequence[Event], actions: Sequence[Event], limit: int, before: int | None) -> Page:
    """Merge the events of both sources."""
    merged = sorted((*own, *actions), key=lambda event: event.at, reverse=True)
    shown = merged[:limit]
    if len(merged) <= limit:
        return Page(shown)
    taken = [event.seq for event in shown if event.seq]
    remaining = len(own) - (len(shown) - len(taken))
    after = taken[-1] if taken else before if before is not None else _next_seq(actions)
    return Page(shown, f"{remaining}-{after}")


def _next_seq(actions: Sequence[Event]) -> int:
    """A sequence number before which all of these are."""
    return max((event.seq for event in actions), default=-1) + 1
