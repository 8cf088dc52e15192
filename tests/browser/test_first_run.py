"""The first run: from a server without an application to a live preview, in a browser and with one push."""

from __future__ import annotations

import html
import json
import re
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.integration.conftest import MakeStager
from tests.integration.stager import PASSWORD, USER, until
from tests.integration.test_login_link import LINK, WITHOUT_SIGN_IN, command

FILES = {
    "Dockerfile": "FROM stager-base/python:1\nWORKDIR /site\nCOPY . .\nEXPOSE 8000\n"
    'CMD ["python3", "-m", "http.server", "8000"]\n',
    "index.html": "<h1>My shop</h1>\n",
}

COMMAND = """sh -c 'echo "$GREETING $KEY" >x; exec python3 -m http.server 8000'"""


def clone(folder: Path, files: Mapping[str, str] = FILES) -> Path:
    """A repository of the user's own."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    who = ["-c", "user.name=ann", "-c", "user.email=ann@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "Begin"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    return folder


def test_ends_with_a_live_preview(page: Page, make_stager: MakeStager, tmp_path: Path) -> None:
    stager = make_stager(images={}, **WITHOUT_SIGN_IN)
    found = LINK.search(command(stager).stdout)
    assert found is not None

    page.goto(f"http://localhost:{stager.port}/")
    expect(page.locator("main")).to_contain_text("stager login-link")
    page.goto(f"http://localhost:{stager.port}{found[2]}")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Set up Stager")).to_be_visible()

    page.get_by_role("link", name="Use a local repository").click()
    page.get_by_label("Name", exact=True).fill("my shop")
    page.get_by_role("button", name="Add the application").click()
    expect(page.get_by_role("alert")).to_contain_text("lower-case letters")
    page.get_by_label("Name", exact=True).fill("shop")
    page.get_by_label("By the Dockerfile").check()
    page.get_by_text("Command, variables and secrets").click()
    page.get_by_label(re.compile("^Command")).fill(COMMAND)
    page.get_by_label("Environment variables").fill("GREETING=hello")
    page.get_by_label("Secrets").fill("KEY=s3cret")
    page.get_by_role("button", name="Add the application").click()
    expect(page.get_by_role("heading", name="shop is added")).to_be_visible()
    expect(page.get_by_role("heading", name="shop is set up")).to_be_visible()

    commands = page.locator("pre").first.inner_text().splitlines()
    assert re.fullmatch(r"git remote add stager \S+/repositories/shop\.git", commands[0])
    repository = clone(tmp_path / "mine")
    for line in commands:
        subprocess.run(line.split(), cwd=repository, check=True, timeout=120)
    page.get_by_role("heading", name="shop has a live preview").wait_for(timeout=120_000)
    page.get_by_role("link", name=re.compile("Open http")).click()
    expect(page.get_by_role("heading", name="My shop")).to_be_visible()

    assert "hello s3cret" in stager.get("first-preview", "/x").text
    written = stager.state / "setup.yml"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_a_stranger_reaches_no_page_of_it(make_stager: MakeStager) -> None:
    stager = make_stager(images={}, **WITHOUT_SIGN_IN)
    origin = {"Origin": f"http://localhost:{stager.port}", "Host": f"localhost:{stager.port}"}
    with httpx.Client(base_url=stager.url, trust_env=False, headers=origin) as browser:
        for path in (
            "/setup",
            "/setup/application",
            "/setup/application/shop",
            "/setup/github",
            "/deliveries",
        ):
            assert browser.get(path).status_code == 401, path
        form = {"name": "mine", "build": "image", "image": "alpine", "port": "80"}
        for path in ("/setup/application", "/setup/application/mine/launch"):
            assert browser.post(path, data=form).status_code == 401, path
    assert not (stager.state / "setup.yml").exists()


SLOW = {"Dockerfile": FILES["Dockerfile"].replace("EXPOSE", "RUN sleep 6\nEXPOSE"), "index.html": "slow"}


def test_another_application_interrupts_no_build(make_stager: MakeStager, tmp_path: Path) -> None:
    stager = make_stager(local_forge=str(tmp_path / "git"), images={"slow": {"build": "."}},
                         roles={f"basic:{USER}": "administrator"})  # fmt: skip
    repository = clone(tmp_path / "mine", SLOW)
    target = str(tmp_path / "git" / "slow.git")
    subprocess.run(["git", "-C", repository, "push", "-q", target, "HEAD:main", "HEAD:x"], check=True)
    stager.wait_for("x", "building")
    origin = {"Origin": f"http://localhost:{stager.port}", "Host": f"localhost:{stager.port}"}
    with httpx.Client(base_url=stager.url, trust_env=False, headers=origin, auth=(USER, PASSWORD)) as browser:
        added = browser.post("/setup/application", data={"name": "shop", "build": "auto"})
        assert added.status_code == 200, added.text
        assert "shop is added" in browser.get("/setup/application/shop").text
        until(lambda: "shop is set up" in text_of(browser, "/setup/application/shop"), "it restarted")
        push_with_a_token(browser, tmp_path / "other")
    stager.wait_for("first-preview", "live")
    stager.wait_for("x", "live")
    events = [json.loads(line)["event"] for line in stager.log.read_text().splitlines() if line[:1] == "{"]
    order = [event for event in events if event in ("build_started", "reloading", "built", "stopping")]
    assert order[:4] == ["build_started", "reloading", "built", "stopping"]
    assert order.count("build_started") == 2  # that of the new application, afterwards


def text_of(browser: httpx.Client, path: str) -> str:
    """A page, or nothing while the control plane restarts."""
    return browser.get(path).text


def push_with_a_token(browser: httpx.Client, folder: Path) -> None:
    """Run the page's command for a push from elsewhere, with a new token."""
    command = html.unescape(
        re.findall("<code>(git -c http.*)</code>", text_of(browser, "/setup/application/shop"))[0]
    )
    token = browser.post("/api/v1/tokens", json={"label": "push", "expires_in": 3600}).json()["token"]
    script = command.replace("TOKEN", token)
    assert script != command
    subprocess.run(["bash", "-c", script], cwd=clone(folder), check=True, timeout=60)
