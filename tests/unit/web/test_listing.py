"""No list shows previews and applications that the user may not see."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from stager.control.environments.plugin_api import RunningPreviews
from stager.domain.identity.access_policy import Privacy
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.handlers.calls import StatusReport
from stager.ports.handlers import AuthenticationStrategy, Credentials, Preview
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import WebHarness, app_of, web

HIDDEN = "blog"
BLOG = replace(SHOP, name=HIDDEN, privacy=Privacy(frozenset({"sign-in"})))
ROLES = {
    "admin": {"": Role.ADMINISTRATOR, "shop": Role.ADMINISTRATOR, HIDDEN: Role.ADMINISTRATOR},
    "ann": {"": Role.VIEWER, "shop": Role.DEVELOPER},
    "eve": {"": Role.VIEWER},
    "nobody": {},
}
"""By name and application; as with GithubAuthentication, who is known sees that Stager is there."""


class ByName(AuthenticationStrategy):
    """Knows people by their names."""

    async def authenticate(self, credentials: Credentials) -> Actor | None:
        name = credentials.authorization
        return Actor(name, "test") if name in ROLES else None

    async def role(self, actor: Actor, application: str, owner: str) -> Role:
        return ROLES[actor.name].get(application, Role.NONE)


class Late:
    """Previews of a harness that is built later."""

    def __init__(self) -> None:
        self.real: RunningPreviews | None = None

    async def running(self, image_name: str = "") -> list[Preview]:
        assert self.real is not None
        return await self.real.running(image_name)

    async def seen_by(self, actor: Actor | None, image_name: str = "") -> list[Preview]:
        assert self.real is not None
        return await self.real.seen_by(actor, image_name)


@pytest.fixture(name="two")
async def two_applications() -> AsyncIterator[WebHarness]:
    late = Late()
    async with web(
        applications=[SHOP, BLOG], authentication=[ByName()], listeners=[StatusReport(late)]
    ) as opened:
        running = opened.harness.running
        late.real = RunningPreviews(opened.harness.store, running.urls)
        late.real.guard(running.control_plane.identity.authorizer)
        for app in ("shop", HIDDEN):
            await opened.harness.launch(f"in-{app}", app)
        await opened.harness.rest()
        yield opened


async def token_of(opened: WebHarness, name: str, *apps: str) -> str:
    body = {"label": "x", "role": "administrator", "apps": list(apps)}
    answer = await opened.client.post("/api/v1/tokens", json=body, headers={"authorization": name})
    return f"Bearer {answer.json()['token']}"


def named(text: str) -> set[str]:
    """The applications and previews that a text gives away."""
    return set(re.findall(rf"\b(?:shop|{HIDDEN})\b", text))


LISTS = [
    ("GET", "/api/v1/environments"),
    ("GET", "/api/v1/environments?gone=true"),
    ("GET", "/api/v1/capacity"),
    ("GET", "/event_receiver?action=status"),
    ("POST", "/event_receiver?action=status"),
    ("GET", "/metrics"),
    ("GET", "/account"),
    ("GET", "/api/v1/whoami"),
    ("GET", "/api/v1/doctor"),
    ("GET", "/api/v1/audit"),
    ("GET", "/api/v1/deliveries"),
    ("GET", "/deliveries"),
    ("POST", "/kill?container_name=in-blog&wait=0"),
    ("GET", "/"),
    ("GET", "/login"),
    ("GET", "/readyz"),
    ("GET", "/git/x.git/info/refs?service=git-upload-pack"),
]


@pytest.mark.parametrize(("method", "path"), LISTS)
@pytest.mark.parametrize("name", ["ann", "eve", "nobody", "stranger", ""])
async def test_what_a_user_may_not_see_isnt_named(two: WebHarness, method: str, path: str, name: str) -> None:
    headers = {"x-forwarded-for": "198.51.100.9", "x-forwarded-proto": "http", "authorization": name}
    answer = await two.client.request(method, path, headers=headers)

    assert HIDDEN not in answer.text.replace(path, "")
    if name != "ann":
        assert "in-shop" not in answer.text
        assert "shop" not in named(answer.text)


@pytest.mark.parametrize(("method", "path"), LISTS)
async def test_nor_by_a_token_for_one_application(two: WebHarness, method: str, path: str) -> None:
    token = await token_of(two, "admin", "shop")
    headers = {"x-forwarded-for": "198.51.100.9", "x-forwarded-proto": "http", "authorization": token}

    assert HIDDEN not in (await two.client.request(method, path, headers=headers)).text


@pytest.mark.attack(
    "The names and addresses of previews by action=status",
    profile="signed-in user",
    result="only those of applications that the user's role permits",
)
@pytest.mark.parametrize(
    ("name", "apps"), [("admin", {"shop", HIDDEN}), ("ann", {"shop"}), ("eve", set()), ("nobody", set())]
)
async def test_the_status_report(two: WebHarness, name: str, apps: set[str]) -> None:
    answer = await two.client.get("/event_receiver?action=status", headers={"authorization": name})
    assert {row["image_name"] for row in json.loads(answer.text)} == apps

    narrowed = f"/event_receiver?action=status&image_name={HIDDEN}"
    answer = await two.client.get(narrowed, headers={"authorization": name})
    assert len(answer.json()) == (HIDDEN in apps)


@pytest.mark.attack(
    "Previews of other applications, with a token for one",
    profile="signed-in user",
    result="they aren't listed",
)
async def test_the_status_report_by_a_bounded_token(two: WebHarness) -> None:
    token = await token_of(two, "admin", "shop")
    answer = await two.client.get("/event_receiver?action=status", headers={"authorization": token})

    assert [row["image_name"] for row in answer.json()] == ["shop"]


async def test_nothing_is_shown_before_permissions_are_known(two: WebHarness) -> None:
    previews = RunningPreviews(two.harness.store, two.harness.running.urls)

    assert len(await previews.running()) == 2
    assert await previews.seen_by(Actor("admin", "test", role=Role.ADMINISTRATOR)) == []
    previews.guard(two.harness.running.control_plane.identity.authorizer)
    assert await previews.seen_by(None) == []


async def test_figures_are_of_what_the_user_may_see(two: WebHarness) -> None:
    async def figures(name: str) -> str:
        headers = {"x-forwarded-for": "198.51.100.9", "authorization": name}
        return (await two.client.get("/metrics", headers=headers)).text

    assert 'app="blog"' in await figures("admin")
    assert 'stager_environments{state="live"} 2.0' in await figures("admin")
    ann = await figures("ann")
    assert 'stager_deployments_total{app="shop",outcome="live"} 1.0' in ann
    assert 'stager_environments{state="live"} 1.0' in ann
    assert 'app="blog"' in await figures("admin"), "what one may not see isn't lost for the others"


@pytest.mark.attack(
    "The names of applications by /kill without image_name",
    profile="signed-in user",
    result="only applications that the user may see are searched",
)
async def test_a_name_is_searched_among_what_the_user_may_see(two: WebHarness) -> None:
    """Two previews of one name are ambiguous only for those who see both."""
    await two.harness.launch("same", "shop")
    await two.harness.launch("same", HIDDEN)
    await two.harness.rest()

    async def kill(name: str, container: str) -> httpx.Response:
        form = {"container_name": container, "wait": "0"}
        return await two.client.post("/kill", data=form, headers={"authorization": name})

    ambiguous = await kill("admin", "same")
    assert (ambiguous.status_code, named(ambiguous.text)) == (409, {"shop", HIDDEN})
    assert (await kill("ann", f"in-{HIDDEN}")).text == (await kill("ann", "nothing")).text.replace(
        "nothing", f"in-{HIDDEN}"
    )
    assert (await kill("ann", "same")).status_code == 202
    there = await two.harness.environments(present=True)
    assert {e.app for e in there if e.name == "same" and e.desired.is_present} == {HIDDEN}


@pytest.mark.attack(
    "The names of repositories, by a git request for a missing one",
    profile="signed-in user",
    result="only repositories that the user may see are named",
)
async def test_repositories(two: WebHarness, tmp_path: Path) -> None:
    repositories = {"shop": tmp_path / "shop.git", HIDDEN: tmp_path / "blog.git"}
    app = app_of(two.harness, repositories=repositories)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://stager.test") as client:
        for name, apps in (("admin", {"shop", HIDDEN}), ("ann", {"shop"}), ("eve", set())):
            answer = await client.get("/git/x.git/info/refs", headers={"authorization": name})
            assert (answer.status_code, named(answer.text)) == (404, apps)
        answer = await client.get(f"/git/{HIDDEN}.git/info/refs", headers={"authorization": "ann"})
        assert answer.status_code == 404, "as one that isn't there"


class TestWhoReadsFigures:
    @pytest.mark.attack(
        "The figures of /metrics, from this machine or with invented X-Forwarded-For",
        profile="preview",
        result="401, unless metrics.allow lists the client's address",
    )
    @pytest.mark.parametrize(
        ("forwarded", "allowed", "status"),
        [
            ("127.0.0.1", "", 401),
            ("::1", "", 401),
            ("127.0.0.1", "127.0.0.0/8", 200),
            ("::ffff:127.0.0.1", "127.0.0.0/8", 200),
            ("192.0.2.1", "127.0.0.0/8", 401),
            ("127.0.0.1, 192.0.2.1", "127.0.0.0/8", 401),
            ("192.0.2.1, 127.0.0.1", "127.0.0.0/8", 401),
            ("10.0.0.9:4711, 127.0.0.1", "10.0.0.0/8", 200),
            ("", "0.0.0.0/0", 401),
        ],
    )
    async def test_by_address(self, two: WebHarness, forwarded: str, allowed: str, status: int) -> None:
        """A local proxy is trusted; the client is the last one that isn't, however many it invents."""
        app = app_of(
            two.harness,
            trusted=(ip_network("127.0.0.0/8"), ip_network("::1/128")),
            metrics_for=tuple(ip_network(network) for network in allowed.split()),
        )
        transport = httpx.ASGITransport(app, client=("", 0))
        headers = {"x-forwarded-for": forwarded, "x-forwarded-proto": "http"}
        async with httpx.AsyncClient(transport=transport, base_url="http://stager.test") as client:
            assert (await client.get("/metrics", headers=headers)).status_code == status

    async def test_on_our_own_socket(self, two: WebHarness) -> None:
        """The front always sends the client's address; a request without it is from a user of the socket."""
        assert 'app="blog"' in (await two.client.get("/metrics")).text
        proto = {"x-forwarded-proto": "http"}
        assert (await two.client.get("/metrics", headers=proto)).status_code == 401
