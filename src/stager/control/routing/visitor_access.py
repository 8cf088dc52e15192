"""Access of visitors to previews: the policy of each host, from its application's configuration and its share
links, and signed tokens. The front enforces the policies on every request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from urllib.parse import quote, urlencode

from stager.control.routing.route_table import Routes
from stager.control.routing.urls import Urls, hosts_of
from stager.domain.application import Application, Applications
from stager.domain.environment import Environment
from stager.domain.identity.access_policy import (
    ACCESS_PATH,
    GRANT_SECONDS,
    SHARE_PARAMETER,
    AccessPolicy,
    AccessToken,
    Guard,
    Privacy,
    Way,
    digest_of,
    epoch_of,
    safe_path,
    sign_token,
)
from stager.domain.identity.accounts import ShareLink
from stager.domain.route import Target
from stager.ports.clock import Clock
from stager.ports.store import Store, Transaction

PAGE = "/preview-access"
"""Stager's own page where visitors of a private preview authenticate."""


class VisitorAccess:
    """Creates access policies, grants and share links.

    Args:
        key: signs them; the front has the same key.
    """

    def __init__(
        self,
        *,
        store: Store,
        applications: Applications,
        urls: Urls,
        routes: Routes,
        clock: Clock,
        key: bytes,
    ) -> None:
        self._store = store
        self._applications = applications
        self._urls = urls
        self._routes = routes
        self._clock = clock
        self._key = key

    async def route(
        self, environment: Environment, targets: Mapping[str, Target], *, drop: Collection[str] = ()
    ) -> None:
        """Route hosts of an environment to these targets, with its access policy; see `Routes.show`."""
        await self._routes.show(targets, lambda: self._read_policy(environment), drop=drop)

    async def renew(self, environment: Environment | None = None) -> None:
        """Update the access policies.

        Args:
            environment: whose hosts are updated; None for all environments.
        """
        if environment is not None:
            id_ = environment.id
            await self._routes.set_policies(lambda: self._store.read(lambda tx: self._policies_of(tx, id_)))
        elif self._routes.table.policies or any(a.privacy or a.index for a in self._applications):
            # Read while the table is locked: an older copy would overwrite what `route` has set since.
            await self._routes.set_policies(lambda: self._store.read(self._all_policies))

    def privacy(self, environment: Environment) -> Privacy | None:
        """What visitors have to prove; None for a public preview."""
        application = self._applications.find(environment.app)
        return _privacy(application, environment) if application else None

    def shows_logs(self, environment: Environment) -> bool:
        """Whether the page in place of a preview shows the last lines of logs to its visitors."""
        application = self._applications.find(environment.app)
        if application is None:
            return False
        return application.public_logs or _privacy(application, environment) is not None

    def grant_url(self, environment: Environment, host: str, way: Way, subject: str, to: str) -> str:
        """The URL that grants its visitor access to a private preview. Valid for one minute.

        Args:
            host: one of the environment's hosts, for which it is valid.
            way: how the visitor was authenticated.
            subject: the authenticated user; empty for the other ways.
            to: the path to redirect to.
        """
        privacy = self.privacy(environment)
        until = int(self._clock.now().timestamp()) + GRANT_SECONDS
        epoch = epoch_of(privacy, environment.id, self._key) if privacy else ""
        grant = sign_token(AccessToken(host, way, until, epoch, subject), "grant", self._key)
        query = urlencode({"grant": grant, "to": safe_path(to)}, quote_via=quote)
        return f"{self._urls.url(host)}{ACCESS_PATH}?{query}"

    def share_url(self, environment: Environment, link: ShareLink) -> str:
        """The URL of a share link of this environment."""
        until = int(link.expires_at.timestamp())
        token = sign_token(AccessToken(environment.host, "link", until, "", link.id), "link", self._key)
        return f"{self._urls.url(environment.host)}/?{SHARE_PARAMETER}={token}"

    async def _read_policy(self, environment: Environment) -> AccessPolicy | None:
        return await self._store.read(
            lambda tx: self._policy_of(environment, tx.share_links(environment.id), hosts_of(tx, environment))
        )

    def _policies_of(self, tx: Transaction, environment_id: str) -> Mapping[str, AccessPolicy | None]:
        environment = tx.environment(environment_id)
        if environment is None:
            return {}
        hosts = hosts_of(tx, environment)
        policy = self._policy_of(environment, tx.share_links(environment_id), hosts)
        return dict.fromkeys(hosts, policy)

    def _all_policies(self, tx: Transaction) -> Mapping[str, AccessPolicy | None]:
        links: dict[str, list[ShareLink]] = {}
        for link in tx.all_share_links():
            links.setdefault(link.environment_id, []).append(link)
        # If several environments had the same host, the present one has it now.
        in_order = sorted(tx.environments(), key=lambda e: (e.desired.is_present, e.updated_at))
        hosts = tx.all_service_hosts()
        policies: dict[str, AccessPolicy | None] = {}
        for each in in_order:
            own = (each.host, *hosts.get(each.id, {}).values())
            policies |= dict.fromkeys(own, self._policy_of(each, links.get(each.id, ()), own))
        return policies

    def _policy_of(
        self, environment: Environment, links: Sequence[ShareLink], hosts: Iterable[str]
    ) -> AccessPolicy | None:
        application = self._applications.find(environment.app)
        if application is None:
            # The configuration no longer says whether it is private, so the policy stays.
            return self._routes.table.policies.get(environment.host)
        guard = self._guard(environment, application, links, hosts)
        return AccessPolicy(guard, application.index) if guard or application.index else None

    def _valid(self, environment: Environment, links: Sequence[ShareLink]) -> frozenset[str]:
        if not environment.desired.keeps_instances:
            return frozenset()
        now = self._clock.now()
        return frozenset(link.id for link in links if link.is_valid(now))

    def _guard(
        self,
        environment: Environment,
        application: Application,
        links: Sequence[ShareLink],
        hosts: Iterable[str],
    ) -> Guard | None:
        privacy = _privacy(application, environment)
        if privacy is None:
            return None
        return Guard(
            ways=privacy.ways,
            epoch=epoch_of(privacy, environment.id, self._key),
            page=f"{self._urls.home}{PAGE}",
            stay=privacy.stay,
            bypass=digest_of(privacy.bypass_token) if privacy.bypass_token else "",
            links=self._valid(environment, links) if "link" in privacy.ways else frozenset(),
            hosts=(environment.host, *sorted(set(hosts) - {environment.host})),
            domain=self._urls.domain,
        )


def _privacy(application: Application, environment: Environment) -> Privacy | None:
    return application.privacy_of_data if environment.has_cloned_data else application.privacy
