"""The API through which plugins read previews."""

from __future__ import annotations

from stager.control.identity.authorizer import Authorizer
from stager.control.plugins.lifecycle import preview_of
from stager.control.routing.urls import Urls
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.identity.actor import Actor
from stager.ports.handlers import Preview, Previews
from stager.ports.store import Store, Transaction


class RunningPreviews(Previews):
    """The previews that are reachable now."""

    def __init__(self, store: Store, urls: Urls) -> None:
        self._store = store
        self._urls = urls
        self._authorizer: Authorizer | None = None

    def guard(self, authorizer: Authorizer) -> None:
        """Set what decides who may see which preview. Plugins are created earlier, because authentication
        strategies are plugins; until this is called, `seen_by` returns nothing."""
        self._authorizer = authorizer

    async def running(self, image_name: str = "") -> list[Preview]:
        pairs = await self._store.read(_serving)
        return [
            preview_of(environment, deployment, self._urls)
            for environment, deployment in pairs
            if image_name in ("", environment.app)
        ]

    async def seen_by(self, actor: Actor | None, image_name: str = "") -> list[Preview]:
        if actor is None or self._authorizer is None:
            return []
        running = await self.running(image_name)
        seen = await self._authorizer.visible(actor, {preview.image_name for preview in running})
        return [preview for preview in running if preview.image_name in seen]


def _serving(tx: Transaction) -> list[tuple[Environment, Deployment | None]]:
    # Includes previews that are being removed: they are reachable until they are gone.
    return tx.environments_being_served()
