"""The logs of a preview as server-sent events. A stream of a build's log resumes where it was interrupted
(`Last-Event-ID`); one of a service's log starts again with its last lines, and says so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from stager.control.control_plane import ControlPlane
from stager.domain.errors import Refused, StagerError
from stager.web.api.environments import ServiceName
from stager.web.api.router import Id
from stager.web.context import Control, Web, WebContext, actor_of, credentials_of
from stager.web.pages.change_stream import HEADERS, OpenStreams, Viewer

router = APIRouter(include_in_schema=False)

PATH = "/previews/{environment}"
HEARTBEAT_SECONDS = 10.0
"""Longest time without a sign of life; the credentials are checked then, too."""
LINES = 500
"""Lines of earlier output at the beginning of a service's log."""
MAX_LINE = 16_384
"""Characters; the rest of a longer line is left out."""
MAX_EVENT = 400_000
"""Characters of one event; of more, the last are sent."""
CUT = "[earlier lines are in the complete log]\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a log.

    Args:
        position: the id of the event; empty if the stream can't be resumed after it.
    """

    text: str
    position: str = ""


@router.get(PATH + "/build-log/events")
async def build_log(
    request: Request,
    control: Control,
    web: Web,
    environment: Id,
    service: ServiceName = "",
    last_event_id: Annotated[str, Header(max_length=120)] = "",
) -> Response:
    """Stream the log of the latest build, until it ends."""
    viewer = await _viewer(request, control, web)
    if isinstance(viewer, Response):
        return viewer
    actor = viewer.actor
    key = await control.environments.queries.build_of(environment, actor, service)
    app = (await control.environments.queries.visible(environment, actor)).app
    offset = offset_of(last_event_id, key)
    pieces = _build_pieces(control, key, offset)
    return LogStream(_events(pieces, viewer, app, is_resumed=offset > 0), viewer, web.dashboards.streams)


@router.get(PATH + "/log/events")
async def service_log(
    request: Request, control: Control, web: Web, environment: Id, service: ServiceName = ""
) -> Response:
    """Stream the output of a service, also across its instances."""
    viewer = await _viewer(request, control, web)
    if isinstance(viewer, Response):
        return viewer
    app = (await control.environments.queries.readable(environment, viewer.actor)).app
    # Raises before the response starts, so that the status code is right.
    await control.environments.attach.newest(environment, service)
    pieces = _service_pieces(control, environment, service)
    return LogStream(_events(pieces, viewer, app, is_resumed=False), viewer, web.dashboards.streams)


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


async def _build_pieces(control: ControlPlane, key: str, offset: int) -> AsyncGenerator[Piece]:
    if control.builds.queue is None or not key:
        return
    async for text, end in control.builds.queue.follow_from(key, offset):
        yield Piece(text, f"{key}.{end}")


async def _service_pieces(control: ControlPlane, environment: str, service: str) -> AsyncGenerator[Piece]:
    async for text in control.environments.attach.follow(environment, LINES, service):
        yield Piece(text)


async def _events(
    pieces: AsyncGenerator[Piece], viewer: Viewer, app: str, *, is_resumed: bool
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


def _event(piece: Piece) -> str:
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


async def with_pauses(pieces: AsyncGenerator[Piece], seconds: float) -> AsyncIterator[Piece | None]:
    """Yield the pieces, and None after each pause of this many seconds."""
    waiting: asyncio.Future[Piece | None] | None = None
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


async def _next(pieces: AsyncGenerator[Piece]) -> Piece | None:
    return await anext(pieces, None)
