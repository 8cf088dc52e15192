"""Exceptions that no driver expected: the deployment fails, other actions are retried, the error is shown."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from stager.control.reconciler.controller import MAX_PAUSE
from stager.domain.attempt import INTERNAL_ERRORS_ALLOWED
from stager.domain.route import Page
from stager.domain.status import State
from stager.domain.unexpected import INTERNAL_ERROR
from stager.ports.diagnostics import Finding, Verdict
from tests.unit.control.builds.test_images import BUILT, Works
from tests.unit.control.harness import Harness

HALF_AN_HOUR = 1_800.0
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged, as it is: to print a traceback takes seconds."""
    with capture_logs() as captured:
        yield captured


class Broken:
    """A port one of whose methods raises.

    Attributes:
        calls: how often it was called.
        error: what it raises; None when it works again.
    """

    def __init__(self, port: object, method: str, error: Exception) -> None:
        self.calls = 0
        self.error: Exception | None = error
        works: Callable[..., Any] = getattr(port, method)

        async def fail(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.error is not None:
                raise self.error
            return await works(*arguments, **named)

        setattr(port, method, fail)


async def findings(harness: Harness) -> list[Finding]:
    """What `stager doctor` says of previews."""
    return list(await harness.running.control_plane.reconciler.unexpected_errors.run())


async def test_a_build_that_trips_over_a_bug_fails_after_a_few_tries(
    log: list[MutableMapping[str, Any]],
) -> None:
    async with Works([BUILT]).open() as works:
        broken = Broken(works.builder, "build", RuntimeError(SECRET))
        event = await works.opened()
        await works.rest(HALF_AN_HOUR)

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, INTERNAL_ERROR)
        assert "nternal error (RuntimeError)" in status.message
        assert broken.calls == INTERNAL_ERRORS_ALLOWED + 1
        assert sum(bool(line.get("exc_info")) for line in log) == broken.calls
        assert SECRET not in works.outside
        [finding] = await findings(works)
        assert finding.verdict is Verdict.ERROR
        assert finding.message.startswith("shop, feature-x: Internal error")
        assert works.running.control_plane.reconciler.unexpected_errors.notices["previews"].startswith(
            "1 preview fails"
        )

        broken.error = None
        await works.deliver(works.forge.push(event, "a2"))
        await works.rest()
        await works.assert_live()
        assert [f.verdict for f in await findings(works)] == [Verdict.OK]
        assert works.running.control_plane.reconciler.unexpected_errors.notices == {}


async def test_a_value_that_is_too_large_fails_at_once() -> None:
    async with Works([BUILT]).open() as works:
        broken = Broken(works.builder, "build", OSError(errno.E2BIG, "Argument list too long"))
        await works.opened()

        status = await works.status()
        assert (status.state, status.reason) == (State.FAILED, "value-too-large")
        assert "128 KiB" in status.hint
        assert broken.calls == 1


async def test_a_full_disk_is_waited_for_with_growing_pauses() -> None:
    async with Works([BUILT]).open() as works:
        broken = Broken(works.builder, "build", OSError(errno.ENOSPC, "No space left on device"))
        await works.opened()
        await works.rest(HALF_AN_HOUR)

        status = await works.status()
        assert (status.state, status.reason) == (State.BUILDING, "host-disk-full")
        assert status.message.endswith("Trying again.")
        assert broken.calls < 6 + HALF_AN_HOUR / 50

        broken.error = None
        await works.rest()
        await works.assert_live()


STEPS = [("engine", method) for method in ("find", "resolve", "create", "start", "answers")]


@pytest.mark.parametrize(("port", "method"), [*STEPS, ("router", "update")])
async def test_no_step_is_repeated_without_a_pause(harness: Harness, port: str, method: str) -> None:
    broken = Broken(getattr(harness, port), method, ValueError(SECRET))
    with suppress(ValueError):  # the request itself meets the router
        await harness.launch()
    await harness.rest(HALF_AN_HOUR)

    assert 1 <= broken.calls < 300, "481 times in 18 minutes is too often"
    assert SECRET not in harness.outside
    assert harness.running.control_plane.reconciler.unexpected_errors.notices

    broken.error = None
    await harness.launch()
    await harness.rest()
    await harness.assert_live()
    assert harness.running.control_plane.reconciler.unexpected_errors.notices == {}


@pytest.mark.parametrize("method", ["find", "logs", "remove"])
async def test_the_removal_is_retried_until_it_succeeds(harness: Harness, method: str) -> None:
    await harness.launch()
    await harness.rest()
    broken = Broken(harness.engine, method, ValueError(SECRET))
    await harness.stop()
    await harness.rest(HALF_AN_HOUR)
    assert 1 <= broken.calls < 300
    assert harness.running.control_plane.reconciler.unexpected_errors.notices

    broken.error = None
    await harness.rest()
    await harness.assert_gone()
    assert harness.running.control_plane.reconciler.unexpected_errors.notices == {}


async def test_a_loop_that_trips_is_begun_again_with_growing_pauses(harness: Harness) -> None:
    broken = Broken(harness.running.control_plane.pull_requests.webhooks, "_handle", ValueError(SECRET))
    finish = Broken(harness.store, "write", ValueError(SECRET))
    finish.error = None
    await harness.deliver(harness.forge.open(harness.forge.add_repository("acme", "shop"), "x", "a1"))
    finish.error = ValueError(SECRET)
    await harness.rest(HALF_AN_HOUR)

    assert broken.calls <= 10 + HALF_AN_HOUR / MAX_PAUSE
    assert "Internal error (ValueError)" in harness.running.problems["deliveries"]

    broken.error = finish.error = None
    await harness.rest(HALF_AN_HOUR)
    assert harness.running.problems == {}


async def test_a_preview_page_says_that_it_is_an_internal_error(harness: Harness) -> None:
    Broken(harness.engine, "resolve", ValueError(SECRET))
    environment = await harness.launch()
    await harness.rest()

    page = harness.target(environment.host)
    assert isinstance(page, Page)
    assert page.state == "failed"
    assert "nternal error" in page.message
