"""The pages of administrators: people, the audit log and the settings in force."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stager.control.identity.authorizer import Roles
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from tests.unit.web.harness import HOST, WebHarness, web

OURS = {"origin": f"http://{HOST}"}
EVIL = '<script>alert("x")</script>'
VERA = Actor("vera", "Basic", strategy="BasicAuthentication", address="192.0.2.7")
ROLES = Roles({"basic:ann": Role.ADMINISTRATOR, "basic:vera": Role.VIEWER})


class TestPeople:
    async def test_shows_roles_with_their_origin_and_no_secret(self) -> None:
        async with web(roles=ROLES) as opened:
            identity = opened.harness.running.control_plane.identity
            _, session = await identity.sessions.start(VERA, "Mozilla/5.0 Firefox/140.0")
            _, token = await identity.tokens.create(VERA, EVIL, Role.VIEWER, None, timedelta(days=1))

            [person] = (await opened.ask("GET", "/api/v1/people")).json()
            assert (person["name"], person["role"], person["role_from"]) == (
                "vera",
                "viewer",
                "configuration",
            )
            assert person["apps"] == {"shop": "viewer"}
            page = (await opened.ask("GET", "/people")).text
            assert "basic:vera" in page
            assert "192.0.2.7" in page
            assert EVIL not in page
            assert session not in page
            assert token not in page

    async def test_ends_sessions_and_revokes_tokens_of_others(self, web: WebHarness) -> None:
        identity = web.harness.running.control_plane.identity
        (one, _), (_, other) = (
            await identity.sessions.start(VERA, ""),
            await identity.sessions.start(VERA, ""),
        )
        token, secret = await identity.tokens.create(VERA, "CI", Role.VIEWER, None, timedelta(days=1))

        await web.ask("POST", f"/people/sessions/{one.id}/end", headers=OURS)
        assert [each.id for each in await identity.sessions.of(VERA)] != [one.id]
        assert await identity.sessions.find(other) is not None
        form = {"strategy": "BasicAuthentication", "name": "vera"}
        answer = await web.ask("POST", "/people/sessions/end", headers=OURS, data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/people")
        assert await identity.sessions.find(other) is None
        await web.ask("POST", f"/people/tokens/{token.id}/revoke", headers=OURS)
        assert await identity.tokens.actor(secret) is None
        records = (await web.ask("GET", "/api/v1/audit?action=sign-out")).json()
        assert [(each["actor"].split()[0], each["subject"]) for each in records] == [
            ("ann", "everywhere: vera"),
            ("ann", one.id),
        ]

    async def test_a_form_of_another_site_is_refused(self, web: WebHarness) -> None:
        answer = await web.ask("POST", "/people/sessions/end", headers={"origin": "http://evil.test"})
        assert answer.status_code == 403


class TestAudit:
    async def test_search_and_filters(self, web: WebHarness) -> None:
        for name in ("first", "second"):
            await web.ask("POST", "/api/v1/environments", json={"image_name": "shop", "container_name": name})

        page = (await web.ask("GET", "/audit?q=FIRST")).text
        assert "first" in page
        assert "second" not in page
        assert "No records match" in (await web.ask("GET", "/audit?action=kill")).text
        listed = (await web.ask("GET", "/api/v1/audit?action=launch&app=shop&result=done")).json()
        assert [each["subject"] for each in listed] == ["second", "first"]

    async def test_pages(self, web: WebHarness) -> None:
        audit = web.harness.running.control_plane.identity.audit
        for number in range(150):
            await audit.record(VERA, "launch", subject=f"n{number}", result="done")

        page = (await web.ask("GET", "/audit?q=vera")).text
        assert "/audit?q=vera&amp;before=" in page
        assert "n149" in page
        assert ">n49<" not in page

    async def test_content_is_escaped(self, web: WebHarness) -> None:
        audit = web.harness.running.control_plane.identity.audit
        await audit.record(VERA, "launch", subject=EVIL, result="done")
        assert EVIL not in (await web.ask("GET", "/audit", params={"q": EVIL})).text


@pytest.mark.parametrize("path", ["/people", "/audit", "/settings"])
async def test_only_administrators_see_them(path: str) -> None:
    async with web(roles=Roles({"basic:ann": Role.DEVELOPER})) as opened:
        assert (await opened.ask("GET", path)).status_code == 403
        home = (await opened.ask("GET", "/")).text
        assert f'href="{path}"' not in home


async def test_warnings_are_on_the_settings_page(web: WebHarness) -> None:
    page = (await web.ask("GET", "/settings")).text
    assert "One." in page
    assert "config.yml" in page
