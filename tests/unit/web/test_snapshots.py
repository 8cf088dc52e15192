"""Snapshots over HTTP: the API, dumps that are streamed, and the data on a preview's page."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from stager.control.identity.authorizer import Roles
from stager.domain.application import Application
from stager.domain.environment import Environment
from stager.domain.errors import Refused
from stager.domain.identity.roles import Role
from stager.domain.snapshot import DataRules, FromPreview
from stager.domain.source import Access
from stager.web import uploads
from stager.web.uploads import AT_ONCE, Uploads, is_upload
from tests.unit.control.data.test_snapshots import DataHarness, shop
from tests.unit.web.harness import WebHarness, basic, web

API = "/api/v1/snapshots"
BINARY = {"content-type": "application/octet-stream"}


@asynccontextmanager
async def opened(application: Application | None = None, **settings: Any) -> AsyncIterator[WebHarness]:
    """A web harness whose application has a database that is cloned."""
    async with web(applications=[application or shop()], credentials=True, **settings) as opened:
        opened.harness.engine.add_image("postgres:16")
        yield opened


@pytest.fixture
async def stager() -> AsyncIterator[WebHarness]:
    async with opened() as stager:
        yield stager


async def live(stager: WebHarness, name: str) -> Environment:
    environment = await stager.harness.launch(name)
    await stager.harness.rest()
    return environment


def rows(stager: WebHarness, environment: Environment) -> dict[str, str]:
    """The files of the newest database of a preview."""
    instances = [i for i in stager.harness.engine.there(environment.id) if i.service == "db"]
    newest = max(instances, key=lambda i: i.generation)
    return stager.harness.data.files(environment.id, "data", newest.generation)


async def created(stager: WebHarness, **body: object) -> dict[str, Any]:
    """A snapshot, once it isn't being made any more."""
    answer = await stager.ask("POST", API, json={"app": "shop", **body})
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "making"
    await stager.harness.rest()
    return dict((await stager.ask("GET", f"{API}/{answer.json()['id']}")).json())


async def with_data(stager: WebHarness) -> tuple[Environment, dict[str, Any]]:
    """A live preview with rows, and a snapshot of them."""
    environment = await live(stager, "main")
    rows(stager, environment)["rows"] = "real"
    return environment, await created(stager, preview=environment.id, name="base")


class TestApi:
    async def test_a_snapshot_of_a_preview_is_what_the_next_one_starts_from(self, stager: WebHarness) -> None:
        _, snapshot = await with_data(stager)
        assert snapshot["state"] == "ready"
        assert snapshot["is_current"]
        assert (snapshot["number"], snapshot["name"], snapshot["origin"]) == (1, "base", "preview main")
        assert snapshot["volumes"] == [{"service": "db", "volume": "data", "size": 4}]
        assert (snapshot["size"], snapshot["storage"], snapshot["message"]) == (4, "copies", "")

        second = await live(stager, "feature")
        assert rows(stager, second) == {"rows": "real"}
        data = (await stager.ask("GET", f"/api/v1/environments/{second.id}/data")).json()
        assert data["has_cloned_data"]
        [volume] = data["volumes"]
        assert (volume["volume"], volume["policy"], volume["number"]) == ("data", "clone", 1)

    async def test_without_a_snapshot_the_data_says_why_it_is_empty(self, stager: WebHarness) -> None:
        environment = await live(stager, "main")
        data = (await stager.ask("GET", f"/api/v1/environments/{environment.id}/data")).json()

        assert data["notes"] == ["The volume data started empty, because there was no snapshot yet."]
        assert not data["has_cloned_data"]

    async def test_one_is_chosen_and_the_newest_again(self, stager: WebHarness) -> None:
        environment, first = await with_data(stager)
        second = await created(stager, preview=environment.id)
        assert second["is_current"]

        chosen = (await stager.ask("POST", f"{API}/{first['id']}/use")).json()
        assert (chosen["is_current"], chosen["is_chosen"]) == (True, True)
        listed = (await stager.ask("GET", f"{API}?app=shop")).json()
        assert [(each["number"], each["is_current"]) for each in listed] == [(2, False), (1, True)]
        again = (await stager.ask("DELETE", f"{API}/{first['id']}/use")).json()
        assert not again["is_current"]

    async def test_deleting_one_keeps_the_data_of_previews(self, stager: WebHarness) -> None:
        _, snapshot = await with_data(stager)
        second = await live(stager, "feature")
        assert (await stager.ask("DELETE", f"{API}/{snapshot['id']}")).status_code == 204

        await stager.harness.rest()
        assert (await stager.ask("GET", API)).json() == []
        assert rows(stager, second) == {"rows": "real"}

    async def test_killing_a_preview_deletes_no_snapshot(self, stager: WebHarness) -> None:
        environment, _ = await with_data(stager)
        await stager.ask("DELETE", f"/api/v1/environments/{environment.id}")
        await stager.harness.rest()

        [left] = (await stager.ask("GET", API)).json()
        assert left["state"] == "ready"

    async def test_a_volume_is_downloaded_as_an_archive(self, stager: WebHarness) -> None:
        _, snapshot = await with_data(stager)
        answer = await stager.ask("GET", f"{API}/{snapshot['id']}/volumes/data")

        assert answer.headers["content-type"] == "application/x-tar"
        assert b"volume/rows" in answer.content
        assert (await stager.ask("GET", f"{API}/{snapshot['id']}/volumes/other")).status_code == 404

    async def test_each_action_has_its_line_in_the_audit_log(self, stager: WebHarness) -> None:
        _, snapshot = await with_data(stager)
        await stager.ask("GET", f"{API}/{snapshot['id']}/volumes/data")
        await stager.ask("DELETE", f"{API}/{snapshot['id']}")

        audit = (await stager.ask("GET", "/api/v1/audit")).json()
        found = [(each["action"], each["subject"]) for each in audit if "snapshot" in each["action"]]
        assert found == [
            ("manage-snapshots", 'delete snapshot 1 "base"'),
            ("download-snapshot", 'snapshot 1 "base", data'),
            ("manage-snapshots", "base"),
        ]

    @pytest.mark.parametrize(
        "body", [{}, {"preview": "x", "run": "y"}, {"run": "x" * 4_001}, {"preview": "x", "name": "n" * 101}]
    )
    async def test_a_body_that_is_invalid_is_refused(self, stager: WebHarness, body: dict[str, str]) -> None:
        assert (await stager.ask("POST", API, json={"app": "shop", **body})).status_code == 422

    async def test_a_role_that_the_application_requires(self) -> None:
        strict = shop(DataRules(min_role=Role.ADMINISTRATOR))
        async with opened(strict, roles=Roles({"basic:ann": Role.DEVELOPER})) as stager:
            answers = [
                await stager.ask("POST", API, json={"app": "shop", "run": "seed"}),
                await stager.ask("POST", f"{API}/restore?app=shop", content=b"x", headers=BINARY),
            ]
        for answer in answers:
            assert answer.status_code == 403
            assert "min_role" in answer.json()["detail"]


class TestDumps:
    async def test_a_dump_becomes_a_snapshot(self, stager: WebHarness) -> None:
        answer = await stager.ask(
            "POST", f"{API}/restore?app=shop&service=db&file_name=shop.sql&name=base", content=b"SELECT 1;",
            headers=BINARY,
        )  # fmt: skip
        assert answer.status_code == 202, answer.text
        await stager.harness.rest()

        found = (await stager.ask("GET", f"{API}/{answer.json()['id']}")).json()
        assert (found["state"], found["origin"], found["name"]) == ("ready", "dump shop.sql", "base")
        assert b"SELECT 1;" in stager.harness.data.copied.values()

    async def test_larger_than_other_bodies(self, stager: WebHarness) -> None:
        pieces = [b"-" * (1 << 20)] * 3

        async def body() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        path = f"{API}/restore?app=shop&service=db&file_name=shop.sql"
        answer = await stager.ask("POST", path, content=body(), headers=BINARY)
        await stager.harness.rest()
        assert answer.status_code == 202
        assert list(stager.harness.data.copied.values()) == [b"".join(pieces)]

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
    async def test_of_another_type_it_is_limited_as_other_bodies(self, stager: WebHarness, kind: str) -> None:
        path, headers = f"{API}/restore?app=shop", {"content-type": kind}
        small = await stager.ask("POST", path, content=b"a=b", headers=headers)
        large = await stager.ask("POST", path, content=b"-" * (2 << 20), headers=headers)

        assert small.json()["reason"] == "upload-type"
        assert large.status_code in (413, 415)

    @pytest.mark.attack(
        "Send a dump without credentials",
        profile="visitor",
        result="401; nothing of the dump is read",
    )
    async def test_nobody_unknown_is_listened_to(self, stager: WebHarness) -> None:
        read = False

        async def body() -> AsyncIterator[bytes]:
            nonlocal read
            read = True
            yield b"x"

        answer = await stager.client.post(f"{API}/restore?app=shop", content=body(), headers=BINARY)
        assert answer.status_code == 401
        assert not read

    async def test_a_refused_one_leaves_no_file(self, stager: WebHarness, tmp_path: Path) -> None:
        stager.app.state.web = replace(stager.app.state.web, uploads=Uploads(tmp_path / "uploads"))
        path = f"{API}/restore?app=shop&service=nothing"
        answer = await stager.ask("POST", path, content=b"x", headers=BINARY)

        assert answer.json()["reason"] == "service-unknown"
        assert list((tmp_path / "uploads").iterdir()) == []


def request_of(*messages: Message) -> Request:
    coming = list(messages)

    async def receive() -> Message:
        if not coming:
            await asyncio.sleep(10_000)
        return coming.pop(0)

    headers = [(b"content-type", b"application/octet-stream")]
    scope = {"type": "http", "method": "POST", "path": f"{API}/restore", "headers": headers}
    return Request(scope, receive)


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


class TestUploads:
    @pytest.fixture
    def receiver(self, tmp_path: Path) -> Uploads:
        return Uploads(tmp_path / "uploads")

    async def test_a_file_has_the_body_and_is_for_stager_alone(self, receiver: Uploads) -> None:
        path = await receiver.receive(request_of(piece(b"a"), piece(b"b", more=False)))

        assert path.read_bytes() == b"ab"
        assert path.stat().st_mode & 0o077 == path.parent.stat().st_mode & 0o077 == 0
        receiver.clear()
        assert not path.exists()

    @pytest.mark.parametrize(
        ("messages", "reason"),
        [
            ([piece(b"a"), {"type": "http.disconnect"}], "upload-cut"),
            ([piece(b"a")], "upload-too-slow"),
        ],
    )
    async def test_an_incomplete_one_leaves_nothing(
        self,
        receiver: Uploads,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        messages: list[Message],
        reason: str,
    ) -> None:
        monkeypatch.setattr(uploads, "IDLE_TIMEOUT", 0.05)
        with pytest.raises(Refused) as caught:
            await receiver.receive(request_of(*messages))

        assert caught.value.reason == reason
        assert list((tmp_path / "uploads").iterdir()) == []

    @pytest.mark.attack(
        "Fill the server's disk with a dump",
        profile="person with push access",
        result="507 while 2 GiB are free; nothing of the dump is left",
    )
    async def test_it_stops_before_the_disk_is_full(
        self, receiver: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=uploads.MIN_FREE))
        with pytest.raises(Refused) as caught:
            await receiver.receive(request_of(piece(b"a", more=False)))

        assert (caught.value.reason, caught.value.status) == ("upload-disk-full", 507)
        assert list((tmp_path / "uploads").iterdir()) == []

    async def test_only_some_are_received_at_once(self, receiver: Uploads) -> None:
        running = [asyncio.create_task(receiver.receive(request_of(piece(b"a")))) for _ in range(AT_ONCE)]
        await asyncio.sleep(0)
        with pytest.raises(Exception, match="Too many dumps") as caught:
            await receiver.receive(request_of(piece(b"a", more=False)))
        assert getattr(caught.value, "reason", "") == "upload-busy"
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def test_only_dumps_are_streamed(self) -> None:
        assert is_upload(request_of())
        other = Request({"type": "http", "method": "POST", "path": "/launch", "headers": []})
        assert not is_upload(other)


class TestPage:
    async def test_says_what_the_data_is(self, stager: WebHarness) -> None:
        await with_data(stager)
        second = await live(stager, "feature")
        page = (await stager.ask("GET", f"/previews/{second.id}")).text

        text = " ".join(re.sub(r"<[^>]+>", " ", page[page.index("<h2>Data") :]).split())
        assert "data snapshot 1 base , made" in text
        assert "it is private unless" in text
        assert "Replace the data of feature" in page

    async def test_says_why_it_is_empty(self, stager: WebHarness) -> None:
        environment = await live(stager, "main")
        page = (await stager.ask("GET", f"/previews/{environment.id}")).text

        assert "started empty, because there was no snapshot yet" in page

    async def test_resets_it(self, stager: WebHarness) -> None:
        await with_data(stager)
        second = await live(stager, "feature")
        rows(stager, second)["rows"] = "changed"
        headers = {"origin": "http://stager.test", **basic()}
        answer = await stager.client.post(f"/previews/{second.id}/reset", headers=headers)
        assert answer.status_code == 303

        await stager.harness.rest()
        assert rows(stager, second) == {"rows": "real"}

    async def test_a_viewer_has_no_button(self) -> None:
        async with opened(roles=Roles({"basic:ann": Role.VIEWER})) as stager:
            environment = await live(stager, "main")
            page = (await stager.ask("GET", f"/previews/{environment.id}")).text
        assert "Replace the data" not in page


async def test_a_comment_resets_the_data_and_shows_where_it_is_from() -> None:
    async with DataHarness([replace(shop(), owner="acme")]).open() as harness:
        main = await harness.filled()
        await harness.ready(FromPreview(main.id), name="base")
        await harness.rest(3_600)
        repository = harness.forge.add_repository("acme", "shop")
        harness.forge.allow(repository, "bob", Access.WRITE)
        event = harness.forge.open(repository, "feature", "a1")
        await harness.deliver(event)
        await harness.rest()
        [environment] = [e for e in await harness.environments() if e.change]
        [comment] = [c for c in harness.forge.comments if c.ours]
        assert 'Data: snapshot 1 "base", 1 h old when it was deployed' in comment.body

        harness.volume(environment)["rows"] = "changed"
        await harness.deliver(harness.forge.say(event, "/stager reset", "bob"))
        await harness.rest()
        assert harness.volume(environment) == {"rows": "real"}
