"""On what terms each host is served: by what the configuration says of its application, and by the links that
were given out. Here the terms and the tokens are made; the front decides by them on every request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls
from stager.domain.application import Application, Applications
from stager.domain.environment import Environment
from stager.domain.identity.access_policy import (
    ACCESS_PATH,
    GRANT_SECONDS,
    SHARE_PARAMETER,
    AccessPolicy,
    Guard,
    Pass,
    Privacy,
    Way,
    digest_of,
    epoch_of,
    safe_path,
    seal,
)
from stager.domain.identity.accounts import ShareLink
from stager.domain.route import Target
from stager.ports.clock import Clock
from stager.ports.store import Store, Transaction

PAGE = "/preview-access"
"""Of Stager's own: where strangers are asked who they are."""


class VisitorAccess:
    """Makes terms, grants and share links.

    Args:
        key: signs them; the front has the same.
    """

    def __init__(
        self,
        *,
        store: Store,
        applications: Applications,
        addresses: Urls,
        routes: Routes,
        clock: Clock,
        key: bytes,
    ) -> None:
        self._store = store
        self._applications = applications
        self._addresses = addresses
        self._routes = routes
        self._clock = clock
        self._key = key

    async def lead(self, environment: Environment, target: Target) -> None:
        """Have an environment's host lead to this target, on its terms; see `Routes.show`."""
        await self._routes.show(environment.host, target, lambda: self._terms_now(environment))

    async def renew(self, host: str = "") -> None:
        """Have this host served on its terms, or all of them; no effect where they are."""
        if host:
            await self._routes.guard(lambda: self._store.read(lambda tx: self._terms_at(tx, host)))
        elif self._routes.table.policies or any(a.privacy or a.index for a in self._applications):
            # Read while the table is locked: an older copy would overwrite what `lead` has set since.
            await self._routes.guard(lambda: self._store.read(self._all_terms))

    def privacy(self, environment: Environment) -> Privacy | None:
        """What is asked of its visitors; None where anybody may come."""
        application = self._applications.find(environment.app)
        return application.privacy if application else None

    def admission(self, environment: Environment, way: Way, subject: str, to: str) -> str:
        """The URL that lets whoever opens it within a minute in to a private preview.

        Args:
            way: how they came in, and `subject` who they are.
            to: the path to go on to.
        """
        privacy = self.privacy(environment)
        until = int(self._clock.now().timestamp()) + GRANT_SECONDS
        epoch = epoch_of(privacy, environment.id, self._key) if privacy else ""
        grant = seal(Pass(environment.host, way, until, epoch, subject), "grant", self._key)
        query = urlencode({"grant": grant, "to": safe_path(to)}, quote_via=quote)
        return f"{self._addresses.url(environment.host)}{ACCESS_PATH}?{query}"

    async def _terms_now(self, environment: Environment) -> AccessPolicy | None:
        return await self._store.read(lambda tx: self._terms_of(environment, tx.share_links(environment.id)))

    def invitation(self, environment: Environment, link: ShareLink) -> str:
        """The URL of a share link."""
        until = int(link.expires_at.timestamp())
        token = seal(Pass(environment.host, "link", until, "", link.id), "link", self._key)
        return f"{self._addresses.url(environment.host)}/?{SHARE_PARAMETER}={token}"

    def _terms_at(self, tx: Transaction, host: str) -> Mapping[str, AccessPolicy | None]:
        holder = tx.environment_by_host(host)
        return {host: self._terms_of(holder, tx.share_links(holder.id))} if holder else {}

    def _all_terms(self, tx: Transaction) -> Mapping[str, AccessPolicy | None]:
        links: dict[str, list[ShareLink]] = {}
        for link in tx.all_share_links():
            links.setdefault(link.environment_id, []).append(link)
        # Where two had the same host, the one that is there now has it.
        in_order = sorted(tx.environments(), key=lambda e: (e.desired.is_present, e.updated_at))
        return {e.host: self._terms_of(e, links.get(e.id, ())) for e in in_order}

    def _terms_of(self, environment: Environment, links: Sequence[ShareLink]) -> AccessPolicy | None:
        application = self._applications.find(environment.app)
        if application is None:
            # Nobody says any more whether it is private, so it stays what it was.
            return self._routes.table.policies.get(environment.host)
        guard = self._guard(environment, application, links)
        return AccessPolicy(guard, application.index) if guard or application.index else None

    def _good(self, environment: Environment, links: Sequence[ShareLink]) -> frozenset[str]:
        if not environment.desired.should_run:
            return frozenset()
        now = self._clock.now()
        return frozenset(link.id for link in links if link.is_good(now))

    def _guard(
        self, environment: Environment, application: Application, links: Sequence[ShareLink]
    ) -> Guard | None:
        privacy = application.privacy
        if privacy is None:
            return None
        return Guard(
            ways=privacy.ways,
            epoch=epoch_of(privacy, environment.id, self._key),
            page=f"{self._addresses.home}{PAGE}",
            stay=privacy.stay,
            bypass=digest_of(privacy.bypass_token) if privacy.bypass_token else "",
            links=self._good(environment, links) if "link" in privacy.ways else frozenset(),
        )
