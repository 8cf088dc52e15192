"""The API about people."""

from __future__ import annotations

import pytest

from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from tests.unit.web.harness import WebHarness, basic, web

TOKENS = "/api/v1/tokens"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def made(web: WebHarness, **body: object) -> dict[str, object]:
    answer = await web.ask("POST", TOKENS, json={"label": "CI", **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


class TestWhoAmI:
    async def test_says_what_one_may_do(self, web: WebHarness) -> None:
        answer = await web.ask("GET", "/api/v1/whoami")

        assert answer.json() == {
            "name": "ann",
            "authenticated_by": "BasicAuthentication",
            "role": "administrator",
            "apps": {"shop": "administrator"},
        }

    async def test_leaves_out_what_gives_nothing(self) -> None:
        async with web(roles=Roles({"basic:ann": Role.NONE})) as opened:
            answer = await opened.ask("GET", "/api/v1/whoami")
            assert (answer.json()["role"], answer.json()["apps"]) == ("none", {})

    async def test_requires_authentication(self, web: WebHarness) -> None:
        assert (await web.client.get("/api/v1/whoami")).status_code == 401


class TestTokens:
    async def test_are_shown_once(self, web: WebHarness) -> None:
        new = await made(web, apps=["shop"], role="viewer")
        secret = str(new.pop("token"))

        listed = await web.ask("GET", TOKENS)
        assert listed.json() == [new]
        assert secret not in listed.text
        assert (new["apps"], new["role"], new["used_at"]) == (["shop"], "viewer", None)

    async def test_give_the_access_of_their_scope(self, web: WebHarness) -> None:
        token = str((await made(web, role="viewer", apps=["shop"]))["token"])

        who = await web.client.get("/api/v1/whoami", headers=bearer(token))
        assert (who.json()["name"], who.json()["role"], who.json()["apps"]) == (
            "ann",
            "none",
            {"shop": "viewer"},
        )
        form = {"image_name": "shop", "container_name": "x"}
        refused = await web.client.post("/launch", headers=bearer(token), data=form)
        assert refused.status_code == 403
        assert refused.text.startswith(
            'ann lacks the permission "launch" for shop. It requires the role developer'
        )

    async def test_of_a_developer_launches(self, web: WebHarness) -> None:
        token = str((await made(web))["token"])
        form = {"image_name": "shop", "container_name": "x"}

        launched = await web.client.post("/launch", headers=bearer(token), data=form)
        assert (launched.status_code, launched.text) == (200, "http://x.preview.test")

    async def test_reach_no_instance(self, web: WebHarness) -> None:
        token = str((await made(web))["token"])
        form = {"image_name": "shop", "container_name": "x", "github_token": token}
        assert (await web.client.post("/launch", data=form)).status_code == 200

        assert token not in repr(web.harness.engine.__dict__)

    async def test_are_taken_back(self, web: WebHarness) -> None:
        new = await made(web)
        assert (await web.ask("DELETE", f"{TOKENS}/{new['id']}")).status_code == 204

        gone = await web.client.get("/api/v1/whoami", headers=bearer(str(new["token"])))
        assert gone.status_code == 401
        assert (await web.ask("DELETE", f"{TOKENS}/nothing")).status_code == 404

    @pytest.mark.parametrize(
        ("body", "about"),
        [
            ({"role": "boss"}, "isn't a role"),
            ({"role": "none"}, "needs a role other than none"),
            ({"expires_in": 59}, "expires_in"),
            ({"expires_in": 10**9}, "expires_in"),
            ({"label": ""}, "label"),
        ],
    )
    async def test_of_no_sense(self, web: WebHarness, body: dict[str, object], about: str) -> None:
        answer = await web.ask("POST", TOKENS, json={"label": "CI", **body})
        assert answer.status_code == 422
        assert about in answer.json()["detail"]


class TestAudit:
    async def test_says_who_did_what_from_where(self, web: WebHarness) -> None:
        await web.ask("POST", "/launch", data={"image_name": "shop", "container_name": "x"})
        [line] = (await web.ask("GET", "/api/v1/audit")).json()

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

    async def test_has_pages(self, web: WebHarness) -> None:
        for name in "abc":
            await web.ask("POST", "/kill", data={"image_name": "shop", "container_name": name})

        newest = (await web.ask("GET", "/api/v1/audit?limit=2")).json()
        rest = (await web.ask("GET", f"/api/v1/audit?before={newest[-1]['seq']}")).json()
        assert [line["subject"] for line in newest + rest] == ["c", "b", "a"]

    async def test_is_for_administrators(self) -> None:
        async with web(roles=Roles({"basic:ann": Role.DEVELOPER})) as opened:
            assert (await opened.ask("GET", "/api/v1/audit")).status_code == 403

    async def test_is_not_to_be_edited(self, web: WebHarness) -> None:
        for method in ("DELETE", "PUT", "PATCH", "POST"):
            assert (await web.ask(method, "/api/v1/audit")).status_code == 405

    @pytest.mark.parametrize(
        ("told", "address"),
        [
            ("198.51.100.9", "198.51.100.9"),
            ("10.0.0.1, 198.51.100.9", "198.51.100.9"),
        ],
    )
    async def test_has_the_address_that_the_front_saw(self, web: WebHarness, told: str, address: str) -> None:
        form = {"image_name": "shop", "container_name": "x"}
        headers = {**basic(), "x-forwarded-for": told}
        await web.client.post("/kill", headers=headers, data=form)

        [line] = (await web.ask("GET", "/api/v1/audit")).json()
        assert line["address"] == address
