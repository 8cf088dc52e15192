"""The services that a commit declares: by the configuration, the repository file, or a Compose file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from stager.control.builds.code import Code, CodeReader
from stager.control.builds.contents import contents_of
from stager.domain.application import Application
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.recipe import Manifest, Recipe
from stager.domain.service import ServiceSpec, Stack
from stager.domain.stack import check_hooks
from stager.ports.engine import Content
from stager.settings.repository_file import ParsedFile


@dataclass(frozen=True, slots=True)
class Request:
    """What the services of a deployment are resolved for.

    Args:
        secret_of: returns the generated secret of a name.
        urls: returns the variables with the URLs of these services, which are given hosts.
        on_progress: called at each change of a build's log or queue position.
    """

    environment: Environment
    deployment: Deployment
    application: Application
    secret_of: Callable[[str], str]
    urls: Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]
    on_progress: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Declared:
    """What a commit declares.

    Args:
        application: completed by the repository file.
        stack: all services. The main one is completed by the application's settings.
        manifest: the settings of the main service that aren't in the configuration.
        recipe: of the main service's image; None if it isn't built.
        contents: the files of the commit that services mount, by the name of the service.
    """

    application: Application
    stack: Stack
    manifest: Manifest
    recipe: Recipe | None
    contents: dict[str, tuple[Content, ...]]


class StackReader:
    """Reads what commits declare."""

    def __init__(self, code: CodeReader) -> None:
        self._code = code

    async def declared(self, request: Request, code: Code | None) -> Declared:
        """What a deployment's commit declares.

        Raises:
            Fault: `compose-refused`, `compose-missing`: the Compose file can't be used; `services-invalid`,
                also because of a hook; `image-not-allowed`; also what `Sources` raises.
        """
        environment, application = request.environment, request.application
        file = await self._code.repository_file(environment, code, application) if code else ParsedFile()
        completed = application.with_manifest(file.manifest).with_declared(file.declared)
        recipe = file.recipe(application.build) if application.build else None
        if code is not None and completed.declared.compose is not None:
            reading = await self._compose(request, completed, code)
            declared = _completed(application, completed, file, reading)
        else:
            declared = Declared(completed, completed.stack, file.manifest, recipe, {})
        completed.check_images(declared.stack.services, environment.desired.trust)
        check_hooks(completed.hooks, declared.stack.services)
        if code is None:
            return declared
        return replace(declared, contents=await self._contents(code, declared.stack.services))

    async def contents(
        self, environment: Environment, sha: str, application: Application, service: ServiceSpec
    ) -> tuple[Content, ...]:
        """The files of the commit that a service mounts."""
        if not _has_content(service):
            return ()
        code = await self._code.code(environment, sha, application)
        return (await self._contents(code, (service,)))[service.name]

    async def _contents(
        self, code: Code, services: tuple[ServiceSpec, ...]
    ) -> dict[str, tuple[Content, ...]]:
        with_content = [service for service in services if _has_content(service)]
        if not with_content:
            return {}
        async with self._code.sources.checkout(code.repository.id, code.origin, code.sha) as tree:
            return {each.name: await asyncio.to_thread(contents_of, tree, each) for each in with_content}

    async def _compose(
        self, request: Request, application: Application, code: Code
    ) -> tuple[Stack, tuple[str, ...]]:
        """The services of the Compose file, and what the reader found; for code from a fork, of the base
        branch's file until the commit is approved."""
        if request.environment.approved_sha != code.sha:
            code = await self._code.declared(request.environment, code)
        # Its reader takes 40 ms of processor time, which previews without a Compose file don't need.
        from stager.control.builds.compose_file import read_services  # noqa: PLC0415

        async with self._code.sources.checkout(code.repository.id, code.origin, code.sha) as tree:
            return await read_services(tree, application, request.urls)


def _has_content(service: ServiceSpec) -> bool:
    return any(mount.content for mount in service.mounts)


def _completed(
    application: Application,
    completed: Application,
    file: ParsedFile,
    reading: tuple[Stack, tuple[str, ...]],
) -> Declared:
    """What a Compose file declares, where neither the configuration nor the repository file says otherwise.
    A main service without image and build gets the repository's own image. Build arguments apply to all
    services that are built."""
    stack, findings = reading
    main = stack.main_service
    configured = application.build or Recipe()
    recipe = given = file.recipe(configured)
    is_own = _names_own_build(file) or replace(configured, auto=False, secrets={}, arguments={}) != Recipe()
    if not is_own and main.build is not None:
        recipe = replace(_with_arguments(main.build, given), secrets=configured.secrets)
    runs_own_image = is_own or not main.image
    main = replace(
        main,
        image="" if runs_own_image else main.image,
        build=recipe if runs_own_image else None,
        command=completed.command or main.command,
        check=None if completed.health_path else main.check,
    )
    services = (_with_build_arguments(each, given) for each in stack.services)
    port = file.manifest.port or (None if application.port else main.port)
    return Declared(
        completed,
        replace(stack, services=tuple(main if each.name == main.name else each for each in services)),
        replace(file.manifest, port=port, findings=findings),
        recipe if runs_own_image else None,
        {},
    )


def _names_own_build(file: ParsedFile) -> bool:
    return file.build is not None and bool(file.build.model_fields_set - {"args"})


def _with_build_arguments(service: ServiceSpec, given: Recipe) -> ServiceSpec:
    return replace(service, build=_with_arguments(service.build, given)) if service.build else service


def _with_arguments(recipe: Recipe, given: Recipe) -> Recipe:
    return replace(recipe, arguments={**recipe.arguments, **given.arguments})
