"""Resolves a deployment's image: the commit, the repository's own file, and the build or the prebuilt
image."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from stager.control.builds.queue import BuildQueue, BuildRequest
from stager.control.environments.records import Records
from stager.control.ports import Ports
from stager.domain.application import SHA_PLACEHOLDER, Application
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Fault, Refused, Retry
from stager.domain.pull_requests.git_refs import BRANCHES
from stager.domain.recipe import Manifest, Recipe
from stager.domain.source import Repository, Revision, Trust
from stager.ports.builder import Builder, ImageFacts
from stager.ports.source import Origin, Sources
from stager.project.detected import IN_PAGES
from stager.settings.repository_file import ParsedFile, names_of, read_file

OnProgress = Callable[[], None]

ASK_SECONDS = 10.0
"""Seconds that a manual launch waits for the repository's answer whether the branch exists."""


@dataclass(frozen=True, slots=True)
class _Code:
    """The repository of an environment's code, and how to fetch it."""

    repository: Repository
    origin: Origin


class ImageResolver:
    """Resolves images of deployments, built or prebuilt."""

    def __init__(self, ports: Ports, records: Records, queue: BuildQueue | None) -> None:
        self._store, self._images, self._clock = ports.store, ports.images, ports.clock
        self._forges = ports.forges
        self._sources = ports.builds.sources if ports.builds else None
        self._builder = ports.builds.builder if ports.builds else None
        self._memory = records
        self.builds = queue

    async def resolve(
        self,
        environment: Environment,
        deployment: Deployment,
        application: Application,
        on_progress: OnProgress,
    ) -> Deployment:
        """Resolve the image. Returns the deployment with the image, commit and manifest.

        Args:
            on_progress: called at each change of a build's log or queue position.

        Raises:
            Fault: the image can't be resolved; also what `Sources` and `Builder` raise.
            Retry: a dependency doesn't answer, or a prebuilt image doesn't exist yet.
        """
        if application.needs_commit:
            deployment = await self._with_commit(environment, deployment, application)
        if application.build is None:
            image = await self._found(deployment, application)
        else:
            deployment, image = await self._built(environment, deployment, application, on_progress)
        return await self._memory.save(deployment.id, lambda d: replace(d, image=image))

    async def _with_commit(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Deployment:
        """Resolve the branch or tag of a manual launch to its current commit."""
        if deployment.revision.sha:
            return deployment
        code = await self._code(environment, application)
        ref = deployment.revision.ref or environment.name
        sha = await self._build_ports()[0].resolve(code.origin, ref)
        return await self._memory.save(deployment.id, lambda d: replace(d, revision=Revision(sha, ref)))

    async def check_branch(self, application: Application, name: str) -> None:
        """Check the branch of a manual launch before anything is stored. Other errors are left to the launch,
        which retries.

        Raises:
            Refused: `branch-missing`: the application's repository has no such branch or tag.
        """
        if not application.needs_commit or self._sources is None:
            return
        with suppress(Retry, OSError):  # Includes the timeout.
            async with asyncio.timeout(ASK_SECONDS):
                try:
                    repository = await self._repository_of(application)
                    await self._sources.resolve(await self._origin(repository, None), name)
                except Fault as error:
                    if error.reason == "ref-missing":
                        raise Refused(
                            error.message, hint=error.hint, reason="branch-missing", status=404
                        ) from error

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

    async def _built(
        self,
        environment: Environment,
        deployment: Deployment,
        application: Application,
        on_progress: OnProgress,
    ) -> tuple[Deployment, str]:
        if self.builds is None:
            raise _no_source(application)
        if deployment.image:
            found = await self._build_ports()[1].find(application.name, deployment.build)
            if found == deployment.image:  # An instance was lost; forge and repository aren't needed.
                return deployment, found
        code = await self._code(environment, application)
        sha = deployment.revision.sha
        file = await self._repository_file(environment, code, sha, application)
        recipe = _with_variables(file.recipe(application.build or Recipe()), application, file.manifest)
        origin = code.origin
        if environment.desired.trust is Trust.FORK:
            recipe, origin = replace(recipe, secrets={}), replace(origin, untrusted=True)
        request = BuildRequest(
            application.name, code.repository.id, origin, sha, recipe, application.build_timeout
        )
        deployment = await self._memory.save(
            deployment.id,
            lambda d: replace(d, build=request.key, building_at=d.building_at or self._clock.now()),
        )
        image = await self.builds.image(request, on_progress)
        manifest = await self._completed(file.manifest, image, application)
        deployment = await self._memory.save(deployment.id, lambda d: replace(d, manifest=manifest))
        return deployment, image

    async def _repository_file(
        self, environment: Environment, code: _Code, sha: str, application: Application
    ) -> ParsedFile:
        """The repository's own file. For code from a fork it is read from the base branch, so that a fork
        can't change settings."""
        sources, _ = self._build_ports()
        if not application.repository_file:
            return ParsedFile()
        if environment.desired.trust is Trust.FORK and environment.change is not None:
            base = await self._origin(code.repository, None)
            code = replace(code, origin=base)
            sha = await sources.resolve(base, f"{BRANCHES}{environment.change.base_ref}")
        found = {
            name: content
            for name in names_of(application.repository_file)
            if (content := await sources.read(code.repository.id, code.origin, sha, name)) is not None
        }
        if len(found) > 1:
            raise Fault(
                f"The commit has both {' and '.join(found)}; only one of them is allowed.",
                hint="Delete one of them.",
                reason="repository-file-ambiguous",
            )
        for name, content in found.items():
            return read_file(content, name, application.repository_file_keys)
        return ParsedFile()

    async def _completed(self, manifest: Manifest, image: str, application: Application) -> Manifest:
        """The file's manifest, completed with the image's own port and health check."""
        _, builder = self._build_ports()
        facts = await builder.facts(image)
        port = manifest.port if manifest.port or application.port else port_of(facts)
        is_set = bool(manifest.health_path or application.health_path)
        path = manifest.health_path if is_set else facts.health_path or None
        return replace(
            manifest,
            port=port,
            health_path=path,
            has_healthcheck=facts.has_healthcheck and not (is_set or path),
        )

    async def _code(self, environment: Environment, application: Application) -> _Code:
        repository = await self._repository(environment, application)
        number = environment.change.number if environment.change else None
        return _Code(repository, await self._origin(repository, number))

    async def _origin(self, repository: Repository, number: int | None) -> Origin:
        forge = self._forges.of(repository.id)
        if forge is None:
            raise Fault(
                f"The code of {repository.full_name} can't be fetched: its forge isn't configured.",
                hint="Configure `github.outgoing_auth`, a GitHub App or `local_forge`.",
                reason="forge-missing",
            )
        return await forge.origins.origin(repository, number)

    async def _repository(self, environment: Environment, application: Application) -> Repository:
        link = environment.change
        if link is not None:
            return Repository(link.repository_id, link.owner, link.repository)
        return await self._repository_of(application)

    async def _repository_of(self, application: Application) -> Repository:
        seen = await self._store.read(lambda tx: tx.repositories())
        known = next((s.repository for s in seen if s.app == application.name), None)
        found = known or await self._forges.repository(application.owner, application.repository_name)
        if found is None:
            raise _no_source(application)
        return found

    def _build_ports(self) -> tuple[Sources, Builder]:
        if self._sources is None or self._builder is None:
            raise Fault("No builder is configured.", reason="builder-missing")
        return self._sources, self._builder


def _with_variables(recipe: Recipe, application: Application, manifest: Manifest) -> Recipe:
    """The recipe with the variables that the framework of a generated Dockerfile writes into pages. Secrets
    aren't among them, whatever their names."""
    if not recipe.auto:
        return recipe
    variables = {**manifest.variables, **application.variables}
    found = {name: value for name, value in variables.items() if name.startswith(IN_PAGES)}
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


def _no_source(application: Application) -> Fault:
    return Fault(
        f'The repository of "{application.name}" is unknown, so it can\'t be built.',
        hint=f"Set `images.{application.name}.repo_owner`, or `local_forge`, in the configuration.",
        reason="source-unknown",
    )
