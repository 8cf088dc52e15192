"""The code of an environment: its repository, its commit, and the files in it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

from stager.control.environments.records import Records
from stager.control.ports import Ports
from stager.domain.application import Application
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Fault, Refused, Retry
from stager.domain.pull_requests.git_refs import BRANCHES
from stager.domain.source import Repository, Revision, Trust
from stager.ports.source import Origin, Sources
from stager.settings.repository_file import ParsedFile, names_of, read_file

ASK_SECONDS = 10.0
"""Seconds that a manual launch waits for the repository's answer whether the branch exists."""


@dataclass(frozen=True, slots=True)
class Code:
    """A commit of a repository, and how to fetch it."""

    repository: Repository
    origin: Origin
    sha: str


class CodeReader:
    """Finds the code of environments."""

    def __init__(self, ports: Ports, records: Records) -> None:
        self._store, self._forges = ports.store, ports.forges
        self._sources = ports.builds.sources if ports.builds else None
        self._records = records

    @property
    def sources(self) -> Sources:
        """Raises `Fault` (`builder-missing`) where no application is built."""
        if self._sources is None:
            raise Fault(
                "No application has `build`, so nothing is built.",
                hint="Set `build` for the application, and restart Stager.",
                reason="builder-missing",
            )
        return self._sources

    async def with_commit(
        self, environment: Environment, deployment: Deployment, application: Application
    ) -> Deployment:
        """Resolve the branch or tag of a manual launch to its current commit."""
        if deployment.revision.sha:
            return deployment
        repository = await self._repository(environment, application)
        number = environment.change.number if environment.change else None
        ref = deployment.revision.ref or environment.name
        sha = await self.sources.resolve(await self._origin(repository, number), ref)
        return await self._records.save(deployment.id, lambda d: replace(d, revision=Revision(sha, ref)))

    async def code(self, environment: Environment, sha: str, application: Application) -> Code:
        """The environment's code at this commit. Builds of untrusted code are marked as such."""
        repository = await self._repository(environment, application)
        number = environment.change.number if environment.change else None
        origin = await self._origin(repository, number)
        if environment.desired.trust is Trust.FORK:
            origin = replace(origin, untrusted=True)
        return Code(repository, origin, sha)

    async def declared(self, environment: Environment, code: Code) -> Code:
        """The code that may declare how the environment runs: for code from a fork that of the base branch,
        so that a fork can't change settings."""
        if environment.desired.trust is not Trust.FORK or environment.change is None:
            return code
        base = await self._origin(code.repository, None)
        sha = await self.sources.resolve(base, f"{BRANCHES}{environment.change.base_ref}")
        return Code(code.repository, base, sha)

    async def repository_file(
        self, environment: Environment, code: Code, application: Application
    ) -> ParsedFile:
        """The repository's own file; see `declared`."""
        if not application.repository_file:
            return ParsedFile()
        code = await self.declared(environment, code)
        found = {
            name: content
            for name in names_of(application.repository_file)
            if (content := await self.sources.read(code.repository.id, code.origin, code.sha, name))
            is not None
        }
        if len(found) > 1:
            raise Fault(
                f"The commit has both {' and '.join(found)}; only one of them is allowed.",
                hint="Delete one of them.",
                reason="repository-file-ambiguous",
            )
        for name, content in found.items():
            services = (service.name for service in application.declared.services)
            return read_file(content, name, application.repository_file_keys, services)
        return ParsedFile()

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
            raise no_source(application)
        return found


def no_source(application: Application) -> Fault:
    """The fault of an application whose repository isn't known."""
    return Fault(
        f'The repository of "{application.name}" is unknown, so it can\'t be built.',
        hint=f"Set `images.{application.name}.repo_owner`, or `local_forge`, in the configuration.",
        reason="source-unknown",
    )
