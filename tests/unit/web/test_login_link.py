"""One-time sign-in links for administrators: who can create one, and what each use of one gives."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from stager.control.identity.login_links import FACT
from stager.control.identity.throttle import LIMIT
from stager.domain.identity.access_policy import digest_of
from tests.unit.web.harness import HOST, WebHarness, web

CREATE, PATH = "/control/login-link", "/login/link"
THROUGH_FRONT = {"x-forwarded-for": "198.51.100.9", "x-forwarded-proto": "http"}
OURS = {"origin": f"http://{HOST}", **THROUGH_FRONT}


@pytest.fixture(name="rig")
async def opened() -> AsyncIterator[WebHarness]:
    async with web() as opened_site:
        yield opened_site


async def created(rig: WebHarness) -> str:
    """The secret of a new link."""
    answer = await rig.client.post(CREATE)
    assert answer.status_code == 201, answer.text
    path = str(answer.json()["path"])
    assert path.startswith(f"{PATH}?secret=")
    return path.partition("=")[2]


async def redeemed(rig: WebHarness, secret: str, **headers: str) -> httpx.Response:
    return await rig.client.post(PATH, data={"secret": secret}, headers={**OURS, **headers})


async def audited(rig: WebHarness) -> list[tuple[str, str, str, str]]:
    identity = rig.harness.running.control_plane.identity
    entries = await identity.audit.entries(limit=10)
    return [(e.actor, e.action, e.result, e.detail) for e in reversed(entries)]


class TestUse:
    async def test_signs_in_an_administrator(self, rig: WebHarness) -> None:
        secret = await created(rig)
        page = await rig.client.get(PATH, params={"secret": secret}, headers=THROUGH_FRONT)
        [given] = re.findall(r'name="secret" value="([^"]+)"', page.text)

        answer = await redeemed(rig, given)

        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        who = (await rig.client.get("/api/v1/whoami")).json()
        assert who == {
            "name": "administrator",
            "authenticated_by": "sign-in link",
            "role": "administrator",
            "apps": {"shop": "administrator"},
        }
        assert (await rig.client.get("/setup/github")).status_code == 200

    async def test_works_where_no_other_way_to_sign_in_does(self, rig: WebHarness) -> None:
        rig.harness.running.control_plane.identity.authorizer._strategies = ()
        await redeemed(rig, await created(rig))
        assert (await rig.client.get("/setup/github")).status_code == 200

    async def test_a_token_of_the_administrator_is_limited_to_its_role(self, rig: WebHarness) -> None:
        await redeemed(rig, await created(rig))
        body = {"label": "CI", "role": "viewer", "apps": ["shop"]}
        token = (await rig.client.post("/api/v1/tokens", json=body, headers=OURS)).json()["token"]
        rig.client.cookies.clear()

        bearer = {"authorization": f"Bearer {token}"}
        who = (await rig.client.get("/api/v1/whoami", headers=bearer)).json()
        assert (who["role"], who["apps"]) == ("none", {"shop": "viewer"})

    async def test_opening_it_doesnt_use_it(self, rig: WebHarness) -> None:
        secret = await created(rig)
        for _ in range(3):
            await rig.client.get(PATH, params={"secret": secret}, headers=THROUGH_FRONT)
        assert (await redeemed(rig, secret)).status_code == 303

    async def test_the_secret_has_256_bits_and_isnt_stored(self, rig: WebHarness) -> None:
        secret = await created(rig)
        stored = await rig.harness.store.read(lambda tx: tx.fact(FACT))

        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret)
        assert secret not in stored
        assert stored.startswith(digest_of(secret))
        assert secret not in str(await audited(rig))

    async def test_it_is_in_the_audit_log(self, rig: WebHarness) -> None:
        secret = await created(rig)
        await redeemed(rig, secret)
        await redeemed(rig, secret)

        assert await audited(rig) == [
            ("administrator (server terminal)", "login-link", "done", ""),
            ("administrator (sign-in link)", "sign-in", "done", ""),
            ("anonymous (sign-in)", "sign-in", "refused", "login-link-gone"),
        ]


class TestRefusals:
    @pytest.mark.attack(
        "An administrator's one-time sign-in link is used a second time",
        profile="visitor",
        result="410, and no session",
    )
    async def test_used_twice(self, rig: WebHarness) -> None:
        secret = await created(rig)
        await redeemed(rig, secret)
        rig.client.cookies.clear()

        answer = await redeemed(rig, secret)

        assert answer.status_code == 410
        assert "was used already" in answer.text
        assert "stager login-link" in answer.text
        assert not rig.client.cookies

    async def test_after_an_hour(self, rig: WebHarness) -> None:
        secret = await created(rig)
        await rig.harness.rest(3_601)
        assert (await redeemed(rig, secret)).status_code == 410

    async def test_just_before_an_hour(self, rig: WebHarness) -> None:
        secret = await created(rig)
        await rig.harness.rest(3_500)
        assert (await redeemed(rig, secret)).status_code == 303

    async def test_a_newer_one_replaces_it(self, rig: WebHarness) -> None:
        old, new = await created(rig), await created(rig)
        assert (await redeemed(rig, old)).status_code == 410
        assert (await redeemed(rig, new)).status_code == 303

    @pytest.mark.parametrize("secret", ["", "x", "used", " ", "\x00", "é" * 90])
    async def test_what_was_never_one(self, rig: WebHarness, secret: str) -> None:
        assert (await redeemed(rig, secret)).status_code == 410
        await redeemed(rig, await created(rig))
        rig.client.cookies.clear()
        assert (await redeemed(rig, secret)).status_code == 410

    @pytest.mark.attack(
        "Guessing an administrator's one-time sign-in link",
        profile="visitor",
        result="429 after ten guesses a minute; the link has 256 random bits",
    )
    async def test_guessing_is_throttled(self, rig: WebHarness) -> None:
        secret = await created(rig)
        guesses = [(await redeemed(rig, f"guess-{number}")).status_code for number in range(LIMIT + 2)]

        assert guesses == [410] * LIMIT + [429] * 2
        assert (await redeemed(rig, secret)).status_code == 429
        elsewhere = {"x-forwarded-for": "203.0.113.4"}
        assert (await redeemed(rig, secret, **elsewhere)).status_code == 303

    @pytest.mark.parametrize("origin", ["https://evil.test", "null"])
    async def test_from_another_page(self, rig: WebHarness, origin: str) -> None:
        secret = await created(rig)
        assert (await redeemed(rig, secret, origin=origin)).status_code == 403
        assert (await redeemed(rig, secret)).status_code == 303


class TestCreation:
    @pytest.mark.attack(
        "Creating an administrator's sign-in link over the network",
        profile="visitor",
        result="404: only the control socket has this path, which other users can't open",
    )
    @pytest.mark.parametrize("headers", [THROUGH_FRONT, {"x-forwarded-for": ""}, {"x-forwarded-proto": ""}])
    async def test_not_through_the_front(self, rig: WebHarness, headers: dict[str, str]) -> None:
        answer = await rig.client.post(CREATE, headers=headers)
        unknown = await rig.client.post("/control/other", headers=headers)

        assert (answer.status_code, answer.text) == (unknown.status_code, unknown.text) == (404, "Not Found")
        assert await rig.harness.store.read(lambda tx: tx.fact(FACT)) == ""

    async def test_not_even_by_an_administrator(self, rig: WebHarness) -> None:
        assert (await rig.ask("POST", CREATE, headers=THROUGH_FRONT)).status_code == 404

    async def test_the_first_only_where_there_is_no_way_to_sign_in(self, rig: WebHarness) -> None:
        first = f"{CREATE}?if_unused=true"
        assert (await rig.client.post(first)).status_code == 204

        rig.harness.running.control_plane.identity.sign_in.is_possible = False
        answer = await rig.client.post(first)
        assert answer.status_code == 201
        again = (await rig.client.post(first)).json()["path"].partition("=")[2]
        await redeemed(rig, again)
        assert (await rig.client.post(first)).status_code == 204
