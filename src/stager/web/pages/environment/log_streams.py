"""The logs of a preview as server-sent events. A stream resumes where it was interrupted, without a lost or
repeated line: after `Last-Event-ID`, or after the parameter `after`, which a script sends in its place. Where
it can't, it says so: `begin` before a log that comes from its beginning, `gap` before lines after missing
ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Refused, StagerError
from stager.ports.engine import LogPiece
from stager.web.api.router import Id
from stager.web.context import Control, Web, WebContext, actor_of, credentials_of
from stager.web.pages.change_stream import HEADERS, OpenStreams, Viewer
from stager.web.pages.environment.logs import Choice

router = APIRouter(include_in_schema=False)

MAX_POSITION = 200
"""Characters."""
PATH = "/previews/{environment}"
HEARTBEAT_SECONDS = 10.0
"""Longest time without a sign of life; the credentials are checked then, too."""
LINES = 500
"""Lines of earlier output at the beginning of a service's log."""
MAX_LINE = 16_384
"""Characters; the rest of a longer line is left out."""
MAX_EVENT = 400_000
"""Characters of one event; of more, the last are sent."""
GAP = "[lines are missing here: they were written while the connection was interrupted, and aren't stored]\n"
CUT = "[earlier lines are in the complete log]\n"


async def _position(
    last_event_id: Annotated[str, Header(max_length=MAX_POSITION)] = "",
    after: Annotated[str, Query(max_length=MAX_POSITION)] = "",
) -> str:
    return last_event_id or after


Position = Annotated[str, Depends(_position)]
"""The id of the last event that the viewer has; empty for none."""


@router.get(PATH + "/build-log/events")
async def build_log(
    request: Request,
    control: Control,
    web: Web,
    environment: Id,
    choice: Choice,
    position: Position,
) -> Response:
    """Stream the log of the latest build, or of a deployment's, until it ends."""
    viewer = await _viewer(request, control, web)
    if isinstance(viewer, Response):
        return viewer
    queries, actor = control.environments.queries, viewer.actor
    key = await queries.build_of(environment, actor, choice.service, choice.number)
    app = (await queries.visible(environment, actor)).app
    offset = offset_of(position, key)
    pieces = _build_pieces(control, key, offset)
    return LogStream(_events(pieces, viewer, app, is_resumed=offset > 0), viewer, web.dashboards.logs)


@router.get(PATH + "/log/events")
async def service_log(
    request: Request,
    control: Control,
    web: Web,
    environment: Id,
    choice: Choice,
    position: Position,
) -> Response:
    """Stream the output of a service, also across its instances; of one deployment, if that is named."""
    viewer = await _viewer(request, control, web)
    if isinstance(viewer, Response):
        return viewer
    app = (await control.environments.queries.readable(environment, viewer.actor)).app
    attach = control.environments.attach
    # Raises before the response starts, so that the status code is right.
    await attach.newest(environment, choice.service, choice.deployment)
    pieces = attach.follow(environment, LINES, choice.service, generation=choice.deployment, after=position)
    events = _events(pieces, viewer, app, is_resumed=bool(position))
    return LogStream(events, viewer, web.dashboards.logs)


async def _viewer(request: Request, control: ControlPlane, web: WebContext) -> Viewer | Response:
    """Authenticate the request. Errors have no `WWW-Authenticate`: browsers would show a dialog."""
    try:
        actor = await actor_of(request, control)
    except Refused as error:
        return Response(status_code=error.status)
    return Viewer(control, web.dashboards.checks, actor, await credentials_of(request))


class LogStream(StreamingResponse):
    """A response with a log, counted among the open streams of the viewer."""

    def __init__(self, texts: AsyncIterator[str], viewer: Viewer, streams: OpenStreams) -> None:
        super().__init__(texts, media_type="text/event-stream", headers=HEADERS)
        self._viewer, self._streams = viewer, streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if refusal := self._streams.refusal(self._viewer.actor):
            await PlainTextResponse(refusal, 429, {"Retry-After": "60"})(scope, receive, send)
            return
        with self._streams.opened(self._viewer.actor):
            await super().__call__(scope, receive, send)


def offset_of(position: str, key: str) -> int:
    """Return the offset in the log of this build from which a stream goes on; 0 for the position in another
    log, and for none."""
    of, _, offset = position.rpartition(".")
    return int(offset) if of == key and offset.isdecimal() and offset.isascii() else 0


async def _build_pieces(control: ControlPlane, key: str, offset: int) -> AsyncGenerator[LogPiece]:
    if control.builds.queue is None or not key:
        return
    async for text, end in control.builds.queue.follow_from(key, offset):
        yield LogPiece(text, f"{key}.{end}")


async def _events(
    pieces: AsyncGenerator[LogPiece], viewer: Viewer, app: str, *, is_resumed: bool
) -> AsyncIterator[str]:
    """Yield the text of the response, part by part, as long as the viewer may read the log."""
    if not is_resumed:
        yield "event: begin\ndata:\n\n"
    try:
        async for piece in with_pauses(pieces, HEARTBEAT_SECONDS):
            if not (await viewer.is_known() and (await viewer.visibility(app)).logs):
                return  # The browser asks again: with its renewed session, or for a refusal.
            yield _event(piece) if piece else ": heartbeat\n\n"
    except StagerError:
        return
    yield "event: end\ndata:\n\n"


def _event(piece: LogPiece) -> str:
    if piece.is_gap:
        return f"event: gap\ndata: {json.dumps(GAP)}\n\n"
    identity = f"id: {piece.position}\n" if piece.position else ""
    return f"{identity}event: lines\ndata: {json.dumps(shortened(piece.text))}\n\n"


def shortened(text: str) -> str:
    """Return the text within the limits of an event."""
    if len(text) > MAX_EVENT:
        text = CUT + text[-MAX_EVENT:].partition("\n")[2]
    if len(text) <= MAX_LINE:
        return text
    return "".join(_short_line(line) for line in text.splitlines(keepends=True))


def _short_line(line: str) -> str:
    if len(line) <= MAX_LINE:
        return line
    return f"{line[:MAX_LINE]} […]" + ("\n" if line.endswith("\n") else "")


async def with_pauses(pieces: AsyncGenerator[LogPiece], seconds: float) -> AsyncIterator[LogPiece | None]:
    """Yield the pieces, and None after each pause of this many seconds."""
    waiting: asyncio.Future[LogPiece | None] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(_next(pieces))
            done, _ = await asyncio.wait({waiting}, timeout=seconds)
            if not done:
                yield None
                continue
            piece, waiting = waiting.result(), None
            if piece is None:
                return
            yield piece
    finally:
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError, StagerError):
                await waiting
        await pieces.aclose()


async def _next(pieces: AsyncGenerator[LogPiece]) -> LogPiece | None:
    return await anext(pieces, None)
