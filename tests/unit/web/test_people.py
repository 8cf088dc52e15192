"""The API about people."""

from __future__ import annotations

import pytest

from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from tests.unit.web.harness import WebHarness, basic, site

TOKENS = "/api/v1/tokens"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def made(site: WebHarness, **body: object) -> dict[str, object]:
    answer = await site.ask("POST", TOKENS, json={"label": "CI", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


class TestWhoAmI:
    async def test_says_what_one_may_do(self, site: WebHarness) -> None:
        answer = await site.ask("GET", "/api/v1/whoami")

        assert answer.json() == {
            "name": "ann",
            "by": "BasicAuthentication",
            "role": "administrator",
            "apps": {"shop": "administrator"},
        }

    async def test_leaves_out_what_gives_nothing(self) -> None:
        async with site(roles=Roles({"basic:ann": Role.NONE})) as opened:
            answer = await opened.ask("GET", "/api/v1/whoami")
            assert (answer.json()["role"], answer.json()["apps"]) == ("none", {})

    async def test_needs_somebody(self, site: WebHarness) -> None:
        assert (await site.client.get("/api/v1/whoami")).status_code == 401


class TestTokens:
    async def test_are_shown_once(self, site: WebHarness) -> None:
        new = await made(site, apps=["shop"], role="viewer")
        secret = str(new.pop("token"))

        listed = await site.ask("GET", TOKENS)
        assert listed.json() == [new]
        assert secret not in listed.text
        assert (new["apps"], new["role"], new["used_at"]) == (["shop"], "viewer", None)

    async def test_let_their_bearer_do_what_they_say(self, site: WebHarness) -> None:
        token = str((await made(site, role="viewer", apps=["shop"]))["token"])

        who = await site.client.get("/api/v1/whoami", headers=bearer(token))
        assert (who.json()["name"], who.json()["role"], who.json()["apps"]) == (
            "ann",
            "none",
            {"shop": "viewer"},
        )
        form = {"image_name": "shop", "container_name": "x"}
        refused = await site.client.post("/launch", headers=bearer(token), data=form)
        assert refused.status_code == 403
        assert refused.text.startswith(
            'ann lacks the permission "launch" for shop. It requires the role developer'
        )

    async def test_of_a_developer_launches(self, site: WebHarness) -> None:
        token = str((await made(site))["token"])
        form = {"image_name": "shop", "container_name": "x"}

        launched = await site.client.post("/launch", headers=bearer(token), data=form)
        assert (launched.status_code, launched.text) == (200, "http://x.preview.test")

    async def test_reach_no_instance(self, site: WebHarness) -> None:
        token = str((await made(site))["token"])
        form = {"image_name": "shop", "container_name": "x", "github_token": token}
        assert (await site.client.post("/launch", data=form)).status_code == 200

        assert token not in repr(site.house.engine.__dict__)

    async def test_are_taken_back(self, site: WebHarness) -> None:
        new = await made(site)
        assert (await site.ask("DELETE", f"{TOKENS}/{new['id']}")).status_code == 204

        gone = await site.client.get("/api/v1/whoami", headers=bearer(str(new["token"])))
        assert gone.status_code == 401
        assert (await site.ask("DELETE", f"{TOKENS}/nothing")).status_code == 404

    @pytest.mark.parametrize(
        ("body", "about"),
        [
            ({"role": "boss"}, "is no role"),
            ({"role": "none"}, "of no use"),
            ({"expires_in": 59}, "expires_in"),
            ({"expires_in": 10**9}, "expires_in"),
            ({"label": ""}, "label"),
        ],
    )
    async def test_of_no_sense(self, site: WebHarness, body: dict[str, object], about: str) -> None:
        answer = await site.ask("POST", TOKENS, json={"label": "CI", **body})
        assert answer.status_code == 422
        assert about in answer.json()["detail"]


class TestAudit:
    async def test_says_who_did_what_from_where(self, site: WebHarness) -> None:
        await site.ask("POST", "/launch", data={"image_name": "shop", "container_name": "x"})
        [line] = (await site.ask("GET", "/api/v1/audit")).json()

        assert line.pop("at")
        assert line == {
            "seq": 1,
            "actor": "ann (BasicAuthentication)",
            "address": "192.0.2.1",
            "action": "launch",
            "app": "shop",
            "subject": "x",
            "result": "done",
            "detail": "",
        }

    async def test_has_pages(self, site: WebHarness) -> None:
        for name in "abc":
            await site.ask("POST", "/kill", data={"image_name": "shop", "container_name": name})

        newest = (await site.ask("GET", "/api/v1/audit?limit=2")).json()
        rest = (await site.ask("GET", f"/api/v1/audit?before={newest[-1]['seq']}")).json()
        assert [line["subject"] for line in newest + rest] == ["c", "b", "a"]

    async def test_is_for_administrators(self) -> None:
        async with site(roles=Roles({"basic:ann": Role.DEVELOPER})) as opened:
            assert (await opened.ask("GET", "/api/v1/audit")).status_code == 403

    async def test_is_not_to_be_edited(self, site: WebHarness) -> None:
        for method in ("DELETE", "PUT", "PATCH", "POST"):
            assert (await site.ask(method, "/api/v1/audit")).status_code == 405

    @pytest.mark.parametrize(
        ("told", "address"),
        [
            ("198.51.100.9", "198.51.100.9"),
            ("10.0.0.1, 198.51.100.9", "198.51.100.9"),
        ],
    )
    async def test_has_the_address_that_the_front_saw(
        self, site: WebHarness, told: str, address: str
    ) -> None:
        form = {"image_name": "shop", "container_name": "x"}
        headers = {**basic(), "x-forwarded-for": told}
        await site.client.post("/kill", headers=headers, data=form)

        [line] = (await site.ask("GET", "/api/v1/audit")).json()
        assert line["address"] == address
