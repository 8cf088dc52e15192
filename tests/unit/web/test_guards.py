"""What is refused before anybody looks who sent it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel

from stager.web import problems
from stager.web.app import SameOrigin
from stager.web.bodies import Bounded
from stager.web.parameters import FORM_LIMIT, parameters_of
from tests.unit.web.site import Site


class Anything(BaseModel):
    text: str


def guarded() -> FastAPI:
    app = FastAPI()
    problems.install(app)
    app.add_middleware(Bounded)
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


@pytest.mark.parametrize("origin", ["null", "http://evil", "http://[", "stager"])
async def test_other_sites_pages_are_refused(client: httpx.AsyncClient, origin: str) -> None:
    answer = await client.post("/form", headers={"Origin": origin})

    assert answer.status_code == 403


async def test_our_own_pages_arent(client: httpx.AsyncClient) -> None:
    assert (await client.post("/form", headers={"Origin": "http://stager"})).status_code == 200


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ("127.0.0.1", 200),
        ("::1", 200),
        ("192.0.2.1", 401),
        ("127.0.0.1, 192.0.2.1", 401),
        ("192.0.2.1, 127.0.0.1", 401),
    ],
)
async def test_the_figures_are_for_this_machine_alone(site: Site, forwarded: str, status: int) -> None:
    """The first address may be a lie, the last one is the nearest proxy's."""
    answer = await site.client.get("/metrics", headers={"X-Forwarded-For": forwarded})

    assert answer.status_code == status
