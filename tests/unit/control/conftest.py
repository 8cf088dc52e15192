"""Control runs on virtual time, with fakes all around it."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.unit.control.harness import Harness
from tests.unit.control.virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    """A Stager with one app, `shop`, and a forge to ask, at rest."""
    async with Harness().open() as opened:
        yield opened
