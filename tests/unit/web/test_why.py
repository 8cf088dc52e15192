"""The page and the call that tell why there is no preview."""

from __future__ import annotations

from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import WebHarness, web

WHY = "/api/v1/why"


async def ignored_draft(opened: WebHarness) -> str:
    """A pull request whose title opts out. Returns its name."""
    pull = opened.github.open_pull(opened.github.add_repository("acme", "shop"), "feature-x")
    payload = opened.github.event("opened", pull)
    payload["pull_request"]["title"] = "<b>x</b> [skip preview]"
    await opened.deliver("pull_request", payload)
    await opened.harness.rest(30)
    return f"acme/shop#{payload['number']}"


async def test_page_and_call_name_the_rule(web: WebHarness) -> None:
    target = await ignored_draft(web)
    found = (await web.ask("GET", WHY, params={"target": target})).json()

    assert found["code"] == "opted-out"
    assert found["environment"]
    page = await web.ask("GET", "/why", params={"target": target})
    assert page.status_code == 200
    assert "its author opted out with <code>[skip preview]</code>" in page.text
    assert f'href="/previews/{found["environment"]}"' in page.text


async def test_what_isnt_a_target_is_said_beside_the_field(web: WebHarness) -> None:
    page = await web.ask("GET", "/why", params={"target": '"><script>'})

    assert page.status_code == 400
    assert "<script>" not in page.text
    assert 'aria-describedby="target-help" aria-invalid="true"' in page.text
    answer = await web.ask("GET", WHY, params={"target": "shop"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "target-invalid")


async def test_without_a_target_there_is_a_form(web: WebHarness) -> None:
    page = await web.ask("GET", "/why")

    assert page.status_code == 200
    assert '<form action="/why" method="get">' in page.text


async def test_who_may_see_nothing_learns_nothing() -> None:
    async with web(roles=Roles({"basic:ann": Role.NONE}), applications=[SHOP]) as opened:
        target = await ignored_draft(opened)
        known = (await opened.ask("GET", WHY, params={"target": target})).json()
        unknown = (await opened.ask("GET", WHY, params={"target": "acme/none#1"})).json()

    assert known["message"].replace("shop", "none") == unknown["message"]
    assert {**known, "message": "", "hint": ""} == {**unknown, "message": "", "hint": ""}
