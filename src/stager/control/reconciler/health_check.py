"""Waits until an instance is ready for visitors: it answers over HTTP, and the image's own check passes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from stager.control.reconciler.port_diagnosis import Seen, unready
from stager.domain.application import Application
from stager.domain.environment import Environment, Instance
from stager.domain.errors import StagerError
from stager.domain.text import lines_on_screen
from stager.ports.engine import Checked, Instances, Prober
from stager.ports.firewall import Firewall

log = structlog.get_logger(__name__)

LOG_LINES = 50
FIRST_PROBE, LONGEST_PROBE = 0.02, 1.0
"""Seconds between two questions whether an instance answers, at first and in the end."""


@dataclass(frozen=True, slots=True)
class Ready:
    """An instance is ready.

    Args:
        status: of the response that said so.
        note: what people should know of the check; empty for nothing.
    """

    status: int
    note: str = ""


UNENDED = Checked(healthy=False, output="(it didn't end)")
"""Of a check that is still under way when the time is over."""


@dataclass(slots=True)
class _Latest:
    status: int | None = None
    checked: Checked | None = None


class Readiness:
    """Asks instances whether they are ready.

    Args:
        firewall: what guards them, where anything does; it knows what it kept them from.
    """

    def __init__(self, instances: Instances, prober: Prober, firewall: Firewall | None = None) -> None:
        self._instances = instances
        self._prober = prober
        self._firewall = firewall

    async def wait(self, environment: Environment, application: Application, instance: Instance) -> Ready:
        """Return once the instance is ready.

        Raises:
            Fault: it wasn't within `start_timeout`; the reasons are those of `diagnosis`.
            Retry: the engine doesn't answer.
        """
        latest = _Latest()
        try:
            async with asyncio.timeout(application.start_timeout):
                return await self._until_ready(environment.host, application, instance, latest)
        except TimeoutError:
            raise unready(application, await self._seen(instance, latest)) from None

    async def _until_ready(
        self, host: str, application: Application, instance: Instance, latest: _Latest
    ) -> Ready:
        pause = FIRST_PROBE
        while True:
            status = latest.status = await self._status(host, application, instance)
            if status is not None and status < (400 if application.health_path else 500):
                latest.checked = latest.checked or UNENDED
                checked = await self._checked(application, instance)
                if checked is None or checked.healthy is not False:
                    return Ready(status, _note(checked, instance))
                latest.checked, pause = checked, LONGEST_PROBE
            else:
                latest.checked = None
            await asyncio.sleep(pause)
            pause = min(LONGEST_PROBE, pause * 1.5)

    async def _status(self, host: str, application: Application, instance: Instance) -> int | None:
        if instance.endpoint is None:
            return None
        path = application.health_path or "/"
        return await self._prober.answers(instance.endpoint, host, path, application.probe_timeout)

    async def _checked(self, application: Application, instance: Instance) -> Checked | None:
        """What the image's own check says, where it counts."""
        return await self._instances.check(instance.id) if application.has_healthcheck else None

    async def _seen(self, instance: Instance, latest: _Latest) -> Seen:
        seen = Seen(
            latest.status,
            latest.checked,
            blocked=await self._is_blocked(instance.environment),
            log=await self._instances.logs(instance.id, LOG_LINES),
        )
        if latest.status is not None or instance.endpoint is None:
            return seen
        if refusal := self._prober.refusal(instance.endpoint):
            return replace(seen, refusal=refusal)
        return replace(
            seen,
            accepts=await self._prober.accepts(instance.endpoint),
            listeners=await self._instances.listeners(instance.id),
        )

    async def _is_blocked(self, environment: str) -> bool:
        """Whether the firewall kept it from something; what can't be found out isn't said."""
        if self._firewall is not None:
            with suppress(StagerError):
                return any(each.environment == environment for each in await self._firewall.blocked())
        return False


def _note(checked: Checked | None, instance: Instance) -> str:
    if checked is None or checked.healthy:
        return ""
    said = next(iter(lines_on_screen(checked.output)), "")
    log.warning("healthcheck_unusable", environment=instance.environment, output=said)
    return (
        f"The image's HEALTHCHECK can't be run in it ({said[:200]}), and so doesn't count. "
        "`health_path` names a path to ask instead."
    )
