"""The health check: an instance answers over HTTP, and the image's HEALTHCHECK passes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from stager.control.reconciler.port_diagnosis import Evidence, diagnose
from stager.domain.application import Application
from stager.domain.environment import Environment, Instance
from stager.domain.errors import StagerError
from stager.domain.text import lines_on_screen
from stager.ports.engine import Checked, Instances, Prober
from stager.ports.firewall import Firewall

log = structlog.get_logger(__name__)

LOG_LINES = 50
FIRST_INTERVAL, LONGEST_INTERVAL = 0.02, 1.0
"""Seconds between two probes of an instance, at first and in the end."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The result of a passed health check.

    Args:
        status: the HTTP status of the response.
        note: a remark on the check that is shown with the environment; empty for none.
    """

    status: int
    note: str = ""


UNFINISHED = Checked(healthy=False, output="(it didn't end)")
"""The result of a HEALTHCHECK that still runs at the end of `start_timeout`."""


@dataclass(slots=True)
class _Latest:
    status: int | None = None
    checked: Checked | None = None


class HealthCheck:
    """Probes instances until they are healthy.

    Args:
        firewall: lists the connections that it blocked; None for no firewall.
    """

    def __init__(self, instances: Instances, prober: Prober, firewall: Firewall | None = None) -> None:
        self._instances = instances
        self._prober = prober
        self._firewall = firewall

    async def wait(self, environment: Environment, application: Application, instance: Instance) -> Ready:
        """Return once the instance is healthy.

        Raises:
            Fault: it wasn't within `start_timeout`; the reasons are those of `port_diagnosis`.
            Retry: the engine doesn't answer.
        """
        latest = _Latest()
        try:
            async with asyncio.timeout(application.start_timeout):
                return await self._until_healthy(environment.host, application, instance, latest)
        except TimeoutError:
            raise diagnose(application, await self._evidence(instance, latest)) from None

    async def _until_healthy(
        self, host: str, application: Application, instance: Instance, latest: _Latest
    ) -> Ready:
        interval = FIRST_INTERVAL
        while True:
            status = latest.status = await self._status(host, application, instance)
            if status is not None and status < (400 if application.health_path else 500):
                latest.checked = latest.checked or UNFINISHED
                checked = await self._checked(application, instance)
                if checked is None or checked.healthy is not False:
                    return Ready(status, _note(checked, instance))
                latest.checked, interval = checked, LONGEST_INTERVAL
            else:
                latest.checked = None
            await asyncio.sleep(interval)
            interval = min(LONGEST_INTERVAL, interval * 1.5)

    async def _status(self, host: str, application: Application, instance: Instance) -> int | None:
        if instance.endpoint is None:
            return None
        path = application.health_path or "/"
        return await self._prober.answers(instance.endpoint, host, path, application.probe_timeout)

    async def _checked(self, application: Application, instance: Instance) -> Checked | None:
        """The result of the image's HEALTHCHECK if the application uses it."""
        return await self._instances.check(instance.id) if application.has_healthcheck else None

    async def _evidence(self, instance: Instance, latest: _Latest) -> Evidence:
        evidence = Evidence(
            latest.status,
            latest.checked,
            blocked=await self._is_blocked(instance.environment),
            log=await self._instances.logs(instance.id, LOG_LINES),
        )
        if latest.status is not None or instance.endpoint is None:
            return evidence
        if refusal := self._prober.refusal(instance.endpoint):
            return replace(evidence, refusal=refusal)
        return replace(
            evidence,
            accepts=await self._prober.accepts(instance.endpoint),
            listeners=await self._instances.listeners(instance.id),
        )

    async def _is_blocked(self, environment: str) -> bool:
        """Whether the firewall blocked a connection of it; False if the firewall doesn't answer."""
        if self._firewall is not None:
            with suppress(StagerError):
                return any(each.environment == environment for each in await self._firewall.blocked())
        return False


def _note(checked: Checked | None, instance: Instance) -> str:
    if checked is None or checked.healthy:
        return ""
    first_line = next(iter(lines_on_screen(checked.output)), "")
    log.warning("healthcheck_unusable", environment=instance.environment, output=first_line)
    return (
        f"The image's HEALTHCHECK can't be run in the container ({first_line[:200]}) and is ignored. "
        "Set `health_path` to a path to probe instead."
    )
