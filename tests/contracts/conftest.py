"""What the contract suites run against."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contracts.forges import FakeForgeUnderTest, Forge, github


@pytest.fixture(params=["memory", "github", "github-app"])
async def forge(request: pytest.FixtureRequest) -> AsyncIterator[Forge]:
    if request.param == "memory":
        yield FakeForgeUnderTest()
        return
    async with github(as_app=request.param == "github-app") as forge:
        yield forge
