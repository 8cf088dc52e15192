"""Waiting until an environment has reached its desired state."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.records import Records
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Refused, Retry
from stager.ports.engine import Instances


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """The result of a launch: the environment, and the deployment of its desired generation."""

    environment: Environment
    deployment: Deployment | None

    @property
    def is_live(self) -> bool:
        """Whether the environment serves this deployment or a newer one."""
        serving = self.environment.serving
        return serving is not None and self.deployment is not None and serving >= self.deployment.generation


class Waiters:
    """Waits for environments."""

    def __init__(self, records: Records, instances: Instances, change_feed: ChangeFeed) -> None:
        self._records = records
        self._instances = instances
        self._change_feed = change_feed

    async def until_settled(self, environment: Environment, timeout: float) -> LaunchResult:
        """Wait until the environment serves this generation or a newer one, or its launch has failed.

        Args:
            timeout: seconds.

        Raises:
            Retry: the time is over; the launch continues.
            Refused: 409, the environment was removed meanwhile.
        """
        generation = environment.desired.generation
        try:
            async with asyncio.timeout(timeout):
                with self._change_feed.of(environment.id) as changed:
                    while True:
                        changed.clear()
                        result = await self._result(environment.id, generation)
                        if result is not None:
                            return result
                        await changed.wait()
        except TimeoutError:
            raise Retry(
                f"The preview isn't up after {timeout:g} s. Stager continues to launch it.",
                hint="Its URL shows the state.",
                reason="still-starting",
            ) from None

    async def _result(self, environment_id: str, generation: int) -> LaunchResult | None:
        """The result; None while the launch is in progress."""
        found = await self._records.with_current(environment_id)
        if found is None:
            raise Refused("The environment was removed.", reason="environment-removed", status=409)
        environment, deployment = found
        if environment.serving is not None and environment.serving >= generation:
            return LaunchResult(environment, deployment)
        if not environment.desired.should_run or (deployment is not None and deployment.attempt.final):
            return LaunchResult(environment, deployment)
        return None

    async def until_removed(self, environment: Environment, timeout: float) -> None:
        """Wait until no instance of the environment is left, or it was launched again.

        Args:
            timeout: seconds.

        Raises:
            Retry: the time is over; the removal continues.
        """
        try:
            async with asyncio.timeout(timeout):
                with self._change_feed.of(environment.id) as changed:
                    while not await self._is_removed(environment.id):
                        await changed.wait()
                        changed.clear()
        except TimeoutError:
            raise Retry(
                f"The preview wasn't removed within {timeout:g} s. Stager continues to remove it.",
                reason="still-removing",
            ) from None

    async def _is_removed(self, environment_id: str) -> bool:
        environment = await self._records.environment(environment_id)
        if environment is None or environment.desired.keeps_instances:
            return True
        return environment.serving is None and not await self._instances.find(environment_id)
