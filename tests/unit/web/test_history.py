"""A preview's past: the configuration of its deployments, and its events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import WebHarness, basic, web

PEOPLE = {"ann": "pass", "dev": "pass", "vera": "pass"}
ROLES = Roles({"basic:ann": Role.ADMINISTRATOR, "basic:dev": Role.DEVELOPER, "basic:vera": Role.VIEWER})
SECRET = "4ea18c9f-never-shown"
APP = replace(
    SHOP,
    variables={"CURRENCY": "EUR", "SMTP_PASSWORD": "hunter2-hunter2", "BANNER": f"key {SECRET}"},
    secrets={"PAYMENT": SECRET},
    command=("serve", f"--key={SECRET}"),
)


@pytest_asyncio.fixture
async def opened() -> AsyncIterator[WebHarness]:
    async with web(users=PEOPLE, roles=ROLES, applications=(APP,)) as harness:
        yield harness


async def launched(opened: WebHarness, **parameters: str) -> str:
    environment = await opened.harness.launch("feature", **parameters)
    await opened.harness.rest()
    return environment.id


async def test_is_recorded_with_the_sources_of_variables(opened: WebHarness) -> None:
    environment = await launched(opened, COLOUR="red")
    path = f"/api/v1/environments/{environment}/deployments/1/configuration"
    answer = await opened.ask("GET", path, headers=basic("dev"))
    body = answer.json()
    [service] = body["services"]
    found = {each["name"]: (each["source"], each["value"]) for each in service["variables"]}

    assert found["CURRENCY"] == ("configuration", "EUR")
    assert found["COLOUR"] == ("launch", "red")
    assert found["STAGER_APP"] == ("stager", "shop")
    assert found["PAYMENT"] == ("configuration", None)
    assert service["port"] == 3000
    assert service["image"] == APP.image
    assert service["memory"] == APP.limits.memory
    assert body["changes"] == []


@pytest.mark.attack(
    "The configuration of a deployment, read by a developer",
    profile="developer",
    result="secrets have names only, also where another value or a command contains one",
)
async def test_has_no_secret(opened: WebHarness) -> None:
    environment = await launched(opened)
    texts = [
        (await opened.ask("GET", path, headers=basic("dev"))).text
        for path in (
            f"/api/v1/environments/{environment}/deployments/1/configuration",
            f"/previews/{environment}/deployments/1",
        )
    ]
    stored = await opened.harness.store.read(lambda tx: tx.configuration(environment, 1))

    for text in (*texts, repr(stored)):
        assert "PAYMENT" in text
        assert SECRET not in text
        assert "hunter2" not in text
        assert "--key=***" in text


async def test_says_what_changed(opened: WebHarness) -> None:
    environment = await launched(opened, COLOUR="red")
    await launched(opened, COLOUR="blue", SIZE="2")
    page = (await opened.ask("GET", f"/previews/{environment}/deployments/2")).text
    path = f"/api/v1/environments/{environment}/deployments/2/configuration"
    changes = (await opened.ask("GET", path)).json()["changes"]

    assert [(each["setting"], each["change"], each["before"], each["after"]) for each in changes] == [
        ("variable COLOUR", "changed", "red", "blue"),
        ("variable SIZE", "added", "", "2"),
    ]
    assert "variable COLOUR" in page


async def test_unknown_configuration(opened: WebHarness) -> None:
    environment = await launched(opened)
    answer = await opened.ask("GET", f"/api/v1/environments/{environment}/deployments/7/configuration")
    assert (answer.status_code, answer.json()["reason"]) == (404, "configuration-unknown")
    assert (await opened.ask("GET", f"/previews/{environment}/deployments/7")).status_code == 404


async def test_viewers_see_the_deployment_only(opened: WebHarness) -> None:
    environment = await launched(opened)
    page = (await opened.ask("GET", f"/previews/{environment}/deployments/1", headers=basic("vera"))).text
    assert "Deployment 1" in page
    assert "CURRENCY" not in page


async def test_events_of_deployments_for_all_and_of_people_for_administrators(opened: WebHarness) -> None:
    environment = await launched(opened)
    await opened.ask("POST", f"/api/v1/environments/{environment}/pin", headers=basic("dev"))
    path = f"/api/v1/environments/{environment}/events"
    seen = {
        user: [
            (each["kind"], each["message"], each["actor"])
            for each in (await opened.ask("GET", path, headers=basic(user))).json()["events"]
        ]
        for user in ("ann", "vera")
    }
    deployed = [("live", "Deployment 1 became live", ""), ("deployment", "Deployment 1 was requested", "")]

    assert seen["vera"] == deployed
    assert [each for each in seen["ann"] if each[0] != "action"] == deployed
    assert ("action", "Pinned or extended", "dev (BasicAuthentication)") in seen["ann"]
    assert any(message == "Launched" for _, message, _ in seen["ann"])
    assert "Pinned or extended" in (await opened.ask("GET", f"/previews/{environment}/events")).text


async def test_events_page_by_page(opened: WebHarness) -> None:
    environment = await launched(opened)
    for _ in range(4):
        await opened.ask("POST", f"/api/v1/environments/{environment}/pin")
        await launched(opened)
    path = f"/api/v1/environments/{environment}/events"
    whole = (await opened.ask("GET", path, params={"limit": 200})).json()["events"]
    pages: list[object] = []
    before: str | None = ""
    while before is not None:
        answer = (await opened.ask("GET", path, params={"limit": 3, "before": before})).json()
        pages += answer["events"]
        before = answer["older"]

    assert len(whole) == 19
    assert pages == whole
