"""From a Stager without credentials to one that GitHub knows as an App, in the steps that a person takes."""

from __future__ import annotations

import html
import json
import re
import stat
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.doubles.github import signed
from tests.doubles.github_app import MANIFEST_CODE
from tests.integration.conftest import MakeStager
from tests.integration.github import Github
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, docker, until

APP_SECRET = "a-hook-secret"


def form_of(page: httpx.Response) -> tuple[str, dict[str, Any]]:
    """Where the page's form leads, and the manifest that it brings there."""
    assert page.status_code == 200, page.text
    [target] = re.findall(r'<form method="post" action="([^"]*)"', page.text)
    [manifest] = re.findall(r'name="manifest" value="([^"]*)"', page.text)
    return html.unescape(target), json.loads(html.unescape(manifest))


def status_of(stager: StagerUnderTest, payload: dict[str, Any], secret: str) -> int:
    """The answer to a delivery with this secret."""
    headers, _ = signed("pull_request", payload, secret)
    given = {"X-Hub-Signature-256": headers["x-hub-signature-256"]}
    return stager.deliver(payload, headers=given).status_code


@pytest.mark.requirement("R77", "R80")
def test_an_app_with_one_click(make_stager: MakeStager, github: Github) -> None:
    settings = {key: value for key, value in github.settings.items() if key != "outgoing_auth"}
    stager = make_stager(github=settings, images={"shop": {"repo": "acme/shop"}}, event_listeners=None)
    browser = httpx.Client(base_url=stager.url, auth=(USER, PASSWORD), trust_env=False, timeout=30)
    number = github.open("my-branch")
    assert status_of(stager, github.event("opened", number), APP_SECRET) == 401

    # The page sends us to GitHub, which asks us, makes the App, and sends us back.
    target, manifest = form_of(browser.get("/setup/github"))
    assert target.startswith(f"{github.settings['web_url']}/settings/apps/new?state=")
    back = manifest["redirect_url"]
    assert back == f"http://localhost:{stager.port}/setup/github/callback"
    [state] = parse_qs(urlsplit(target).query)["state"]
    forged = browser.get(urlsplit(back).path, params={"code": MANIFEST_CODE, "state": "guessed"})
    assert forged.status_code == 403
    answer = browser.get(urlsplit(back).path, params={"code": MANIFEST_CODE, "state": state})
    assert (answer.status_code, answer.headers["location"]) == (303, "/setup/github")
    kept = stager.state / "github-app.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    page = browser.get("/setup/github").text
    assert "GitHub is connected" in page
    assert APP_SECRET not in page + stager.log.read_text()

    # It is in use at once, without a restart and without names of handlers in the configuration.
    github.app.install("acme", "shop")
    assert status_of(stager, github.event("opened", number), APP_SECRET) == 202
    live = stager.wait_for("my-branch", "live")
    until(lambda: live["url"] in "".join(github.comments(number)), "the comment says where it is")
    assert github.commenters(number) == ["stager-acme[bot]"]
    browser.close()


def test_an_app_of_the_configuration(make_stager: MakeStager, github: Github) -> None:
    settings = {key: value for key, value in github.settings.items() if key != "outgoing_auth"}
    github.app.install("acme", "shop")
    stager = make_stager(
        github={**settings, "app_id": int(github.app.id), "private_key": github.app.pem},
        images={"shop": {"repo_owner": "acme"}},
        resync_interval="2s",
    )
    number = github.open("untold")
    live = stager.wait_for("untold", "live")
    until(lambda: live["url"] in "".join(github.comments(number)), "the comment says where it is")
    assert github.commenters(number) == ["stager-acme[bot]"]
    assert github.app.pem.splitlines()[1] not in stager.log.read_text()


@pytest.fixture
def image(app_image: str) -> Iterator[str]:
    """The application under test as an image that runs without a configured command."""
    container, reference = docker("create", app_image, "true"), f"{app_image.partition(':')[0]}:with-command"
    docker("commit", "--change", 'CMD ["python3", "/server.py"]', container, reference)
    docker("rm", container)
    yield reference
    docker("image", "rm", reference)


def test_a_first_run_without_a_file(image: str, make_stager: MakeStager, github: Github) -> None:
    """One click for GitHub, one form for the application, one pull request."""
    settings = {key: value for key, value in github.settings.items() if key != "outgoing_auth"}
    stager = make_stager(github=settings, images={}, event_listeners=None)
    origin = {"Origin": f"http://localhost:{stager.port}", "Host": f"localhost:{stager.port}"}
    with httpx.Client(
        base_url=stager.url, auth=(USER, PASSWORD), headers=origin, trust_env=False, timeout=30
    ) as browser:
        target, _ = form_of(browser.get("/setup/github"))
        [state] = parse_qs(urlsplit(target).query)["state"]
        browser.get("/setup/github/callback", params={"code": MANIFEST_CODE, "state": state})
        github.app.install("acme", "shop")
        number = github.open("my-branch")
        assert status_of(stager, github.event("opened", number), APP_SECRET) == 202
        until(
            lambda: "no application is for acme/shop" in browser.get("/deliveries").text,
            "the page says why nothing happened",
        )

        form = {"source": "github", "repository": "acme/shop", "build": "image", "image": image}
        answer = browser.post("/setup/application", data={**form, "port": "3000"})
        assert "shop is added" in answer.text, answer.text
        until(lambda: _is_known(browser, "my-branch"), "it is restarted, and the preview is launched")
        live = stager.wait_for("my-branch", "live")
        until(lambda: live["url"] in "".join(github.comments(number)), "the comment says where it is")
        assert "my-branch" in browser.get("/setup/application/shop").text


def _is_known(browser: httpx.Client, name: str) -> bool:
    """Whether there is a preview of this name; not while the control plane restarts."""
    answer = browser.get("/api/v1/environments")
    return answer.is_success and any(each["name"] == name for each in answer.json())
