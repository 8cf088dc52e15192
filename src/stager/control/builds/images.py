"""Resolves the services of a deployment with their images: the commit, the repository's own file, and the
builds or the prebuilt images."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

from stager.control.builds.code import Code, CodeReader, no_source
from stager.control.builds.queue import BuildQueue, BuildRequest
from stager.control.builds.stacks import Declared, Request, StackReader
from stager.control.environments.records import Records
from stager.control.ports import Ports
from stager.domain.application import SHA_PLACEHOLDER, Application
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.recipe import Manifest, Recipe
from stager.domain.rollback import title
from stager.domain.service import ServiceSpec, VolumePolicy, with_generated
from stager.domain.source import Trust
from stager.ports.builder import ImageFacts
from stager.ports.engine import Content
from stager.project.detected import IN_PAGES

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A deployment whose images are there.

    Args:
        deployment: with the image, commit and manifest of the main service, without the services.
        services: all services, without their inputs and hosts.
        contents: the files of the commit that services mount, by the name of the service.
    """

    deployment: Deployment
    services: tuple[DeployedService, ...]
    contents: Mapping[str, tuple[Content, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Job:
    """A request with what its commit declares."""

    request: Request
    declared: Declared
    code: Code | None


class ImageResolver:
    """Resolves the services of deployments, with images that are built or prebuilt."""

    def __init__(self, ports: Ports, records: Records, code: CodeReader, queue: BuildQueue | None) -> None:
        self._images, self._clock = ports.images, ports.clock
        self._builder = ports.builds.builder if ports.builds else None
        self._records = records
        self._code = code
        self.stacks = StackReader(code)
        self.builds = queue

    async def resolve(self, request: Request) -> Resolved:
        """Resolve the services of a deployment.

        Raises:
            Fault: a service or an image can't be resolved; also what `Sources` and `Builder` raise.
            Retry: a dependency doesn't answer, or a prebuilt image doesn't exist yet.
        """
        environment, application = request.environment, request.application
        if (source := await self._records.rollback_source(request.deployment)) is not None:
            return await self._earlier(request, source)
        if application.needs_commit:
            deployment = await self._code.with_commit(environment, request.deployment, application)
            request = replace(request, deployment=deployment)
        code = None
        if application.build is not None:
            if self.builds is None:
                raise no_source(application)
            code = await self._code.code(environment, request.deployment.revision.sha, application)
        declared = await self.stacks.declared(request, code)
        if declared.manifest.findings:  # shown also if a build or a start fails
            await self._records.save(request.deployment.id, lambda d: replace(d, manifest=declared.manifest))
        return await self._resolved(_Job(request, declared, code))

    async def _earlier(self, request: Request, source: Deployment) -> Resolved:
        """The services and images of an earlier deployment, as they were."""
        environment, application = request.environment, request.application.with_manifest(source.manifest)
        application.check_images(source.specs, environment.desired.trust)
        for image in sorted(source.images):
            if not await self.exists(image):
                raise Fault(
                    f"An image of {title(source)} was removed before it was launched again.",
                    hint="Push that commit again.",
                    reason="rollback-image-gone",
                )
        sha = source.revision.sha
        contents = {
            each.name: await self.stacks.contents(environment, sha, application, each.spec)
            for each in source.services
        }
        manifest = replace(source.manifest, note="")
        deployment = await self._records.save(
            request.deployment.id,
            lambda d: replace(d, image=source.image, build=source.build, manifest=manifest),
        )
        return Resolved(deployment, tuple(map(_as_resolved, source.services)), contents)

    async def _resolved(self, job: _Job) -> Resolved:
        declared = job.declared
        services = await _together(self._deployed(job, spec) for spec in declared.stack.services)
        main = next(service for service in services if service.is_main)
        manifest = declared.manifest
        if declared.recipe is not None or main.spec.image:
            manifest = await self._completed(manifest, main, job.request.application)
        deployment = await self._records.save(
            job.request.deployment.id,
            lambda d: replace(d, image=main.image, build=main.build, manifest=manifest),
        )
        checked = replace(main, has_healthcheck=manifest.has_healthcheck)
        return Resolved(
            deployment,
            tuple(checked if each.is_main else each for each in services),
            declared.contents,
        )

    async def exists(self, image: str) -> bool:
        """Whether the engine still has this image. Raises `Retry` while the engine doesn't answer."""
        try:
            await self._images.resolve(image)
        except Fault:
            return False
        return True

    async def _deployed(self, job: _Job, spec: ServiceSpec) -> DeployedService:
        stack = job.declared.stack
        is_main = spec.name == stack.main
        image, build = await self._image(job, spec, is_main=is_main)
        facts = ImageFacts() if is_main else await self._facts(image)
        own = {mount.volume for mount in spec.mounts}
        fresh = {name for name in own if stack.volumes.get(name, VolumePolicy.KEEP) is not VolumePolicy.KEEP}
        clones = {name for name in fresh if stack.volumes[name] is VolumePolicy.CLONE}
        return DeployedService(
            _storable(spec),
            image,
            build=build,
            is_main=is_main,
            has_healthcheck=facts.has_healthcheck and spec.check is None,
            image_content=facts.content if build else "",
            fresh_volumes=frozenset(fresh),
            clones=dict.fromkeys(sorted(clones), ""),
        )

    async def _image(self, job: _Job, spec: ServiceSpec, *, is_main: bool) -> tuple[str, str]:
        """The id of a service's image, and the key of its build, if it is built."""
        if spec.image:
            return await self._images.resolve(spec.image), ""
        recipe = job.declared.recipe if is_main or spec.build is None else spec.build
        if recipe is None:
            return await self._found(job.request.deployment, job.request.application), ""
        return await self._built(job, recipe, is_main=is_main)

    async def _built(self, job: _Job, recipe: Recipe, *, is_main: bool) -> tuple[str, str]:
        request, application = job.request, job.request.application
        if self.builds is None or job.code is None:
            raise no_source(application)
        is_ours = request.environment.desired.trust is Trust.TRUSTED
        secrets = application.build.secrets if application.build and is_ours else {}
        arguments = {k: with_generated(v, request.secret_of) for k, v in recipe.arguments.items()}
        build = BuildRequest(
            application.name,
            job.code.repository.id,
            job.code.origin,
            job.code.sha,
            _with_variables(replace(recipe, secrets=secrets, arguments=arguments), job.declared.application),
            application.build_timeout,
        )
        if is_main:
            await self._begin_build(request.deployment, build.key)
        try:
            return await self.builds.image(build, request.on_progress), build.key
        except StagerError:
            await self._begin_build(request.deployment, build.key)  # its log is the one to show
            raise

    async def _begin_build(self, deployment: Deployment, key: str) -> None:
        now = self._clock.now()
        await self._records.save(
            deployment.id, lambda d: replace(d, build=key, building_at=d.building_at or now)
        )

    async def _facts(self, image: str) -> ImageFacts:
        return await self._builder.facts(image) if self._builder else ImageFacts()

    async def _found(self, deployment: Deployment, application: Application) -> str:
        if SHA_PLACEHOLDER not in application.image:
            return await self._images.resolve(application.image)
        reference = application.image.replace(SHA_PLACEHOLDER, deployment.revision.sha)
        try:
            return await self._images.resolve(reference)
        except Fault as error:
            if error.reason != "image-missing" or self._is_late(deployment, application.image_timeout):
                raise
            raise Retry(
                f"The image {reference} doesn't exist yet.",
                hint="It is built elsewhere, such as by CI; Stager retries until `image_timeout`.",
                reason="image-awaited",
                detail=error.detail,
            ) from error

    def _is_late(self, deployment: Deployment, seconds: float) -> bool:
        return self._clock.now() - deployment.created_at > timedelta(seconds=seconds)

    async def _completed(
        self, manifest: Manifest, main: DeployedService, application: Application
    ) -> Manifest:
        """The manifest, completed with the image's own port and health check."""
        if self._builder is None:
            return manifest
        facts = await self._builder.facts(main.image)
        port = manifest.port if manifest.port or application.port else port_of(facts)
        if manifest.health_path or application.health_path or main.spec.check is not None:
            return replace(manifest, port=port, has_healthcheck=False)
        path = facts.health_path or None
        return replace(
            manifest, port=port, health_path=path, has_healthcheck=facts.has_healthcheck and not path
        )


def _as_resolved(service: DeployedService) -> DeployedService:
    """A service of an earlier deployment, without what belongs to that deployment alone."""
    clones = dict.fromkeys(service.clones, "")
    return replace(service, inputs="", host="", is_kept=False, clones=clones, clone_note="", secrets_of="")


def _storable(spec: ServiceSpec) -> ServiceSpec:
    """The service without values that aren't stored: its build may have any."""
    if spec.build is None:
        return spec
    return replace(spec, build=replace(spec.build, secrets={}, arguments={}, variables={}))


async def _together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in order. If one fails, the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _with_variables(recipe: Recipe, application: Application) -> Recipe:
    """The recipe with the variables that the framework of a generated Dockerfile writes into pages. Secrets
    aren't among them, whatever their names."""
    if not recipe.auto:
        return recipe
    found = {name: value for name, value in application.variables.items() if name.startswith(IN_PAGES)}
    return replace(recipe, variables=found)


def port_of(facts: ImageFacts) -> int:
    """The port of an application by its image: the first `EXPOSE` of its own Dockerfile, else the only port
    of its base image.

    Raises:
        Fault: `port-unknown`: no port is exposed; `port-ambiguous`: several, all from the base image.
    """
    if facts.first is not None:
        return facts.first
    if len(facts.ports) > 1:
        found = ", ".join(map(str, facts.ports))
        raise Fault(
            f"The image exposes several ports ({found}), and its own Dockerfile has no EXPOSE line.",
            hint="Set `port` in the repository's own file or the configuration, or give the Dockerfile an "
            f"EXPOSE line, such as `EXPOSE {facts.ports[0]}`.",
            reason="port-ambiguous",
        )
    if not facts.ports:
        beside = f" (only {', '.join(facts.others)})" if facts.others else ""
        raise Fault(
            f"No port is configured, and the image exposes no TCP port{beside}.",
            hint="Set `port` in the repository's own file or the configuration, or give the Dockerfile an "
            "EXPOSE line.",
            reason="port-unknown",
        )
    return facts.ports[0]
