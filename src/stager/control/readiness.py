"""Waits until an instance is ready for visitors: it answers over HTTP, and the image's own check passes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from stager.control.applications import Application
from stager.control.diagnosis import Seen, unready
from stager.domain.environment import Environment, Instance
from stager.domain.text import lines_on_screen
from stager.ports.engine import Checked, Instances, Prober

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
    """Asks instances whether they are ready."""

    def __init__(self, instances: Instances, prober: Prober) -> None:
        self._instances = instances
        self._prober = prober

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
        return await self._prober.answers(instance.endpoint, host, path, application.answer_timeout)

    async def _checked(self, application: Application, instance: Instance) -> Checked | None:
        """What the image's own check says, where it counts."""
        return await self._instances.check(instance.id) if application.has_healthcheck else None

    async def _seen(self, instance: Instance, latest: _Latest) -> Seen:
        text = await self._instances.logs(instance.id, LOG_LINES)
        if latest.status is not None or instance.endpoint is None:
            return Seen(latest.status, latest.checked, log=text)
        return Seen(
            accepts=await self._prober.accepts(instance.endpoint),
            listeners=await self._instances.listeners(instance.id),
            log=text,
        )


def _note(checked: Checked | None, instance: Instance) -> str:
    if checked is None or checked.healthy:
        return ""
    said = next(iter(lines_on_screen(checked.output)), "")
    log.warning("healthcheck_unusable", environment=instance.environment, output=said)
    return (
        f"The image's HEALTHCHECK can't be run in it ({said[:200]}), and so doesn't count. "
        "`health_path` names a path to ask instead."
    )
