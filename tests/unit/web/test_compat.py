"""`/launch`, `/kill` and `/event_receiver`, as the walkthrough uses them with curl."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator

import pytest

from stager.testing import Program
from stager.web.request_body import FORM_LIMIT, WEBHOOK_LIMIT
from tests.unit.control.harness import IMAGE
from tests.unit.web.harness import HOST, SECRET, WebHarness, basic, web

FORM = {"content-type": "application/x-www-form-urlencoded"}


class TestLaunch:
    async def test_answers_with_the_url_once_it_works(self, web: WebHarness) -> None:
        web.harness.engine.delays["start"] = 20
        answer = await web.post("/launch", image_name="shop", container_name="feature-x")

        assert (answer.status_code, answer.text) == (200, "http://feature-x.preview.test")
        assert answer.headers["content-type"].startswith("text/plain")
        assert web.harness.served("feature-x.preview.test")

    async def test_can_answer_at_once(self, web: WebHarness) -> None:
        web.harness.engine.delays["start"] = 20
        answer = await web.post("/launch", image_name="shop", container_name="x", wait="0")

        assert (answer.status_code, answer.text) == (202, "http://x.preview.test")
        assert web.harness.served("x.preview.test") is None

    async def test_takes_its_parameters_from_the_query_too(self, web: WebHarness) -> None:
        answer = await web.ask("POST", "/launch", params={"image_name": "shop", "container_name": "x"})

        assert answer.status_code == 200

    async def test_takes_a_multipart_form(self, web: WebHarness) -> None:
        parts = {"image_name": (None, "shop"), "container_name": (None, "x"), "GREETING": (None, "hallo")}
        answer = await web.ask("POST", "/launch", files=parts)

        assert answer.status_code == 200
        [instance] = web.harness.engine.there()
        assert web.harness.engine.spec(instance.id).variables["GREETING"] == "hallo"

    @pytest.mark.parametrize(
        ("form", "status", "says"),
        [
            ({"container_name": "x"}, 400, "image_name is missing"),
            ({"image_name": "shop"}, 400, "container_name is missing"),
            ({"image_name": "shopp", "container_name": "x"}, 400, 'id you mean "shop"?'),
            ({"image_name": "shop", "container_name": "default"}, 400, '"default" is reserved'),
            (
                {"image_name": "shop", "container_name": "refs/pull/34/head"},
                400,
                "the name of a branch or a tag",
            ),
            ({"image_name": "shop", "container_name": "pull/34/head"}, 400, "the name of a branch or a tag"),
            ({"image_name": "shop", "container_name": "a" * 40}, 400, "is a commit id"),
            ({"image_name": "shop", "container_name": "x", "PATH": "/tmp"}, 400, '"PATH"'),
            ({"image_name": "shop", "container_name": "x", "STAGER_URL": "u"}, 400, '"STAGER_URL"'),
            ({"image_name": "shop", "container_name": "x", "wait": "soon"}, 400, "wait must be"),
            ({"image_name": "shop", "container_name": "x", "wait": "-1"}, 400, "wait must be"),
            ({"image_name": "shop", "container_name": "x", "wait": "nan"}, 400, "wait must be"),
        ],
    )
    async def test_invalid_parameters_get_a_plain_sentence(
        self, web: WebHarness, form: dict[str, str], status: int, says: str
    ) -> None:
        answer = await web.post("/launch", **form)

        assert answer.status_code == status
        assert says in answer.text
        assert answer.headers["content-type"].startswith("text/plain")
        assert await web.harness.environments() == []

    async def test_a_failure_has_the_stage_and_the_last_lines(self, web: WebHarness) -> None:
        web.harness.engine.add_image(IMAGE, Program(exit_code=3, output="reading\nno such table"))
        answer = await web.post("/launch", image_name="shop", container_name="x")

        assert answer.status_code == 503
        assert answer.text.startswith("Failed while")
        assert answer.text.endswith("reading\nno such table")
        assert "retry-after" not in answer.headers

    async def test_one_that_takes_longer_than_one_waits(self, web: WebHarness) -> None:
        web.harness.engine.delays["start"] = 50
        answer = await web.post("/launch", image_name="shop", container_name="x", wait="10")

        assert answer.status_code == 503
        assert "isn't up after 10 s" in answer.text
        assert answer.headers["retry-after"]

    async def test_one_that_is_killed_meanwhile(self, web: WebHarness) -> None:
        web.harness.engine.delays["start"] = 50
        launching = asyncio.create_task(web.post("/launch", image_name="shop", container_name="x"))
        await web.harness.rest(1)
        await web.post("/kill", container_name="x")

        answer = await launching
        assert (answer.status_code, answer.text) == (409, "This preview was removed.")

    async def test_while_the_engine_is_away(self, web: WebHarness) -> None:
        web.harness.engine.leave()
        answer = await web.post("/launch", image_name="shop", container_name="x", wait="5")

        assert answer.status_code == 503


class TestKill:
    async def test_says_ok_once_it_is_gone(self, web: WebHarness) -> None:
        await web.post("/launch", image_name="shop", container_name="x")
        answer = await web.post("/kill", image_name="shop", container_name="x")

        assert (answer.status_code, answer.text) == (200, "ok")
        await web.harness.assert_gone()

    async def test_can_answer_at_once(self, web: WebHarness) -> None:
        await web.post("/launch", image_name="shop", container_name="x")
        answer = await web.post("/kill", container_name="x", wait="0")

        assert (answer.status_code, answer.text) == (202, "ok")

    async def test_of_nothing_is_ok(self, web: WebHarness) -> None:
        assert (await web.post("/kill", container_name="nobody")).text == "ok"

    @pytest.mark.parametrize(
        ("form", "status"),
        [
            ({}, 400),
            ({"container_name": "default"}, 400),
            ({"container_name": "x", "image_name": "blog"}, 400),
            ({"container_name": "x", "wait": "soon"}, 400),
        ],
    )
    async def test_what_makes_no_sense(self, web: WebHarness, form: dict[str, str], status: int) -> None:
        assert (await web.post("/kill", **form)).status_code == status

    async def test_of_a_name_that_may_mean_several(self, web: WebHarness) -> None:
        repository = web.github.add_repository("acme", "shop")
        for _ in range(2):  # for two of its branches
            pull = web.github.open_pull(repository, "feature-x")
            await web.deliver("pull_request", web.github.event("opened", pull))
        await web.harness.rest()
        answer = await web.post("/kill", container_name="feature-x")

        assert answer.status_code == 409
        assert "shop (pull request #1)" in answer.text


class TestAccess:
    @pytest.mark.parametrize("path", ["/launch", "/kill"])
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            basic("ann", "wrong"),
            basic("eve", "pass"),
            basic("", ""),
            {"authorization": "Basic ???"},
            {"authorization": "Basic /////w=="},
            {"authorization": "Bearer pass"},
        ],
    )
    async def test_of_an_unknown_user(self, web: WebHarness, path: str, headers: dict[str, str]) -> None:
        form = {"image_name": "shop", "container_name": "x"}
        answer = await web.client.post(path, headers=headers, data=form)

        assert answer.status_code == 401
        assert answer.text.startswith("Unauthorized")
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert await web.harness.environments() == []

    async def test_isnt_possible_while_there_are_no_users(self) -> None:
        async with web(users={}) as empty:
            assert (await empty.post("/launch", image_name="shop", container_name="x")).status_code == 401

    @pytest.mark.parametrize("path", ["/launch", "/kill"])
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    async def test_by_another_method(self, web: WebHarness, path: str, method: str) -> None:
        answer = await web.ask(method, path)

        assert answer.status_code == 405
        assert "POST" in answer.headers["allow"]


class TestOtherPeoplesPages:
    @pytest.mark.parametrize(
        "origin",
        ["https://evil.test", "http://x.preview.test", f"http://{HOST}:81", f"http://x.{HOST}", "null", ""],
    )
    @pytest.mark.parametrize("path", ["/launch", "/kill", "/api/v1/environments", "/event_receiver"])
    async def test_are_refused(self, web: WebHarness, path: str, origin: str) -> None:
        form = {"image_name": "shop", "container_name": "x"}
        answer = await web.ask("POST", path, data=form, headers={"origin": origin})

        assert answer.status_code == 403
        assert await web.harness.environments() == []

    @pytest.mark.parametrize(("scheme", "proto"), [("http", ""), ("http", "http"), ("https", "https")])
    async def test_our_own_arent(self, web: WebHarness, scheme: str, proto: str) -> None:
        form = {"image_name": "shop", "container_name": "x"}
        headers = {"origin": f"{scheme}://{HOST}", **({"x-forwarded-proto": proto} if proto else {})}

        assert (await web.ask("POST", "/launch", data=form, headers=headers)).status_code == 200

    async def test_may_read_what_anybody_may(self, web: WebHarness) -> None:
        answer = await web.client.get("/healthz", headers={"origin": "https://evil.test"})

        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers

    @pytest.mark.parametrize("path", ["/launch", "/kill"])
    async def test_cant_pass_a_preflight_either(self, web: WebHarness, path: str) -> None:
        wanted = {"origin": "https://evil.test", "access-control-request-method": "POST"}
        answer = await web.client.options(path, headers=wanted)

        assert "access-control-allow-origin" not in answer.headers


class TestDeliveries:
    @pytest.mark.parametrize("path", ["/event_receiver", "/webhooks/github"])
    @pytest.mark.parametrize("form", [False, True])
    async def test_is_taken_and_worked_through(self, web: WebHarness, path: str, form: bool) -> None:
        pull = web.github.open_pull(web.github.add_repository("acme", "shop"), "feature-x")
        answer = await web.deliver("pull_request", web.github.event("opened", pull), path, form=form)
        assert answer.status_code == 202
        await web.harness.rest()

        await web.harness.assert_live()

    async def test_a_repeated_one_is_taken_once(self, web: WebHarness) -> None:
        pull = web.github.open_pull(web.github.add_repository("acme", "shop"), "feature-x")
        payload = web.github.event("opened", pull)
        for _ in range(3):
            answer = await web.deliver("pull_request", payload, delivery_id="one")
            assert answer.status_code == 202
            await web.harness.rest()

        assert (await web.harness.the()).desired.generation == 1

    @pytest.mark.parametrize(
        ("event", "payload"),
        [("ping", {"zen": "Mind."}), ("star", {}), ("issues", {"action": "opened"}), ("pull_request", {})],
    )
    async def test_one_that_concerns_nothing_is_taken_without_effect(
        self, web: WebHarness, event: str, payload: dict[str, object]
    ) -> None:
        assert (await web.deliver(event, payload)).status_code == 202
        await web.harness.rest()

        assert await web.harness.environments() == []

    @pytest.mark.parametrize(
        "headers",
        [
            {"x-hub-signature-256": "sha256=" + "0" * 64},
            {"x-hub-signature-256": ""},
            {"x-hub-signature-256": "sha256=nothing"},
        ],
    )
    async def test_with_a_wrong_signature(self, web: WebHarness, headers: dict[str, str]) -> None:
        pull = web.github.open_pull(web.github.add_repository("acme", "shop"), "feature-x")
        answer = await web.deliver("pull_request", web.github.event("opened", pull), headers=headers)
        await web.harness.rest()

        assert answer.status_code == 401
        assert await web.harness.environments() == []

    async def test_with_another_secret(self, web: WebHarness) -> None:
        assert (await web.deliver("ping", {}, secret="guessed")).status_code == 401

    async def test_changed_on_its_way(self, web: WebHarness) -> None:
        headers = {"x-github-event": "ping", "x-hub-signature-256": "sha256=" + "0" * 64}
        assert (await web.client.post("/webhooks/github", headers=headers, content=b"{}")).status_code == 401

    @pytest.mark.parametrize(
        ("headers", "status"), [({}, 401), (basic("hook", "wrong"), 401), (basic("hook", "word"), 202)]
    )
    async def test_with_credentials_where_they_are_demanded(
        self, headers: dict[str, str], status: int
    ) -> None:
        async with web(hook=("hook", "word")) as guarded:
            assert (await guarded.deliver("ping", {}, headers=headers)).status_code == status

    @pytest.mark.parametrize("content", [b"not json", b"[1]", b"\xff\xfe"])
    async def test_that_isnt_readable(self, web: WebHarness, content: bytes) -> None:
        signature = hmac.new(SECRET.encode(), content, hashlib.sha256).hexdigest()
        headers = {"x-github-event": "ping", "x-hub-signature-256": f"sha256={signature}"}

        assert (
            await web.client.post("/webhooks/github", headers=headers, content=content)
        ).status_code == 400

    @pytest.mark.parametrize("path", ["/event_receiver", "/webhooks/github"])
    async def test_a_form_that_says_nothing_is_no_delivery(self, web: WebHarness, path: str) -> None:
        answer = await web.client.post(path, data={"payload": "{}"})

        assert answer.status_code == 401

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_a_call_without_a_listener(self, web: WebHarness, method: str) -> None:
        answer = await web.client.request(method, "/event_receiver", params={"action": "refresh"})

        assert (answer.status_code, answer.text) == (200, "")

    async def test_is_answered_without_waiting_for_anything(self, web: WebHarness) -> None:
        web.harness.engine.leave()
        web.harness.router.leave()
        loop = asyncio.get_running_loop()
        before = loop.time()
        pull = web.github.open_pull(web.github.add_repository("acme", "shop"), "feature-x")
        answer = await web.deliver("pull_request", web.github.event("opened", pull))

        assert answer.status_code == 202
        assert loop.time() == before


class TestCaps:
    async def pieces(self, size: int) -> AsyncIterator[bytes]:
        """A body of so many bytes that doesn't say in advance how long it is."""
        yield b"image_name=shop&container_name="
        for _ in range(size // 65536 + 1):
            yield b"x" * 65536

    @pytest.mark.parametrize("path", ["/launch", "/kill"])
    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_form(self, web: WebHarness, path: str, announced: bool) -> None:
        body = self.pieces(FORM_LIMIT) if not announced else b"a=" + b"x" * FORM_LIMIT
        answer = await web.client.post(path, headers=FORM | basic(), content=body)

        assert answer.status_code == 413

    async def test_a_multipart_form(self, web: WebHarness) -> None:
        parts = {"image_name": (None, "x" * (FORM_LIMIT + 1))}

        assert (await web.ask("POST", "/launch", files=parts)).status_code == 413

    async def test_too_many_fields(self, web: WebHarness) -> None:
        parts = {f"F{number}": (None, "1") for number in range(300)}

        assert (await web.ask("POST", "/launch", files=parts)).status_code == 400

    async def test_a_file(self, web: WebHarness) -> None:
        answer = await web.ask("POST", "/launch", files={"file": ("x.txt", b"text")})

        assert answer.status_code == 400

    @pytest.mark.parametrize("path", ["/event_receiver", "/webhooks/github"])
    async def test_a_delivery(self, web: WebHarness, path: str) -> None:
        signature = "sha256=" + "0" * 64
        headers = {"x-github-event": "ping", "x-hub-signature-256": signature}
        body = self.pieces(WEBHOOK_LIMIT)

        assert (await web.client.post(path, headers=headers, content=body)).status_code == 413

    async def test_a_delivery_as_large_as_may_be(self, web: WebHarness) -> None:
        payload = {"filler": "x" * (WEBHOOK_LIMIT - 100)}

        assert (await web.deliver("ping", payload)).status_code == 202

    async def test_json_for_the_api(self, web: WebHarness) -> None:
        body = {"image_name": "shop", "container_name": "x" * FORM_LIMIT}

        assert (await web.ask("POST", "/api/v1/environments", json=body)).status_code == 413


class TestDomain:
    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("stage.acme.test", "http://x.stage.acme.test"),
            ("Stage.Acme.test:8080", "http://x.stage.acme.test:8080"),
            ("127.0.0.1:8000", "http://x.localhost:8000"),
            ("192.0.2.7:8000", "http://x.localhost:8000"),
        ],
    )
    async def test_is_taken_from_the_first_authenticated_request(self, host: str, url: str) -> None:
        async with web(domain="") as fresh:
            form = {"image_name": "shop", "container_name": "x"}
            await fresh.client.post("/launch", data=form, headers={"host": "evil.test"})
            answer = await fresh.ask("POST", "/launch", data=form, headers={"host": host})

            assert answer.text == url

    async def test_is_never_changed_by_a_later_one(self) -> None:
        async with web(domain="") as fresh:
            form = {"image_name": "shop", "container_name": "x"}
            for host in ("stage.acme.test", "evil.test"):
                answer = await fresh.ask("POST", "/launch", data=form, headers={"host": host})

            assert answer.text == "http://x.stage.acme.test"
            assert fresh.harness.router.table.domain == "stage.acme.test"
