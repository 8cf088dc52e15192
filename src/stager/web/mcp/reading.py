"""The tools that change nothing."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from stager.control.environments.queries import Row
from stager.control.reconciler.status_page import live_status
from stager.domain.deployment import deployed_sha
from stager.domain.errors import Retry
from stager.domain.pull_requests.why import LONGEST_TARGET
from stager.domain.status import State, summary_of
from stager.domain.text import lines_on_screen
from stager.web.api.views import EnvironmentView, current
from stager.web.api.why import WhyView, why_view
from stager.web.mcp.caller import Caller, current_caller
from stager.web.mcp.previews import Preview, Service, find_preview, pull_request_of

MAX_LISTED: Final = 100
MAX_WAIT: Final = 600
DEFAULT_WAIT: Final = 50
"""Seconds. Clients give up after 60 by default."""

MAX_LINES: Final = 2_000
MAX_TEXT: Final = 64 * 1024
"""Characters of a log; the beginning of more is dropped."""


class ListedView(BaseModel):
    """A preview in a list, with fields of the API's view."""

    id: str
    app: str
    name: str
    url: str
    state: State
    summary: str
    sha: str
    pull_request: str


class ListView(BaseModel):
    """The previews found."""

    previews: list[ListedView]
    more: int
    """How many more there are."""


class WaitView(BaseModel):
    """The end of a wait."""

    settled: bool
    """Whether the launch has ended, well or not."""
    live: bool
    """Whether the requested deployment serves."""
    preview: EnvironmentView


class FailureView(BaseModel):
    """Why a preview failed."""

    code: str
    message: str
    hint: str
    excerpt: list[str]


class FailureAnswer(BaseModel):
    """The failure, if there is one."""

    failure: FailureView | None


class LogView(BaseModel):
    """The end of a log."""

    lines: list[str]


async def list_previews(
    app: Annotated[str, Field(description="Only of this application.")] = "",
    state: Annotated[State | None, Field(description="Only in this state.")] = None,
    search: Annotated[str, Field(description="Part of a name, URL or OWNER/REPO#NUMBER.")] = "",
) -> ListView:
    """List the previews that you may see, newest first, 100 at most."""
    caller = current_caller()
    rows = await caller.control.environments.queries.listing(caller.actor, app=app)
    views = [_listed(caller, row) for row in reversed(rows)]
    found = [view for view in views if state in (None, view.state) and _contains(view, search)]
    return ListView(previews=found[:MAX_LISTED], more=max(len(found) - MAX_LISTED, 0))


def _listed(caller: Caller, row: Row) -> ListedView:
    environment = row.environment
    status = live_status(environment, row.deployment, caller.control.builds.queue)
    return ListedView(
        id=environment.id,
        app=environment.app,
        name=environment.name,
        url=caller.control.routing.urls.url(environment.host),
        state=status.state,
        summary=summary_of(environment, status, row.deployment, row.serving),
        sha=deployed_sha(environment, row.deployment),
        pull_request=pull_request_of(environment),
    )


def _contains(view: ListedView, search: str) -> bool:
    return any(search.lower() in text.lower() for text in (view.name, view.url, view.pull_request))


async def show_preview(preview: Preview) -> EnvironmentView:
    """Show a preview: its state, URL, commit, services and what to do about a failure."""
    caller = current_caller()
    return await current(caller.control, (await find_preview(caller, preview)).id, caller.actor)


async def wait_for_preview(
    preview: Preview,
    seconds: Annotated[
        int, Field(ge=1, le=MAX_WAIT, description="Call again if it hasn't settled.")
    ] = DEFAULT_WAIT,
) -> WaitView:
    """Wait until a preview is live or its launch has failed."""
    caller = current_caller()
    environment = await find_preview(caller, preview)
    settled = live = False
    try:
        result = await caller.control.environments.waiters.until_settled(environment, seconds)
        settled, live = True, result.is_live
    except Retry as error:
        if error.reason != "still-starting":
            raise
    view = await current(caller.control, environment.id, caller.actor)
    return WaitView(settled=settled, live=live, preview=view)


async def preview_failure(preview: Preview) -> FailureAnswer:
    """Tell why a preview failed and what mends it; null if it didn't fail."""
    caller = current_caller()
    row = await caller.control.environments.queries.row(
        (await find_preview(caller, preview)).id, caller.actor
    )
    status = live_status(row.environment, row.deployment, caller.control.builds.queue)
    if not status.reason:
        return FailureAnswer(failure=None)
    lines = list(status.lines) if row.visibility.logs else []
    failure = FailureView(code=status.reason, message=status.message, hint=status.hint, excerpt=lines)
    return FailureAnswer(failure=failure)


async def preview_logs(
    preview: Preview,
    kind: Annotated[
        Literal["run", "build"], Field(description="Of the application, or of its build.")
    ] = "run",
    service: Service = "",
    lines: Annotated[int, Field(ge=1, le=MAX_LINES)] = 200,
) -> LogView:
    """Read the last lines of a log."""
    caller = current_caller()
    environment, queries = await find_preview(caller, preview), caller.control.environments.queries
    if kind == "run":
        return _end_of(await queries.log_of(environment.id, lines, caller.actor, service=service), lines)
    key = await queries.build_of(environment.id, caller.actor, service)
    builds = caller.control.builds.queue
    return _end_of(builds.log_of(key).splitlines() if builds else [], lines)


def _end_of(log: list[str], lines: int) -> LogView:
    text = "\n".join(lines_on_screen("\n".join(log[-lines:])))
    return LogView(lines=text[-MAX_TEXT:].splitlines())


async def why_no_preview(
    target: Annotated[
        str,
        Field(max_length=LONGEST_TARGET, description="OWNER/REPO#NUMBER, OWNER/REPO#BRANCH or a URL."),
    ],
) -> WhyView:
    """Tell which rule keeps a pull request or branch from having a preview."""
    caller = current_caller()
    return await why_view(caller.control, target, caller.actor)
