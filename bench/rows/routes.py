"""A change of one route, among few and among many."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.figures import median, percentile, rounded, seconds, times
from bench.row import Figures, Line, Row
from bench.testbed import Testbed
from stager.control.routing.route_table import Routes
from stager.domain.route import Endpoint, RouteTable, Target
from tests.unit.front.harness import App, Rig, rig

FEW, MANY, CHANGES = 10, 10_000, 200
DOMAIN = "stage.test"


class Party:
    """A front with this number of routes, and the publisher that changes them."""

    def __init__(self, front: Rig, apps: tuple[App, App]) -> None:
        self._front = front
        self._apps = apps
        self._routes = Routes(front.client)

    async def fill(self, count: int) -> None:
        routes: dict[str, Target] = {_host(number): self._apps[0].endpoint for number in range(count)}
        await self._routes.apply(RouteTable(routes, DOMAIN, Endpoint("127.0.0.1", 1)))

    async def change(self, number: int) -> float:
        """Seconds until every new request for a route reaches the other application."""
        host, app = _host(number % FEW), self._apps[(number // FEW + 1) % 2]
        begun = perf_counter()
        await self._routes.show({host: app.endpoint})
        took = perf_counter() - begun
        assert (await self._front.ask(host=host)).json["app"] == app.name
        return took


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each change, among few and among many."""
    return asyncio.run(_measure(testbed.folder))


async def _measure(folder: Path) -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        apps = App("first"), App("second")
        for app in apps:
            await app.start()
            stack.push_async_callback(app.stop)
        parties: dict[str, Party] = {}
        for name, count in (("few", FEW), ("many", MANY)):
            parties[name] = Party(await stack.enter_async_context(rig(folder / name)), apps)
            await parties[name].fill(count)
        taken: dict[str, list[float]] = {name: [] for name in parties}
        for number in range(CHANGES):
            for name, party in parties.items():
                taken[name].append(await party.change(number))
    return {name: rounded(values, 6) for name, values in taken.items()}


def _host(number: int) -> str:
    return f"app-{number}.{DOMAIN}"


def lines(figures: Figures) -> list[Line]:
    """The one line."""
    few, many = median(figures["few"]), median(figures["many"])
    return [
        Line(
            what=f"Changing one route among {MANY:,}",
            floor=f"{seconds(few)} (among {FEW})",
            ours=f"{seconds(many)} (99th percentile {seconds(percentile(figures['many'], 99))}),"
            f" {times(many / few)}",
            budget="at most 2.00x",
            value=many / few,
            limit=2.0,
        )
    ]


ABOUT = f"""\
One route of the table is changed to another application. Measured is the time from the control plane's call
until the front has confirmed it, including the write to its journal; then a request by that route must
reach the other application. {CHANGES} changes, alternating between a front with {FEW} routes and one with
{MANY:,}.
"""

ROW = Row(
    "routes",
    "Changing one route",
    ABOUT.strip(),
    measure,
    lines,
)
