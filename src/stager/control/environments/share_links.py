"""Share links: each gives access to one private preview until it expires, is revoked, or the preview ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from stager.control.environments.queries import Queries
from stager.control.identity.authorizer import Authorizer
from stager.control.ports import Ports
from stager.control.routing.visitor_access import VisitorAccess
from stager.domain.environment import Environment
from stager.domain.errors import Refused
from stager.domain.identity.accounts import ShareLink
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.ports.store import Transaction

MIN_LIFETIME, MAX_LIFETIME = timedelta(minutes=1), timedelta(days=90)
MAX_LINKS = 50
"""Valid links of one preview at a time: the front keeps all of them in its table."""


class ShareLinks:
    """Creates, lists and revokes share links."""

    def __init__(
        self, ports: Ports, queries: Queries, authorizer: Authorizer, visitor_access: VisitorAccess
    ) -> None:
        self._store, self._clock, self._ids = ports.store, ports.clock, ports.ids
        self._queries = queries
        self._authorizer = authorizer
        self._visitor_access = visitor_access

    async def create(
        self, environment_id: str, lifetime: timedelta, note: str, actor: Actor
    ) -> tuple[ShareLink, str]:
        """Create a link. Returns it and its URL, which isn't stored.

        Raises:
            Refused: there is no such preview, it can't be shared by links, the actor may not share it, the
                lifetime is too short or too long, or there are too many links.
        """
        environment = await self._queries.visible(environment_id, actor)
        async with self._authorizer.authorized(actor, Action.SHARE, environment.app, _subject(environment)):
            self._check(environment, lifetime)
            now = self._clock.now().replace(microsecond=0)
            link = ShareLink(self._ids.new(), environment_id, str(actor), note, now, now + lifetime)
            await self._store.write(lambda tx: self._save(tx, link))
            await self._visitor_access.renew(environment)
        return link, self._visitor_access.share_url(environment, link)

    async def can_create(self, environment_id: str, actor: Actor) -> bool:
        """Whether the actor may create a link, and the preview can be shared by links. Raises `Refused` (404)
        unless the actor may see it."""
        environment = await self._queries.visible(environment_id, actor)
        may_share = await self._authorizer.may(actor, Action.SHARE, environment.app)
        return may_share and self._is_shared(environment)

    async def links(self, environment_id: str, actor: Actor) -> list[ShareLink]:
        """The valid links of a preview, oldest first. Raises `Refused` as `create` does."""
        environment = await self._queries.visible(environment_id, actor)
        await self._authorizer.check(actor, Action.SHARE, environment.app)
        return await self._store.read(lambda tx: self._valid(tx, environment_id))

    async def revoke(self, environment_id: str, link_id: str, actor: Actor) -> None:
        """Revoke a link. When this returns, neither the link nor sessions that it started give access.

        Raises:
            Refused: there is no such link, or the actor may not revoke it.
        """
        environment = await self._queries.visible(environment_id, actor)
        async with self._authorizer.authorized(actor, Action.SHARE, environment.app, _subject(environment)):
            await self._store.write(lambda tx: self._revoke(tx, environment_id, link_id))
            await self._visitor_access.renew(environment)

    def _check(self, environment: Environment, lifetime: timedelta) -> None:
        if not self._is_shared(environment):
            raise Refused(
                "This preview can't be shared by links.",
                hint="The preview must be running, and `private` of its application must list `link`.",
                reason="not-shared",
                status=409,
            )
        if not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
            raise Refused(
                f"The lifetime of a share link must be between one minute and {MAX_LIFETIME.days} days.",
                reason="link-time",
            )

    def _is_shared(self, environment: Environment) -> bool:
        privacy = self._visitor_access.privacy(environment)
        return privacy is not None and "link" in privacy.ways and environment.desired.keeps_instances

    def _save(self, tx: Transaction, link: ShareLink) -> None:
        if len(self._valid(tx, link.environment_id)) >= MAX_LINKS:
            raise Refused(
                f"This preview already has {MAX_LINKS} share links.",
                hint="Revoke links that are no longer needed.",
                reason="link-limit",
                status=409,
            )
        tx.save_share_link(link)

    def _revoke(self, tx: Transaction, environment_id: str, link_id: str) -> None:
        link = tx.share_link(link_id)
        if link is None or link.environment_id != environment_id:
            raise Refused(f'This preview has no share link "{link_id}".', reason="link-unknown", status=404)
        if link.revoked_at is None:
            tx.save_share_link(replace(link, revoked_at=self._clock.now()))

    def _valid(self, tx: Transaction, environment_id: str) -> list[ShareLink]:
        now = self._clock.now()
        return [link for link in tx.share_links(environment_id) if link.is_valid(now)]


def _subject(environment: Environment) -> str:
    return f"{environment.name} ({environment.id})"
