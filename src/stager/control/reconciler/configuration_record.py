"""Records the configuration of a deployment when it is prepared, so that people see later what it was."""

from __future__ import annotations

import hashlib
import hmac
import posixpath
from collections.abc import Callable, Iterator

from stager.control.reconciler.instance_specs import spec_of
from stager.control.reconciler.variables import Launch, Layer, layers_of
from stager.domain.application import SHA_PLACEHOLDER
from stager.domain.configuration import (
    Configuration,
    ServiceConfiguration,
    Source,
    VariableRecord,
    VolumeRecord,
)
from stager.domain.deployment import DeployedService
from stager.domain.profile import Egress
from stager.domain.recipe import Recipe
from stager.domain.service import SETTLED_SECONDS, Mount, ServiceCheck, generated_names
from stager.domain.text import is_probably_secret, masking

MARK_LENGTH = 8
"""Hex digits of a mark: enough to tell two values apart, too few to find out a value."""
LONGEST_VALUE = 500
"""Characters of a recorded value or command."""
EGRESS_WORDS = {
    "private": "the internet and private networks",
    "internet": "the internet",
    "none": "nowhere",
}

Mask = Callable[[str], str]


def configuration_of(launch: Launch) -> Configuration:
    """Return the configuration of a deployment whose services are known."""
    mask = masking(_secrets(launch))
    application, trust = launch.application, launch.environment.desired.trust
    hooks = application.hooks.after_launch
    return Configuration(
        services=tuple(_service(launch, each, mask) for each in launch.deployment.services),
        trust=trust.value,
        egress=_egress(application.profile_for(trust).egress),
        hooks=tuple(mask(" ".join(hook.command)) for hook in hooks),
    )


def _secrets(launch: Launch) -> Iterator[str]:
    """Yield the values that are left out wherever they occur. Those of handlers are left out as variables
    only, unless they are secrets by their names: they may be common words."""
    for service in launch.deployment.services:
        yield from map(launch.secret, generated_names(service.spec))
        for layer in layers_of(launch, service):
            all_of_it = layer.is_secret and layer.source is not Source.HANDLER
            for name, value in layer.variables.items():
                if all_of_it or is_probably_secret(name, value):
                    yield value


def _egress(egress: Egress) -> str:
    return ", ".join((EGRESS_WORDS[egress.reach], *map(str, egress.allow)))


def _service(launch: Launch, service: DeployedService, mask: Mask) -> ServiceConfiguration:
    spec, declared = spec_of(launch, service), service.spec
    recipe = declared.build or (launch.application.build if service.build and service.is_main else None)
    limits = spec.profile.limits
    return ServiceConfiguration(
        name=service.name,
        is_main=service.is_main,
        is_job=declared.is_job,
        image=_image(launch, service),
        image_id=service.image,
        dockerfile=_dockerfile(recipe) if service.build else "",
        target=recipe.target if recipe and service.build else "",
        build_arguments=_arguments(recipe, mask) if service.build else {},
        build_secrets=_build_secrets(launch) if service.build else (),
        command=_words(spec.container.command, mask),
        entrypoint=_words(spec.container.entrypoint, mask),
        port=spec.container.port,
        health_check=mask(_health_check(launch, service)),
        memory=limits.memory,
        cpus=limits.cpus,
        processes=limits.pids,
        depends_on={name: str(condition) for name, condition in declared.depends_on.items()},
        volumes=tuple(_volume(service, mount) for mount in declared.mounts),
        variables=_variables(launch, service, mask),
    )


def _image(launch: Launch, service: DeployedService) -> str:
    """The reference of a service's image; empty if it was built."""
    if service.spec.image or service.build:
        return service.spec.image
    built = next((each for each in launch.deployment.services if each.is_main and each.build), None)
    if built is not None and built.image == service.image:
        return ""
    return launch.application.image.replace(SHA_PLACEHOLDER, launch.deployment.revision.sha)


def _dockerfile(recipe: Recipe | None) -> str:
    return posixpath.normpath(posixpath.join(recipe.context, recipe.dockerfile)) if recipe else ""


def _arguments(recipe: Recipe | None, mask: Mask) -> dict[str, str]:
    found = {**recipe.variables, **recipe.arguments} if recipe else {}
    return {
        name: "***" if is_probably_secret(name, value) else mask(value)[:LONGEST_VALUE]
        for name, value in found.items()
    }


def _build_secrets(launch: Launch) -> tuple[str, ...]:
    recipe = launch.application.build
    return tuple(sorted(recipe.secrets)) if recipe and launch.is_ours else ()


def _words(command: tuple[str, ...] | None, mask: Mask) -> tuple[str, ...] | None:
    return None if command is None else tuple(mask(word)[:LONGEST_VALUE] for word in command)


def _health_check(launch: Launch, service: DeployedService) -> str:
    check = service.spec.check
    if check is None and service.is_main and launch.application.health_path:
        return f"GET {launch.application.health_path}"
    if check is not None:
        return _declared_check(check)
    if service.has_healthcheck:
        return "the image's own"
    if service.is_main:
        return "GET /, any answer below 500"
    return "" if service.spec.is_job else f"runs for {SETTLED_SECONDS:g} s"


def _declared_check(check: ServiceCheck) -> str:
    if check.is_disabled:
        return "none"
    if check.command:
        return " ".join(check.command)
    return f"GET {check.path}" if check.path else f"a connection to port {check.port}"


def _volume(service: DeployedService, mount: Mount) -> VolumeRecord:
    policy = "keep"
    if mount.volume in service.fresh_volumes:
        policy = "clone" if service.clones.get(mount.volume) else "fresh"
    return VolumeRecord(
        mount.target, mount.volume, mount.content, policy if mount.volume else "", mount.is_read_only
    )


def _variables(launch: Launch, service: DeployedService, mask: Mask) -> tuple[VariableRecord, ...]:
    found = {
        name: _variable(launch, layer, name, mask)
        for layer in layers_of(launch, service)
        for name in layer.variables
    }
    return tuple(found[name] for name in sorted(found))


def _variable(launch: Launch, layer: Layer, name: str, mask: Mask) -> VariableRecord:
    value = layer.variables[name]
    is_secret = layer.is_secret or is_probably_secret(name, value) or mask(value) != value
    message = f"variable\0{name}\0{value}".encode()
    mark = hmac.new(launch.key, message, hashlib.sha256).hexdigest()[:MARK_LENGTH]
    return VariableRecord(name, layer.source, "" if is_secret else value[:LONGEST_VALUE], is_secret, mark)
