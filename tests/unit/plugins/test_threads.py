"""Calls in threads: many at once, and those that never end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from stager.control.plugins.invoker import MAX_CALLS, Invoker, Threads
from stager.domain.identity.actor import Actor
from stager.ports.handlers import AuthenticationStrategy, Credentials


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when the test is over, for calls that hang until then."""
    event = threading.Event()
    yield event
    event.set()


async def given_up(threads: Threads, function: Callable[..., object], count: int) -> None:
    """Begin so many calls, and don't wait for them any more."""
    calls = [asyncio.create_task(threads.call(function, ())) for _ in range(count)]
    await asyncio.sleep(0.05)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_of_more_than_go_on_at_a_time_each_has_its_answer() -> None:
    threads, running, most, lock = Threads("x"), 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return number

    calls = (threads.call(work, (number,)) for number in range(5 * MAX_CALLS))
    assert await asyncio.gather(*calls) == list(range(5 * MAX_CALLS))
    assert most <= MAX_CALLS


async def test_what_they_raise_is_raised() -> None:
    def stop() -> None:
        raise StopIteration("enough")

    with pytest.raises(ZeroDivisionError):
        await Threads("x").call(lambda: 1 // 0, ())
    with pytest.raises(RuntimeError, match="StopIteration: enough"):  # which no future can bear
        await Threads("x").call(stop, ())


async def test_those_that_were_abandoned_take_nobodys_place(over: threading.Event) -> None:
    threads = Threads("x")
    await given_up(threads, over.wait, MAX_CALLS - 1)
    calls = (threads.call(abs, (-number,)) for number in range(2 * MAX_CALLS))
    assert await asyncio.gather(*calls) == list(range(2 * MAX_CALLS))


async def test_of_those_there_are_only_so_many(over: threading.Event) -> None:
    threads = Threads("x")
    await given_up(threads, over.wait, MAX_CALLS)
    with pytest.raises(RuntimeError, match=f"{MAX_CALLS} earlier calls still run"):
        await threads.call(abs, (1,))
    over.set()
    async with asyncio.timeout(10):
        while threads._abandoned:
            await asyncio.sleep(0.01)
    assert await threads.call(abs, (-1,)) == 1


async def test_nor_do_those_begin_that_wait_in_line(over: threading.Event) -> None:
    threads, begun = Threads("x"), 0

    def hang() -> None:
        nonlocal begun
        begun += 1
        over.wait()

    calls = [asyncio.create_task(threads.call(hang, ())) for _ in range(5 * MAX_CALLS)]
    for call in calls:
        await asyncio.sleep(0.005)
        call.cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert begun < 2 * MAX_CALLS
    assert any(isinstance(end, RuntimeError) for end in ends)


async def test_one_that_is_abandoned_while_it_waits_for_its_turn_was_never_begun(
    over: threading.Event,
) -> None:
    threads, begun = Threads("x"), threading.Event()
    busy = [asyncio.create_task(threads.call(over.wait, ())) for _ in range(MAX_CALLS)]
    await asyncio.sleep(0.05)
    await given_up(threads, begun.set, 3)
    over.set()
    await asyncio.gather(*busy)
    assert await threads.call(abs, (-1,)) == 1
    assert not begun.is_set()


class Slow(AuthenticationStrategy):
    """Is written without `async`, and takes its time."""

    def authenticate(self, credentials: Credentials) -> Actor:
        time.sleep(0.01)
        return Actor(credentials.authorization, "test")


async def test_many_requests_at_once_are_all_authenticated() -> None:
    invoker, slow = Invoker(), Slow()
    people = [Credentials(f"person-{number}", {}) for number in range(4 * MAX_CALLS)]
    known = await asyncio.gather(*(invoker.ask(slow, "authenticate", person) for person in people))
    assert known == [Actor(person.authorization, "test") for person in people]
