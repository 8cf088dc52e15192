"""A terminal in a preview's instance, over a WebSocket.

Binary messages are input and output. Text messages are JSON: `{"rows": 24, "columns": 80}` from the client
when the window changes, `{"exit_code": 0}` from the server at the end.
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
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.ports.engine import Size, Terminal
from stager.ports.handlers import Credentials
from stager.web.api.environments import MAX_SERVICE
from stager.web.api.router import Id
from stager.web.context import address_of, control_plane_of
from stager.web.problems import response_to

router = APIRouter()

MAX_SIZE = 1000
"""Rows or columns."""
MAX_COMMAND = 100
"""Words."""


class SizeBody(BaseModel):
    """The size of the terminal."""

    rows: int = Field(ge=1, le=MAX_SIZE)
    columns: int = Field(ge=1, le=MAX_SIZE)

    @property
    def size(self) -> Size:
        return Size(self.rows, self.columns)


class ExecQuery(SizeBody):
    """The command to run, and the terminal."""

    command: list[str] = Field(default=[], max_length=MAX_COMMAND)
    rows: int = Field(default=24, ge=1, le=MAX_SIZE)
    columns: int = Field(default=80, ge=1, le=MAX_SIZE)
    service: str = Field(default="", max_length=MAX_SERVICE, description="By default the main one.")
    kind: str = Field(default="xterm", max_length=64, pattern=r"^[\w.+-]*$")


@router.websocket("/api/v1/environments/{environment}/exec")
async def exec_(socket: WebSocket, environment: Id, query: Annotated[ExecQuery, Query()]) -> None:
    """Run a command in an environment's instance."""
    control = control_plane_of(socket)
    try:
        terminal = await _open(control, socket, environment, query)
    except StagerError as error:
        await socket.send_denial_response(response_to(socket.url.path, error))
        return
    try:
        with control.environments.power.in_use(environment):
            await socket.accept()
            await _connect(socket, terminal)
    finally:
        await terminal.close()


async def _open(control: ControlPlane, socket: WebSocket, environment: str, query: ExecQuery) -> Terminal:
    authorization = socket.headers.get("authorization", "")
    actor = await control.identity.authenticator.authenticate(
        Credentials(authorization, {}, address_of(socket))
    )
    return await open_terminal(
        control, actor, environment, query.command, query.size, query.kind, query.service
    )


async def open_terminal(
    control: ControlPlane,
    actor: Actor,
    environment: str,
    command: list[str],
    size: Size,
    kind: str,
    service: str,
) -> Terminal:
    """Run a command in an environment's instance, as a permitted and audited action.

    Raises:
        Refused: 404 unless the actor may see the environment and it has the service, 403 unless they may run
            commands, 409, no instance runs.
        Retry: the engine doesn't answer.
    """
    found = await control.environments.queries.visible(environment, actor)
    subject = _subject(found.name, service, command)
    async with control.identity.authorizer.authorized(actor, Action.EXEC, found.app, subject):
        return await control.environments.attach.open(found, command, size, kind, service)


def _subject(name: str, service: str, command: list[str]) -> str:
    """Return the subject for the audit log: the program without its arguments, which may contain secrets."""
    return " ".join(filter(None, [name, service, *command[:1]]))


async def _connect(socket: WebSocket, terminal: Terminal) -> None:
    """Pass on input and output until either end closes."""
    typing = asyncio.create_task(_forward_input(socket, terminal))
    printing = asyncio.create_task(_forward_output(socket, terminal))
    try:
        await asyncio.wait((typing, printing), return_when=asyncio.FIRST_COMPLETED)
    finally:
        typing.cancel()
        printing.cancel()
        await asyncio.gather(typing, printing, return_exceptions=True)


async def _forward_output(socket: WebSocket, terminal: Terminal) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # the client disconnected
        while printed := await terminal.read():
            await socket.send_bytes(printed)
        await socket.send_json({"exit_code": await terminal.exit_code()})
        await socket.close()


async def _forward_input(socket: WebSocket, terminal: Terminal) -> None:
    while (message := await socket.receive())["type"] == "websocket.receive":
        if (typed := message.get("bytes")) is not None:
            await terminal.write(typed)
        else:
            with suppress(ValidationError):
                await terminal.resize(SizeBody.model_validate_json(message.get("text") or "").size)
