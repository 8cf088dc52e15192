"""The services of a preview, in the API and on its page, and who may reach them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from stager.testing import Program
from stager.testing.fakes.program import Inner
from tests.unit.control.reconciler.test_services import ADMIN, DB, add_images, by_service, with_services
from tests.unit.web.harness import WebHarness, web

API = "/api/v1/environments"
WORKER_LOG = "no queue\n"


@pytest.fixture(name="web")
async def with_three_services() -> AsyncIterator[WebHarness]:
    async with web(applications=[with_services(DB, ADMIN)], rest=False) as opened:
        add_images(opened.harness)
        yield opened


async def launched(web: WebHarness) -> str:
    """The id of a preview that came to rest."""
    environment = await web.harness.launch("x")
    await web.harness.rest()
    return environment.id


async def text(web: WebHarness, path: str, **query: str) -> str:
    return (await web.ask("GET", path, params=query)).text


class TestApi:
    async def test_lists_the_services(self, web: WebHarness) -> None:
        found = (await web.ask("GET", f"{API}/{await launched(web)}")).json()["services"]
        assert [(each["name"], each["state"]) for each in found] == [
            ("web", "healthy"),
            ("db", "healthy"),
            ("admin", "healthy"),
        ]
        main, db, admin = found
        assert (main["is_main"], main["url"]) == (True, "http://x.preview.test")
        assert (db["url"], db["image"], db["volumes"]) == ("", "postgres:16", ["data"])
        assert (admin["url"], admin["is_main"]) == ("http://admin--x.preview.test", False)
        listed = (await web.ask("GET", API)).json()
        assert listed[0]["services"] == found

    async def test_no_password_of_a_service_is_in_it(self, web: WebHarness) -> None:
        id_ = await launched(web)
        db = by_service(web.harness, await web.harness.the())["db"]
        password = web.harness.engine.variables(db.id)["POSTGRES_PASSWORD"]
        for path in (f"{API}/{id_}", f"{API}/{id_}/deployments", f"/previews/{id_}", "/"):
            assert password not in await text(web, path)

    async def test_a_service_that_failed_is_named_with_its_message(self, web: WebHarness) -> None:
        web.harness.engine.add_image("postgres:16", Program(inner={"pg_isready": Inner(exit_code=2)}))
        view = (await web.ask("GET", f"{API}/{await launched(web)}")).json()
        states = {each["name"]: each for each in view["services"]}
        assert view["state"] == "failed"
        assert states["db"]["state"] == "failed"
        assert states["db"]["message"].startswith('The service "db" isn\'t healthy')
        assert states["db"]["reason"] == "service-unhealthy"
        assert (states["web"]["message"], states["admin"]["message"]) == ("", "")

    async def test_each_service_has_its_log(self, web: WebHarness) -> None:
        web.harness.engine.add_image("postgres:16", Program(output="ready for connections"))
        web.harness.engine.add_image("adminer:5", Program(output="listening on 8080"))
        id_ = await launched(web)
        log = f"{API}/{id_}/log"
        assert await text(web, log, service="db") == "ready for connections"
        assert await text(web, log, service="admin") == "listening on 8080"
        assert await text(web, log) == await text(web, log, service="web")
        assert "ready for connections" not in await text(web, log)

    async def test_the_log_of_a_failed_one_is_kept(self, web: WebHarness) -> None:
        program = Program(output="disk is full", inner={"pg_isready": Inner(exit_code=2)})
        web.harness.engine.add_image("postgres:16", program)
        id_ = await launched(web)
        assert "disk is full" in await text(web, f"{API}/{id_}/log", service="db")

    @pytest.mark.parametrize("path", ["log", "log?follow=true", "build-log", "build-log?follow=true"])
    async def test_a_service_that_does_not_exist(self, web: WebHarness, path: str) -> None:
        id_ = await launched(web)
        answer = await web.ask("GET", f"{API}/{id_}/{path}{'&' if '?' in path else '?'}service=dbb")
        assert (answer.status_code, answer.json()["reason"]) == (404, "service-unknown")
        assert "db" in answer.json()["detail"].replace("dbb", "")

    async def test_volumes_with_their_services(self, web: WebHarness) -> None:
        found = (await web.ask("GET", f"{API}/{await launched(web)}/volumes")).json()
        assert found == [{"name": "data", "generation": 0, "size": 0, "services": ["db"]}]

    @pytest.mark.parametrize("path", ["log?service=db", "build-log?service=db", "volumes"])
    async def test_logs_and_volumes_need_permission_to_read_logs(self, path: str) -> None:
        roles = Roles({"basic:ann": Role.VIEWER})
        async with web(applications=[with_services(DB, ADMIN)], roles=roles, rest=False) as opened:
            add_images(opened.harness)
            id_ = await launched(opened)
            assert (await opened.client.get(f"{API}/{id_}/{path}")).status_code == 401
            assert (await opened.ask("GET", f"{API}/{id_}/{path}")).status_code == 403
            services = (await opened.ask("GET", f"{API}/{id_}")).json()["services"]
            assert [each["name"] for each in services] == ["web", "db", "admin"], "a viewer sees the states"


class TestPage:
    async def test_shows_the_services_with_links_and_logs(self, web: WebHarness) -> None:
        id_ = await launched(web)
        page = await text(web, f"/previews/{id_}")
        assert '<a href="http://admin--x.preview.test" rel="noreferrer">admin</a>' in page
        assert '<span class="state good">healthy</span>' in page
        assert f'href="/previews/{id_}?service=db#log"' in page
        assert "<code>postgres:16</code>" in page
        assert "<code>data</code>" in page

    async def test_the_log_of_a_chosen_service(self, web: WebHarness) -> None:
        web.harness.engine.add_image("postgres:16", Program(output="ready for connections"))
        id_ = await launched(web)
        page = await text(web, f"/previews/{id_}", service="db")
        assert "<h2>Log of db</h2>" in page
        assert "ready for connections</pre>" in page
        assert f'data-events="/previews/{id_}/log/events?service=db"' in page
        assert f'href="/api/v1/environments/{id_}/log?lines=5000&amp;service=db"' in page
        assert "<option selected>db</option>" in page
        assert "There was no build" in page

    async def test_a_service_or_deployment_that_does_not_exist(self, web: WebHarness) -> None:
        id_ = await launched(web)
        for query in ({"service": "dbb"}, {"deployment": "9"}):
            for path in ("", "/log/events", "/build-log/events"):
                answer = await web.ask("GET", f"/previews/{id_}{path}", params=query)
                if path != "/log/events" or "service" in query:
                    assert answer.status_code == 404, (path, query)

    async def test_the_log_of_an_earlier_deployment(self, web: WebHarness) -> None:
        engine = web.harness.engine
        id_ = await launched(web)
        before = await text(web, f"/previews/{id_}")
        assert 'name="deployment"' not in before
        await web.ask("POST", f"{API}/{id_}/redeploy")
        await web.harness.rest()
        engine.print(by_service(web.harness, await web.harness.the())["web"].id, "the second one")
        page = await text(web, f"/previews/{id_}", service="web", deployment="2")
        assert "<h2>Log of web, deployment 2</h2>" in page
        assert "the second one</pre>" in page
        page = await text(web, f"/previews/{id_}", service="web", deployment="1")
        assert "the second one" not in page
        assert "log-follow" not in page, "it has ended"

    async def test_the_dashboard_shows_them(self, web: WebHarness) -> None:
        await launched(web)
        page = await text(web, "/")
        assert '<a href="http://admin--x.preview.test" rel="noreferrer">admin</a>' in page
        assert page.count('<span class="state good" title="healthy">') == 3

    async def test_the_sizes_of_volumes_are_shown_on_demand(self, web: WebHarness) -> None:
        id_ = await launched(web)
        page = await text(web, f"/previews/{id_}")
        assert f'href="/previews/{id_}?volumes=true#volumes"' in page
        assert "until the preview is removed" not in page
        page = await text(web, f"/previews/{id_}", volumes="true")
        assert "until the preview is removed" in page

    async def test_a_failed_service_is_named_with_its_log(self, web: WebHarness) -> None:
        program = Program(output="disk <full>", inner={"pg_isready": Inner(exit_code=2)})
        web.harness.engine.add_image("postgres:16", program)
        page = await text(web, f"/previews/{await launched(web)}")
        assert '<span class="state bad">failed</span>' in page
        assert "The service &#34;db&#34; isn&#39;t healthy" in page
        assert "Log of the service db" in page
        assert "Application log" not in page, "the main service has printed nothing"
        assert "disk &lt;full&gt;" in page

    async def test_a_viewer_sees_states_and_no_logs(self) -> None:
        roles = Roles({"basic:ann": Role.VIEWER})
        async with web(applications=[with_services(DB, ADMIN)], roles=roles, rest=False) as opened:
            add_images(opened.harness)
            program = Program(output="secret line", inner={"pg_isready": Inner(exit_code=2)})
            opened.harness.engine.add_image("postgres:16", program)
            id_ = await launched(opened)
            page = await text(opened, f"/previews/{id_}", volumes="true")
            assert '<span class="state bad">failed</span>' in page
            assert "secret line" not in page
            assert "?service=" not in page
            assert "<h2>Volumes</h2>" not in page
            assert "?volumes=true" not in page

    async def test_a_single_service_has_no_table(self) -> None:
        async with web(rest=False) as opened:
            page = await text(opened, f"/previews/{await launched(opened)}")
            assert "<h2>Services</h2>" not in page


class TestDegraded:
    async def test_a_service_that_exits_is_named_while_the_preview_stays_live(self, web: WebHarness) -> None:
        id_ = await launched(web)
        environment = await web.harness.the()
        admin = by_service(web.harness, environment)["admin"]
        web.harness.engine.change(admin.id, Program(exit_code=3, output="out of handles"))
        web.harness.engine.end(admin.id, 3)
        await web.harness.rest()
        view = (await web.ask("GET", f"{API}/{id_}")).json()
        assert view["state"] == "degraded"
        assert view["summary"].endswith("is live, but the service admin isn't running.")
        assert 'The service "admin" exited with exit code 3.' in view["message"]
        page = await text(web, f"/previews/{id_}")
        assert "the service admin isn" in page
        assert view["url"] in page
