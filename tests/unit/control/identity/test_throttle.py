"""Ten wrong guesses a minute, whether they come one after another or all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from stager.control.identity import throttle
from stager.control.identity.throttle import LIMIT, PER_SECONDS, Throttle
from stager.domain.errors import Refused
from stager.testing.fakes.clock import FakeClock


class Lock:
    """What is guessed at; each comparison takes a while."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.throttle = Throttle(self.clock.now)
        self.compared = 0
        self.at_once = self.most_at_once = 0

    async def guess(self, password: str, name: str = "eve") -> str:
        try:
            async with self.throttle.attempt(name) as attempt:
                self.compared += 1
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    await asyncio.sleep(0.01)
                finally:
                    self.at_once -= 1
                attempt.is_successful = password == "right"
        except Refused as error:
            return "refused" if (error.reason, error.status) == ("too-many-tries", 429) else error.reason
        return "in" if attempt.is_successful else "wrong"


@pytest.fixture
def lock() -> Lock:
    return Lock()


async def all_of(lock: Lock, password: Callable[[int], str], count: int) -> list[str]:
    return await asyncio.gather(*(lock.guess(password(n)) for n in range(count)))


async def test_a_hundred_wrong_ones_at_once_are_ten_comparisons(lock: Lock) -> None:
    answers = await all_of(lock, str, 100)

    assert lock.compared == LIMIT
    assert (answers.count("wrong"), answers.count("refused")) == (LIMIT, 100 - LIMIT)
    assert await lock.guess("right") == "refused"
    assert await lock.guess("right", "bob") == "in"


async def test_a_hundred_right_ones_at_once_get_in(lock: Lock) -> None:
    assert await all_of(lock, lambda _: "right", 100) == ["in"] * 100
    assert lock.most_at_once == LIMIT
    assert lock.throttle._sources == {}, "nothing is kept of those who are right"


async def test_right_ones_among_wrong_ones_get_in_while_there_are_tries_left(lock: Lock) -> None:
    answers = await all_of(lock, lambda n: "wrong" if n % 20 == 0 else "right", 100)

    assert (answers.count("wrong"), answers.count("in")) == (5, 95)


async def test_the_minute_ends(lock: Lock) -> None:
    await all_of(lock, str, LIMIT)
    assert await lock.guess("right") == "refused"
    lock.clock.advance(PER_SECONDS)
    assert await lock.guess("right") == "in"


async def test_a_disconnect_in_the_middle_counts_as_a_failure(lock: Lock) -> None:
    for _ in range(LIMIT):
        guessing = asyncio.create_task(lock.guess("x"))
        await asyncio.sleep(0)
        guessing.cancel()
        await asyncio.wait([guessing])

    assert (lock.compared, await lock.guess("right")) == (LIMIT, "refused")


async def test_a_client_that_disconnects_doesnt_block_others(lock: Lock) -> None:
    first = [asyncio.create_task(lock.guess("right")) for _ in range(LIMIT)]
    waiting = [asyncio.create_task(lock.guess("right")) for _ in range(5)]
    await asyncio.sleep(0)
    for task in waiting[:4]:
        task.cancel()
    await asyncio.wait([*first, *waiting])

    assert waiting[4].result() == "in"
    assert lock.throttle._sources == {}


async def test_waiting_has_a_limit(lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_WAIT", 0.02)
    release = asyncio.Event()

    async def slow() -> None:
        async with lock.throttle.attempt("eve") as attempt:
            await release.wait()
            attempt.is_successful = True

    slow_ones = [asyncio.create_task(slow()) for _ in range(LIMIT)]
    await asyncio.sleep(0)
    assert await lock.guess("right") == "refused"
    release.set()
    await asyncio.gather(*slow_ones)
    assert await lock.guess("right") == "in"


async def test_few_wait(lock: Lock) -> None:
    answers = await all_of(lock, lambda _: "right", LIMIT + throttle.MAX_WAITING + 7)

    assert answers.count("refused") == 7


async def test_many_sources_neither_fill_the_memory_nor_evict_an_active_one(
    lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MAX_SOURCES", 20)
    async with lock.throttle.attempt("slow"):
        for number in range(100):
            assert await lock.guess("x", str(number)) == "wrong"
        assert len(lock.throttle._sources) <= 20
        assert "slow" in lock.throttle._sources
