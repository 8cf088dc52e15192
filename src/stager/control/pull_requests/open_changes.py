"""The open pull requests of an application, from which people choose one to launch."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from stager.control.forges import Forges
from stager.control.identity.authorizer import Authorizer
from stager.control.pull_requests.repositories import application_of
from stager.domain.application import Application, Applications
from stager.domain.errors import Retry
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.source import Change, Repository
from stager.expiring_map import ExpiringMap
from stager.ports.clock import Clock
from stager.ports.store import Store, Transaction

SECONDS = 5.0
"""How long a page waits for the forge."""
CACHED = timedelta(seconds=15)
MAX_CHANGES = 100
MAX_APPLICATIONS = 200


class OpenChanges:
    """Lists open pull requests, with a short cache."""

    def __init__(
        self, store: Store, forges: Forges, applications: Applications, authorizer: Authorizer, clock: Clock
    ) -> None:
        self._store = store
        self._forges = forges
        self._applications = applications
        self._authorizer = authorizer
        self._clock = clock
        self._asking = asyncio.Lock()
        self._known: ExpiringMap[str, list[Change], datetime] = ExpiringMap(clock.now, MAX_APPLICATIONS)

    async def of(self, app: str, actor: Actor) -> list[Change]:
        """Return the newest open pull requests of an application, at most `MAX_CHANGES`.

        Raises:
            Refused: the actor may not launch it, or there is no such application.
            Retry: the forge doesn't answer in time.
        """
        await self._authorizer.check(actor, Action.LAUNCH, app)
        application = self._applications.get(app)
        try:
            async with asyncio.timeout(SECONDS), self._asking:
                known = self._known.get(app)
                if known is None:
                    known = await self._ask(application)
                    self._known.put(app, known, self._clock.now() + CACHED)
                return known
        except TimeoutError:
            raise Retry(
                "The forge doesn't list its pull requests in time.", reason="forge-unreachable"
            ) from None

    async def _ask(self, application: Application) -> list[Change]:
        repositories = await self._store.read(lambda tx: self._repositories(tx, application))
        found = [change for each in repositories for change in await self._changes(each)]
        return sorted(found, key=lambda change: change.number, reverse=True)[:MAX_CHANGES]

    async def _changes(self, repository: Repository) -> list[Change]:
        forge = self._forges.of(repository.id)
        return await forge.changes.open_changes(repository) if forge else []

    def _repositories(self, tx: Transaction, application: Application) -> list[Repository]:
        """The known repositories of the application; one that nothing was received from yet isn't known."""
        seen = [each.repository for each in tx.repositories()]
        return [each for each in seen if application_of(tx, self._applications, each) == application]
