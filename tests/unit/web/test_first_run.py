"""The pages of the first run, for administrators only."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import cast

import httpx
import pytest

from stager.ports.setup import NewApplication
from stager.testing.fakes.setup import FakeApplicationSetup
from stager.web.context import WebContext
from tests.unit.web.harness import HOST, WebHarness

OWN = {"origin": f"http://{HOST}"}
EVIL = '"><script>alert(1)</script>'


def added(opened: WebHarness) -> list[NewApplication]:
    """What was added."""
    web = cast("WebContext", opened.app.state.web)
    return cast("FakeApplicationSetup", web.applications).added


async def sent(opened: WebHarness, **form: str) -> httpx.Response:
    return await opened.ask("POST", "/setup/application", data=form, headers=OWN)


async def test_a_github_repository(web: WebHarness) -> None:
    page = await web.ask("GET", "/setup/application", params={"source": "github"})
    assert 'name="repository"' in page.text

    answer = await sent(web, source="github", repository=" acme/shop ", build="auto")
    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="3;url=/setup/application/shop"' in answer.text
    assert added(web) == [NewApplication(repository="acme/shop")]


async def test_a_local_repository_has_none_at_github(web: WebHarness) -> None:
    answer = await sent(
        web, source="local", name="blog", repository="acme/shop", build="image", image="x:1", port="80"
    )
    assert answer.status_code == 200
    assert added(web) == [NewApplication("blog", "", "image", "x:1", "80")]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"source": "github", "repository": " "}, "Enter the repository"),
        ({"source": "local", "name": ""}, "Enter a name"),
        ({"source": "local", "name": "a", "env": "A=b\n\nC d"}, "Environment variables: line 3 isn't"),
        ({"source": "local", "name": "a", "secrets": "sesame"}, "Secrets: line 1 isn't"),
        ({"source": "local", "name": "taken"}, "There is an application taken already."),
    ],
)
async def test_a_mistake_is_shown_in_the_form(web: WebHarness, form: dict[str, str], words: str) -> None:
    answer = await sent(web, **form)
    assert answer.status_code == 400
    assert words in html.unescape(answer.text)
    assert added(web) == []


async def test_command_variables_and_secrets(web: WebHarness) -> None:
    """Quotes and comments are those of a `.env` file."""
    form = {"env": "# how\r\nMODE='a b'\r\n", "secrets": 'KEY=s3cret\nexport PEM="-\\n-"', "command": " run "}
    answer = await sent(web, source="local", name="blog", **form)
    secrets = {"KEY": "s3cret", "PEM": "-\n-"}
    assert added(web) == [NewApplication("blog", command="run", env={"MODE": "a b"}, secrets=secrets)]
    assert "s3cret" not in answer.text


async def test_secrets_arent_shown_again(web: WebHarness) -> None:
    answer = await sent(web, source="local", name="taken", env="MODE=a", secrets="KEY=s3cret", command="run")
    assert "s3cret" not in answer.text
    assert "Enter them again." in answer.text
    assert "MODE=a</textarea>" in answer.text
    assert 'value="run"' in answer.text
    assert "<details open>" in answer.text


async def test_one_that_waits_for_a_build_says_so(web: WebHarness) -> None:
    await sent(web, source="local", name="blog")
    answer = await web.ask("GET", "/setup/application/blog")
    assert "it first waits until they have" in answer.text
    assert 'content="3;url=/setup/application/blog"' in answer.text


async def test_what_is_entered_is_inert(web: WebHarness) -> None:
    answer = await sent(web, source="local", name="taken", image=EVIL)
    assert "<script>" not in answer.text
    assert EVIL in html.unescape(answer.text)


@pytest.mark.attack(
    "A form on another page that adds an application, with the administrator's browser",
    profile="preview",
    result="403",
)
async def test_forms_of_other_pages_add_nothing(web: WebHarness) -> None:
    form = {"source": "local", "name": "mine"}
    for origin in ({}, {"origin": "http://evil.test"}, {"origin": "null"}):
        for path in ("/setup/application", "/setup/application/shop/launch"):
            answer = await web.ask("POST", path, data=form, headers=origin)
            assert answer.status_code == 403, (origin, path)
    assert added(web) == []
    assert await web.harness.environments() == []


async def test_the_first_preview(web: WebHarness) -> None:
    page = await web.ask("GET", "/setup/application/shop")
    assert "Launch a preview now" in page.text
    answer = await web.ask("POST", "/setup/application/shop/launch", data={"branch": "main"}, headers=OWN)
    [environment] = await web.harness.environments()
    assert answer.headers["location"] == f"/previews/{environment.id}"
    await web.harness.rest()

    page = await web.ask("GET", "/setup/application/shop")
    assert "shop has a live preview" in page.text
    assert web.harness.running.urls.url(environment.host) in page.text


async def test_one_that_isnt_there_yet_leads_to_the_beginning(web: WebHarness) -> None:
    answer = await web.ask("GET", "/setup/application/later")
    assert (answer.status_code, answer.headers["location"]) == (303, "/setup")


async def test_where_applications_cant_be_added(web: WebHarness) -> None:
    web.app.state.web = replace(web.app.state.web, applications=None)
    assert "added in <code>config.yml</code>" in (await web.ask("GET", "/setup")).text
    answer = await sent(web, source="local", name="shop")
    assert answer.status_code == 404
    assert "Add them to `images:` in config.yml." in answer.text
