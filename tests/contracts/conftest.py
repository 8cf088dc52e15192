"""What the contract suites run against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.forges import FakeForgeUnderTest, Forge, github
from tests.contracts.local_forge import local


@pytest.fixture(params=["memory", "github", "github-app", "local"])
async def forge(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Forge]:
    match request.param:
        case "memory":
            yield FakeForgeUnderTest()
        case "local":
            async with local(tmp_path) as forge:
                yield forge
        case name:
            async with github(as_app=name == "github-app") as forge:
                yield forge
