"""Share links: whoever has one may see a private preview until it ends, is withdrawn, or the preview goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from stager.control.environments.commands import Commands
from stager.control.identity.access import Access
from stager.control.routing.visitor_access import VisitorAccess
from stager.domain.environment import Environment
from stager.domain.errors import Refused
from stager.domain.identity.accounts import ShareLink
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.ports.clock import Clock, Ids
from stager.ports.store import Store, Transaction

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=90)
MOST = 50
"""Good links of one preview at a time: the front has them all in its table."""


class ShareLinks:
    """Gives links out, lists them, withdraws them. What is withdrawn opens nothing from then on."""

    def __init__(
        self,
        *,
        store: Store,
        commands: Commands,
        access: Access,
        visitor_access: VisitorAccess,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._commands = commands
        self._access = access
        self._visitor_access = visitor_access
        self._clock = clock
        self._ids = ids

    async def share(
        self, environment_id: str, good_for: timedelta, note: str, actor: Actor
    ) -> tuple[ShareLink, str]:
        """A new link, and its URL, which nobody can look up afterwards.

        Raises:
            Refused: there is no such preview, or it isn't shared by links; the actor may not; the time is too
                short or too long; there are too many.
        """
        environment = await self._commands.visible(environment_id, actor)
        async with self._access.acting(actor, Action.SHARE, environment.app, _subject(environment)):
            self._check(environment, good_for)
            now = self._clock.now().replace(microsecond=0)
            link = ShareLink(self._ids.new(), environment_id, str(actor), note, now, now + good_for)
            await self._store.write(lambda tx: self._saved(tx, link))
            await self._visitor_access.renew(environment.host)
        return link, self._visitor_access.invitation(environment, link)

    async def links(self, environment_id: str, actor: Actor) -> list[ShareLink]:
        """A preview's links that are good, oldest first. Raises `Refused` as `share` does."""
        environment = await self._commands.visible(environment_id, actor)
        await self._access.check(actor, Action.SHARE, environment.app)
        return await self._store.read(lambda tx: self._good(tx, environment_id))

    async def withdraw(self, environment_id: str, link_id: str, actor: Actor) -> None:
        """Take a link back. When this returns, neither the link nor whoever came in by it sees the preview.

        Raises:
            Refused: there is no such link, or the actor may not.
        """
        environment = await self._commands.visible(environment_id, actor)
        async with self._access.acting(actor, Action.SHARE, environment.app, _subject(environment)):
            await self._store.write(lambda tx: self._withdrawn(tx, environment_id, link_id))
            await self._visitor_access.renew(environment.host)

    def _check(self, environment: Environment, good_for: timedelta) -> None:
        privacy = self._visitor_access.privacy(environment)
        if privacy is None or "link" not in privacy.ways or not environment.desired.should_run:
            raise Refused(
                "This preview isn't shared by links.",
                hint="It must be there, and `link` among its application's ways in, under `private`.",
                reason="not-shared",
                status=409,
            )
        if not SHORTEST <= good_for <= LONGEST:
            raise Refused(
                f"A link is good for a minute at least and {LONGEST.days} days at most.", reason="link-time"
            )

    def _saved(self, tx: Transaction, link: ShareLink) -> None:
        if len(self._good(tx, link.environment_id)) >= MOST:
            raise Refused(
                f"This preview has {MOST} links already.",
                hint="Withdraw some.",
                reason="link-limit",
                status=409,
            )
        tx.save_share_link(link)

    def _withdrawn(self, tx: Transaction, environment_id: str, link_id: str) -> None:
        link = tx.share_link(link_id)
        if link is None or link.environment_id != environment_id:
            raise Refused("This preview has no such link.", reason="link-unknown", status=404)
        if link.revoked_at is None:
            tx.save_share_link(replace(link, revoked_at=self._clock.now()))

    def _good(self, tx: Transaction, environment_id: str) -> list[ShareLink]:
        now = self._clock.now()
        return [link for link in tx.share_links(environment_id) if link.is_good(now)]


def _subject(environment: Environment) -> str:
    return f"{environment.name} ({environment.id})"
