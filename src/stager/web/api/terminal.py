"""A terminal inside a preview's instance, over a WebSocket.

Bytes are what is typed and what is printed. Text is about them, as JSON: `{"rows": 24, "columns": 80}` from
whoever types, `{"exit_code": 0}` at the end.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel, Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from stager.control.control_plane import ControlPlane
from stager.domain.errors import StagerError
from stager.domain.identity.roles import Action
from stager.ports.engine import Size, Terminal
from stager.ports.handlers import Credentials
from stager.web.api.environments import Id
from stager.web.context import address_of, control_plane_of
from stager.web.problems import answer_to

router = APIRouter()

LONGEST = 1000
"""Rows or columns; whoever says more has no such screen."""
LONGEST_COMMAND = 100


class SizeBody(BaseModel):
    """How much the terminal shows."""

    rows: int = Field(ge=1, le=LONGEST)
    columns: int = Field(ge=1, le=LONGEST)

    @property
    def size(self) -> Size:
        return Size(self.rows, self.columns)


class Wanted(SizeBody):
    """What is to run, and before what kind of terminal."""

    command: list[str] = Field(default=[], max_length=LONGEST_COMMAND)
    rows: int = Field(default=24, ge=1, le=LONGEST)
    columns: int = Field(default=80, ge=1, le=LONGEST)
    kind: str = Field(default="xterm", max_length=64, pattern=r"^[\w.+-]*$")


@router.websocket("/api/v1/environments/{environment}/exec")
async def exec_(socket: WebSocket, environment: Id, wanted: Annotated[Wanted, Query()]) -> None:
    """Run a command inside what runs of an environment."""
    control = control_plane_of(socket)
    try:
        terminal = await _opened(control, socket, environment, wanted)
    except StagerError as error:
        await socket.send_denial_response(answer_to(socket.url.path, error))
        return
    try:
        await socket.accept()
        await _joined(socket, terminal)
    finally:
        await terminal.close()


async def _opened(control: ControlPlane, socket: WebSocket, environment: str, wanted: Wanted) -> Terminal:
    authorization = socket.headers.get("authorization", "")
    actor = await control.identity.authenticator.authenticate(
        Credentials(authorization, {}, address_of(socket))
    )
    found = await control.environments.queries.visible(environment, actor)
    subject = _subject(found.name, wanted.command)
    async with control.identity.authorizer.authorized(actor, Action.EXEC, found.app, subject):
        return await control.environments.attach.open(found, wanted.command, wanted.size, wanted.kind)


def _subject(name: str, command: list[str]) -> str:
    """What the audit log has of it: the program, without its arguments, in which secrets may be."""
    return " ".join([name, *command[:1]])


async def _joined(socket: WebSocket, terminal: Terminal) -> None:
    """Carry both ways until either end has had enough."""
    typing = asyncio.create_task(_type(socket, terminal))
    printing = asyncio.create_task(_print(socket, terminal))
    try:
        await asyncio.wait((typing, printing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        typing.cancel()
        printing.cancel()
        await asyncio.gather(typing, printing, return_exceptions=True)


async def _print(socket: WebSocket, terminal: Terminal) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # whoever typed has gone
        while printed := await terminal.read():
            await socket.send_bytes(printed)
        await socket.send_json({"exit_code": await terminal.exit_code()})
        await socket.close()


async def _type(socket: WebSocket, terminal: Terminal) -> None:
    while (message := await socket.receive())["type"] == "websocket.receive":
        if (typed := message.get("bytes")) is not None:
            await terminal.write(typed)
        else:
            with suppress(ValidationError):
                await terminal.resize(SizeBody.model_validate_json(message.get("text") or "").size)
