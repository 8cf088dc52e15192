"""What the instance of a service is created from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stager.control.reconciler.variables import Launch, of_service
from stager.domain import catalogue
from stager.domain.application import Container
from stager.domain.deployment import DeployedService
from stager.domain.environment import InstanceLabels
from stager.domain.profile import Profile, ProfileName, profile_name
from stager.domain.service import share_limits, with_generated
from stager.ports.engine import Clone, Content, InstanceSpec


def spec_of(launch: Launch, service: DeployedService, content: Sequence[Content] = ()) -> InstanceSpec:
    """What the instance of a service is created from.

    Args:
        content: the files of the commit that it mounts.

    Raises:
        Fault: `limits-exceeded`: the services need more than the application's limits.
    """
    is_single = len(launch.deployment.services) == 1
    variables = of_service(launch, service)
    container = _container(launch, service)
    return InstanceSpec(
        labels=_labels(launch, service),
        image=service.image,
        container=container,
        profile=_profile(launch, service),
        variables=variables.stable,
        per_commit=variables.per_commit,
        fallbacks={"PORT": str(container.port)} if container.port and service.spec.is_built else {},
        aliases=() if is_single else (service.name, *service.spec.aliases),
        network=0 if is_single or service.is_kept else launch.deployment.generation,
        fresh_volumes=service.fresh_volumes,
        clones=_clones(service),
        volume_epoch=service.volume_epoch,
        content=tuple(content),
        dependencies=_dependencies(launch, service),
        image_content=service.image_content,
    )


def _clones(service: DeployedService) -> dict[str, Clone]:
    """What its volumes start as, without the files that its server must not find in a copy."""
    image = service.spec.image
    return {
        mount.volume: Clone(chosen, mount.volume, catalogue.left_out(image, mount.target))
        for mount in service.spec.mounts
        if (chosen := service.clones.get(mount.volume))
    }


def _dependencies(launch: Launch, service: DeployedService) -> tuple[str, ...]:
    """The inputs of the kept services that it depends on: another one of these requires another instance."""
    found = (launch.deployment.service(name) for name in sorted(service.spec.depends_on))
    return tuple(each.inputs for each in found if each is not None and each.is_kept)


def _container(launch: Launch, service: DeployedService) -> Container:
    container = launch.application.container(
        service.spec, is_main=service.is_main, has_healthcheck=service.has_healthcheck
    )
    command = _relaxed(launch, service) if container.command is None else container.command
    return replace(
        container,
        command=_filled(launch, command),
        entrypoint=_filled(launch, container.entrypoint),
    )


def _relaxed(launch: Launch, service: DeployedService) -> tuple[str, ...] | None:
    """The command of a database that doesn't wait for the disk, if the application wants that, and all of its
    data is that of this generation. None for the image's own."""
    volumes = {mount.volume for mount in service.spec.mounts if mount.volume}
    if not launch.application.data.is_relaxed or not volumes or not volumes <= service.fresh_volumes:
        return None
    return catalogue.relaxed(service.spec.image) or None


def _filled(launch: Launch, words: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(with_generated(word, launch.secret) for word in words)


def _profile(launch: Launch, service: DeployedService) -> Profile:
    profile = launch.application.profile_for(launch.environment.desired.trust)
    services = launch.deployment.services
    if len(services) == 1:
        return profile
    is_restricted = profile.name is ProfileName.RESTRICTED
    limits = share_limits(profile.limits, (each.spec for each in services), divides_cpus=is_restricted)
    return replace(profile, limits=limits[service.name])


def _labels(launch: Launch, service: DeployedService) -> InstanceLabels:
    environment, deployment = launch.environment, launch.deployment
    return InstanceLabels(
        environment=environment.id,
        service=service.name,
        deployment=deployment.id,
        generation=deployment.generation,
        app=environment.app,
        subject=environment.key.subject,
        name=environment.name,
        host=environment.host,
        revision=deployment.revision,
        trust=environment.desired.trust,
        profile=profile_name(environment.desired.trust),
        change=environment.change,
        parameters=environment.desired.parameters,
        service_host=service.host_in(environment),
        snapshot=deployment.snapshot,
        volume_epoch=service.volume_epoch,
    )
