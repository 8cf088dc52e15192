"""The stream of changes that an open dashboard receives (server-sent events)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from stager.control.control_plane import ControlPlane
from stager.control.environments.queries import Visibility
from stager.domain.errors import StagerError
from stager.domain.identity.actor import Actor
from stager.ports.handlers import Credentials
from stager.web.pages.preview_items import ChangeEvents, event

COALESCE_SECONDS = 0.3
"""Changes of this long are sent together."""
CHECK_SECONDS = 2.0
"""For this long, the result of checking a viewer's credentials and permissions is used."""
HEARTBEAT_SECONDS = 10.0
"""Interval of comments in a stream without changes; the credentials are checked then, too."""
MAX_STREAMS = 500
MAX_PER_PERSON = 10
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class OpenStreams:
    """Counts the open streams, for all people together and for each."""

    def __init__(self) -> None:
        self._by_person: Counter[tuple[str, str]] = Counter()

    def refusal(self, actor: Actor) -> str:
        """Why this person can't open another stream; empty if they can."""
        if self._by_person[_person(actor)] >= MAX_PER_PERSON:
            return f"You have {MAX_PER_PERSON} open dashboards. Close one to get live updates here."
        if self._by_person.total() >= MAX_STREAMS:
            return "Too many dashboards are open on this server."
        return ""

    @contextmanager
    def opened(self, actor: Actor) -> Iterator[None]:
        """Count a stream as open within the block."""
        person = _person(actor)
        self._by_person[person] += 1
        try:
            yield
        finally:
            self._by_person -= Counter({person: 1})  # drops counts of zero


def _person(actor: Actor) -> tuple[str, str]:
    return actor.by, actor.name


class Viewer:
    """The person behind a stream, whose credentials and permissions are checked again while it is open."""

    def __init__(self, control: ControlPlane, actor: Actor, credentials: Credentials) -> None:
        self.actor = actor
        self._control = control
        self._credentials = credentials
        self._visible: dict[str, Visibility] = {}
        self._checked_at = asyncio.get_running_loop().time()

    async def is_known(self) -> bool:
        """Whether the credentials still identify the same person. Forgets permissions that are older than
        `CHECK_SECONDS`."""
        now = asyncio.get_running_loop().time()
        if now - self._checked_at < CHECK_SECONDS:
            return True
        try:
            actor = await self._control.identity.authenticator.authenticate(self._credentials)
        except StagerError:
            return False
        self._checked_at = now
        self._visible.clear()
        return actor == self.actor

    async def visibility(self, app: str) -> Visibility:
        """What the person may see of this application's previews, and do with them."""
        if app not in self._visible:
            self._visible[app] = await self._control.environments.queries.visibility(self.actor, app)
        return self._visible[app]


class ChangeStream(StreamingResponse):
    """A response with the changes after a position, until the viewer's credentials are no longer valid.

    Args:
        position: of the last change that the viewer has.
    """

    def __init__(
        self, control: ControlPlane, events: ChangeEvents, streams: OpenStreams, viewer: Viewer, position: str
    ) -> None:
        super().__init__(
            _changes(control, events, viewer, position), media_type="text/event-stream", headers=HEADERS
        )
        self._streams = streams
        self._viewer = viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if refusal := self._streams.refusal(self._viewer.actor):
            await PlainTextResponse(refusal, 429, {"Retry-After": "60"})(scope, receive, send)
            return
        with self._streams.opened(self._viewer.actor):
            await super().__call__(scope, receive, send)


async def _changes(
    control: ControlPlane, events: ChangeEvents, viewer: Viewer, position: str
) -> AsyncIterator[str]:
    changes = control.environments.change_log
    yield ": open\n\n"
    while True:
        has_changed = await changes.wait(position, HEARTBEAT_SECONDS)
        if has_changed:
            await asyncio.sleep(COALESCE_SECONDS)
        if changes.is_closed:
            return
        if not await viewer.is_known():
            yield event("end", position, "")
            return
        if not has_changed:
            yield ": heartbeat\n\n"
            continue
        news = changes.since(position)
        position = changes.position if news is None else news[-1].position
        if news is None:
            yield event("reload", position, "")
        elif rendered := await events.render(control, news, viewer.visibility):
            yield "".join(rendered)
