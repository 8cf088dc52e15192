"""The JSON API: what it answers, and that its description is true."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from stager.domain.environment import Instance
from stager.testing import Program
from tests.unit.control.harness import IMAGE
from tests.unit.web.harness import WebHarness

ENVIRONMENTS = "/api/v1/environments"
BODY = {"image_name": "shop", "container_name": "feature/x", "parameters": {"GREETING": "hallo"}}


async def launched(web: WebHarness) -> dict[str, Any]:
    """An environment as the API gives it, once it is live."""
    answer = await web.ask("POST", ENVIRONMENTS, json=BODY)
    assert answer.status_code == 202
    await web.harness.rest()
    return await got(web, answer.json()["id"])


async def got(web: WebHarness, environment: str) -> dict[str, Any]:
    answer = await web.ask("GET", f"{ENVIRONMENTS}/{environment}")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


class TestEnvironments:
    async def test_launch_answers_at_once(self, web: WebHarness) -> None:
        answer = await web.ask("POST", ENVIRONMENTS, json=BODY)

        assert answer.status_code == 202
        assert (answer.json()["state"], answer.json()["serving"]) == ("starting", None)

    async def test_one(self, web: WebHarness) -> None:
        environment = await launched(web)

        expected = {
            "app": "shop",
            "name": "feature/x",
            "url": "http://feature-x.preview.test",
            "state": "live",
            "message": "The preview is live.",
            "hint": "",
            "reason": "",
            "generation": 1,
            "serving": 1,
            "sha": "",
            "change": None,
        }
        assert {key: environment[key] for key in expected} == expected

    async def test_one_of_a_change(self, web: WebHarness) -> None:
        pull = web.github.open_pull(web.github.add_repository("acme", "shop"), "feature-x", title="Größer")
        await web.deliver("pull_request", web.github.event("opened", pull))
        await web.harness.rest()
        [environment] = (await web.ask("GET", ENVIRONMENTS)).json()

        assert environment["sha"] == pull.sha
        assert environment["change"] == {
            "repository": "acme/shop",
            "number": 1,
            "title": "Größer",
            "author": "octocat",
            "url": "https://github.test/acme/shop/pull/1",
        }

    async def test_all(self, web: WebHarness) -> None:
        assert (await web.ask("GET", ENVIRONMENTS)).json() == []
        first = await launched(web)
        await web.post("/launch", image_name="shop", container_name="y")
        await web.post("/kill", container_name="y")

        async def names(**query: str) -> list[str]:
            return [e["name"] for e in (await web.ask("GET", ENVIRONMENTS, params=query)).json()]

        assert await names() == [first["name"]]
        assert await names(gone="true") == ["feature/x", "y"]
        assert await names(app="shop") == ["feature/x"]
        assert await names(app="blog") == []

    async def test_kill(self, web: WebHarness) -> None:
        environment = await launched(web)
        answer = await web.ask("DELETE", f"{ENVIRONMENTS}/{environment['id']}")
        assert (answer.status_code, answer.json()["state"]) == (202, "gone")
        await web.harness.rest()

        await web.harness.assert_gone()

    async def test_redeploy(self, web: WebHarness) -> None:
        environment = await launched(web)
        answer = await web.ask("POST", f"{ENVIRONMENTS}/{environment['id']}/redeploy")
        assert (answer.status_code, answer.json()["state"]) == (202, "updating")
        await web.harness.rest()

        await web.harness.assert_live()
        assert (await got(web, environment["id"]))["generation"] == 2

    async def test_deployments_newest_first(self, web: WebHarness) -> None:
        environment = await launched(web)
        web.harness.engine.add_image(IMAGE, Program(exit_code=3, output="no such table"))
        await web.ask("POST", f"{ENVIRONMENTS}/{environment['id']}/redeploy")
        await web.harness.rest()
        newest, oldest = (await web.ask("GET", f"{ENVIRONMENTS}/{environment['id']}/deployments")).json()

        assert (newest["phase"], newest["reason"], newest["live_at"]) == ("failed", "exited", None)
        assert (oldest["phase"], oldest["reason"], oldest["ended_at"]) == ("live", "", None)
        assert oldest["created_at"] <= oldest["starting_at"] <= oldest["checking_at"] <= oldest["live_at"]
        assert oldest["image"].startswith("sha256:")


class TestLog:
    async def log(self, web: WebHarness, environment: str, **query: str) -> str:
        answer = await web.ask("GET", f"{ENVIRONMENTS}/{environment}/log", params=query)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        return answer.text

    async def test_of_what_runs(self, web: WebHarness) -> None:
        web.harness.engine.add_image(IMAGE, Program(output="first\nlast"))
        environment = await launched(web)

        assert await self.log(web, environment["id"]) == "first\nlast"
        assert await self.log(web, environment["id"], lines="1") == "last"

    async def test_of_what_failed(self, web: WebHarness) -> None:
        web.harness.engine.add_image(IMAGE, Program(exit_code=1, output="first\nlast"))
        environment = await launched(web)

        assert await self.log(web, environment["id"]) == "first\nlast"
        assert await self.log(web, environment["id"], lines="1") == "last"

    async def test_of_what_is_being_removed(self, web: WebHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        """The instance is found, and removed before its log is read."""
        engine = web.harness.engine
        engine.add_image(IMAGE, Program(exit_code=1, output="first\nlast"))
        found: list[Instance] = []
        remove = engine.remove

        async def noting(instance: str) -> None:
            [removed] = [one for one in await engine.find() if one.id == instance]
            found.extend(engine.there(removed.environment))
            await remove(instance)

        async def find(environment: str | None = None) -> list[Instance]:
            return [one for one in found if one.environment == environment]

        monkeypatch.setattr(engine, "remove", noting)
        environment = await launched(web)
        monkeypatch.setattr(engine, "find", find)

        assert [one.environment for one in found] == [environment["id"]]
        assert await self.log(web, environment["id"]) == "first\nlast"

    async def test_of_a_deployment(self, web: WebHarness) -> None:
        """The one that serves has another."""
        web.harness.engine.add_image(IMAGE, Program(output="serving"))
        environment = await launched(web)
        web.harness.engine.add_image(IMAGE, Program(exit_code=3, output="no such table"))
        await web.ask("POST", f"{ENVIRONMENTS}/{environment['id']}/redeploy")
        await web.harness.rest()
        newest, oldest = (await web.ask("GET", f"{ENVIRONMENTS}/{environment['id']}/deployments")).json()

        assert await self.log(web, environment["id"]) == "serving"
        assert await self.log(web, environment["id"], deployment=newest["id"]) == "no such table"
        assert await self.log(web, environment["id"], deployment=oldest["id"], follow="true") == "serving"
        answer = await web.ask("GET", f"{ENVIRONMENTS}/{environment['id']}/log?deployment=nothing")
        assert (answer.status_code, answer.json()["reason"]) == (404, "deployment-unknown")

    async def test_is_read_once_where_it_is_followed(
        self, web: WebHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        web.harness.engine.add_image(IMAGE, Program(output="first\nlast"))
        environment, reads, logs = await launched(web), [], web.harness.engine.logs

        async def noting(instance: str, lines: int) -> str:
            reads.append(instance)
            return await logs(instance, lines)

        monkeypatch.setattr(web.harness.engine, "logs", noting)
        following = asyncio.create_task(self.log(web, environment["id"], follow="true"))
        await web.harness.rest(5)
        assert len(reads) == 1
        await web.harness.stop("feature/x")
        await web.harness.rest()
        assert await following == "first\nlast\n"

    async def test_is_of_the_newest_that_was_started(self, web: WebHarness) -> None:
        """Followed or not."""
        web.harness.engine.add_image(IMAGE, Program(output="serving"))
        environment = await launched(web)
        web.harness.engine.delays["start"] = 1_000
        web.harness.engine.add_image(IMAGE, Program(output="newer"))
        await web.ask("POST", f"{ENVIRONMENTS}/{environment['id']}/redeploy")
        await web.harness.rest(10)
        assert len(web.harness.engine.there()) == 2

        assert await self.log(web, environment["id"]) == "serving"

    async def test_an_engine_that_is_away_is_reported_to_the_reader(self, web: WebHarness) -> None:
        environment = await launched(web)
        web.harness.engine.leave()
        answer = await web.ask("GET", f"{ENVIRONMENTS}/{environment['id']}/log?follow=true")

        assert (answer.status_code, answer.json()["reason"]) == (503, "engine-away")

    @pytest.mark.parametrize("lines", ["0", "-1", "5001", "many"])
    async def test_of_a_senseless_length(self, web: WebHarness, lines: str) -> None:
        answer = await web.ask("GET", f"{ENVIRONMENTS}/any/log", params={"lines": lines})

        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("lines:")


class TestProblems:
    @pytest.mark.parametrize(
        ("method", "path", "how", "status", "reason"),
        [
            ("GET", f"{ENVIRONMENTS}/nobody", {}, 404, "environment-unknown"),
            ("GET", f"{ENVIRONMENTS}/nobody/deployments", {}, 404, "environment-unknown"),
            ("GET", f"{ENVIRONMENTS}/nobody/log", {}, 404, "environment-unknown"),
            ("DELETE", f"{ENVIRONMENTS}/nobody", {}, 404, "environment-unknown"),
            ("POST", f"{ENVIRONMENTS}/nobody/redeploy", {}, 404, "environment-unknown"),
            ("POST", ENVIRONMENTS, {"json": {**BODY, "image_name": "blog"}}, 400, "image-unknown"),
            ("POST", ENVIRONMENTS, {"json": {**BODY, "container_name": "default"}}, 400, "name-reserved"),
            ("POST", ENVIRONMENTS, {"json": {**BODY, "container_name": "refs/x"}}, 400, "name-not-branch"),
            ("POST", ENVIRONMENTS, {"json": {**BODY, "parameters": {"PATH": "x"}}}, 400, "parameter-refused"),
            ("POST", ENVIRONMENTS, {"json": {}}, 422, "invalid"),
            ("POST", ENVIRONMENTS, {"json": {**BODY, "parameters": {"A": 1}}}, 422, "invalid"),
            ("POST", ENVIRONMENTS, {"content": b"{"}, 422, "invalid"),
            ("GET", f"{ENVIRONMENTS}/{'x' * 65}", {}, 422, "invalid"),
            ("GET", "/api/v1/nothing", {}, 404, "http"),
            ("PUT", ENVIRONMENTS, {}, 405, "http"),
        ],
    )
    async def test_have_one_shape(
        self, web: WebHarness, method: str, path: str, how: dict[str, Any], status: int, reason: str
    ) -> None:
        answer = await web.ask(method, path, **how)
        problem = answer.json()

        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["status"], problem["reason"]) == (status, reason)
        assert problem["title"]
        assert problem.keys() <= {"title", "status", "detail", "reason", "lines"}

    async def test_of_an_unknown_user(self, web: WebHarness) -> None:
        for method, path in (("GET", ENVIRONMENTS), ("POST", ENVIRONMENTS), ("DELETE", f"{ENVIRONMENTS}/x")):
            answer = await web.client.request(method, path)
            assert (answer.status_code, answer.json()["reason"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Basic ")

    async def test_of_another_origin(self, web: WebHarness) -> None:
        answer = await web.ask("POST", ENVIRONMENTS, json=BODY, headers={"origin": "https://evil.test"})

        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 403

    async def test_of_a_body_that_is_too_long(self, web: WebHarness) -> None:
        answer = await web.ask("POST", ENVIRONMENTS, content=b"x" * (2 << 20))

        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 413

    async def test_an_engine_that_is_away(self, web: WebHarness) -> None:
        environment = await launched(web)
        web.harness.engine.leave()
        answer = await web.ask("GET", f"{ENVIRONMENTS}/{environment['id']}/log")

        assert (answer.status_code, answer.json()["reason"]) == (503, "engine-away")
        assert answer.headers["retry-after"]


class TestDescription:
    """What `/openapi.json` says is what happens."""

    def schema(self, web: WebHarness) -> dict[str, Any]:
        return web.app.openapi()

    async def test_is_served(self, web: WebHarness) -> None:
        answer = await web.client.get("/openapi.json")

        assert answer.status_code == 200
        assert answer.json() == self.schema(web)

    async def test_has_exactly_the_api(self, web: WebHarness) -> None:
        paths = self.schema(web)["paths"]
        found = {(path, method) for path, item in paths.items() for method in item}

        assert found == {
            (ENVIRONMENTS, "get"),
            ("/api/v1/applications/{app}/target", "get"),
            ("/api/v1/applications/{app}/changes", "get"),
            ("/api/v1/people", "get"),
            ("/api/v1/people/sessions", "delete"),
            ("/api/v1/people/sessions/{session}", "delete"),
            ("/api/v1/settings", "get"),
            ("/api/v1/capacity", "get"),
            ("/api/v1/deliveries", "get"),
            ("/api/v1/deliveries/{delivery}", "get"),
            ("/api/v1/deliveries/{delivery}/replay", "post"),
            ("/api/v1/why", "get"),
            (ENVIRONMENTS, "post"),
            (ENVIRONMENTS + "/{environment}", "get"),
            (ENVIRONMENTS + "/{environment}", "delete"),
            (ENVIRONMENTS + "/{environment}/redeploy", "post"),
            (ENVIRONMENTS + "/{environment}/approve", "post"),
            (ENVIRONMENTS + "/{environment}/rollback", "post"),
            (ENVIRONMENTS + "/{environment}/pin", "post"),
            (ENVIRONMENTS + "/{environment}/extend", "post"),
            (ENVIRONMENTS + "/{environment}/sleep", "post"),
            (ENVIRONMENTS + "/{environment}/wake", "post"),
            ("/api/v1/nodes", "get"),
            ("/api/v1/nodes/{node}/drain", "post"),
            ("/api/v1/nodes/{node}/activate", "post"),
            ("/api/v1/garbage", "get"),
            ("/api/v1/garbage", "delete"),
            (ENVIRONMENTS + "/{environment}/build-log", "get"),
            (ENVIRONMENTS + "/{environment}/deployments", "get"),
            (ENVIRONMENTS + "/{environment}/log", "get"),
            (ENVIRONMENTS + "/{environment}/volumes", "get"),
            ("/api/v1/audit", "get"),
            ("/api/v1/login/device", "post"),
            ("/api/v1/login/device/poll", "post"),
            ("/api/v1/doctor", "get"),
            ("/api/v1/session", "delete"),
            ("/api/v1/tokens", "get"),
            ("/api/v1/tokens", "post"),
            ("/api/v1/tokens/{token}", "delete"),
            ("/api/v1/whoami", "get"),
            (ENVIRONMENTS + "/{environment}/pictures", "get"),
            (ENVIRONMENTS + "/{environment}/pictures/{key}.png", "get"),
            (ENVIRONMENTS + "/{environment}/share-links", "get"),
            (ENVIRONMENTS + "/{environment}/share-links", "post"),
            (ENVIRONMENTS + "/{environment}/share-links/{link}", "delete"),
            (ENVIRONMENTS + "/{environment}/data", "get"),
            (ENVIRONMENTS + "/{environment}/reset", "post"),
            ("/api/v1/snapshots", "get"),
            ("/api/v1/snapshots", "post"),
            ("/api/v1/snapshots/restore", "post"),
            ("/api/v1/snapshots/{snapshot}", "get"),
            ("/api/v1/snapshots/{snapshot}", "delete"),
            ("/api/v1/snapshots/{snapshot}/use", "post"),
            ("/api/v1/snapshots/{snapshot}/use", "delete"),
            ("/api/v1/snapshots/{snapshot}/volumes/{volume}", "get"),
        }

    async def test_names_every_status_and_media_type_that_is_answered(self, web: WebHarness) -> None:
        environment = await launched(web)
        paths = self.schema(web)["paths"]
        wrong = []
        for path, method in [(path, method) for path, item in paths.items() for method in item]:
            for id_, known in itertools.product((environment["id"], "nobody", "x" * 65), (True, False)):
                where = path.replace("{environment}", id_)
                ask = web.ask if known else web.client.request
                answer = await ask(method.upper(), where, json=BODY)
                described = paths[path][method]["responses"].get(str(answer.status_code), {})
                media_type = answer.headers["content-type"].partition(";")[0]
                if media_type not in described.get("content", {}):
                    wrong.append((method, path, answer.status_code, media_type))
        assert wrong == []

    async def test_names_every_field_that_is_answered(self, web: WebHarness) -> None:
        environment = await launched(web)
        schemas = self.schema(web)["components"]["schemas"]
        [deployment] = (await web.ask("GET", f"{ENVIRONMENTS}/{environment['id']}/deployments")).json()

        assert environment.keys() == schemas["EnvironmentView"]["properties"].keys()
        assert set(schemas["EnvironmentView"]["required"]) == environment.keys()
        assert deployment.keys() == schemas["DeploymentView"]["properties"].keys()

    async def test_says_who_may_ask(self, web: WebHarness) -> None:
        schema = self.schema(web)
        schemes = schema["components"].get("securitySchemes", {})

        assert any(s["type"] == "http" and s["scheme"] == "basic" for s in schemes.values())
        for item in schema["paths"].values():
            for operation in item.values():
                assert operation.get("security") or schema.get("security")
