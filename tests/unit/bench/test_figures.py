"""The benchmarks' arithmetic, and the open loop that shows a queue."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench import raw
from bench.figures import percentile, seconds
from bench.openloop import spread
from tests.unit.control.virtual_time import VirtualTimeLoop


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_percentiles_are_values_that_were_measured(percent: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == value


@pytest.mark.parametrize(
    ("value", "text"), [(0.0000354, "35 µs"), (0.00151, "1.5 ms"), (0.0432, "43 ms"), (2.5, "2.50 s")]
)
def test_durations_have_the_unit_that_suits_them(value: float, text: str) -> None:
    assert seconds(value) == text


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    figures = {"floor": [0.1, 0.2], "left": {"containers": 0}}
    raw.keep("launch", figures, tmp_path)
    kept = raw.kept("launch", tmp_path)
    assert kept is not None
    assert kept["figures"] == figures
    assert raw.kept("proxy", tmp_path) is None


def test_an_open_loop_sees_the_queue() -> None:
    """A server that needs 100 ms for each request, and is asked every 50 ms."""

    async def measured() -> list[float]:
        server = asyncio.Lock()

        async def send(_: int) -> None:
            async with server:
                await asyncio.sleep(0.1)

        return await spread(send, 10, 0.5)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        taken = runner.run(measured())
    assert taken == pytest.approx([0.1 + 0.05 * number for number in range(10)])
