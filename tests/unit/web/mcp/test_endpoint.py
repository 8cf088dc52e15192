"""`/mcp` as a route: who gets in, and what never reaches a tool."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from stager.domain.identity.roles import Role
from stager.testing.fakes.program import Program
from stager.web.mcp.caller import MAX_CALLS
from stager.web.request_body import FORM_LIMIT
from tests.unit.control.harness import IMAGE
from tests.unit.web.harness import HOST, WebHarness, app_of, basic
from tests.unit.web.mcp.client import connected, refused
from tests.unit.web.mcp.test_tools import launch

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
JSON = {"accept": "application/json, text/event-stream"}


async def ask(web: WebHarness, method: str = "POST", **how: object) -> httpx.Response:
    transport = httpx.ASGITransport(app_of(web.harness, mcp=True), client=("192.0.2.1", 1234))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
        return await client.request(method, "/mcp", **{"json": LIST, **how})  # type: ignore[arg-type]


async def token_of(web: WebHarness, role: Role = Role.DEVELOPER) -> tuple[str, dict[str, str]]:
    """A new token of ann's: its id, and the header with it."""
    made = (await web.ask("POST", "/api/v1/tokens", json={"label": "agent", "role": str(role)})).json()
    return made["id"], {"authorization": f"Bearer {made['token']}"}


async def test_it_is_off_by_default(web: WebHarness) -> None:
    assert (await web.ask("POST", "/mcp", json=LIST)).status_code == 404


@pytest.mark.parametrize("headers", [{}, basic("ann", "wrong"), {"authorization": "Bearer stager_x"}])
async def test_credentials_are_required_before_anything_is_read(
    web: WebHarness, headers: dict[str, str]
) -> None:
    answer = await ask(web, headers={**JSON, **headers}, content=b"x" * (FORM_LIMIT + 1), json=None)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["reason"] == "unauthorized"


@pytest.mark.attack(
    "A call of an MCP tool with the visitor's session",
    profile="page in a browser",
    result="the session isn't accepted: 401",
)
async def test_a_browsers_session_does_not_count(web: WebHarness) -> None:
    form = {"user": "ann", "password": "pass"}
    ours = {"origin": f"http://{HOST}"}
    signed_in = await web.client.post("/login", data=form, headers=ours)
    cookie = {"cookie": signed_in.headers["set-cookie"].partition(";")[0]}

    assert (await web.client.get("/account", headers=cookie)).status_code == 200
    assert (await ask(web, headers={**JSON, **ours, **cookie})).status_code == 401


@pytest.mark.attack(
    "A call of an MCP tool from a page of another origin, with valid credentials",
    profile="page in a browser",
    result="refused: 403",
)
async def test_a_page_of_another_origin_is_refused(web: WebHarness) -> None:
    answer = await ask(web, headers={**JSON, **basic(), "origin": "http://evil.test"})

    assert (answer.status_code, answer.json()["reason"]) == (403, "cross-origin")


async def test_a_large_body_is_refused(web: WebHarness) -> None:
    answer = await ask(web, headers={**JSON, **basic()}, content=b"x" * (FORM_LIMIT + 1), json=None)

    assert (answer.status_code, answer.json()["reason"]) == (413, "too-large")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_there_are_no_sessions(web: WebHarness, method: str) -> None:
    answer = await ask(web, method, headers={**JSON, **basic()})

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"[" * 100_000, b'{"jsonrpc":"2.0"}', b"\xff", b"1e99999"]
)
async def test_what_is_no_request_is_answered_with_an_error(web: WebHarness, body: bytes) -> None:
    headers = {**JSON, **basic(), "content-type": "application/json"}
    answer = await ask(web, headers=headers, content=body, json=None)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in (-32700, -32600, -32602)


@pytest.mark.attack(
    "A call that waits for ten minutes, of a token that is revoked meanwhile",
    profile="coding agent",
    result="it ends within ten seconds: 401",
)
async def test_a_revoked_token_ends_a_wait(web: WebHarness) -> None:
    web.harness.engine.add_image(IMAGE, Program(status=None))
    preview = await launch(web)
    token, headers = await token_of(web)

    async with connected(web, headers) as client:
        waiting = asyncio.create_task(refused(client, "wait_for_preview", preview=preview, seconds=600))
        await asyncio.sleep(1)
        assert (await web.ask("DELETE", f"/api/v1/tokens/{token}")).is_success
        async with asyncio.timeout(10):
            problem = await waiting

    assert problem["reason"] == "unauthorized"


@pytest.mark.attack(
    "Seventeen calls that wait, with one person's tokens",
    profile="coding agent",
    result="the last one is refused: 429",
)
async def test_one_person_has_a_limited_number_of_calls(web: WebHarness) -> None:
    web.harness.engine.add_image(IMAGE, Program(status=None))
    preview = await launch(web)
    _, headers = await token_of(web)
    app = app_of(web.harness, mcp=True)

    async with connected(web, headers, app=app) as client:
        waits = [
            asyncio.create_task(client.call_tool("wait_for_preview", {"preview": preview, "seconds": 20}))
            for _ in range(MAX_CALLS)
        ]
        await asyncio.sleep(1)
        transport = httpx.ASGITransport(app, client=("192.0.2.1", 1234))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
            answer = await http.post("/mcp", json=LIST, headers={**JSON, **headers})
            await asyncio.gather(*waits)
            later = await http.post("/mcp", json=LIST, headers={**JSON, **headers})

    assert (answer.status_code, answer.json()["reason"]) == (429, "too-many-calls")
    assert later.status_code == 200
