"""The labels of Stager's containers, networks and images. Docker can't change the labels of a container.

They are sufficient to adopt a running container when the database is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from stager.domain.environment import ChangeLink, InstanceLabels
from stager.domain.profile import ProfileName
from stager.domain.source import Revision, Trust

SCHEMA = "stager.schema"
CURRENT_SCHEMA = "1"
"""The version of the set of labels below. A change of a container's labels increments it: Stager removes
containers with another version, and starts their environments again."""

INSTALLATION = "stager.installation"
"""The id of the installation that a resource belongs to. Resources of another one are never touched."""
ENVIRONMENT = "stager.environment"
SERVICE = "stager.service"
GENERATION = "stager.generation"
DEPLOYMENT = "stager.deployment"
INPUTS = "stager.inputs"
"""The digest of what the container was created from; see `InstanceSpec.inputs`."""
NETWORK = "stager.network"
ADDRESS = "stager.address"
PORT = "stager.port"
ALIASES = "stager.aliases"
"""The names of a service in the networks of its generations, as JSON. The only service of an application has
no such label."""
VOLUME = "stager.volume"
"""Of a volume: its name within the environment."""
FILLING = "stager.filling"
"""Of an empty volume: the name of another one whose content is incomplete as long as this one exists."""
ARCHIVE = "stager.archive"
"""Of a container that is never started: the name of the volume that is read or written through it."""
WORKBENCH = "stager.workbench"
"""Of a container or a volume of a workbench: its id."""
APP = "stager.app"
SUBJECT = "stager.subject"
NAME = "stager.name"
HOST = "stager.host"
SERVICE_HOST = "stager.service-host"
"""Containers from before there were several services have no such label."""
SHA = "stager.sha"
REF = "stager.ref"
TRUST = "stager.trust"
"""Whose code it runs."""
PROFILE = "stager.profile"
"""How it is confined."""
CLONED_FROM = "stager.cloned-from"
"""The snapshot that volumes of its generation were cloned from; missing if none was."""
VOLUME_EPOCH = "stager.volume-epoch"
"""The generation at which its environment's volumes were reset; missing if they never were. Of a volume: that
it belongs to the environment, since this generation."""
CHANGE = "stager.change"
PARAMETERS = "stager.parameters"
BUILD = "stager.build"
"""Of an image: the key of its build."""
HEALTHCHECK = "stager.healthcheck"
"""`image`: Stager runs the image's HEALTHCHECK; the container has none, so that Docker doesn't run it. On
Swarm, this is the health check itself, as JSON, where the configuration sets one."""
EXPOSE = "stager.expose"
"""Of an image: the arguments of the Dockerfile's `EXPOSE` lines in their order, which Docker doesn't keep."""
HEALTH_PATH = "stager.health-path"
"""Of an image: the path of the health check of the framework that its Dockerfile was generated for."""

UNVERSIONED_INSTALLATION = "stager.instance"
"""The label of the installation before there was `SCHEMA`."""


def filters(installation: str, environment: str | None = None) -> str:
    """Docker's filter for the containers of this installation, or of one environment, that have the current
    labels."""
    wanted = [f"{INSTALLATION}={installation}", f"{SCHEMA}={CURRENT_SCHEMA}"]
    if environment is not None:
        wanted.append(f"{ENVIRONMENT}={environment}")
    return json.dumps({"label": wanted})


def encode(labels: InstanceLabels) -> dict[str, str]:
    """The container labels for these."""
    return {
        SCHEMA: CURRENT_SCHEMA,
        ENVIRONMENT: labels.environment,
        SERVICE: labels.service,
        DEPLOYMENT: labels.deployment,
        GENERATION: str(labels.generation),
        APP: labels.app,
        SUBJECT: labels.subject,
        NAME: labels.name,
        HOST: labels.host,
        SERVICE_HOST: labels.service_host,
        SHA: labels.revision.sha,
        REF: labels.revision.ref,
        TRUST: labels.trust.value,
        PROFILE: labels.profile.value,
        CHANGE: json.dumps(asdict(labels.change)) if labels.change else "",
        PARAMETERS: json.dumps(dict(labels.parameters)),
        **({CLONED_FROM: labels.snapshot} if labels.snapshot else {}),
        **({VOLUME_EPOCH: str(labels.volume_epoch)} if labels.volume_epoch else {}),
    }


def decode(labels: Mapping[str, str]) -> InstanceLabels:
    """The inverse of `encode`.

    Raises:
        KeyError, ValueError, TypeError: labels are missing or malformed.
    """
    change = labels[CHANGE]
    return InstanceLabels(
        environment=labels[ENVIRONMENT],
        service=labels[SERVICE],
        deployment=labels[DEPLOYMENT],
        generation=int(labels[GENERATION]),
        app=labels[APP],
        subject=labels[SUBJECT],
        name=labels[NAME],
        host=labels[HOST],
        revision=Revision(labels[SHA], labels[REF]),
        trust=Trust(labels[TRUST]),
        profile=ProfileName(labels[PROFILE]),
        change=ChangeLink(**json.loads(change)) if change else None,
        parameters=json.loads(labels[PARAMETERS]),
        service_host=labels.get(SERVICE_HOST, ""),
        snapshot=labels.get(CLONED_FROM, ""),
        volume_epoch=int(labels.get(VOLUME_EPOCH, "0")),
    )
