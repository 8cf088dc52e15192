"""Sleeping previews behind real proxies: whatever wakes them is served as it was sent."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.integration import behind as nginx_fixtures
from tests.integration import haproxy as haproxies
from tests.integration import nginx as nginxes
from tests.integration import test_haproxy as haproxy_fixtures
from tests.integration.behind import nginx
from tests.integration.conftest import MakeStager
from tests.integration.load import Load
from tests.integration.stager import StagerUnderTest, docker, until
from tests.integration.test_haproxy import haproxy

__all__ = ["haproxy", "nginx"]

MANY = 500
BODY = random.Random(1).randbytes(10 << 20)
IMAGES = {"shop": {"pids": 4 * MANY}}
"""The application has a thread for each request."""

behind_nginx = nginx_fixtures.behind
behind_haproxy = haproxy_fixtures.behind


@pytest.fixture(params=["bare", "nginx", "haproxy"])
def entrance(request: pytest.FixtureRequest) -> tuple[StagerUnderTest, str]:
    """A Stager with a preview, and the URL at which visitors reach it."""
    binary = {"nginx": nginxes.BINARY, "haproxy": haproxies.BINARY}.get(request.param)
    if binary is not None and not Path(binary).exists():
        pytest.skip(f"no {request.param}: scripts/test installs one")
    if request.param == "bare":
        make: MakeStager = request.getfixturevalue("make_stager")
        stager = make(images=IMAGES)
        url = stager.url
    else:
        behind: Callable[..., StagerUnderTest] = request.getfixturevalue(f"behind_{request.param}")
        stager = behind(images=IMAGES)
        url = request.getfixturevalue(request.param).url
    stager.launched("test", VERSION="1")
    return stager, url


class Sleeper:
    """A preview that is put to sleep again and again."""

    def __init__(self, stager: StagerUnderTest) -> None:
        self._stager = stager
        self.id = stager.environment("test")["id"]

    async def sleep(self) -> None:
        await asyncio.to_thread(self._sleep)

    def _sleep(self) -> None:
        label = f"--filter=label=stager.installation={self._stager.installation}"
        # A request may still be open on the way through the proxy: then it stays awake.
        for _ in range(20):
            self._stager.api(f"/environments/{self.id}/sleep", "POST")
            try:
                until(lambda: docker("ps", label, "--format", "{{.State}}") == "paused", "it is paused", 1)
            except AssertionError:
                continue
            return
        raise AssertionError("it doesn't fall asleep")


async def test_what_wakes_it_is_served(entrance: tuple[StagerUnderTest, str]) -> None:
    stager, url = entrance
    sleeper = Sleeper(stager)
    connector, headers = aiohttp.TCPConnector(limit=0), {"Host": host(stager, url)}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await sleeper.sleep()
        assert await everybody(session, url) == {(200, "test 1")}

        await sleeper.sleep()
        async with session.post(f"{url}/digest", data=io.BytesIO(BODY)) as answer:
            assert (answer.status, await answer.text()) == (200, hashlib.sha256(BODY).hexdigest())

        await sleeper.sleep()
        async with session.ws_connect(f"{url}/ws") as websocket:
            await websocket.send_str("hello")
            assert (await websocket.receive(timeout=10)).data == "hello"

        await sleeper.sleep()
        async with session.get(f"{url}/events", headers={"Accept": "text/event-stream"}) as stream:
            assert await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 10) == b"data: 0\n\n"
            # One that is open keeps it awake.
            await asyncio.to_thread(stager.api, f"/environments/{sleeper.id}/sleep", "POST")
            async for _ in chunks(stream, 10):
                pass
            assert stager.environment("test")["state"] == "live"
        await sleeper.sleep()


def host(stager: StagerUnderTest, url: str) -> str:
    """What visitors of the preview send: its host, with the port of the proxy."""
    return f"test.localhost:{url.rpartition(':')[2]}"


async def everybody(session: aiohttp.ClientSession, url: str) -> set[tuple[int, str]]:
    """All different answers to many requests at once."""

    async def ask() -> tuple[int, str]:
        async with session.get(url) as answer:
            return answer.status, await answer.text()

    return set(await asyncio.gather(*(ask() for _ in range(MANY))))


async def chunks(stream: aiohttp.ClientResponse, number: int) -> Any:
    """So many events."""
    for _ in range(number):
        yield await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 10)


async def test_no_request_fails_while_it_sleeps_and_wakes(entrance: tuple[StagerUnderTest, str]) -> None:
    stager, url = entrance
    environment = await asyncio.to_thread(stager.environment, "test")
    async with Load(url, host(stager, url), ("/",), posts=False) as load:
        for _ in range(10):
            await asyncio.to_thread(stager.api, f"/environments/{environment['id']}/sleep", "POST")
            await asyncio.sleep(0.2)
    assert load.failures == []
    assert load.answers["test 1"] > 0


async def test_a_held_request_outlives_stager_and_its_front(make_stager: MakeStager) -> None:
    """Stager is killed, and started again with other options of the front, which is replaced."""
    stager = make_stager()
    await asyncio.to_thread(stager.launched, VERSION="1")
    await Sleeper(stager).sleep()
    front = stager.front_pid
    await asyncio.to_thread(stager.kill9)
    connector, headers = aiohttp.TCPConnector(limit=0), {"Host": stager.host("test")}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def upload() -> tuple[int, str]:
            async with session.post(f"{stager.url}/digest", data=io.BytesIO(BODY)) as answer:
                return answer.status, await answer.text()

        uploads = [asyncio.create_task(upload()) for _ in range(3)]
        await asyncio.sleep(0.5)
        stager.configure(response_timeout=55)
        await asyncio.to_thread(stager.start)
        assert {await task for task in uploads} == {(200, hashlib.sha256(BODY).hexdigest())}
    assert stager.front_pid != front
