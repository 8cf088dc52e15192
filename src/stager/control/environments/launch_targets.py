"""What a launch by hand would do: the URL that the preview gets, and whether it exists already."""

from __future__ import annotations

from dataclasses import dataclass

from stager.control.environments.lookup import check_ref, checked_name, find_named
from stager.control.identity.authorizer import Authorizer
from stager.control.routing.urls import Urls
from stager.domain.application import Application, Applications
from stager.domain.environment import EnvironmentKey
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.source import Trust
from stager.ports.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class LaunchTarget:
    """Where a launch leads.

    Args:
        url: the preview's URL.
        environment: the id of the preview that is deployed again; empty for a new one.
    """

    url: str
    environment: str = ""


class LaunchTargets:
    """Looks up launch targets. Changes nothing."""

    def __init__(self, store: Store, applications: Applications, authorizer: Authorizer, urls: Urls) -> None:
        self._store = store
        self._applications = applications
        self._authorizer = authorizer
        self._urls = urls

    async def apps(self, actor: Actor) -> list[str]:
        """Return the applications that the actor may launch, sorted."""
        names = sorted(application.name for application in self._applications)
        return [name for name in names if await self._authorizer.may(actor, Action.LAUNCH, name)]

    async def any_app(self, actor: Actor) -> bool:
        """Whether the actor may launch an application."""
        for application in self._applications:
            if await self._authorizer.may(actor, Action.LAUNCH, application.name):
                return True
        return False

    async def target(self, app: str, name: str, actor: Actor) -> LaunchTarget:
        """Return where a launch of this branch or name leads.

        Raises:
            Refused: the actor may not launch it, or the name isn't valid.
        """
        await self._authorizer.check(actor, Action.LAUNCH, app)
        application = self._applications.get(app)
        return await self._store.read(lambda tx: self._target(tx, application, checked_name(name)))

    def _target(self, tx: Transaction, application: Application, name: str) -> LaunchTarget:
        found = find_named(tx, [application.name], name)
        if found is not None:
            return LaunchTarget(self._urls.url(found.host), found.id)
        check_ref(name, application)
        key = EnvironmentKey.of_name(application.name, name)
        return LaunchTarget(self._urls.url(self._urls.allot(tx, key, name, Trust.TRUSTED)))
