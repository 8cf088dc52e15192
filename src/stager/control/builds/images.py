"""From what is wished for to an image and the way to run it: commit, repository's own file, build."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from stager.control.builds.queue import BuildQueue, Wanted
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
from stager.settings.repository_file import ParsedFile, names_of, read_file

Heard = Callable[[], None]

ASK_SECONDS = 10.0
"""For which a launch by hand waits for the repository to say whether it has the branch."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an environment's code lies."""

    repository: Repository
    origin: Origin


class ImageResolver:
    """Has images at hand for deployments; built ones and those that somebody else makes."""

    def __init__(self, ports: Ports, records: Records, queue: BuildQueue | None) -> None:
        self._store, self._images, self._clock = ports.store, ports.images, ports.clock
        self._forges = ports.forges
        self._sources = ports.builds.sources if ports.builds else None
        self._builder = ports.builds.builder if ports.builds else None
        self._memory = records
        self.builds = queue

    async def made(
        self, environment: Environment, deployment: Deployment, application: Application, heard: Heard
    ) -> Deployment:
        """The deployment once its image is there, with what was found out on the way.

        Args:
            heard: called whenever a build's log or place in line changes.

        Raises:
            Fault: it can't be made; also what `Sources` and `Builder` raise.
            Retry: something that it takes doesn't answer, or isn't there yet.
        """
        if application.needs_commit:
            deployment = await self._with_commit(environment, deployment, application)
        if application.build is None:
            image = await self._found(deployment, application)
        else:
            deployment, image = await self._built(environment, deployment, application, heard)
        return await self._memory.save(deployment.id, lambda d: replace(d, image=image))

    async def _with_commit(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Deployment:
        """A launch by hand names a branch or a tag: the commit is the one that it has now."""
        if deployment.revision.sha:
            return deployment
        place = await self._place(environment, application)
        ref = deployment.revision.ref or environment.name
        sha = await self._tools()[0].resolve(place.origin, ref)
        return await self._memory.save(deployment.id, lambda d: replace(d, revision=Revision(sha, ref)))

    async def check_branch(self, application: Application, name: str) -> None:
        """Whether this can be launched by hand, before anything is written down for it. Whatever else is in
        the way shows with the launch, which goes on trying.

        Raises:
            Refused: `branch-missing`: the application's repository has no such branch or tag.
        """
        if not application.needs_commit or self._sources is None:
            return
        with suppress(Retry, OSError):  # among those the timeout
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
                f"The image {reference} isn't there yet.",
                hint="Somebody else builds it; it is looked for until it comes.",
                reason="image-awaited",
                detail=error.detail,
            ) from error

    def _is_late(self, deployment: Deployment, seconds: float) -> bool:
        return self._clock.now() - deployment.created_at > timedelta(seconds=seconds)

    async def _built(
        self, environment: Environment, deployment: Deployment, application: Application, heard: Heard
    ) -> tuple[Deployment, str]:
        if self.builds is None:
            raise _no_source(application)
        if deployment.image:
            found = await self._tools()[1].find(application.name, deployment.build)
            if found == deployment.image:  # an instance was lost: neither forge nor repository is asked
                return deployment, found
        place = await self._place(environment, application)
        sha = deployment.revision.sha
        said = await self._said(environment, place, sha, application)
        recipe = said.recipe(application.build or Recipe())
        origin = place.origin
        if environment.desired.trust is Trust.FORK:
            recipe, origin = replace(recipe, secrets={}), replace(origin, by_stranger=True)
        wanted = Wanted(application.name, place.repository.id, origin, sha, recipe, application.build_timeout)
        deployment = await self._memory.save(
            deployment.id,
            lambda d: replace(d, build=wanted.key, building_at=d.building_at or self._clock.now()),
        )
        image = await self.builds.image(wanted, heard)
        manifest = await self._completed(said.manifest, image, application)
        deployment = await self._memory.save(deployment.id, lambda d: replace(d, manifest=manifest))
        return deployment, image

    async def _said(
        self, environment: Environment, place: _Place, sha: str, application: Application
    ) -> ParsedFile:
        """What the repository's own file says: for code from a fork the base branch's, so that a stranger
        decides nothing."""
        sources, _ = self._tools()
        if not application.repository_file:
            return ParsedFile()
        if environment.desired.trust is Trust.FORK and environment.change is not None:
            base = await self._origin(place.repository, None)
            place = replace(place, origin=base)
            sha = await sources.resolve(base, f"{BRANCHES}{environment.change.base_ref}")
        found = {
            name: content
            for name in names_of(application.repository_file)
            if (content := await sources.read(place.repository.id, place.origin, sha, name)) is not None
        }
        if len(found) > 1:
            raise Fault(
                f"The commit has both {' and '.join(found)}, and only one of them can count.",
                hint="Remove one.",
                reason="repository-file-ambiguous",
            )
        for name, content in found.items():
            return read_file(content, name, application.repository_file_keys)
        return ParsedFile()

    async def _completed(self, said: Manifest, image: str, application: Application) -> Manifest:
        """What the file says, with the image's own word where nobody said anything."""
        _, builder = self._tools()
        facts = await builder.facts(image)
        port = said.port if said.port or application.port else port_of(facts)
        asks = not (said.health_path or application.health_path)
        return replace(said, port=port, has_healthcheck=facts.has_healthcheck and asks)

    async def _place(self, environment: Environment, application: Application) -> _Place:
        repository = await self._repository(environment, application)
        number = environment.change.number if environment.change else None
        return _Place(repository, await self._origin(repository, number))

    async def _origin(self, repository: Repository, number: int | None) -> Origin:
        forge = self._forges.of(repository.id)
        if forge is None:
            raise Fault(
                f"The code of {repository.full_name} can't be fetched: its forge isn't configured.",
                hint="`github.outgoing_auth`, a GitHub App or `local_forge` in the configuration say how.",
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

    def _tools(self) -> tuple[Sources, Builder]:
        if self._sources is None or self._builder is None:
            raise Fault("Nothing here builds images.", reason="builder-missing")
        return self._sources, self._builder


def port_of(facts: ImageFacts) -> int:
    """Where an application listens, by its image alone: the first `EXPOSE` of its own Dockerfile, else the
    only port that it has from its base image.

    Raises:
        Fault: `port-unknown`: it exposes none; `port-ambiguous`: it exposes several, all by its base image.
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
        f'The repository of "{application.name}" isn\'t known, so there is nothing to build it from.',
        hint=f"Set `images.{application.name}.repo_owner`, or `local_forge`, in the configuration.",
        reason="source-unknown",
    )
