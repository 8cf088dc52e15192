"""The tools that change something. Each checks permission and writes the audit log as the API does."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, Field

from stager.control.environments.share_links import MAX_LIFETIME
from stager.domain.commands import Launch
from stager.domain.environment import Environment
from stager.ports.engine import Size, Terminal
from stager.web.api.terminal import MAX_COMMAND, open_terminal
from stager.web.api.views import EnvironmentView, current
from stager.web.mcp.caller import Caller, current_caller
from stager.web.mcp.previews import Preview, Service, find_preview

MAX_OUTPUT: Final = 64 * 1024
"""Bytes of a command's output; the beginning of more is dropped."""
MAX_SECONDS: Final = 600
WINDOW: Final = Size(50, 200)
DUMB: Final = "dumb"
"""The terminal type of programs without colors and cursor movements."""
MAX_HOURS: Final = MAX_LIFETIME // timedelta(hours=1)


class CommandView(BaseModel):
    """The result of a command."""

    exit_code: int | None
    """Null if it hadn't ended after `seconds` and was killed."""
    output: str
    truncated: bool
    """Whether the beginning of the output is left out."""


class SharedView(BaseModel):
    """A new share link."""

    url: str
    expires_at: datetime


async def launch_preview(
    app: Annotated[str, Field(description="The application.")],
    name: Annotated[str, Field(description="Branch, tag, or another name.")],
    variables: Annotated[dict[str, str], Field(description="Environment variables.")] = {},  # noqa: B006
) -> EnvironmentView:
    """Launch a preview of a branch, or deploy it again. Doesn't wait."""
    caller = current_caller()
    command = Launch(app, name, variables)
    return await _view(caller, await caller.control.environments.commands.launch(command, caller.actor))


async def kill_preview(preview: Preview) -> EnvironmentView:
    """Remove a preview and its data. A pull request's comes back with its next push."""
    caller = current_caller()
    found = await find_preview(caller, preview)
    return await _view(caller, await caller.control.environments.commands.kill_by_id(found.id, caller.actor))


async def reset_preview(preview: Preview) -> EnvironmentView:
    """Delete a preview's data and deploy it again with new data."""
    caller = current_caller()
    found = await find_preview(caller, preview)
    return await _view(caller, await caller.control.environments.commands.reset(found.id, caller.actor))


async def _view(caller: Caller, environment: Environment) -> EnvironmentView:
    return await current(caller.control, environment.id, caller.actor)


async def share_preview(
    preview: Preview,
    hours: Annotated[int, Field(ge=1, le=MAX_HOURS)] = 24,
    note: Annotated[str, Field(max_length=200, description="For whom it is.")] = "",
) -> SharedView:
    """Create a link by which somebody without an account sees a private preview."""
    caller = current_caller()
    found, lifetime = await find_preview(caller, preview), timedelta(hours=hours)
    links = caller.control.environments.share_links
    link, url = await links.create(found.id, lifetime, note, caller.actor)
    return SharedView(url=url, expires_at=link.expires_at)


async def run_command(
    preview: Preview,
    command: Annotated[
        list[str],
        Field(min_length=1, max_length=MAX_COMMAND, description='Words; ["sh", "-c", ...] for a shell.'),
    ],
    service: Service = "",
    seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS, description="Then it is killed.")] = 50,
) -> CommandView:
    """Run a command inside a running preview, without input."""
    caller = current_caller()
    found = await find_preview(caller, preview)
    control = caller.control
    terminal = await open_terminal(control, caller.actor, found.id, command, WINDOW, DUMB, service)
    try:
        with control.environments.power.in_use(found.id):
            return await _run(terminal, seconds)
    finally:
        await terminal.close()


async def _run(terminal: Terminal, seconds: float) -> CommandView:
    output, exit_code, is_cut = bytearray(), None, False
    try:
        async with asyncio.timeout(seconds):
            while printed := await terminal.read():
                output += printed
                is_cut = is_cut or len(output) > MAX_OUTPUT
                del output[:-MAX_OUTPUT]
            exit_code = await terminal.exit_code()
    except TimeoutError:
        pass
    text = output.decode(errors="replace").replace("\r\n", "\n")
    return CommandView(exit_code=exit_code, output=text, truncated=is_cut)
