"""Previews as handlers see them."""

from __future__ import annotations

from stager.control.identity.access import Access
from stager.control.routing.urls import Urls
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.identity.actor import Actor
from stager.ports.handlers import Preview, Previews
from stager.ports.store import Store, Transaction


class RunningPreviews(Previews):
    """Answers what handlers may ask."""

    def __init__(self, store: Store, addresses: Urls) -> None:
        self._store = store
        self._addresses = addresses
        self._access: Access | None = None

    def guard(self, access: Access) -> None:
        """Have this say who may see what. Handlers are made before it; until then nobody sees anything."""
        self._access = access

    async def running(self, image_name: str = "") -> list[Preview]:
        pairs = await self._store.read(_serving)
        return [
            preview_of(environment, deployment, self._addresses)
            for environment, deployment in pairs
            if image_name in ("", environment.app)
        ]

    async def seen_by(self, actor: Actor | None, image_name: str = "") -> list[Preview]:
        if actor is None or self._access is None:
            return []
        running = await self.running(image_name)
        seen = await self._access.seen(actor, {preview.image_name for preview in running})
        return [preview for preview in running if preview.image_name in seen]


def preview_of(environment: Environment, deployment: Deployment | None, addresses: Urls) -> Preview:
    """An environment, at this deployment."""
    desired = environment.desired
    return Preview(
        id=environment.id,
        image_name=environment.app,
        container_name=environment.name,
        url=addresses.url(environment.host),
        generation=deployment.generation if deployment else desired.generation,
        revision=deployment.revision if deployment else desired.revision,
        trust=desired.trust,
        change=environment.change,
        parameters=desired.parameters,
        started_at=deployment.starting_at if deployment else None,
    )


def _serving(tx: Transaction) -> list[tuple[Environment, Deployment | None]]:
    # Also what is about to go: it is reachable until it has gone.
    return tx.environments_being_served()
