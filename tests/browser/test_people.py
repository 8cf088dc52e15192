"""The pages for people, in a real browser: signing in, one's account, letting a command line in, and coming
in to a private preview."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from stager.control.identity.secrets import new_secret
from stager.domain.source import Access
from stager.ports.login import challenge_of
from tests.doubles.github_login import ID, SECRET, GithubLogin, running_login
from tests.integration.stager import PASSWORD, USER, StagerUnderTest
from tests.unit.front.harness import free_port

expect.set_options(timeout=60_000)

SESAME = "open sesame"
TELEPHONE: ViewportSize = {"width": 375, "height": 667}


@dataclass
class Rig:
    """A Stager with a private preview, and a GitHub where octocat sits before the browser."""

    stager: StagerUnderTest
    github: GithubLogin

    @property
    def home(self) -> str:
        return f"http://localhost:{self.stager.port}"

    @property
    def preview(self) -> str:
        return f"http://{self.stager.host('guarded')}/"

    def post(self, **form: str) -> httpx.Response:
        """What a command line asks."""
        headers = {"Host": f"localhost:{self.stager.port}"}
        url = f"{self.stager.url}/event_receiver"
        return httpx.post(url, data=form, headers=headers, trust_env=False, timeout=60)

    def whoami(self, token: str) -> int:
        """How the API answers with this token."""
        headers = {"Host": f"localhost:{self.stager.port}", "Authorization": f"Bearer {token}"}
        url = f"{self.stager.url}/api/v1/whoami"
        return httpx.get(url, headers=headers, trust_env=False, timeout=60).status_code


@pytest.fixture(scope="module")
def rig(app_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    port = free_port()
    with running_login(f"http://localhost:{port}/event_receiver") as github:
        github.rights["octocat", "acme/shop"] = Access.WRITE
        settings = {
            "domain": f"localhost:{port}",
            "images": {
                "shop": {
                    "repo_owner": "acme",
                    "private": {"methods": ["sign-in", "password", "link"], "password": SESAME},
                }
            },
            "authentication_strategy": ["BasicAuthentication", "GithubAuthentication"],
            "event_listeners": ["LaunchOnGithubPullRequestOpened", "GithubAuthorization"],
            "github": {
                "client_id": ID,
                "client_secret": SECRET,
                "api_url": github.url,
                "web_url": github.url,
                "incoming_auth": {"hook_secret": "hook-secret"},
            },
        }
        stager = StagerUnderTest(tmp_path_factory.mktemp("stager"), app_image, settings)
        stager.port = port
        try:
            stager.start()
            stager.launched("guarded")
            yield Rig(stager, github)
        finally:
            print(f"--- {stager.log}\n{stager.log.read_text()[-8000:]}")
            stager.clean_up()


def sign_in(page: Page, password: str = PASSWORD) -> None:
    """With the form that is there."""
    page.get_by_label("Name").fill(USER)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def assert_fits(page: Page) -> None:
    """The page isn't wider than a phone's screen."""
    before = page.viewport_size
    page.set_viewport_size(TELEPHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE["width"], page.url
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= TELEPHONE["width"], button.inner_text()
    if before:
        page.set_viewport_size(before)


def test_signing_in_with_a_password(rig: Rig, page: Page) -> None:
    page.goto(f"{rig.home}/account?from=mail")
    assert page.url == f"{rig.home}/login?to=%2Faccount%3Ffrom%3Dmail"
    assert_fits(page)

    sign_in(page, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("Wrong name or password.")
    expect(page.get_by_label("Name")).to_have_value(USER)
    expect(page.get_by_label("Password")).to_have_value("")
    assert_fits(page)

    sign_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(USER)
    assert page.url == f"{rig.home}/account?from=mail"
    page.goto(f"{rig.home}/login?to=/account")
    assert page.url == f"{rig.home}/account", "who is signed in isn't asked again"
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page).to_have_url(f"{rig.home}/")
    page.goto(f"{rig.home}/account")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_signing_in_with_github(rig: Rig, page: Page) -> None:
    page.goto(f"{rig.home}/login?to=/account")
    page.get_by_role("link", name="Sign in with GitHub").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("octocat")
    assert page.url == f"{rig.home}/account"
    expect(page.get_by_role("row", name="shop developer")).to_be_visible()


def test_an_account(rig: Rig, page: Page, browser: Browser) -> None:
    page.goto(f"{rig.home}/login?to=/account")
    sign_in(page)
    page.get_by_label("Token name").fill("nightly <tests>")
    page.get_by_label("Applications", exact=True).select_option("shop")
    page.get_by_role("button", name="Create token").click()
    token = page.locator("code.secret").inner_text()
    assert rig.whoami(token) == 200
    expect(page.get_by_role("row", name="nightly <tests>")).to_contain_text("developer")
    assert_fits(page)

    page.goto(f"{rig.home}/account")
    row = page.get_by_role("row", name="nightly <tests>")
    expect(row).to_contain_text("shop")
    assert token not in page.content()
    row.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("You have no tokens.")).to_be_visible()
    assert rig.whoami(token) == 401

    with browser.new_context() as elsewhere:
        other = elsewhere.new_page()
        other.set_default_timeout(60_000)
        other.goto(f"{rig.home}/login?to=/account")
        sign_in(other)
        expect(other.get_by_role("heading", level=1)).to_have_text(USER)
        page.reload()
        expect(page.get_by_role("row", name="Chrome on")).to_have_count(2)
        assert_fits(page)
        page.get_by_role("button", name="Sign out everywhere").click()
        expect(page).to_have_url(f"{rig.home}/")
        for tab in (page, other):
            tab.goto(f"{rig.home}/account")
            expect(tab.get_by_role("heading", level=1)).to_have_text("Sign in")


@pytest.mark.requirement("R102", "R106")
def test_letting_a_command_line_in(rig: Rig, page: Page) -> None:
    verifier = new_secret()
    begun = rig.post(action="get_oauth_url", challenge=challenge_of(verifier)).json()
    asked = {"action": "get_oauth_token", "state": begun["state"], "verifier": verifier}
    page.goto(begun["url"])
    expect(page.get_by_role("heading", level=1)).to_have_text("Authorize the command line?")
    expect(page.locator(".code")).to_have_text(begun["code"])
    expect(page.locator("main")).to_contain_text("octocat")
    expect(page.locator("main")).to_contain_text("127.0.0.1")
    assert_fits(page)
    assert rig.post(**asked).status_code == 202, "nobody has agreed yet"

    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The command line is signed in")
    assert_fits(page)
    assert rig.whoami(rig.post(**asked).json()["token"]) == 200
    assert rig.post(**asked).status_code == 410, "it is told once"


@pytest.mark.requirement("R102")
def test_denying_access(rig: Rig, page: Page) -> None:
    verifier = new_secret()
    begun = rig.post(action="get_oauth_url", challenge=challenge_of(verifier)).json()
    page.goto(begun["url"])
    page.get_by_role("button", name="Deny", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Access denied")
    gone = rig.post(action="get_oauth_token", state=begun["state"], verifier=verifier)
    assert gone.status_code == 410

    page.goto(begun["url"])  # such as from the browser's history
    expect(page.get_by_role("heading", level=1)).to_have_text("Signing in failed")
    assert_fits(page)


def test_a_private_preview(rig: Rig, page: Page, browser: Browser) -> None:
    page.goto(f"{rig.preview}?x=1")
    expect(page.get_by_role("heading", level=1)).to_have_text("This preview is private")
    assert_fits(page)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Open preview").click()
    expect(page.get_by_role("alert")).to_contain_text("Wrong password.")
    page.get_by_label("Password").fill(SESAME)
    page.get_by_role("button", name="Open preview").click()
    expect(page.locator("body")).to_have_text("guarded")
    assert page.url == f"{rig.preview}?x=1"

    path = f"/environments/{rig.stager.environment('guarded')['id']}/share-links"
    link = rig.stager.api(path, "POST", json={"note": "for the customer"})
    with browser.new_context() as theirs:
        customer = theirs.new_page()
        customer.set_default_timeout(60_000)
        customer.goto(link["url"])
        expect(customer.locator("body")).to_have_text("guarded")
        assert customer.url == rig.preview, "nobody sends the link on by copying the address"
        rig.stager.api(f"{path}/{link['id']}", "DELETE")
        customer.reload()
        expect(customer.get_by_role("heading", level=1)).to_have_text("This preview is private")
        customer.goto(link["url"])
        expect(customer.get_by_role("heading", level=1)).to_have_text("This preview is private")


def test_signed_in_users_open_a_private_preview(rig: Rig, page: Page) -> None:
    page.goto(rig.preview)
    page.get_by_role("link", name="Sign in").click()
    sign_in(page)
    expect(page.locator("body")).to_have_text("guarded")
    assert page.url == rig.preview
