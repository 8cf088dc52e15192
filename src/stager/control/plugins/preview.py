"""Environments as plugins see them."""

from __future__ import annotations

from stager.control.routing.urls import Urls
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.ports.handlers import Preview


def preview_of(environment: Environment, deployment: Deployment | None, urls: Urls) -> Preview:
    """The plugin API's value for an environment at this deployment."""
    desired = environment.desired
    return Preview(
        id=environment.id,
        image_name=environment.app,
        container_name=environment.name,
        url=urls.url(environment.host),
        generation=deployment.generation if deployment else desired.generation,
        revision=deployment.revision if deployment else desired.revision,
        trust=desired.trust,
        change=environment.change,
        parameters=desired.parameters,
        started_at=deployment.starting_at if deployment else None,
    )
