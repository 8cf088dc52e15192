"""Unsigned bodies: what they may cost before they are refused."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from stager.web.body_limits import IDLE_TIMEOUT, MAX_DELIVERIES, MAX_FORMS, SLOT_TIMEOUT, TOTAL_TIMEOUT
from stager.web.forges.webhooks import IN_MEMORY
from tests.unit.web.harness import HOST, SECRET, WebHarness, basic, web

PIECE = b"x" * 65536
GUESSED = {"x-github-event": "ping", "x-hub-signature-256": "sha256=" + "0" * 64}
"""Headers by which a body might be a delivery."""
DELIVERIES = ("/event_receiver", "/webhooks/github")


class Body:
    """A body in pieces, which counts those that were asked for.

    Args:
        pieces: how many there are.
        pause: seconds before each but the first.
        hangs: whether the next one after these never comes, until `free` is set.
    """

    def __init__(self, pieces: int = 400, *, pause: float = 0.0, hangs: bool = False) -> None:
        self.asked = 0
        self.free = asyncio.Event()
        self._pieces, self._pause, self._hangs = pieces, pause, hangs

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._pieces):
            if self.asked:
                await asyncio.sleep(self._pause)
            self.asked += 1
            yield PIECE
        if self._hangs:
            await self.free.wait()


async def send(
    web: WebHarness, body: Body, path: str = DELIVERIES[1], address: str = "", **headers: str
) -> Any:
    """What the answer is to this body, with plausible headers by default."""
    said = {**GUESSED, **({"x-forwarded-for": address} if address else {}), **headers}
    return await web.client.post(path, headers={k: v for k, v in said.items() if v}, content=body)


class TestByTheHeaders:
    @pytest.mark.parametrize("path", DELIVERIES)
    @pytest.mark.parametrize(
        ("headers", "says"),
        [
            ({"x-hub-signature-256": ""}, "isn't signed"),
            ({"x-hub-signature-256": "sha256=x"}, "doesn't match"),
            ({"x-hub-signature-256": "sha1=" + "0" * 40}, "doesn't match"),
            ({"x-hub-signature-256": "", "x-hub-signature": "sha1=" + "0" * 40}, "SHA-1 only"),
        ],
    )
    async def test_what_no_signature_can_be_of_is_not_read(
        self, web: WebHarness, path: str, headers: dict[str, str], says: str
    ) -> None:
        body = Body()
        answer = await send(web, body, path, **headers)

        assert (answer.status_code, body.asked) == (401, 0)
        assert says in answer.text

    async def test_what_has_no_credentials_is_not_read(self) -> None:
        async with web(hook=("hook", "word")) as guarded:
            for headers in ({}, basic("hook", "guess")):
                body = Body()
                answer = await send(guarded, body, **headers)
                assert (answer.status_code, body.asked) == (401, 0)

    async def test_what_the_local_forge_has_not_signed_is_not_read(
        self, web: WebHarness, local: None
    ) -> None:
        for headers in ({}, {"x-stager-signature": "sha256=" + "0" * 64}):
            body = Body()
            answer = await send(web, body, "/webhooks/local", **headers)
            assert (answer.status_code, body.asked) == (401, 0)

    @pytest.fixture
    def local(self, web: WebHarness) -> None:
        from stager.forges.local.forge import LocalForge  # noqa: PLC0415

        web.app.state.control_plane.ports.webhooks["local"] = LocalForge({})

    async def test_what_says_that_it_is_too_long_is_not_read(self, web: WebHarness) -> None:
        for path, size in ((DELIVERIES[1], 26 << 20), ("/launch", 2 << 20)):
            body = Body()
            said = {"content-length": str(size), "content-type": "application/x-www-form-urlencoded"}
            answer = await send(web, body, path, **said, **basic())
            assert (answer.status_code, body.asked) == (413, 0)


class TestWhatItCosts:
    async def test_a_large_one_waits_in_a_file_until_it_is_checked(self, web: WebHarness) -> None:
        await send(web, Body(20))
        tracemalloc.start()
        try:
            answer = await send(web, Body(384))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert answer.status_code == 401
        assert peak < 4 * IN_MEMORY, "24 MB were sent"

    async def test_the_file_has_no_name_by_which_it_could_be_left_behind(
        self, web: WebHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context = web.app.state.web
        web.app.state.web = replace(context, options=replace(context.options, spool=str(tmp_path)))
        body = Body(40, hangs=True)
        sending = asyncio.create_task(send(web, body))
        await web.harness.rest(1)
        assert body.asked == 40
        assert list(tmp_path.iterdir()) == []
        body.free.set()
        assert (await sending).status_code == 401

    async def test_a_large_one_that_is_signed_is_taken_whole(self, web: WebHarness) -> None:
        content = b'{"filler": "' + b"x" * (3 * IN_MEMORY) + b'"}'
        signature = "sha256=" + hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()
        headers = {**GUESSED, "x-hub-signature-256": signature}
        answer = await web.client.post(DELIVERIES[0], headers=headers, content=content)

        assert answer.status_code == 202
        assert await web.harness.store.read(lambda tx: len(tx.next_delivery().payload)) == len(content)  # type: ignore[union-attr]


class TestPatience:
    async def test_one_that_stops_is_not_waited_for(self, web: WebHarness) -> None:
        began = asyncio.get_running_loop().time()
        answer = await send(web, Body(1, hangs=True))

        assert answer.status_code == 408
        assert asyncio.get_running_loop().time() - began == IDLE_TIMEOUT
        assert f"{IDLE_TIMEOUT:g} seconds" in answer.text

    @pytest.mark.parametrize("path", [*DELIVERIES, "/launch", "/api/v1/environments"])
    async def test_one_that_drips_is_not_waited_for(self, web: WebHarness, path: str) -> None:
        began = asyncio.get_running_loop().time()
        kind = "application/json" if "api" in path else "application/x-www-form-urlencoded"
        answer = await send(web, Body(15, pause=4.0), path, **{"content-type": kind}, **basic())

        assert answer.status_code == 408
        assert asyncio.get_running_loop().time() - began == TOTAL_TIMEOUT

    async def test_an_answer_that_takes_long_is(self, web: WebHarness) -> None:
        web.harness.engine.delays["start"] = 3 * TOTAL_TIMEOUT
        answer = await web.post("/launch", image_name="shop", container_name="x")

        assert answer.status_code == 200


async def held(web: WebHarness, bodies: list[Body], path: str = DELIVERIES[1]) -> list[asyncio.Task[Any]]:
    """These bodies under way, each from an address of its own, all in the middle."""
    tasks = [
        asyncio.create_task(send(web, body, path, f"192.0.2.{number}")) for number, body in enumerate(bodies)
    ]
    await asyncio.sleep(0.1)
    return tasks


async def ended(bodies: list[Body], tasks: list[asyncio.Task[Any]]) -> list[int]:
    for body in bodies:
        body.free.set()
    return [answer.status_code for answer in await asyncio.gather(*tasks)]


class TestSlots:
    async def test_more_than_a_few_wait_and_get_retry_after(self, web: WebHarness) -> None:
        bodies = [Body(12, pause=2.0) for _ in range(MAX_DELIVERIES)]
        tasks = await held(web, bodies)
        began, late = asyncio.get_running_loop().time(), Body(2)
        answer = await send(web, late, address="192.0.2.99")

        assert (answer.status_code, late.asked) == (503, 0)
        assert asyncio.get_running_loop().time() - began <= SLOT_TIMEOUT
        assert answer.headers["retry-after"]
        await ended(bodies, tasks)

    async def test_one_that_ends_makes_room_for_one_that_waits(self, web: WebHarness) -> None:
        bodies = [Body(2, hangs=True) for _ in range(MAX_DELIVERIES)]
        tasks = await held(web, bodies)
        waiting = asyncio.create_task(send(web, Body(2), address="192.0.2.99"))
        await asyncio.sleep(1)
        assert not waiting.done()
        bodies[0].free.set()

        assert (await waiting).status_code == 401
        assert await ended(bodies, tasks) == [401] * MAX_DELIVERIES

    async def test_one_address_does_not_take_them_all(self, web: WebHarness) -> None:
        bodies = [Body(2, hangs=True) for _ in range(MAX_DELIVERIES)]
        tasks = [asyncio.create_task(send(web, body, address="192.0.2.1")) for body in bodies]
        await asyncio.sleep(0.1)

        assert [body.asked for body in bodies].count(2) == MAX_DELIVERIES // 2
        assert (await send(web, Body(2), address="192.0.2.2")).status_code == 401
        await ended(bodies, tasks)

    async def test_what_is_refused_by_its_headers_or_small_doesnt_wait(self, web: WebHarness) -> None:
        bodies = [Body(2, hangs=True) for _ in range(MAX_DELIVERIES)]
        tasks = await held(web, bodies)
        before = asyncio.get_running_loop().time()

        assert (await send(web, Body(), **{"x-hub-signature-256": ""})).status_code == 401
        pull = web.github.open_pull(web.github.add_repository("acme", "shop"), "feature-x")
        assert (await web.deliver("pull_request", web.github.event("opened", pull))).status_code == 202
        assert asyncio.get_running_loop().time() == before
        await ended(bodies, tasks)

    async def test_forms_have_turns_of_their_own(self, web: WebHarness) -> None:
        kind = {"content-type": "application/x-www-form-urlencoded"}
        bodies = [Body(12, pause=2.0) for _ in range(MAX_FORMS)]
        tasks = [
            asyncio.create_task(send(web, body, "/kill", f"192.0.2.{number}", **kind))
            for number, body in enumerate(bodies)
        ]
        await asyncio.sleep(0.1)
        late = asyncio.create_task(send(web, Body(2), "/kill", "192.0.2.99", **kind))
        assert (await send(web, Body(2), address="192.0.2.98")).status_code == 401
        assert (await late).status_code == 503
        assert (await web.post("/kill", container_name="x")).text == "ok"
        await asyncio.gather(*tasks)

    async def test_a_client_that_disconnects_frees_its_slot(self, web: WebHarness) -> None:
        for _ in range(3 * MAX_DELIVERIES):
            assert await gone_in_the_middle(web) == []
        assert (await send(web, Body(2))).status_code == 401

    async def test_one_that_came_too_slowly_gives_its_turn_back(self, web: WebHarness) -> None:
        for _ in range(MAX_DELIVERIES):
            assert (await send(web, Body(1, hangs=True))).status_code == 408
        assert (await send(web, Body(2))).status_code == 401


async def gone_in_the_middle(web: WebHarness) -> list[Message]:
    """What is sent to a client that goes away while it sends its body."""
    sent: list[Message] = []
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": PIECE, "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> Message:
        return next(messages)

    async def answer(message: Message) -> None:
        sent.append(message)

    headers = {**GUESSED, "host": HOST, "transfer-encoding": "chunked"}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": DELIVERIES[1],
        "raw_path": DELIVERIES[1].encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 1234),
        "server": (HOST, 80),
    }
    await web.app(scope, receive, answer)
    return sent
