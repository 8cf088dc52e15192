"""Checks of credentials and permissions, shared by all open streams."""

from __future__ import annotations

from collections.abc import Collection

from stager.control.control_plane import ControlPlane
from stager.control.environments.queries import Visibility
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.ports.handlers import Credentials
from stager.web.pages.overview.shared_answers import SharedAnswers

CHECK_SECONDS = 2.0
"""For this long, the result of a check is used."""

Audience = frozenset[tuple[str, Visibility]]
"""The applications whose previews a person may see, each with what the person may do. All who have the same
get the same events."""


class SharedChecks:
    """Asks once per `CHECK_SECONDS` for each person, however many streams they have open."""

    def __init__(self) -> None:
        self._answers = SharedAnswers(CHECK_SECONDS)

    async def actor(self, control: ControlPlane, credentials: Credentials) -> Actor | None:
        """Return the person whom the credentials identify; None if they are no longer valid. Raises `Retry`
        while too many credentials are being checked."""
        key = (
            *("actor", credentials.session, credentials.authorization, credentials.address),
            tuple(sorted(credentials.parameters.items())),
        )

        async def ask() -> Actor | None:
            try:
                return await control.identity.authenticator.authenticate(credentials)
            except Refused:
                return None

        return await self._answers.once(key, ask)

    async def visibility(self, control: ControlPlane, actor: Actor, app: str) -> Visibility:
        """Return what a person may see of an application's previews, and do with them."""

        async def ask() -> Visibility:
            return await control.environments.queries.visibility(actor, app)

        # Actors are equal whatever their proof is, but the role may depend on it.
        return await self._answers.once(("visibility", actor, actor.proof, app), ask)

    async def audience(self, control: ControlPlane, actor: Actor, apps: Collection[str]) -> Audience:
        """Return those of the applications whose previews a person may see."""

        async def ask() -> Audience:
            found = [(app, await self.visibility(control, actor, app)) for app in apps]
            return frozenset((app, visibility) for app, visibility in found if visibility)

        return await self._answers.once(("audience", actor, actor.proof, frozenset(apps)), ask)
