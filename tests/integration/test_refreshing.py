"""A push never drops a request: refreshes under load, with the control plane killed meanwhile."""

from __future__ import annotations

import asyncio

from tests.integration.load import Load
from tests.integration.stager import StagerUnderTest

REFRESHES = 6


def load_of(stager: StagerUnderTest) -> Load:
    return Load(stager.url, stager.host("test"))


async def test_no_request_fails_during_refreshes(stager: StagerUnderTest) -> None:
    await asyncio.to_thread(stager.launched, VERSION="0")
    async with load_of(stager) as load:
        for version in range(1, REFRESHES + 1):
            await asyncio.to_thread(stager.launched, VERSION=str(version))
        await load.until_answered(f"test {REFRESHES}")
    assert load.failures == []
    assert {f"test {version}" for version in range(REFRESHES + 1)} <= set(load.answers)
    assert load.requests > 100


async def test_no_request_fails_when_the_control_plane_is_killed(stager: StagerUnderTest) -> None:
    await asyncio.to_thread(stager.launched, VERSION="0")
    async with load_of(stager) as load:
        for version in range(1, 4):
            await asyncio.to_thread(stager.launch, VERSION=str(version), wait="0")
            await asyncio.sleep(0.2 * version)
            await asyncio.to_thread(stager.restart)
        await asyncio.to_thread(stager.launched, VERSION="last")
        await load.until_answered("test last")
    assert load.failures == []
    assert load.answers["test last"]
