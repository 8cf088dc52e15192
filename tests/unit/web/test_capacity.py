"""Capacity in the API: what previews use, the limits, and the queue, for those who may see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from stager.auth.basic import BasicAuthentication
from stager.control.identity.authorizer import Roles
from stager.domain.allocation import Limit, Limits
from stager.domain.identity.roles import Role
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import WebHarness, basic, web

BLOG = replace(SHOP, name="blog")
LIMITS = Limits(host=Limit(running=1), free_disk=1 << 30)


@pytest.fixture
async def full() -> AsyncIterator[WebHarness]:
    """A server with a preview of each application, of which the second one waits."""
    roles = Roles({"basic:ann": Role.ADMINISTRATOR, "basic:vic": Role.VIEWER})
    strategies = [BasicAuthentication({"ann": "pass", "vic": "pass"})]
    async with web(
        authentication=strategies, roles=roles, applications=[SHOP, BLOG], limits=LIMITS
    ) as opened:
        await opened.harness.launch("first")
        await opened.harness.rest(30)
        await opened.harness.launch("second", app="blog")
        await opened.harness.rest(30)
        yield opened


async def test_an_administrator_sees_everything(full: WebHarness) -> None:
    [first] = [e for e in await full.harness.environments() if e.name == "first"]
    full.harness.engine.used_memory[first.id] = 30 << 20
    found = (await full.client.get("/api/v1/capacity", headers=basic("ann"))).json()

    assert found["counts"] == {"waiting": 1, "awake": 1, "paused": 0, "stopped": 0}
    assert found["memory"] == 30 << 20
    assert found["limits"]["host"] == {"max_running": 1, "max_memory": None, "max_disk": None}
    assert found["machine"]["free_disk"] == 60 << 30
    running, waits = found["previews"]
    assert (running["name"], running["occupancy"], running["memory"]) == ("first", "awake", 30 << 20)
    assert (waits["name"], waits["place"]) == ("second", 1)
    assert waits["reason"] == "The limit of 1 running preview is reached."


async def test_others_dont_see_the_machine(full: WebHarness) -> None:
    found = (await full.client.get("/api/v1/capacity", headers=basic("vic"))).json()
    assert found["machine"] is None


async def test_the_state_of_one_that_waits(full: WebHarness) -> None:
    listed = (await full.client.get("/api/v1/environments", headers=basic("ann"))).json()
    assert [(each["state"], each["place"]) for each in listed] == [("live", 0), ("queued", 1)]


async def test_the_walkthroughs_launch_says_so(full: WebHarness) -> None:
    body = {"image_name": "shop", "container_name": "third"}
    answer = await full.client.post("/launch", data=body, headers=basic("ann"))
    assert answer.status_code == 503
    assert "This preview is number 2 in the queue" in answer.text
    assert "Retry-After" in answer.headers
