"""Control runs on virtual time, with fakes all around it."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import structlog
from structlog.typing import EventDict, WrappedLogger

from tests.unit.control.harness import Harness
from tests.unit.control.virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    """A Stager with one app, `shop`, and a forge to ask, at rest."""
    async with Harness().open() as opened:
        yield opened


@pytest.fixture(autouse=True)
def _short_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep the last events; print them if the test fails: to format each takes a tenth of the time."""
    before, last = structlog.get_config(), deque[EventDict](maxlen=200)

    def keep(_: WrappedLogger, level: str, event: EventDict) -> EventDict:
        last.append({"level": level, **event})
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, keep])
    yield
    structlog.configure(**before)
    if request.session.testsfailed:
        print(*last, sep="\n")
