"""A whole Stager over fakes, asked again and again what Hypothesis thinks up; and what it logs meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar

import structlog

from tests.unit.control.virtual_time import VirtualTimeLoop
from tests.unit.web.harness import WebHarness, web

T = TypeVar("T")
MOST_CASES = 100
"""After so many a stage is opened again, so that what earlier ones left doesn't slow down later ones."""


class Stage:
    """A web harness on virtual time that is reused from case to case.

    Args:
        how: as for `web`.
    """

    def __init__(self, **how: Any) -> None:
        self._how = how
        self._loop = VirtualTimeLoop()
        self._stack = AsyncExitStack()
        self._cases = 0
        self.web: WebHarness

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What this comes to."""
        return self._loop.run_until_complete(work)

    def open(self) -> Stage:
        """Start again; returns itself."""
        self.close()
        self.web = self.run(self._stack.enter_async_context(web(**self._how)))
        return self

    def next_case(self) -> bool:
        """Whether it was opened again before this case."""
        self._cases += 1
        if self._cases % MOST_CASES:
            return False
        self.open()
        return True

    def close(self) -> None:
        self.run(self._stack.aclose())

    def end(self) -> None:
        self.close()
        self._loop.close()


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing that happens inside is logged as a mistake of ours, or as an exception."""
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    try:
        with structlog.testing.capture_logs() as entries:
            yield
    finally:
        logging.getLogger().removeHandler(complaints)
    complaints.found += [e for e in entries if e["log_level"] in {"error", "critical"} or "exc_info" in e]
    assert not complaints.found


@contextmanager
def staged(**how: Any) -> Iterator[Stage]:
    """A stage, open."""
    stage = Stage(**how)
    asyncio.set_event_loop(None)
    try:
        yield stage.open()
    finally:
        stage.end()
