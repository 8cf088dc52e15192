"""Launching a preview on a page: what is offered, the URL before the launch, one launch for two clicks."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import httpx

from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from stager.domain.recipe import Recipe
from stager.testing.fakes.faults import FaultMode
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import HOST, WebHarness, basic, web

OURS = {"origin": f"http://{HOST}"}
SITE = replace(SHOP, name="site", build=Recipe(), owner="acme", repository="site")
ONCE = re.compile(r'name="once" value="(\w+)"')


async def sent(opened: WebHarness, **form: str) -> httpx.Response:
    return await opened.ask("POST", "/new", data=form, headers=OURS)


async def test_the_url_is_shown_before_the_launch(web: WebHarness) -> None:
    page = (await web.ask("GET", "/new?app=shop&branch=feature/x")).text

    assert "http://feature-x.preview.test" in page
    assert await web.harness.environments() == []


async def test_a_launch_leads_to_its_page(web: WebHarness) -> None:
    answer = await sent(web, app="shop", branch=" feature/x ", once="1")

    [environment] = await web.harness.environments()
    assert (answer.status_code, answer.headers["location"]) == (303, f"/previews/{environment.id}")
    assert environment.name == "feature/x"
    page = (await web.ask("GET", "/new?app=shop&branch=feature/x")).text
    assert "This preview exists" in page


async def test_two_clicks_launch_once(web: WebHarness) -> None:
    once = ONCE.findall((await web.ask("GET", "/new")).text)[0]
    form = {"app": "shop", "branch": "x", "once": once}
    first, second = await asyncio.gather(sent(web, **form), sent(web, **form))
    third = await sent(web, **form)

    assert {each.headers["location"] for each in (first, second, third)} == {first.headers["location"]}
    [environment] = await web.harness.environments()
    assert environment.desired.generation == 1


async def test_another_branch_or_a_new_form_launches_again(web: WebHarness) -> None:
    await sent(web, app="shop", branch="x", once="1")
    await sent(web, app="shop", branch="y", once="1")
    await sent(web, app="shop", branch="x", once="2")

    found = {each.name: each.desired.generation for each in await web.harness.environments()}
    assert found == {"x": 2, "y": 1}


async def test_an_error_is_beside_its_field_and_can_be_corrected(web: WebHarness) -> None:
    for branch, words in (("default", "is reserved"), ("", "No name specified")):
        answer = await sent(web, app="shop", branch=branch, once="1")
        assert answer.status_code == 400
        assert words in answer.text
        assert 'id="branch" name="branch" type="text"' in answer.text
        assert 'aria-invalid="true"' in answer.text
    assert (await sent(web, app="shop", branch="x", once="1")).status_code == 303


async def test_open_pull_requests_are_offered() -> None:
    async with web(applications=(SITE,), credentials=True) as opened:
        forge = opened.harness.forge
        site, fork = forge.add_repository("acme", "site"), forge.add_repository("mona", "site")
        change = forge.open(site, "checkout", "a1" * 20, title="Show <b>the</b> total")
        await opened.harness.deliver(change)
        await opened.harness.rest(30)
        other = forge.open(site, "theirs", "b2" * 20, fork=fork)

        page = (await opened.ask("GET", "/new")).text
        assert "Show &lt;b&gt;the&lt;/b&gt; total" in page
        assert "/new?app=site&amp;branch=checkout" in page
        assert "branch=theirs" not in page
        listed = (await opened.ask("GET", "/api/v1/applications/site/changes")).json()
        assert [(each["number"], each["fork"]) for each in listed] == [
            (other.change.number, True),
            (change.change.number, False),
        ]


async def test_a_forge_that_does_not_answer_is_said() -> None:
    async with web(applications=(SITE,), credentials=True) as opened:
        forge = opened.harness.forge
        await opened.harness.deliver(forge.open(forge.add_repository("acme", "site"), "checkout", "a1" * 20))
        await opened.harness.rest(30)
        forge.fault_mode = FaultMode.FAILING

        page = await opened.ask("GET", "/new?app=site")
        assert (page.status_code, "Enter the branch above" in page.text) == (200, True)


async def test_only_what_one_may_launch_is_offered() -> None:
    async with web(roles=Roles({"basic:ann": Role.VIEWER})) as opened:
        page = (await opened.ask("GET", "/new?app=shop")).text
        assert "nothing for you to launch" in page
        assert ">Launch</a>" not in page
        answer = await sent(opened, app="shop", branch="x", once="1")
        assert answer.status_code == 403
        assert await opened.harness.environments() == []


async def test_a_form_of_another_site_is_refused(web: WebHarness) -> None:
    answer = await web.client.post(
        "/new", data={"app": "shop", "branch": "x"}, headers={**basic(), "origin": "http://evil.test"}
    )
    assert answer.status_code == 403
    assert await web.harness.environments() == []


async def test_an_application_that_does_not_exist(web: WebHarness) -> None:
    page = await web.ask("GET", "/new?app=nothing")
    assert "There is no application" in page.text
