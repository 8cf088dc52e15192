"""The stream of changes that an open dashboard receives (server-sent events)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from stager.control.control_plane import ControlPlane
from stager.control.environments.queries import Visibility
from stager.domain.errors import Retry
from stager.domain.identity.actor import Actor
from stager.ports.handlers import Credentials
from stager.web.pages.change_texts import ChangeTexts, Rounds
from stager.web.pages.overview.figure_events import FigureEvents
from stager.web.pages.overview.shared_checks import CHECK_SECONDS, Audience, SharedChecks
from stager.web.pages.overview.tally import Tally
from stager.web.pages.preview_items import event

HEARTBEAT_SECONDS = 10.0
"""Interval of comments in a stream without changes; the credentials are checked then, too."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class StreamLimit:
    """How many streams of one kind may be open.

    Args:
        too_many: what a person reads who has `per_person`.
        busy: what a person reads while `total` are open.
    """

    too_many: str
    busy: str
    per_person: int = 10
    total: int = 500


DASHBOARDS = StreamLimit(
    "You have 10 open dashboards. Close one to get live updates here.",
    "Too many dashboards are open on this server.",
)
LOGS = StreamLimit(
    "You follow 10 logs already. Stop following one, or close its page, to follow this one.",
    "Too many logs are followed on this server. Try again in a minute.",
)


class OpenStreams:
    """Counts the open streams of one kind, for all people together and for each."""

    def __init__(self, limit: StreamLimit) -> None:
        self._limit = limit
        self._by_person: Counter[tuple[str, str]] = Counter()

    def refusal(self, actor: Actor) -> str:
        """Why this person can't open another stream; empty if they can."""
        if self._by_person[_person(actor)] >= self._limit.per_person:
            return self._limit.too_many
        if self._by_person.total() >= self._limit.total:
            return self._limit.busy
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

    def __init__(
        self, control: ControlPlane, checks: SharedChecks, actor: Actor, credentials: Credentials
    ) -> None:
        self.actor = actor
        self._control = control
        self._checks = checks
        self._credentials = credentials

    async def is_known(self) -> bool:
        """Whether the credentials still identify the same person. Raises `Retry` while that can't be
        checked."""
        return await self._checks.actor(self._control, self._credentials) == self.actor

    async def audience(self, apps: Collection[str]) -> Audience:
        """Those of the applications whose previews the person may see."""
        return await self._checks.audience(self._control, self.actor, apps)

    async def visibility(self, app: str) -> Visibility:
        """What the person may see of this application's previews, and do with them."""
        return await self._checks.visibility(self._control, self.actor, app)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all open streams use together.

    Args:
        logs: the streams of logs, which have a limit of their own.
    """

    rounds: Rounds = field(default_factory=Rounds)
    texts: ChangeTexts = field(default_factory=ChangeTexts)
    streams: OpenStreams = field(default_factory=lambda: OpenStreams(DASHBOARDS))
    logs: OpenStreams = field(default_factory=lambda: OpenStreams(LOGS))
    checks: SharedChecks = field(default_factory=SharedChecks)
    tally: Tally = field(default_factory=Tally)
    figures: FigureEvents = field(default_factory=FigureEvents)


class ChangeStream(StreamingResponse):
    """A response with the changes after a position, until the viewer's credentials are no longer valid.

    Args:
        position: of the last change that the viewer has.
    """

    def __init__(self, control: ControlPlane, shared: Shared, viewer: Viewer, position: str) -> None:
        stream = _Stream(control, shared, viewer, position)
        super().__init__(stream.texts(), media_type="text/event-stream", headers=HEADERS)
        self._streams = shared.streams
        self._viewer = viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if refusal := self._streams.refusal(self._viewer.actor):
            await PlainTextResponse(refusal, 429, {"Retry-After": "60"})(scope, receive, send)
            return
        with self._streams.opened(self._viewer.actor):
            await super().__call__(scope, receive, send)


class _Stream:
    """The events of one stream: changed previews, the numbers at the filters, and what previews use."""

    def __init__(self, control: ControlPlane, shared: Shared, viewer: Viewer, position: str) -> None:
        self._control = control
        self._shared = shared
        self._viewer = viewer
        self._position = position
        self._numbers = b""
        self._measured = 0

    async def texts(self) -> AsyncIterator[bytes]:
        """Yield the text of the response, part by part."""
        changes = self._control.environments.change_log
        yield b": open\n\n"
        while True:
            self._control.environments.consumption.look()
            until = await self._shared.rounds.next(changes, self._position, HEARTBEAT_SECONDS)
            if changes.is_closed:
                return
            try:
                is_known = await self._viewer.is_known()
            except Retry:  # nothing is sent unchecked, and nothing is lost: the position stays
                yield b": busy\n\n"
                await asyncio.sleep(CHECK_SECONDS)
                continue
            if not is_known:
                yield event("end", self._position, "").encode()
                return
            has_changed = until != self._position
            text = await self._news(until) if has_changed else b""
            text += await self._new_figures()
            if text or not has_changed:
                yield text or b": heartbeat\n\n"

    async def _news(self, until: str) -> bytes:
        """Return the events of what has changed until a position; empty if the viewer may see none of it."""
        shared, after, self._position = self._shared, self._position, until
        await shared.tally.refresh(self._control)
        audience = await self._viewer.audience(shared.tally.apps)
        text = await shared.texts.changes(self._control, after, until, audience)
        if not text:
            return b""
        numbers = await shared.texts.numbers(shared.tally, audience, self._viewer.actor.name)
        before, self._numbers = self._numbers, numbers
        return text if numbers == before else text + numbers

    async def _new_figures(self) -> bytes:
        """Return an event with the figures that have changed since the last one; empty if none have."""
        meter, tally = self._control.environments.consumption, self._shared.tally
        if meter.number == self._measured:
            return b""
        await tally.refresh(self._control)
        apps = frozenset(app for app, _ in await self._viewer.audience(tally.apps))
        before, self._measured = self._measured, meter.number
        return self._shared.figures.text(meter, tally, apps, before).encode()
