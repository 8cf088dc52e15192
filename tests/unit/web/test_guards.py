"""What is refused before anybody looks who sent it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel

from stager.web import problems
from stager.web.app import SameOrigin
from stager.web.body_limits import BodyLimits
from stager.web.request_body import FORM_LIMIT, parameters_of
from tests.unit.web.harness import HOST, basic, web


class Anything(BaseModel):
    text: str


def guarded() -> FastAPI:
    app = FastAPI()
    problems.install(app)
    app.add_middleware(BodyLimits)
    app.add_middleware(SameOrigin)

    @app.post("/form")
    async def form(request: Request) -> int:
        return len(await parameters_of(request))

    @app.post("/json")
    async def json(body: Anything) -> int:
        return len(body.text)

    @app.post("/event_receiver")
    async def event_receiver(request: Request) -> int:
        await parameters_of(request)
        return len(await request.body())

    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(guarded()), base_url="http://stager"
    ) as opened:
        yield opened


async def in_pieces(size: int) -> AsyncIterator[bytes]:
    """A body that doesn't say how long it is."""
    piece = b"x" * 65536
    for _ in range(size // len(piece)):
        yield piece


@pytest.mark.parametrize(
    ("path", "kind"), [("/form", "application/x-www-form-urlencoded"), ("/json", "application/json")]
)
async def test_a_body_beyond_all_measure_is_refused(client: httpx.AsyncClient, path: str, kind: str) -> None:
    answer = await client.post(path, content=in_pieces(2 * FORM_LIMIT), headers={"Content-Type": kind})

    assert answer.status_code == 413


async def test_a_delivery_may_be_longer(client: httpx.AsyncClient) -> None:
    headers = {"X-GitHub-Event": "push"}
    answer = await client.post("/event_receiver", content=in_pieces(2 * FORM_LIMIT), headers=headers)

    assert (answer.status_code, answer.text) == (200, str(2 * FORM_LIMIT))


async def test_what_is_no_delivery_may_not(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await client.post("/event_receiver", content=in_pieces(2 * FORM_LIMIT), headers=headers)

    assert answer.status_code == 413


async def test_a_form_can_still_be_read_raw(client: httpx.AsyncClient) -> None:
    answer = await client.post("/event_receiver", data={"payload": "{}"})

    assert (answer.status_code, answer.text) == (200, str(len("payload=%7B%7D")))


@pytest.mark.attack(
    "A form sent by a page of the same host with another scheme",
    profile="page in a browser",
    result="403",
)
@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil", "http://[", "stager", "https://stager", "http://stager:80", "ftp://stager"],
)
async def test_other_sites_pages_are_refused(client: httpx.AsyncClient, origin: str) -> None:
    answer = await client.post("/form", headers={"Origin": origin})

    assert answer.status_code == 403
    assert "X-Forwarded-Proto" in answer.text


@pytest.mark.parametrize(
    ("proto", "origin", "status"),
    [
        ("https", "https://stager", 200),
        ("https", "http://stager", 403),
        ("http", "http://stager", 200),
        ("http", "https://stager", 403),
        ("https, http", "http://stager", 200),
    ],
)
async def test_the_scheme_is_that_of_a_trusted_proxy(
    client: httpx.AsyncClient, proto: str, origin: str, status: int
) -> None:
    """The front passes on `X-Forwarded-Proto` of trusted proxies alone, and else writes its own."""
    answer = await client.post("/form", headers={"Origin": origin, "X-Forwarded-Proto": proto})

    assert answer.status_code == status


async def test_the_configured_scheme_counts_if_a_proxy_sends_none() -> None:
    async with web(domain=HOST, scheme="https") as opened:
        form = {"user": "ann", "password": "pass"}
        proto = {"x-forwarded-proto": "http"}
        ours = await opened.client.post("/login", data=form, headers={"origin": f"https://{HOST}", **proto})
        preview = {"origin": f"https://x.{HOST}", **proto}
        assert ours.status_code == 303
        assert (await opened.client.post("/login", data=form, headers=preview)).status_code == 403


@pytest.mark.attack(
    "Stager's answers embedded as images or scripts",
    profile="page in a browser",
    result="every response has nosniff and Cross-Origin-Resource-Policy: same-origin",
)
@pytest.mark.parametrize(
    "path", ["/", "/login", "/api/v1/environments", "/readyz", "/nothing", "/static/preview.js", "/metrics"]
)
async def test_no_other_page_can_have_an_answer(path: str) -> None:
    async with web() as opened:
        for headers in ({}, basic(), {"origin": "http://evil.test"}):
            for method in ("GET", "POST"):
                answer = await opened.client.request(method, path, headers=headers)
                assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
                assert answer.headers.get_list("cross-origin-resource-policy") == ["same-origin"]


async def test_our_own_pages_arent(client: httpx.AsyncClient) -> None:
    assert (await client.post("/form", headers={"Origin": "http://stager"})).status_code == 200
