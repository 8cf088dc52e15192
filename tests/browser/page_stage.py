"""A Stager for its pages: the real web application over fakes, with a preview in each state.

It needs no Docker, so every page and state is ready within seconds.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import uvicorn

from stager.control.identity.authorizer import Roles
from stager.domain.errors import Fault
from stager.domain.identity.roles import Role
from stager.domain.recipe import Recipe
from stager.testing import Program
from stager.testing.fakes.builder import Result
from stager.testing.fakes.clock import START
from tests.browser.example_pictures import add_pictures
from tests.unit.control.harness import SHOP
from tests.unit.control.reconciler.test_services import ADMIN, DB, add_images, with_services
from tests.unit.web.harness import WebHarness, web

FAST = 150.0
"""How many seconds pass in one while the stage is set."""
ROLES = Roles({"basic:ann": Role.ADMINISTRATOR, "basic:dev": Role.DEVELOPER, "basic:vera": Role.VIEWER})
PASSWORD = "pass"
PEOPLE = {"ann": PASSWORD, "dev": PASSWORD, "vera": PASSWORD}
SITE = replace(SHOP, name="site", build=Recipe(), owner="acme", repository="site")
TOOLS = replace(with_services(DB, ADMIN), name="tools", image="acme/tools:1")
BUILD_LOG = (
    "#1 [1/4] FROM stager-base/static:1",
    "#2 [2/4] COPY package.json package-lock.json ./",
    "#3 [3/4] RUN npm ci",
    "#3 2.141 npm warn deprecated glob@7.2.3: Glob versions prior to v9 are no longer supported",
    "#4 [4/4] RUN npm run build",
    '#4 1.902 src/cart.ts(14,9): error TS2304: Cannot find name "totl".',
)


class ScaledLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes faster while the stage is set. Its time is that of `START`'s clock, so that
    ages on the pages are right."""

    def __init__(self) -> None:
        self.speed = 1.0
        self._base = (datetime.now(UTC) - START).total_seconds()
        self._since = time.monotonic()
        super().__init__(_ScaledSelector(self))

    def time(self) -> float:
        return self._base + (time.monotonic() - self._since) * self.speed

    def move_to(self, ago: float) -> None:
        """Move the time to so many seconds ago."""
        self._base, self._since = (datetime.now(UTC) - START).total_seconds() - ago, time.monotonic()

    def run_at(self, speed: float) -> None:
        """Let time pass at this speed from now on."""
        self._base, self._since, self.speed = self.time(), time.monotonic(), speed


class _ScaledSelector(selectors.DefaultSelector):
    def __init__(self, loop: ScaledLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        scaled = timeout / self._loop.speed if timeout is not None and timeout > 0 else timeout
        return super().select(scaled)


@dataclass
class PageStage:
    """The running stage.

    Args:
        previews: ids of previews by the state that they show.
        values: what pages need in their paths besides, by name.
    """

    port: int
    previews: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> str:
        """The address of the dashboard."""
        return f"http://localhost:{self.port}"


async def furnish(harness: WebHarness, stage: PageStage) -> None:
    """Launch a preview for each state. Owners of pages add what theirs need."""
    control = harness.harness
    add_images(control)
    control.engine.add_image("acme/tools:1")
    site = control.forge.add_repository("acme", "site")

    async def opened(ref: str, sha: str, title: str, author: str, result: Result) -> str:
        control.builder.default = result
        change = control.forge.open(site, ref, sha * 20, title=title, author=author)
        await control.deliver(change)
        await control.rest(40)
        newest = max(await control.environments(), key=lambda each: each.created_at)
        return newest.id

    good = Result(Program(output="listening on 3000\nGET / 200"), lines=BUILD_LOG[:5])
    broken = Fault("Building failed at step 4/4: `RUN npm run build`.", reason="build-failed")
    stage.previews["live"] = await opened("checkout", "a1", "Show the total in the cart", "mona", good)
    stage.previews["failed"] = await opened(
        "coupons", "b2", "Accept coupons at the checkout", "hubot", Result(lines=BUILD_LOG, failure=broken)
    )
    stage.previews["crashed"] = await opened(
        "search",
        "c3",
        "Search by colour",
        "octocat",
        Result(Program(exit_code=1, output="KeyError: 'DATABASE_URL'")),
    )
    tools = await control.launch("staging", "tools")
    await control.rest(60)
    stage.previews["services"] = tools.id
    nap = await control.launch("spring-sale", "shop")
    await control.rest(60)
    await harness.ask("POST", f"/api/v1/environments/{nap.id}/sleep")
    stage.previews["asleep"] = nap.id
    await control.rest(30)
    control.builder.default = Result(lines=BUILD_LOG[:4], seconds=10_000_000)
    change = control.forge.open(
        site, "dark-mode", "d4" * 20, title="A dark theme for the shop", author="mona"
    )
    await control.deliver(change)
    await control.rest(10)
    building = max(await control.environments(), key=lambda each: each.created_at)
    stage.previews["building"] = building.id
    await add_pictures(harness, stage.previews["live"], tools.id)


async def _serve(stage: PageStage, ready: threading.Event, done: threading.Event) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ScaledLoop)
    loop.move_to(600)
    loop.run_at(FAST)
    applications = (SITE, TOOLS, SHOP)
    async with web(
        users=PEOPLE, roles=ROLES, applications=applications, credentials=True, rest=False
    ) as harness:
        await furnish(harness, stage)
        loop.run_at(1.0)
        loop.move_to(0)
        config = uvicorn.Config(harness.app, port=stage.port, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())  # without signal handlers
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        ready.set()
        while not done.is_set() and not serving.done():
            await asyncio.sleep(0.05)
        server.should_exit = server.force_exit = True
        await serving


@contextmanager
def page_stage() -> Iterator[PageStage]:
    """Run the stage within the block, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        stage = PageStage(free.getsockname()[1])
    ready, done = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        loop = ScaledLoop()
        try:
            loop.run_until_complete(_serve(stage, ready, done))
        except BaseException as error:
            errors.append(error)
        finally:
            with suppress(Exception):
                loop.close()
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        ready.wait(60)
        if errors:
            raise errors[0]
        yield stage
    finally:
        done.set()
        thread.join(10)
