"""The logs of a preview as server-sent events, and forms that are sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from stager.domain.identity.roles import Action, Role, may
from stager.testing.fakes.builder import Result
from stager.web.pages.environment.log_streams import (
    MAX_EVENT,
    MAX_LINE,
    Piece,
    offset_of,
    shortened,
    with_pauses,
)
from tests.unit.web.harness import WebHarness
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

    async def pieces() -> AsyncGenerator[Piece]:
        yield Piece("a")
        await goes_on.wait()
        yield Piece("b")

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
