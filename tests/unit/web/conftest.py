"""The web on virtual time, with fakes all around."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from tests.unit.control.virtual_time import VirtualTimeLoop
from tests.unit.web.harness import WebHarness, web


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(name="web")
async def opened_site() -> AsyncIterator[WebHarness]:
    async with web() as opened:
        yield opened
