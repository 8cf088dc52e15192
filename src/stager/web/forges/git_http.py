"""Git over HTTP for the repositories of the local forge: runs `git http-backend` behind Stager's
authentication.

Fetches and pushes are streamed, so they needn't fit into memory. A push runs the same hook as one over a
path.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import cast

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from stager.domain.errors import Refused, Retry
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.git import environment, started
from stager.ports.handlers import Credentials
from stager.web.context import address_of, control_plane_of, learn_domain, web_of

PREFIX = "/git"
MAX_PUSH = 2 * 1024**3
"""Bytes."""

TIMEOUT = 3600.0
IDLE_TIMEOUT = 120.0
"""Seconds until the next chunk of a push."""

PUSH = "/git-receive-pack"
_CHUNK = 64 * 1024
_CALL = re.compile(r"/(?P<name>[^/]+?)(?:\.git)?(?P<call>/info/refs|/git-upload-pack|/git-receive-pack)")
"""The paths of git's smart HTTP protocol (git-http-backend(1))."""


class GitOverHttp:
    """Serves `/git/NAME.git/...`; an ASGI application that is mounted there."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        control, repositories = control_plane_of(request), web_of(request).options.repositories
        authorization = request.headers.get("authorization", "")
        address = address_of(request)
        actor = await control.identity.authenticator.authenticate(Credentials(authorization, {}, address))
        await learn_domain(request, control)
        seen = await control.identity.authorizer.visible(actor, repositories)
        name, call = _target(scope, {name: repositories[name] for name in seen})
        # A pushed branch gets a preview, so a push needs the permission to launch.
        await control.identity.authorizer.check(
            actor, Action.LAUNCH if _is_push(request, call) else Action.SEE, name
        )
        variables = _variables(request, repositories[name], call, actor)
        try:
            async with asyncio.timeout(TIMEOUT):
                await _answer(request, variables, send)
        except BaseExceptionGroup as group:
            first = group.exceptions[0]
            if not isinstance(
                first, ClientDisconnect | TimeoutError
            ):  # otherwise the client has disconnected
                raise first from None


def _is_push(request: Request, call: str) -> bool:
    """Whether this is a push, or the request for refs before one."""
    return PUSH in (call, f"/{request.query_params.get('service', '')}")


def _target(scope: Scope, repositories: Mapping[str, Path]) -> tuple[str, str]:
    """Return the repository's name and the path of the git service."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    match = _CALL.fullmatch(path)
    if match is not None and match["name"] in repositories:
        return match["name"], match["call"]
    if not repositories:
        hint = "`local_forge` in the configuration is empty."
    else:
        hint = f"The repositories are: {', '.join(f'{PREFIX}/{name}.git' for name in sorted(repositories))}."
    raise Refused(
        f"There is no git repository at {PREFIX}{path[:200]}.",
        hint=hint,
        reason="git-path-unknown",
        status=404,
    )


def _variables(request: Request, repository: Path, call: str, actor: Actor) -> dict[str, str]:
    """Return the CGI variables (RFC 3875) for git."""
    variables = {
        "GIT_PROJECT_ROOT": str(repository),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        "PATH_INFO": call,
        "QUERY_STRING": request.url.query,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("content-type", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
        "REMOTE_USER": actor.name,
        "REMOTE_ADDR": request.client.host if request.client else "",
    }
    # Pushes are detected by the hook. The path is relative to the repository.
    return environment({"core.hooksPath": "hooks", "http.getanyfile": "false"}) | variables


async def _answer(request: Request, variables: Mapping[str, str], send: Send) -> None:
    async with started(["http-backend"], variables, has_input=True) as process, asyncio.TaskGroup() as tasks:
        output = cast("asyncio.StreamReader", process.stdout)
        feeding = tasks.create_task(_feed(request, cast("asyncio.StreamWriter", process.stdin)))
        tasks.create_task(_drain(process.stderr))
        status, headers = _read_head(await _head(output))
        if variables["PATH_INFO"] == PUSH:  # so that a push that is too large gets a 413
            await feeding
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while chunk := await output.read(_CHUNK):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _feed(request: Request, stream: asyncio.StreamWriter) -> None:
    """Stream the body to git.

    Raises:
        Refused: 413, it is larger than `MAX_PUSH`.
    """
    size = 0
    async for chunk in _with_timeout(request.stream()):
        size += len(chunk)
        if size > MAX_PUSH:
            raise Refused(f"The push is larger than {MAX_PUSH} bytes.", reason="too-large", status=413)
        with contextlib.suppress(ConnectionError):  # git has closed its input, and reports why
            stream.write(chunk)
            await stream.drain()
    stream.close()
    with contextlib.suppress(ConnectionError):
        await stream.wait_closed()


async def _with_timeout(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        async with asyncio.timeout(IDLE_TIMEOUT):
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                return
        yield chunk


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(_CHUNK):
        pass


async def _head(output: asyncio.StreamReader) -> bytes:
    try:
        return await output.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise Retry("git http-backend didn't respond.", reason="repository-away") from error


def _read_head(head: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Parse the status and headers of a CGI response."""
    lines = (line.partition(b":") for line in head.split(b"\r\n") if line)
    headers = [(name.lower(), value.strip()) for name, _, value in lines]
    status = next((value for name, value in headers if name == b"status"), b"200")
    return int(status.split()[0]), [(name, value) for name, value in headers if name != b"status"]
