"""What our containers and networks bear. Labels are birth facts: Docker can't change them, nor do we want to.

They carry enough to adopt a running container when the database is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from stager.domain.environment import ChangeLink, InstanceLabels
from stager.domain.profile import ProfileName
from stager.domain.source import Revision, Trust

INSTALLATION = "stager.instance"
"""The installation that a thing belongs to. What bears another's, or none, is never touched."""
ENVIRONMENT = "stager.environment"
GENERATION = "stager.generation"
DEPLOYMENT = "stager.deployment"
NETWORK = "stager.network"
ADDRESS = "stager.address"
PORT = "stager.port"
APP = "stager.app"
SHA = "stager.sha"
TRUST = "stager.trust"
"""Whose code it runs."""
PROFILE = "stager.profile"
"""How it is confined."""
BUILD = "stager.build"
"""The key by which an image was built."""
HEALTHCHECK = "stager.healthcheck"
"""`image`: Stager runs the image's own check; the container has none, so that Docker doesn't."""
EXPOSE = "stager.expose"
"""The words of the `EXPOSE` lines by which an image was built, in their order, which Docker doesn't keep."""


def filters(installation: str, environment: str | None = None) -> str:
    """The filter by which Docker lists only what is ours.

    Args:
        environment: only this environment's, where given.
    """
    wanted = [f"{INSTALLATION}={installation}"]
    if environment is not None:
        wanted.append(f"{ENVIRONMENT}={environment}")
    return json.dumps({"label": wanted})


def from_birth(birth: InstanceLabels) -> dict[str, str]:
    """The labels of an instance that is made for this."""
    return {
        ENVIRONMENT: birth.environment,
        DEPLOYMENT: birth.deployment,
        GENERATION: str(birth.generation),
        APP: birth.app,
        "stager.subject": birth.subject,
        "stager.name": birth.name,
        "stager.host": birth.host,
        SHA: birth.revision.sha,
        "stager.ref": birth.revision.ref,
        TRUST: birth.trust.value,
        PROFILE: birth.profile.value,
        "stager.change": json.dumps(asdict(birth.change)) if birth.change else "",
        "stager.parameters": json.dumps(dict(birth.parameters)),
    }


def to_birth(labels: Mapping[str, str]) -> InstanceLabels:
    """What an instance with these labels was made for.

    Raises:
        KeyError, ValueError, TypeError: they aren't whole.
    """
    change = labels["stager.change"]
    return InstanceLabels(
        environment=labels[ENVIRONMENT],
        deployment=labels[DEPLOYMENT],
        generation=int(labels[GENERATION]),
        app=labels[APP],
        subject=labels["stager.subject"],
        name=labels["stager.name"],
        host=labels["stager.host"],
        revision=Revision(labels[SHA], labels["stager.ref"]),
        trust=Trust(labels[TRUST]),
        profile=ProfileName(labels[PROFILE]),
        change=ChangeLink(**json.loads(change)) if change else None,
        parameters=json.loads(labels["stager.parameters"]),
    )
