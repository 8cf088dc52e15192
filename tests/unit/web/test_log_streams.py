"""The logs of a preview as server-sent events, and forms that are sent twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest

from stager.domain.environment import Instance
from stager.domain.identity.roles import Action, Role, may
from stager.ports.engine import LogPiece
from stager.testing import Program
from stager.testing.fakes.builder import Result
from stager.web.pages.change_stream import LOGS
from stager.web.pages.environment.log_streams import (
    MAX_EVENT,
    MAX_LINE,
    offset_of,
    shortened,
    with_pauses,
)
from tests.unit.control.harness import IMAGE
from tests.unit.web.harness import WebHarness
from tests.unit.web.test_dashboard import session_of, streaming
from tests.unit.web.test_matrix import OURS, opened
from tests.unit.web.test_previews import build_ports, launched
from tests.unit.web.test_previews import opened as pull_request

__all__ = ["build_ports"]


class TestBuildLog:
    async def test_comes_with_positions_and_an_end(self, build_ports: WebHarness) -> None:
        build_ports.harness.builder.default = Result(lines=("step 1", "step 2"))
        environment = await pull_request(build_ports)
        await build_ports.harness.rest()
        text = (await build_ports.ask("GET", f"/previews/{environment}/build-log/events")).text

        assert text.startswith("event: begin\n")
        assert "step 1\\nstep 2" in text
        assert text.endswith("event: end\ndata:\n\n")

    async def test_resumes_after_the_last_event(self, build_ports: WebHarness) -> None:
        build_ports.harness.builder.default = Result(lines=("step 1", "step 2"))
        environment = await pull_request(build_ports)
        await build_ports.harness.rest()
        path = f"/previews/{environment}/build-log/events"
        text = (await build_ports.ask("GET", path)).text
        position = text.partition("id: ")[2].partition("\n")[0]
        key, _, end = position.rpartition(".")
        earlier = f"{key}.{int(end) - len('step 2' + chr(10))}"
        again = (await build_ports.ask("GET", path, headers={"last-event-id": earlier})).text

        assert "begin" not in again
        assert '"step 2\\n"' in again
        assert "step 1" not in again


@pytest.mark.parametrize("role", [Role.NONE, Role.VIEWER, None], ids=str)
async def test_the_log_of_a_service_needs_permission(role: Role | None) -> None:
    async with opened(role) as (web, environment):
        answer = await web.client.get(f"/previews/{environment}/log/events")

    assert role is None or not may(role, Action.READ_LOGS)
    assert answer.status_code == {Role.NONE: 404, Role.VIEWER: 403, None: 401}[role]


@pytest.mark.parametrize(
    ("position", "offset"),
    [("b1.12", 12), ("b2.12", 0), ("", 0), ("b1.", 0), ("b1.-4", 0), ("b1.\u0664", 0), ("b1", 0)],
)
def test_positions(position: str, offset: int) -> None:
    assert offset_of(position, "b1") == offset


def test_endless_lines_are_cut() -> None:
    assert len(shortened("x" * 10 * MAX_LINE)) < MAX_LINE + 10
    assert shortened("y" * 2 * MAX_LINE + "\nz\n").endswith(" […]\nz\n")


def test_long_logs_begin_later() -> None:
    text = shortened("line\n" * MAX_EVENT)

    assert len(text) < MAX_EVENT + 100
    assert text.startswith("[earlier lines")


async def test_pauses_have_heartbeats_and_lose_nothing() -> None:
    goes_on = asyncio.Event()

    async def pieces() -> AsyncGenerator[LogPiece]:
        yield LogPiece("a")
        await goes_on.wait()
        yield LogPiece("b")

    found: list[str] = []
    async for piece in with_pauses(pieces(), 0.01):
        found.append(piece.text if piece else "")
        if found.count("") == 2:
            goes_on.set()

    assert [text for text in found if text] == ["a", "b"]


@pytest.mark.parametrize("action", ["redeploy", "reset"])
async def test_a_form_that_is_sent_twice_deploys_once(web: WebHarness, action: str) -> None:
    environment = await launched(web)
    for _ in range(2):
        answer = await web.ask(
            "POST", f"/previews/{environment}/{action}", data={"generation": "1"}, headers=OURS
        )
        assert answer.status_code in {303, 409}
    await web.harness.rest()
    shown = (await web.ask("GET", f"/api/v1/environments/{environment}")).json()

    assert shown["generation"] == (2 if action == "redeploy" else 1)  # it has no data to reset


class TestServiceLog:
    async def test_resumes_without_a_lost_or_repeated_line(self, web: WebHarness) -> None:
        environment, instance = await running(web)
        path = f"/previews/{environment}/log/events"
        web.harness.engine.print(instance, "one")
        async with streaming(web, await session_of(web), path=path) as first:
            await asyncio.sleep(1)
        assert first.text.startswith("event: begin\n")
        assert lines(first.text) == ["ready", "one"]
        for number in ("two", "three"):
            web.harness.engine.print(instance, number)
        async with streaming(web, await session_of(web), path=path, since=position(first.text)) as second:
            await asyncio.sleep(1)
            web.harness.engine.print(instance, "four")
            await asyncio.sleep(1)
        assert "begin" not in second.text
        assert lines(second.text) == ["two", "three", "four"]
        async with streaming(
            web, await session_of(web), path=f"{path}?after={position(first.text)}"
        ) as third:
            await asyncio.sleep(1)
        assert lines(third.text) == ["two", "three", "four"]

    async def test_of_a_new_instance_comes_from_its_beginning(self, web: WebHarness) -> None:
        environment, instance = await running(web)
        path = f"/previews/{environment}/log/events"
        web.harness.engine.print(instance, "one")
        async with streaming(web, await session_of(web), path=path) as stream:
            await asyncio.sleep(1)
            await web.ask("POST", f"/api/v1/environments/{environment}/redeploy")
            await web.harness.rest()
        assert lines(stream.text) == ["ready", "one", "ready", "one"]

    @pytest.mark.parametrize("where", ["gone~1", "nonsense", "INSTANCE~99", "INSTANCE~"])
    async def test_says_what_it_cant_resume(self, web: WebHarness, where: str) -> None:
        environment, instance = await running(web)
        path, since = f"/previews/{environment}/log/events", where.replace("INSTANCE", instance)
        async with streaming(web, await session_of(web), path=path, since=since) as stream:
            await asyncio.sleep(1)
        assert stream.text.startswith("event: gap\n")
        assert "lines are missing here" in stream.text
        assert lines(stream.text.partition("\n\n")[2]) == ["ready"]

    async def test_of_a_stopped_one_ends_and_polls_nothing(
        self, web: WebHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment, _ = await running(web)
        path = f"/previews/{environment}/log/events"
        async with streaming(web, await session_of(web), path=path) as stream:
            await asyncio.sleep(1)
            asked: list[str] = []
            find = web.harness.engine.find

            async def counted(environment: str | None = None) -> list[Instance]:
                asked.append(environment or "all")
                return await find(environment)

            monkeypatch.setattr(web.harness.engine, "find", counted)
            await asyncio.sleep(9)
            assert environment not in asked, "nothing is polled"
            await web.harness.stop("x")
            await web.harness.rest()
            assert stream.text.endswith("event: end\ndata:\n\n")

    async def test_has_a_limit_of_its_own(self, web: WebHarness) -> None:
        environment, _ = await running(web)
        path = f"/previews/{environment}/log/events"
        async with AsyncExitStack() as opened:
            for _ in range(LOGS.per_person):
                await opened.enter_async_context(streaming(web, await session_of(web), path=path))
            async with (
                streaming(web, await session_of(web), path=path) as refused,
                streaming(web, await session_of(web)) as dashboard,
            ):
                assert (refused.status, dashboard.status) == (429, 200)
                assert refused.text.startswith("You follow 10 logs already. Stop following one")
        async with streaming(web, await session_of(web), path=path) as again:
            assert again.status == 200


async def running(web: WebHarness) -> tuple[str, str]:
    """The ids of a preview and of its instance."""
    web.harness.engine.add_image(IMAGE, Program(output="ready"))
    environment = await web.harness.launch("x")
    await web.harness.rest()
    [instance] = web.harness.engine.there()
    return environment.id, instance.id


def lines(stream: str) -> list[str]:
    """The lines of the log in the text of a stream."""
    events = [event.split("\n") for event in stream.split("\n\n")]
    texts = [json.loads(event[-1].removeprefix("data: ")) for event in events if "event: lines" in event]
    return "".join(texts).splitlines()


def position(stream: str) -> str:
    """The id of the last event."""
    return stream.rpartition("id: ")[2].partition("\n")[0]
