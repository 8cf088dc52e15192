"""A Compose file with PostgreSQL and Redis: from a push to live, with databases that are set up for each
preview."""

from __future__ import annotations

import asyncio
from typing import Any

from bench.figures import median, seconds, times
from bench.pushing import Watcher
from bench.row import Chart, Figures, Line, Row
from bench.rows.services import LIMIT, ComposedByHand, author_of, composed, pushes
from bench.testbed import PORT, Testbed
from tests.integration.images import service_image

PUSHES = 6

COMPOSE = """\
services:
  web:
    build: web
    ports: ["{port}"]
    depends_on:
      database: {{condition: service_healthy}}
      cache: {{condition: service_healthy}}
    healthcheck:
      test: wget -q -O - http://127.0.0.1:{port}/
      interval: 1s
  database:
    image: {postgres}
    environment: {{POSTGRES_USER: shop, POSTGRES_PASSWORD: secret, POSTGRES_DB: shop}}
    volumes: ["data:/var/lib/postgresql/data"]
    healthcheck:
      test: pg_isready -h 127.0.0.1 -U shop
      interval: 1s
      retries: 60
  cache:
    image: {redis}
    healthcheck:
      test: redis-cli ping
      interval: 1s
volumes: {{data: }}
"""


def _compose() -> str:
    images = {kind: service_image(kind) for kind in ("postgres", "redis")}
    return COMPOSE.format(port=PORT, **images)


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each push."""
    return asyncio.run(_measure(testbed))


async def _measure(testbed: Testbed) -> dict[str, Any]:
    with testbed.stager(**composed(testbed.folder / "git")) as stager:
        author = author_of(testbed.folder / "clone", testbed.folder / "git" / "shop.git", _compose())
        await author.push("main")
        hand = ComposedByHand(testbed.folder / "hand", _compose())
        return await pushes(hand, Watcher(stager, author), PUSHES)


def lines(figures: Figures) -> list[Line]:
    """Push to live."""
    floor, ours = median(figures["floor"]), median(figures["stager"])
    ratio = ours / floor
    return [
        Line(
            what="From `git push` to live with an application, PostgreSQL and Redis of a Compose file",
            floor=seconds(floor),
            ours=f"{seconds(ours)}, {times(ratio)}",
            budget=f"at most {times(LIMIT)}",
            value=ratio,
            limit=LIMIT,
        )
    ]


def charts(figures: Figures) -> list[Chart]:
    """The medians."""
    bars = [
        ("git and docker compose up --wait --build", median(figures["floor"])),
        ("Stager", median(figures["stager"])),
    ]
    return [Chart("bench-databases", "From git push to the first 200, with PostgreSQL and Redis", "s", bars)]


ABOUT = """\
The same with an application that is built, and with PostgreSQL and Redis from images. Each push makes a new
preview, whose database sets up its data folder first.
"""

ROW = Row("databases", "With databases", ABOUT.strip(), measure, lines, charts)
