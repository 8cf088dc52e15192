"""The page of one preview, and the log of its build."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from stager.domain.errors import Fault
from stager.domain.recipe import Recipe
from stager.testing import Program
from stager.testing.fakes.builder import Result
from tests.unit.control.harness import IMAGE, SHOP
from tests.unit.web.harness import WebHarness, basic, web

BUILT = replace(SHOP, build=Recipe(), owner="acme")
API = "/api/v1/environments"
SHA = "c0ffee1234" * 4


@pytest.fixture
async def build_ports() -> AsyncIterator[WebHarness]:
    """A web harness whose one application is built from source."""
    async with web(applications=(BUILT,), credentials=True) as opened:
        yield opened


async def opened(web: WebHarness, seconds: float = 300, **how: Any) -> str:
    """A pull request, and so much time after it. Returns the environment's id."""
    base = web.harness.forge.add_repository("acme", "shop")
    await web.harness.deliver(web.harness.forge.open(base, "feature-x", SHA, **how))
    await web.harness.rest(seconds)
    return (await web.harness.the()).id


async def launched(web: WebHarness) -> str:
    answer = await web.ask("POST", API, json={"image_name": "shop", "container_name": "feature/x"})
    await web.harness.rest()
    return str(answer.json()["id"])


async def page(web: WebHarness, environment: str) -> str:
    answer = await web.ask("GET", f"/previews/{environment}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


class TestPage:
    async def test_shows_code_as_such(self, web: WebHarness) -> None:
        web.harness.engine.add_image(IMAGE, Program(status=500))
        text = await page(web, await launched(web))

        assert "<code>health_path</code>" in text
        assert "`" not in text.partition("<section")[2].partition("</section>")[0]

    async def test_says_how_it_stands(self, web: WebHarness) -> None:
        web.harness.engine.add_image(IMAGE, Program(output="listening on 3000"))
        text = await page(web, await launched(web))

        for shown in (
            "The preview is live.",
            "http://feature-x.preview.test",
            "listening on 3000",
            '<span class="mark good">live</span>',
        ):
            assert shown in text
        assert 'data-unsettled="no"' in text

    async def test_is_for_signed_in_users_only(self, web: WebHarness) -> None:
        path = f"/previews/{await launched(web)}"
        stranger = await web.client.get(path)

        assert stranger.status_code == 401
        assert stranger.headers["www-authenticate"].startswith("Basic ")
        assert (await web.client.get(path, headers=basic())).status_code == 200

    async def test_of_nothing(self, web: WebHarness) -> None:
        assert (await web.ask("GET", "/previews/nobody")).status_code == 404

    async def test_runs_our_own_script_alone(self, web: WebHarness) -> None:
        answer = await web.ask("GET", f"/previews/{await launched(web)}")
        policy = answer.headers["content-security-policy"]
        [path] = re.findall(r'src="(/static/[0-9a-f]+/preview.js)"', answer.text)
        script = await web.client.get(path)

        assert "default-src 'none'" in policy
        assert "script-src 'self'; connect-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert script.status_code == 200
        assert "javascript" in script.headers["content-type"]
        assert "immutable" in script.headers["cache-control"]
        assert "unsafe" not in policy

    async def test_names_and_logs_are_inert(self, web: WebHarness) -> None:
        nasty = "<script>alert(1)</script>"
        web.harness.engine.add_image(IMAGE, Program(output=nasty))
        answer = await web.ask("POST", API, json={"image_name": "shop", "container_name": nasty})
        await web.harness.rest()
        text = await page(web, answer.json()["id"])

        assert nasty not in text
        assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 2

    async def test_while_the_engine_is_away(self, web: WebHarness) -> None:
        environment = await launched(web)
        web.harness.engine.leave()

        assert "The preview is live." in await page(web, environment)

    async def test_follows_what_is_built(self, build_ports: WebHarness) -> None:
        build_ports.harness.builder.default = Result(lines=("step 1",), seconds=100)
        environment = await opened(build_ports, seconds=10)
        text = await page(build_ports, environment)

        assert "The preview is being built." in text
        assert 'data-unsettled="yes"' in text
        assert 'data-in-progress="yes"' in text
        await build_ports.harness.rest()
        text = await page(build_ports, environment)
        assert 'data-in-progress="no"' in text
        assert "step 1\n</pre>" in text or "step 1</pre>" in text
        assert "built 100.0 s" in text


class TestBuildLog:
    async def log(self, web: WebHarness, environment: str, **query: str) -> str:
        answer = await web.ask("GET", f"{API}/{environment}/build-log", params=query)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        return answer.text

    async def test_continues_until_the_build_ends(self, build_ports: WebHarness) -> None:
        build_ports.harness.builder.default = Result(lines=("one", "two"), seconds=100)
        environment = await opened(build_ports, seconds=10)
        following = asyncio.create_task(self.log(build_ports, environment, follow="true"))
        await build_ports.harness.rest(50)
        assert not following.done()
        await build_ports.harness.rest(60)

        assert following.done()
        assert (await following).endswith("one\ntwo\n")
        assert await self.log(build_ports, environment) == await following

    async def test_of_a_failure(self, build_ports: WebHarness) -> None:
        failure = Fault("There is no such file.", reason="build-failed")
        build_ports.harness.builder.default = Result(lines=("one",), failure=failure)
        environment = await opened(build_ports)

        assert (await self.log(build_ports, environment, follow="true")).endswith("one\n")
        assert "There is no such file." in await page(build_ports, environment)

    async def test_where_nothing_is_built(self, web: WebHarness) -> None:
        assert await self.log(web, await launched(web), follow="true") == ""

    async def test_of_nothing(self, web: WebHarness) -> None:
        assert (await web.ask("GET", f"{API}/nobody/build-log")).status_code == 404

    async def test_is_for_signed_in_users_only(self, web: WebHarness) -> None:
        assert (await web.client.get(f"{API}/any/build-log?follow=true")).status_code == 401


class TestApproval:
    async def held(self, web: WebHarness) -> str:
        fork = web.harness.forge.add_repository("mallory", "shop")
        return await opened(web, fork=fork)

    async def test_approves_the_commit(self, build_ports: WebHarness) -> None:
        environment = await self.held(build_ports)
        assert (await build_ports.ask("GET", f"{API}/{environment}")).json()["state"] == "refused"
        answer = await build_ports.ask("POST", f"{API}/{environment}/approve", json={"sha": SHA})
        assert answer.status_code == 202
        assert answer.json()["state"] in {"starting", "building"}  # the build may have begun by now
        await build_ports.harness.rest()

        await build_ports.harness.assert_live()

    async def test_names_the_commit_that_waits(self, build_ports: WebHarness) -> None:
        environment = await self.held(build_ports)
        other = SHA[:7] + "0" * 33
        answer = await build_ports.ask("POST", f"{API}/{environment}/approve", json={"sha": other})

        assert (answer.status_code, answer.json()["reason"]) == (409, "commit-outdated")
        assert SHA in answer.json()["title"]

    async def test_by_its_whole_id(self, build_ports: WebHarness) -> None:
        environment = await self.held(build_ports)
        answer = await build_ports.ask("POST", f"{API}/{environment}/approve", json={"sha": SHA[:7]})

        assert (answer.status_code, answer.json()["reason"]) == (400, "commit-incomplete")
        assert SHA in answer.json()["title"]
        page = await build_ports.ask("GET", f"/previews/{environment}")
        assert f"/stager approve {SHA}" in page.text

    async def test_lists_the_deployments_with_their_phases(self, build_ports: WebHarness) -> None:
        environment = await self.held(build_ports)
        await build_ports.ask("POST", f"{API}/{environment}/approve", json={"sha": SHA})
        await build_ports.harness.rest()
        [deployment] = (await build_ports.ask("GET", f"{API}/{environment}/deployments")).json()[:1]

        assert deployment["phase"] == "live"
        assert deployment["created_at"] <= deployment["building_at"] <= deployment["starting_at"]
