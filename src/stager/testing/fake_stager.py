"""The control plane over fakes that `harness` runs."""

from __future__ import annotations

import asyncio

from stager.control.control_plane import Options
from stager.control.environments.capacity import CapacityOptions
from stager.control.environments.plugin_api import RunningPreviews
from stager.control.identity.login_flows import LoginFlows
from stager.control.plugins.lifecycle import completed_calls, preview_of
from stager.control.plugins.package import PluginSet
from stager.control.routing.urls import Urls
from stager.domain.application import Application
from stager.domain.commands import Kill, Launch, Reply
from stager.domain.environment import Environment
from stager.domain.errors import Fault
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.profile import Limits
from stager.domain.pull_requests.events import ChangeEvent
from stager.domain.route import Endpoint
from stager.domain.status import status_of
from stager.ports.clock import SystemClock
from stager.ports.handlers import (
    Credentials,
    Preview,
)
from stager.settings.loading.loader import Loaded
from stager.settings.plugins.instances import PluginInstances
from stager.testing.control_plane import DOMAIN, Configuration, Fakes, control_plane
from stager.testing.fakes.login import FakeAccounts

APP = "shop"
"""The only configured application."""
TESTER = Actor("tester", "harness", role=Role.ADMINISTRATOR)
TIMEOUT = 60.0
"""Seconds to wait for a preview."""


class FakeStager:
    """A control plane over fakes, on real time.

    Args:
        seconds: timeout of one call of a handler.
    """

    def __init__(self, loaded: Loaded, seconds: float) -> None:
        fakes = Fakes()
        self.store, self.forge, self.engine = fakes.store, fakes.forge, fakes.engine
        self.repository = self.forge.add_repository("acme", APP)
        self.engine.add_image(APP)
        self.urls = Urls(self.store, domain=DOMAIN)
        self.previews = RunningPreviews(self.store, self.urls)
        logins = LoginFlows(FakeAccounts(), lambda: self.urls.home, SystemClock().now)
        configuration = Configuration(
            [Application(APP, APP, 3000, Limits(1, 1, 1, 1))],
            PluginSet.of(PluginInstances(loaded, self.previews, logins)),
            Options(capacity=CapacityOptions(loaded.settings.limits), plugin_timeout=seconds),
            logins,
            has_credentials=False,
        )
        self._control_plane = control_plane(fakes, configuration)
        self.authenticator = self._control_plane.identity.authenticator
        self.previews.guard(self._control_plane.identity.authorizer)
        self._commands = self._control_plane.environments.commands
        self._waiters = self._control_plane.environments.waiters

    @classmethod
    async def start(cls, loaded: Loaded, seconds: float) -> FakeStager:
        stager = cls(loaded, seconds)
        await stager._control_plane.routing.routes.set_home(DOMAIN, Endpoint(path="/harness.sock"))
        stager._task = asyncio.create_task(stager._control_plane.controller.run())
        return stager

    _task: asyncio.Task[None]

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._control_plane.close()

    async def launch(self, command: Launch, actor: Actor = TESTER) -> Preview:
        environment = await self._commands.launch(command, actor)
        return await self._up(environment)

    async def kill(self, command: Kill, actor: Actor = TESTER) -> None:
        environment = await self._commands.kill(command, actor)
        if environment is not None:
            await self._waiters.until_removed(environment, TIMEOUT)

    async def deliver(self, event: ChangeEvent) -> Preview | None:
        await self._control_plane.pull_requests.change_events.apply(event)
        number = event.change.number
        present = await self.store.read(lambda tx: tx.environments())
        found = next((e for e in present if e.change and e.change.number == number), None)
        if found is None:
            return None
        if not found.desired.keeps_instances:
            await self._waiters.until_removed(found, TIMEOUT)
            return None
        return await self._up(found)

    async def call(
        self, action: str, parameters: dict[str, str], *, authenticated: bool
    ) -> Reply | Preview | None:
        async def tester() -> Actor:
            return (
                TESTER
                if authenticated
                else await self.authenticator.authenticate(Credentials("", parameters))
            )

        answer = await self._control_plane.plugins.action_calls.answer(action, parameters, tester)
        match answer:
            case None:
                return None
            case (Launch() as command, actor):
                return await self.launch(command, actor)
            case (Kill() as command, actor):
                await self.kill(command, actor)
                return None
            case (reply, _):
                return reply

    async def _up(self, environment: Environment) -> Preview:
        result = await self._waiters.until_settled(environment, TIMEOUT)
        if not result.is_live or result.deployment is None:
            status = status_of(result.environment, result.deployment)
            raise Fault(status.message, hint=status.hint, reason=status.reason)
        await self._until_handlers_called(environment.id, result.deployment.generation)
        return preview_of(result.environment, result.deployment, self.urls)

    async def _until_handlers_called(self, environment: str, generation: int) -> None:
        """Wait until all post-launch handlers have been called."""
        async with asyncio.timeout(TIMEOUT):
            while not await self._were_handlers_called(environment, generation):  # noqa: ASYNC110 (only the store has it)
                await asyncio.sleep(0.005)

    async def _were_handlers_called(self, environment: str, generation: int) -> bool:
        return (await self.store.read(lambda tx: completed_calls(tx, environment, generation))).launched
