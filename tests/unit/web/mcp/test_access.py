"""The access matrix of the tools: every role, every tool, refused as the API refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Action, Role, may
from stager.web.mcp.server import TOOLS
from tests.unit.web.harness import WebHarness, basic, web
from tests.unit.web.mcp.client import connected
from tests.unit.web.mcp.client import text_of as text

BY_ID = {"preview": "{id}"}
SURFACES: dict[str, tuple[Action, dict[str, Any]]] = {
    "show_preview": (Action.SEE, BY_ID),
    "wait_for_preview": (Action.SEE, BY_ID),
    "preview_failure": (Action.SEE, BY_ID),
    "preview_logs": (Action.READ_LOGS, BY_ID),
    "launch_preview": (Action.LAUNCH, {"app": "shop", "name": "x"}),
    "run_command": (Action.EXEC, {**BY_ID, "command": ["true"]}),
    "share_preview": (Action.SHARE, BY_ID),
    "reset_preview": (Action.RESET, BY_ID),
    "kill_preview": (Action.KILL, BY_ID),
}
OPEN = {"list_previews", "why_no_preview"}
"""They show what the role lets one see."""
HIDDEN = {"environment-unknown"}
REFUSALS = {"not-permitted", *HIDDEN}


def test_every_tool_is_listed() -> None:
    assert {function.__name__ for function, _ in TOOLS} == SURFACES.keys() | OPEN


def test_what_reads_needs_no_role_that_changes() -> None:
    reading = {function.__name__ for function, kind in TOOLS if not kind.changes}
    changing = {Action.LAUNCH, Action.EXEC, Action.SHARE, Action.RESET, Action.KILL}

    assert {name for name, (action, _) in SURFACES.items() if action in changing} & reading == set()


@pytest.mark.parametrize("role", Role, ids=str)
async def test_every_cell(role: Role) -> None:
    async with web(roles=Roles({"basic:ann": role})) as opened:
        found = {name: await reason(opened, name) for name in SURFACES}

    for name, (action, arguments) in SURFACES.items():
        assert (found[name] in REFUSALS) is not may(role, action), (name, found[name])
        if role is Role.NONE and "preview" in arguments:
            assert found[name] in HIDDEN


async def reason(web: WebHarness, tool: str) -> str:
    """The reason with which ann is refused; empty if she isn't."""
    environment = await web.harness.launch("x")
    await web.harness.rest()
    arguments = {
        name: value.format(id=environment.id) if isinstance(value, str) else value
        for name, value in SURFACES[tool][1].items()
    }
    async with connected(web, basic()) as client:
        result = await client.call_tool(tool, arguments)
    return str(json.loads(text(result)).get("reason", "")) if result.is_error else ""


async def test_what_may_not_be_seen_is_not_listed() -> None:
    async with web(roles=Roles({"basic:ann": Role.NONE})) as opened:
        await opened.harness.launch("x")
        async with connected(opened) as client:
            listed = await client.call_tool("list_previews", {"search": "x"})

    assert listed.structured_content == {"previews": [], "more": 0}


@pytest.mark.attack(
    "Previews of applications without a role, by name, host, URL or pull request",
    profile="coding agent",
    result="they don't exist: 404",
)
@pytest.mark.parametrize("word", ["x", "x.preview.test", "http://x.preview.test/", "acme/shop#1", "", "../x"])
async def test_what_may_not_be_seen_is_not_found_by_any_name(word: str) -> None:
    async with web(roles=Roles({"basic:ann": Role.NONE})) as opened:
        await opened.harness.launch("x")
        async with connected(opened) as client:
            result = await client.call_tool("show_preview", {"preview": word})

    assert json.loads(text(result))["reason"] == "environment-unknown"
