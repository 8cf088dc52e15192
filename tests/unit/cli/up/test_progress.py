"""What `stager up` prints of a preview's progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from stager.cli.up.progress import NOT_FOUND, VALUES, Preview, Progress, option_for
from stager.domain.status import State, Status
from tests.unit.cli.up.terminal import FakeTerminal

BUILDING = Status(State.BUILDING, "The preview is being built.")
LIVE = Status(State.LIVE, "The preview is live.")


class Statuses:
    """The only preview, with one status after the other."""

    def __init__(self, *statuses: Status) -> None:
        self._statuses = list(statuses)
        self.is_over = asyncio.Event()

    async def changed(self, seconds: float) -> None:
        await asyncio.sleep(0)

    async def preview(self) -> Preview | None:
        if not self._statuses:
            self.is_over.set()
            return None
        status = self._statuses.pop(0)
        return Preview("e1", 1, "http://shop.localhost:8000", status, "d1", has_build=True)

    async def build_log(self, preview: Preview) -> AsyncIterator[str]:
        assert preview.id == "e1"
        yield "#1 a step"
        yield "#2 another"

    async def log(self, preview: Preview) -> str:
        assert preview.deployment == "d1"
        return "the last lines"


async def printed(*statuses: Status, default_command: str = "") -> list[str]:
    previews, terminal, is_settled = Statuses(*statuses), FakeTerminal(), asyncio.Event()
    progress = Progress(previews, terminal, default_command, opens=False)
    following = asyncio.create_task(progress.follow(is_settled))
    await asyncio.wait_for(previews.is_over.wait(), 30)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    assert is_settled.is_set() == any(status.settled for status in statuses)
    return terminal.said


async def test_the_build_is_streamed_once() -> None:
    assert await printed(BUILDING, BUILDING, LIVE, LIVE) == [
        "building: The preview is being built.",
        "  #1 a step",
        "  #2 another",
        "live: The preview is live.\nhttp://shop.localhost:8000",
    ]


async def test_a_build_that_is_over_at_the_first_look_is_shown() -> None:
    assert await printed(LIVE, LIVE) == [
        "building: The preview is being built.",
        "  #1 a step",
        "  #2 another",
        "live: The preview is live.\nhttp://shop.localhost:8000",
    ]


async def test_a_failed_build_is_not_printed_twice() -> None:
    failed = Status(State.FAILED, "Step 2 failed.", reason="build-failed")
    assert (await printed(BUILDING, failed))[-1] == f"failed: Step 2 failed.\n{VALUES}"


async def test_a_failure_has_its_log_and_what_ran() -> None:
    failed = Status(State.FAILED, "It exited.", "Check the last lines.", "exited")
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
    assert option_for(Status(State.FAILED, message, hint, reason)) == expected
