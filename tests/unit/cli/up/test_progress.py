"""What `stager up` prints of a preview's progress, by the answers of the server's API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import httpx
import pytest

from stager.cli.up.progress import NOT_FOUND, VALUES, ApplicationApi, Progress, option_for
from tests.unit.cli.up.terminal import FakeTerminal

PREVIEW = {
    "id": "e1", "app": "shop", "url": "http://shop.localhost:8000", "hint": "", "reason": "", "generation": 1,
}  # fmt: skip


class Server:
    """The API, with one answer after the other for the state of the preview `shop`."""

    def __init__(self, *states: Mapping[str, Any]) -> None:
        self._states = [{**PREVIEW, **state} for state in states]
        self.is_over = asyncio.Event()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1/environments")
        match path:
            case "":
                assert request.url.params["app"] == "shop"
                if not self._states:
                    self.is_over.set()
                    return httpx.Response(200, json=[])
                return httpx.Response(200, json=[self._states.pop(0)])
            case "/e1/deployments":
                return httpx.Response(200, json=[{"id": "d1", "generation": 1, "building_at": "now"}])
            case "/e1/build-log":
                return httpx.Response(200, text="#1 a step\n#2 another\n")
        assert path == "/e1/log"
        assert request.url.params["deployment"] == "d1"
        return httpx.Response(200, text="the last lines")


async def printed(*states: Mapping[str, Any], default_command: str = "") -> list[str]:
    server, terminal = Server(*states), FakeTerminal()
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(server), base_url="http://localhost"
    ) as client:
        progress = Progress(ApplicationApi(client, "shop"), terminal, default_command, opens=False)
        following = asyncio.create_task(progress.follow())
        await asyncio.wait_for(server.is_over.wait(), 30)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
    return terminal.said


async def test_the_build_is_streamed_once() -> None:
    building = {"state": "building", "message": "The preview is being built."}
    live = {"state": "live", "message": "The preview is live."}
    assert await printed(building, building, live, live) == [
        "building: The preview is being built.",
        "  #1 a step",
        "  #2 another",
        "live: The preview is live.\nhttp://shop.localhost:8000",
    ]


async def test_a_build_that_is_over_at_the_first_look_is_shown() -> None:
    live = {"state": "live", "message": "The preview is live."}
    assert await printed(live, live) == [
        "building: The preview is being built.",
        "  #1 a step",
        "  #2 another",
        "live: The preview is live.\nhttp://shop.localhost:8000",
    ]


async def test_a_failed_build_is_not_printed_twice() -> None:
    building = {"state": "building", "message": "The preview is being built."}
    failed = {"state": "failed", "message": "Step 2 failed.", "reason": "build-failed"}
    assert (await printed(building, failed))[-1] == f"failed: Step 2 failed.\n{VALUES}"


async def test_a_failure_has_its_log_and_what_ran() -> None:
    failed = {"state": "failed", "message": "It exited.", "reason": "exited", "hint": "Check the last lines."}
    *_, text = await printed(failed, default_command="sh")
    assert text.splitlines() == [
        "failed: It exited.",
        "Check the last lines.",
        VALUES,
        "The Dockerfile has no CMD, so the base image's command ran: sh",
        "the last lines",
    ]


@pytest.mark.parametrize(
    ("reason", "message", "hint", "expected"),
    [
        ("build-failed", '"/dist" not found', "Paths are relative.", NOT_FOUND),
        ("build-failed", "exit code 1", "npm has no lock file.", ""),
        ("port-unknown", "", "Set `port`.", "Add --app-port with the port, such as --app-port 8000."),
        ("disk-full", "", "", ""),
        ("exited", "", "The image has no program `x`.", ""),
    ],
)
def test_the_option_that_helps(reason: str, message: str, hint: str, expected: str) -> None:
    assert option_for({"reason": reason, "message": message, "hint": hint}) == expected
