"""What the home page costs with many previews: bytes of its first load, and work for each viewer and preview.

No time is measured: the numbers that a time would depend on are counted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from stager.domain.deployment import Deployment
from stager.domain.source import Revision
from stager.ports.store import Transaction
from stager.web.api.views import EnvironmentView
from stager.web.pages import dashboard, preview_items
from tests.contracts.store_samples import LINK, deployment, environment
from tests.unit.web.harness import WebHarness, web
from tests.unit.web.test_dashboard import PEOPLE, ROLES, control_of, session_of, streaming

KNOWN, SHOWN = 1_000, 100
FIRST_LOAD = 60_000
"""Bytes of the page with all that it loads, compressed."""
ASSET = re.compile(r'(?:href|src)="(/static/[^"]+)"')
IMPORT = re.compile(rb'from "\./([a-z]+\.js)"')


@pytest.fixture(name="crowded")
async def with_many_previews() -> AsyncIterator[WebHarness]:
    """A server with previews of pull requests; no two have a title, a branch or an id in common."""
    async with web(users=PEOPLE, roles=ROLES) as opened:
        await control_of(opened).ports.store.write(lambda tx: _fill(tx, KNOWN))
        yield opened


def _fill(tx: Transaction, known: int) -> None:
    for number in range(1, known + 1):
        name = f"feature/{number * 7919:x}-checkout-{number * 104729:x}"
        title = f"Change {number * 15485863:x} of the checkout, as {number * 32452843:x} asks for"
        link = replace(LINK, number=number, title=title, author=f"author{number}")
        tx.save_environment(environment(number, name=name, change=link))
        tx.save_deployment(_failed(number))


def _failed(number: int) -> Deployment:
    one = deployment(number, environment_id=f"env{number}")
    return replace(one, revision=Revision(f"{number * 982451653:040x}", f"refs/heads/branch-{number}"))


async def sizes_of_first_load(web: WebHarness, headers: dict[str, str]) -> dict[str, int]:
    """The bytes of each response as a browser requests them, scripts imported by scripts included."""
    page = await web.client.get("/", headers=headers)
    assert page.status_code == 200
    wanted, sizes = ASSET.findall(page.text), {"/": int(page.headers["content-length"])}
    while wanted:
        path = wanted.pop()
        if path not in sizes:
            answer = await web.client.get(path, headers=headers)
            sizes[path] = int(answer.headers["content-length"])
            folder = path.rpartition("/")[0]
            wanted += [f"{folder}/{name.decode()}" for name in IMPORT.findall(answer.content)]
    return sizes


async def test_first_load_with_100_of_1000_previews_is_below_60_kb(crowded: WebHarness) -> None:
    cookie = await session_of(crowded)
    sizes = await sizes_of_first_load(crowded, {**cookie, "accept-encoding": "gzip"})

    assert {path.rpartition("/")[2] for path in sizes} >= {"stager.css", "dashboard.js", "frame.js"}
    assert sum(sizes.values()) < FIRST_LOAD, sizes


async def test_only_the_shown_previews_are_rendered(
    crowded: WebHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered = counted(monkeypatch)
    page = await crowded.client.get("/", headers=await session_of(crowded))

    assert page.text.count('<li id="preview-') == SHOWN
    assert len(rendered) == SHOWN


async def test_a_change_is_rendered_once_for_all_with_the_same_rights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with web(users=PEOPLE, roles=ROLES) as opened:
        await control_of(opened).ports.store.write(lambda tx: _fill(tx, 20))
        await opened.harness.rest(60)
        await _compare_streams(opened, monkeypatch)


async def _compare_streams(web: WebHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, vera = await session_of(web, "ann"), await session_of(web, "vera")
    log, read = control_of(web).environments.change_log, 0
    since = log.since

    def reading(*positions: str) -> object:
        nonlocal read
        read += len(positions) == 2  # the tally reads with one
        return since(*positions)

    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(streaming(web, cookie))
            for cookie in [ann, ann, ann, vera, vera, vera]
        ]
        monkeypatch.setattr(log, "since", reading)
        rendered = counted(monkeypatch)
        for number in range(1, 21):
            log.record(f"env{number}")
        await asyncio.sleep(1)

    assert [len(stream.events) for stream in streams] == [20] * 6
    assert len(rendered) == 2 * 20
    assert read == 2


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the ids of the previews that are rendered as items."""
    rendered: list[str] = []
    item = preview_items.item

    def counting(view: EnvironmentView, *others: Any) -> str:
        rendered.append(view.id)
        return item(view, *others)

    for module in (dashboard, preview_items):
        monkeypatch.setattr(module, "item", counting)
    return rendered
