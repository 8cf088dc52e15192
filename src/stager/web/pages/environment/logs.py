"""The logs on a preview's page: those of the chosen service and deployment, as the page shows them without a
script."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Retry
from stager.domain.identity.actor import Actor
from stager.domain.text import as_on_screen, lines_on_screen
from stager.web.api.environments import MAX_LOG_LINES, ServiceName
from stager.web.api.views import DeploymentView, EnvironmentView

LOG_LINES = 200
MAX_CHOICES = 50
"""Deployments that can be chosen; the newest ones."""
MAX_GENERATION = 10**9

DeploymentNumber = Annotated[
    int, Query(ge=0, le=MAX_GENERATION, description="The number of a deployment; 0 for the newest.")
]


@dataclass(frozen=True, slots=True)
class LogChoice:
    """Which logs a page shows.

    Args:
        service: empty for the main one.
        deployment: its number; 0 for the newest.
    """

    service: str = ""
    deployment: int = 0

    @property
    def number(self) -> str:
        """The deployment as text; empty for the newest."""
        return str(self.deployment) if self.deployment else ""

    @property
    def given(self) -> dict[str, str]:
        """The parameters of the page's address, and of others."""
        parameters = {"service": self.service, "deployment": self.number}
        return {name: value for name, value in parameters.items() if value}

    @property
    def query(self) -> str:
        """The parameters as text; empty, or with a question mark."""
        return f"?{urlencode(self.given)}" if self.given else ""


async def _choice(service: ServiceName = "", deployment: DeploymentNumber = 0) -> LogChoice:
    return LogChoice(service, deployment)


Choice = Annotated[LogChoice, Depends(_choice)]
"""The choice in a request's query."""


@dataclass(frozen=True, slots=True)
class PageLogs:
    """The logs on a page, and what can be chosen instead.

    Args:
        services: by name; a single one can't be chosen.
        deployments: their numbers, newest first.
        service: the chosen one, or the main one.
        of: whose logs they are, in words; empty for what is shown without a choice.
        build: the key of the build; empty if there was none.
        is_in_progress: whether the build is.
        build_lines: the end of the build's log, unless it is in progress.
        lines: the last lines of the service's output.
        is_followable: whether there may be more output.
        build_download: the address of the build's log.
        download: the address of the service's log.
    """

    choice: LogChoice
    services: Sequence[str] = ()
    deployments: Sequence[int] = ()
    of: str = ""
    service: str = ""
    build: str = ""
    is_in_progress: bool = False
    build_lines: Sequence[str] = ()
    lines: Sequence[str] = ()
    is_followable: bool = False
    build_download: str = ""
    download: str = ""


async def logs_of(
    control: ControlPlane,
    actor: Actor,
    view: EnvironmentView,
    deployments: Sequence[DeploymentView],
    choice: LogChoice,
) -> PageLogs:
    """Read the logs for a page.

    Raises:
        Refused: 404, there is no such service or deployment.
    """
    key, is_in_progress, build_lines = await _build(control, view.id, actor, choice)
    address = f"/api/v1/environments/{view.id}"
    services = [service.name for service in view.services]
    return PageLogs(
        choice,
        services=services if len(services) > 1 else (),
        deployments=[each.generation for each in deployments[:MAX_CHOICES]],
        of=_words(view, choice),
        service=choice.service or _main(view),
        build=key,
        is_in_progress=is_in_progress,
        build_lines=build_lines,
        lines=await log_lines(control, view.id, actor, choice),
        is_followable=await _is_followable(control, view, choice),
        build_download=f"{address}/build-log{choice.query}",
        download=f"{address}/log?{urlencode({'lines': MAX_LOG_LINES, **choice.given})}",
    )


def _main(view: EnvironmentView) -> str:
    return next((service.name for service in view.services if service.is_main), "")


def _words(view: EnvironmentView, choice: LogChoice) -> str:
    service = choice.service
    if choice.deployment and not service and len(view.services) > 1:
        service = _main(view)
    return ", ".join(filter(None, [service, f"deployment {choice.deployment}" if choice.deployment else ""]))


async def _build(
    control: ControlPlane, environment: str, actor: Actor, choice: LogChoice
) -> tuple[str, bool, list[str]]:
    """Return the key of the build, whether it is in progress, and otherwise the end of its log."""
    key = await control.environments.queries.build_of(environment, actor, choice.service, choice.number)
    if control.builds.queue is None or not key:
        return "", False, []
    if control.builds.queue.progress(key) is not None:
        return key, True, []
    return key, False, lines_on_screen(control.builds.queue.log_of(key))[-LOG_LINES:]


async def log_lines(control: ControlPlane, environment: str, actor: Actor, choice: LogChoice) -> list[str]:
    """Return the last lines of a service's log; none while the engine doesn't respond."""
    queries = control.environments.queries
    with suppress(Retry):
        log = await queries.log_of(environment, LOG_LINES, actor, choice.number, choice.service)
        return [as_on_screen(line) for line in log]
    return []


async def _is_followable(control: ControlPlane, view: EnvironmentView, choice: LogChoice) -> bool:
    """Whether there is an instance, or one may come."""
    if choice.deployment in {0, view.generation}:
        return True
    with suppress(Retry):
        newest = await control.environments.attach.newest(view.id, choice.service, choice.deployment)
        return newest is not None
    return False
