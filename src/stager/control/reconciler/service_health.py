"""The health checks of services beside the main one: a request, a connection, a command, the image's own, or
that the service keeps running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from stager.control.reconciler.health_check import FIRST_INTERVAL, LOG_LINES, LONGEST_INTERVAL
from stager.domain.deployment import DeployedService
from stager.domain.environment import Instance
from stager.domain.errors import Fault
from stager.domain.service import SETTLED_SECONDS, ServiceCheck, with_generated
from stager.ports.engine import Instances, Prober


@dataclass(frozen=True, slots=True)
class Tried:
    """The result of one try.

    Args:
        problem: why the check failed, such as `it doesn't run`; empty if it passed.
        output: of the command.
    """

    problem: str = ""
    output: str = ""


Try = Callable[[], Awaitable[Tried]]

FIRST_COMMAND_INTERVAL = 0.25
"""Seconds between the first two runs of a command inside an instance. A run takes about 50 ms of a processor,
which a database that is just being set up needs itself."""


@dataclass(frozen=True, slots=True)
class CheckedService:
    """A service whose instance is checked.

    Args:
        host: the Host header of requests.
        seconds: the application's `start_timeout`.
        secret_of: returns the generated secret of a name.
    """

    service: DeployedService
    instance: Instance
    host: str
    seconds: float
    secret_of: Callable[[str], str]

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def runs_command(self) -> bool:
        """Whether its check is a command inside the instance: its own one or the image's."""
        check = self.service.spec.check
        if check is not None and (check.path or check.command):
            return bool(check.command)
        return self.service.has_healthcheck

    @property
    def timeout(self) -> float:
        """Seconds until it is given up."""
        check = self.service.spec.check
        return max(self.seconds, check.start_timeout or 0.0) if check else self.seconds


class ServiceHealth:
    """Waits until services are healthy."""

    def __init__(self, instances: Instances, prober: Prober) -> None:
        self._instances = instances
        self._prober = prober

    async def wait(self, checked: CheckedService) -> None:
        """Return once the instance is healthy.

        Raises:
            Fault: `service-unhealthy`: it wasn't within its time; `job-too-slow`: a job hasn't ended.
            Retry: the engine doesn't answer.
        """
        if checked.service.spec.is_job:
            await self._await_end(checked)
        attempt = self._try(checked)
        if attempt is None:
            await asyncio.sleep(SETTLED_SECONDS)
            return
        check = checked.service.spec.check
        interval = FIRST_COMMAND_INTERVAL if checked.runs_command else FIRST_INTERVAL
        longest = check.interval if check else LONGEST_INTERVAL
        latest = Tried("it didn't answer")
        try:
            async with asyncio.timeout(checked.timeout):
                while (latest := await attempt()).problem:
                    await asyncio.sleep(interval)
                    interval = min(longest, interval * 1.5)
        except TimeoutError:
            raise await self._unhealthy(checked, latest) from None

    async def _await_end(self, checked: CheckedService) -> NoReturn:
        """Wait longer than a job may take. Its end changes the plan, which cancels this."""
        await asyncio.sleep(checked.timeout)
        raise Fault(
            f'The job "{checked.name}" hasn\'t ended within {checked.timeout:g} s.',
            hint="Raise `start_timeout` in the configuration if it needs more time.",
            reason="job-too-slow",
            detail=await self._instances.logs(checked.instance.id, LOG_LINES),
        )

    def _try(self, checked: CheckedService) -> Try | None:
        """One try of the service's check; None if it has none."""
        spec, instance = checked.service.spec, checked.instance
        check, port = spec.check, spec.checked_port
        if check is not None and check.path:
            return lambda: self._request(instance, checked.host, check)
        if check is not None and check.command:
            command = tuple(with_generated(word, checked.secret_of) for word in check.command)
            return lambda: self._command(instance, command, check.timeout)
        if checked.service.has_healthcheck:
            return lambda: self._image_check(instance)
        if port is not None:
            return lambda: self._connect(instance, port, is_endpoint=port == spec.listening_port)
        return None

    async def _request(self, instance: Instance, host: str, check: ServiceCheck) -> Tried:
        if instance.endpoint is None:
            return Tried("it doesn't run")
        status = await self._prober.answers(instance.endpoint, host, check.path, check.timeout)
        if status is None:
            return Tried(f"it didn't answer GET {check.path} on port {instance.endpoint.port}")
        return Tried(f"it answered GET {check.path} with status {status}") if status >= 400 else Tried()

    async def _connect(self, instance: Instance, port: int, *, is_endpoint: bool) -> Tried:
        """Args:
        is_endpoint: whether this is the port of the instance's endpoint, which may be reached at another.
        """
        endpoint = instance.endpoint
        if endpoint is None:
            return Tried("it doesn't run")
        accepts = await self._prober.accepts(endpoint if is_endpoint else replace(endpoint, port=port))
        return Tried() if accepts else Tried(f"it accepts no connection on port {port}")

    async def _command(self, instance: Instance, command: Sequence[str], timeout: float) -> Tried:
        ran = await self._instances.run(instance.id, command, timeout)
        if ran.exit_code == 0:
            return Tried()
        ended = f"took over {timeout:g} s" if ran.exit_code is None else f"exited with {ran.exit_code}"
        return Tried(f"the command of its health check {ended}", ran.output)

    async def _image_check(self, instance: Instance) -> Tried:
        checked = await self._instances.check(instance.id)
        if checked is None or checked.healthy is not False:
            return Tried()
        return Tried("the image's HEALTHCHECK failed", checked.output)

    async def _unhealthy(self, checked: CheckedService, latest: Tried) -> Fault:
        text = await self._instances.logs(checked.instance.id, LOG_LINES)
        printed = f"The check printed:\n{latest.output.rstrip()}" if latest.output.strip() else ""
        return Fault(
            f'The service "{checked.name}" isn\'t healthy after {checked.timeout:g} s: {latest.problem}.',
            hint="Check the last lines of its log, and its health check.",
            reason="service-unhealthy",
            detail="\n".join(filter(None, (text, printed))),
        )
