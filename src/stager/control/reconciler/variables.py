"""The environment variables of instances.

The documented ones, and the configured ones with their secrets, go to the services that run the repository's
code. Images from elsewhere get what is declared for them, and what tells where they run.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from stager.domain.application import Application
from stager.domain.configuration import Source
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import Environment
from stager.domain.service import generated_names, provided, with_generated
from stager.domain.source import Trust

SECRET_LENGTH = 32
"""Hex digits of a generated secret."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A deployment, with what the instances of its services are created from.

    Args:
        application: with the settings of the repository file and the image.
        urls: of the routed services, by the name of the service.
        key: of the installation; generated secrets are derived from it.
        amended: the variables that handlers set.
        external: the variables that the server hook `before_launch` set.
    """

    environment: Environment
    deployment: Deployment
    application: Application
    urls: Mapping[str, str]
    key: bytes = field(repr=False)
    amended: Mapping[str, str] = field(default_factory=dict, repr=False)
    external: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_ours(self) -> bool:
        """Whether its code may have secrets."""
        return self.environment.desired.trust is Trust.TRUSTED

    @property
    def url(self) -> str:
        """The URL of the main service."""
        main = next((service.name for service in self.deployment.services if service.is_main), "")
        return self.urls.get(main, "")

    def secret(self, name: str) -> str:
        """The generated secret of this name."""
        return secret_in(self.environment, self.deployment, name, self.key)


def secret_in(environment: Environment, deployment: Deployment, name: str, key: bytes) -> str:
    """The generated secret of a name in a deployment. It is the environment's, except where a service that
    has it runs on cloned data, which contains its password."""
    users = (each for each in deployment.services if each.secrets_of and name in generated_names(each.spec))
    owner = next((each.secrets_of for each in users), environment.id)
    return secret_of(owner, name, key)


def secret_of(owner: str, name: str, key: bytes) -> str:
    """The generated secret of a name. It stays the same for the owner's life, and isn't stored.

    Args:
        owner: the id of an environment, or of the snapshot that was made without one.
    """
    message = f"generated secret\0{owner}\0{name}".encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()[:SECRET_LENGTH]


@dataclass(frozen=True, slots=True)
class Variables:
    """The environment variables of an instance.

    Args:
        stable: those that are part of the instance's inputs.
        per_commit: those that differ with each commit; they take precedence.
    """

    stable: Mapping[str, str]
    per_commit: Mapping[str, str] = field(default_factory=dict)

    @property
    def all(self) -> dict[str, str]:
        return {**self.stable, **self.per_commit}


@dataclass(frozen=True, slots=True)
class Layer:
    """Environment variables of one source. Those of later layers take precedence.

    Args:
        is_secret: whether no value may be shown.
        is_per_commit: see `Variables.per_commit`.
    """

    source: Source
    variables: Mapping[str, str] = field(repr=False)
    is_secret: bool = False
    is_per_commit: bool = False


def of_service(launch: Launch, service: DeployedService) -> Variables:
    """The variables of a service's next instance."""
    stable: dict[str, str] = {}
    per_commit: dict[str, str] = {}
    for layer in layers_of(launch, service):
        (per_commit if layer.is_per_commit else stable).update(layer.variables)
    return Variables(stable, per_commit)


def layers_of(launch: Launch, service: DeployedService) -> tuple[Layer, ...]:
    """The variables of a service's next instance by their source."""
    fill = _filling(launch.secret)
    own = Layer(Source.REPOSITORY, fill(service.spec.variables))
    secrets = Layer(Source.CONFIGURATION, _secrets(launch, service), is_secret=True)
    place = Layer(Source.STAGER, {**_place(launch), **_port(launch, service)})
    if not service.spec.is_built:
        return own, secrets, place
    return (*_code_layers(launch, service, own, secrets), place, _commit_layer(launch))


def _code_layers(launch: Launch, service: DeployedService, own: Layer, secrets: Layer) -> Iterator[Layer]:
    """Later ones win, so that Stager's can't be forged. The configuration's take precedence over those of the
    repository for the main service; another one's own take precedence over them."""
    fill = _filling(launch.secret)
    configured = _configured(launch)
    yield Layer(Source.SERVICE, fill(provided(each.spec for each in launch.deployment.services)))
    yield from (own, *configured) if service.is_main else (*configured, own)
    yield secrets
    yield Layer(Source.HOOK, launch.external, is_secret=True)
    yield Layer(Source.LAUNCH, launch.environment.desired.parameters)
    yield Layer(Source.HANDLER, launch.amended, is_secret=True)
    yield Layer(Source.STAGER, _documented(launch.application, launch.environment))
    yield Layer(Source.STAGER, _change(launch.environment))


def _configured(launch: Launch) -> Iterator[Layer]:
    """The application's variables, of which `Application.with_manifest` took some from the commit."""
    declared, variables = launch.deployment.manifest.variables, launch.application.variables
    of_commit = {name: value for name, value in variables.items() if declared.get(name) == value}
    yield Layer(Source.REPOSITORY, of_commit)
    yield Layer(Source.CONFIGURATION, {name: variables[name] for name in variables.keys() - of_commit.keys()})
    if launch.is_ours:
        yield Layer(Source.CONFIGURATION, launch.application.secrets, is_secret=True)


def _commit_layer(launch: Launch) -> Layer:
    return Layer(Source.STAGER, _commit(launch), is_per_commit=True)


def _secrets(launch: Launch, service: DeployedService) -> Mapping[str, str]:
    return launch.application.service_secrets.get(service.name, {}) if launch.is_ours else {}


def _filling(secret: Callable[[str], str]) -> Callable[[Mapping[str, str]], dict[str, str]]:
    def fill(variables: Mapping[str, str]) -> dict[str, str]:
        return {name: with_generated(value, secret) for name, value in variables.items()}

    return fill


def _documented(application: Application, environment: Environment) -> dict[str, str]:
    """The lower-case variables of the walkthrough. `container_name` is the unchanged branch."""
    variables = {"image_name": application.name, "container_name": environment.name, "action": "launch"}
    change = environment.change
    if change is not None:
        variables["repo_owner"] = change.owner
        variables["pull_request_number"] = str(change.number)
    elif application.owner:
        variables["repo_owner"] = application.owner
    return variables


def _place(launch: Launch) -> dict[str, str]:
    urls = launch.urls if len(launch.deployment.services) > 1 else {}
    return place(launch.environment, launch.url, urls)


def place(environment: Environment, url: str, urls: Mapping[str, str]) -> dict[str, str]:
    """The variables that say where an environment runs, the same for all of its services.

    Args:
        url: of the main service.
        urls: of all routed services, by name; empty if there is only one service.
    """
    return {
        "STAGER": "1",
        "STAGER_APP": environment.app,
        "STAGER_ENVIRONMENT": environment.id,
        "STAGER_NAME": environment.name,
        "STAGER_URL": url,
        "STAGER_HOST": environment.host,
        "STAGER_TRUST": environment.desired.trust.value,
        **{f"STAGER_URL_{name.upper().replace('-', '_')}": each for name, each in urls.items()},
    }


def _change(environment: Environment) -> dict[str, str]:
    change = environment.change
    if change is None:
        return {}
    return {
        "STAGER_REPOSITORY": f"{change.owner}/{change.repository}",
        "STAGER_CHANGE": str(change.number),
        "STAGER_AUTHOR": change.author,
    }


def _commit(launch: Launch) -> dict[str, str]:
    revision, change = launch.deployment.revision, launch.environment.change
    facts = {"STAGER_SHA": revision.sha, "STAGER_REF": revision.ref or launch.environment.name}
    if change is not None:
        facts |= {"STAGER_BASE_REF": change.base_ref, "STAGER_TITLE": change.title}
    return facts


def _port(launch: Launch, service: DeployedService) -> dict[str, str]:
    port = launch.application.port if service.is_main else service.spec.port
    return {"STAGER_PORT": str(port)} if port else {}
