"""The dashboard: who sees what in the list and in the stream of changes, and the actions."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from starlette.types import Message

from stager.control.control_plane import ControlPlane
from stager.control.identity.authorizer import Roles
from stager.control.identity.sessions import Lifetimes
from stager.domain.errors import Fault
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.recipe import Recipe
from stager.domain.status import State
from stager.testing.fakes.builder import Result
from stager.web.auth import cookies
from stager.web.pages.change_stream import DASHBOARDS, HEARTBEAT_SECONDS, OpenStreams
from stager.web.pages.overview.shared_checks import CHECK_SECONDS
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import HOST, WebHarness, basic, web

BESIDES = {"numbers", "figures"}
"""The kinds of events that aren't about one preview."""
OURS = {"origin": f"http://{HOST}"}
BLOG = replace(SHOP, name="blog")
BUILT = replace(SHOP, build=Recipe(), owner="acme")
FIRST, SECOND = "d455750" + "a" * 33, "bfc6578" + "b" * 33
TITLE = "</li><script>alert(1)</script>\r\n\r\nevent: end\rdata: \u2028x"
ROLES = Roles(
    {
        "basic:ann": Role.DEVELOPER,
        "basic:vera": Role.VIEWER,
        "basic:eve": Role.NONE,
    }
)
PEOPLE = {"ann": "pass", "vera": "pass", "eve": "pass"}


@dataclass
class Stream:
    """An open stream of changes.

    Args:
        blocked: while set, the reader takes nothing.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    ended: bool = False
    blocked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[dict[str, str]]:
        """The events so far, each with its kind, id and data."""
        blocks = [block for block in self.text.split("\n\n") if block and not block.startswith(":")]
        return [event for block in blocks if (event := self._event(block))["event"] not in BESIDES]

    def _event(self, block: str) -> dict[str, str]:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields[name] = fields[name] + "\n" + value[1:] if name in fields else value.removeprefix(" ")
        return fields

    @property
    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events]


@asynccontextmanager
async def streaming(
    web: WebHarness, headers: Mapping[str, str], *, since: str = "", path: str = "/dashboard/events"
) -> AsyncIterator[Stream]:
    """Read the stream of changes within the block."""
    stream, leaving = Stream(), asyncio.Event()
    given = {"host": HOST, "accept": "text/event-stream", **headers} | (
        {"last-event-id": since} if since else {}
    )
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path.partition("?")[0],
        "raw_path": path.partition("?")[0].encode(),
        "query_string": path.partition("?")[2].encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("192.0.2.1", 1234),
        "server": (HOST, 80),
    }

    async def receive() -> Message:
        await leaving.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        while stream.blocked.is_set():
            await asyncio.sleep(0.1)
        if message["type"] == "http.response.start":
            stream.status = message["status"]
            stream.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            stream.text += message.get("body", b"").decode()

    task = asyncio.create_task(web.app(scope, receive, send))
    task.add_done_callback(lambda _: setattr(stream, "ended", True))
    await asyncio.sleep(0.1)
    try:
        yield stream
    finally:
        leaving.set()
        await asyncio.wait_for(task, 60)


def control_of(web: WebHarness) -> ControlPlane:
    return web.harness.running.control_plane


async def session_of(web: WebHarness, user: str = "ann") -> dict[str, str]:
    """The headers of a browser in which this user is signed in."""
    answer = await web.client.post("/login", data={"user": user, "password": "pass"}, headers=OURS)
    assert answer.status_code == 303
    name = cookies.name_of(cookies.SESSION, secure=False)
    secret = answer.cookies[name]
    web.client.cookies.clear()
    return {"cookie": f"{name}={secret}"}


@pytest.fixture(name="people")
async def with_people() -> AsyncIterator[WebHarness]:
    async with web(users=PEOPLE, roles=ROLES, applications=(SHOP, BLOG)) as opened:
        yield opened


async def page(web: WebHarness, headers: Mapping[str, str], query: str = "") -> str:
    answer = await web.client.get("/", params={"q": query} if query else {}, headers=dict(headers))
    assert answer.status_code == 200
    return answer.text


def markup(text: str) -> str:
    """The markup without spaces and ages."""
    return "".join(re.sub("<time.*?</time>", "", text, flags=re.DOTALL).split())


class TestList:
    async def test_shows_previews_newest_first(self, people: WebHarness) -> None:
        await people.harness.launch("first")
        await people.harness.rest()
        await people.harness.launch("second")
        await people.harness.rest()
        text = await page(people, await session_of(people))

        assert text.index(">second</a>") < text.index(">first</a>")
        assert "The preview is live." in text

    async def test_isnt_shown_without_a_session(self, people: WebHarness) -> None:
        await people.harness.launch("secret-branch")
        await people.harness.rest()

        for headers in ({}, {"cookie": "stager-session=forged"}, basic("ann", "wrong")):
            text = await page(people, headers)
            assert "secret-branch" not in text
            assert "Stager is running" in text

    async def test_leaves_out_what_the_user_may_not_see(self) -> None:
        roles = Roles({"basic:ann": Role.DEVELOPER, "basic:eve": Role.NONE})
        async with web(users=PEOPLE, roles=roles) as opened:
            await opened.harness.launch("secret-branch")
            await opened.harness.rest()

            assert "secret-branch" in await page(opened, await session_of(opened, "ann"))
            for query in ("", "secret", "shop"):
                text = await page(opened, await session_of(opened, "eve"), query)
                assert "secret-branch" not in text

    async def test_has_buttons_for_those_who_may_use_them(self, people: WebHarness) -> None:
        await people.harness.launch("x")
        await people.harness.rest()

        assert "/redeploy" in await page(people, await session_of(people, "ann"))
        seen = await page(people, await session_of(people, "vera"))
        assert ">x</a>" in seen
        assert "/redeploy" not in seen
        assert "/remove" not in seen

    @pytest.mark.attack(
        "A pull request's title that contains HTML and the text of a server-sent event",
        profile="visitor",
        result="it is shown as text in the dashboard, and the stream has one event with it",
    )
    async def test_a_title_is_text(self) -> None:
        async with web(users=PEOPLE, roles=ROLES, applications=(replace(SHOP, owner="acme"),)) as opened:
            cookie = await session_of(opened)
            async with streaming(opened, cookie) as stream:
                base = opened.harness.forge.add_repository("acme", "shop")
                await opened.harness.deliver(
                    opened.harness.forge.open(base, "x", FIRST, title=TITLE, author="<b>eve")
                )
                await opened.harness.rest()
            text = await page(opened, cookie)

            for each in (text, stream.text):
                assert "<script>alert" not in each
                assert "<b>eve" not in each
                assert "&lt;script&gt;alert(1)" in each
            assert set(stream.kinds) == {"preview"}

    async def test_is_searched_in_names_titles_authors_and_applications(self) -> None:
        async with web(users=PEOPLE, roles=ROLES, applications=(replace(SHOP, owner="acme"), BLOG)) as opened:
            base = opened.harness.forge.add_repository("acme", "shop")
            change = opened.harness.forge.open(
                base, "checkout", FIRST, title="Faster payment", author="octocat"
            )
            await opened.harness.deliver(change)
            await opened.harness.launch("other", "blog")
            await opened.harness.rest()
            cookie = await session_of(opened)

            for query in (
                "CHECK",
                "payment faster",
                "octocat",
                "shop",
                "#1",
                "acme/shop",
                " live  checkout ",
            ):
                text = await page(opened, cookie, query)
                assert ">checkout</a>" in text, query
                if query != "shop":
                    assert ">other</a>" not in text, query
            assert "No preview matches “&lt;b&gt;”" in await page(opened, cookie, "<b>")

    async def test_shows_the_newest_of_many(self, people: WebHarness) -> None:
        for name in ("a1", "b2", "c3"):
            await people.harness.launch(name)
            await people.harness.rest(60)
        cookie = await session_of(people)
        text = (await people.client.get("/?limit=2", headers=cookie)).text

        assert ">a1</a>" not in text
        assert "2 of 3" in text
        assert "/?limit=102" in text
        assert ">a1</a>" in await page(people, cookie, "a1")

    async def test_names_the_commits(self) -> None:
        async with web(users=PEOPLE, roles=ROLES, applications=(BUILT,), credentials=True) as opened:
            base = opened.harness.forge.add_repository("acme", "shop")
            change = opened.harness.forge.open(base, "x", FIRST)
            await opened.harness.deliver(change)
            await opened.harness.rest()
            cookie = await session_of(opened)
            assert "Commit d455750 is live." in await page(opened, cookie)

            failure = Fault("Building failed at step 2/2.", reason="build-failed")
            opened.harness.builder.default = Result(failure=failure)
            await opened.harness.deliver(opened.harness.forge.push(change, SECOND))
            await opened.harness.rest()
            text = await page(opened, cookie)
            assert "Commit bfc6578 failed to build. Visitors still see d455750." in text
            assert '#build">Build log</a>' in text


class TestStream:
    async def test_sends_the_items_of_the_page(self, people: WebHarness) -> None:
        cookie = await session_of(people)
        async with streaming(people, cookie) as stream:
            await people.harness.launch("x")
            await people.harness.rest()

        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        last = stream.events[-1]
        assert last["event"] == "preview"
        assert markup(last["data"]) in markup(await page(people, cookie))

    async def test_continues_after_the_last_event(self, people: WebHarness) -> None:
        cookie = await session_of(people)
        async with streaming(people, cookie) as stream:
            await people.harness.launch("x")
            await people.harness.rest()
        await people.harness.launch("y")
        await people.harness.rest()
        async with streaming(people, cookie, since=stream.events[-1]["id"]) as again:
            await asyncio.sleep(5)

        assert [('data-name="y"' in e["data"], e["event"]) for e in again.events] == [(True, "preview")]

    @pytest.mark.parametrize("since", ["another-5", "x", "-", "a" * 60])
    async def test_says_that_the_list_is_needed_after_an_unknown_event(
        self, people: WebHarness, since: str
    ) -> None:
        async with streaming(people, await session_of(people), since=since) as stream:
            await asyncio.sleep(5)

        assert stream.kinds == ["reload"]

    async def test_removes_what_was_removed(self, people: WebHarness) -> None:
        environment = await people.harness.launch("x")
        await people.harness.rest()
        async with streaming(people, await session_of(people)) as stream:
            await people.harness.stop("x")
            await people.harness.rest()

        assert stream.events[-1]["event"] == "removed"
        assert stream.events[-1]["data"] == environment.id

    @pytest.mark.attack(
        "The stream of the dashboard, read by a user without a role for the application",
        profile="visitor",
        result="it has no event about the application's previews, neither their content nor their ids",
    )
    async def test_has_nothing_about_hidden_previews(self, people: WebHarness) -> None:
        async with streaming(people, await session_of(people, "eve")) as stream:
            environment = await people.harness.launch("secret-branch")
            await people.harness.rest()
            await people.harness.stop("secret-branch")
            await people.harness.rest(5)

        assert stream.status == 200
        assert stream.events == []
        assert environment.id not in stream.text

    async def test_has_buttons_only_for_those_who_may_use_them(self, people: WebHarness) -> None:
        ann, vera = await session_of(people, "ann"), await session_of(people, "vera")
        async with streaming(people, ann) as hers, streaming(people, vera) as seen:
            await people.harness.launch("x")
            await people.harness.rest()

        assert "/redeploy" in hers.text
        assert 'data-name="x"' in seen.text
        assert "/redeploy" not in seen.text

    @pytest.mark.parametrize("headers", [{}, {"cookie": "stager-session=forged"}, basic("ann", "wrong")])
    async def test_needs_a_user(self, people: WebHarness, headers: Mapping[str, str]) -> None:
        async with streaming(people, headers) as stream:
            await asyncio.sleep(1)

        assert (stream.status, stream.text, stream.ended) == (401, "", True)
        assert "www-authenticate" not in stream.headers

    @pytest.mark.attack(
        "A stream of the dashboard that stays open after its user signed out",
        profile="visitor",
        result="it ends within ten seconds, and before the next change is sent",
    )
    async def test_ends_with_the_session(self, people: WebHarness) -> None:
        cookie = await session_of(people)
        async with streaming(people, cookie) as idle, streaming(people, cookie) as stream:
            await asyncio.sleep(CHECK_SECONDS)
            await people.client.post("/logout", headers={**cookie, **OURS})
            await people.harness.launch("secret-branch")
            await asyncio.sleep(HEARTBEAT_SECONDS + 1)

            assert stream.ended
            assert idle.ended
        assert stream.kinds == ["end"]
        assert "secret-branch" not in stream.text

    async def test_ends_when_the_session_expires(self, people: WebHarness) -> None:
        async with streaming(people, await session_of(people)) as stream:
            await asyncio.sleep(Lifetimes().idle.total_seconds() + HEARTBEAT_SECONDS + 1)

            assert stream.ended
        assert stream.kinds == ["end"]

    async def test_follows_a_revoked_role(self, people: WebHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        async with streaming(people, await session_of(people)) as stream:
            await people.harness.launch("seen")
            await people.harness.rest(60)
            authorizer = control_of(people).identity.authorizer

            role_of = authorizer.role

            async def role(actor: Actor, app: str = "") -> Role:
                return Role.NONE if actor.strategy else await role_of(actor, app)

            monkeypatch.setattr(authorizer, "role", role)
            await people.harness.launch("secret-branch")
            await people.harness.rest(60)

        assert "seen" in stream.text
        assert "secret-branch" not in stream.text

    @pytest.mark.attack(
        "Many dashboard streams by one user",
        profile="visitor",
        result="the eleventh gets 429; other users' streams work, and closing one permits another",
    )
    async def test_is_limited_for_each_person(self, people: WebHarness) -> None:
        ann, vera = await session_of(people, "ann"), await session_of(people, "vera")
        async with (
            streaming(people, ann) as first,
            open_streams(people, ann, DASHBOARDS.per_person - 2),
            streaming(people, ann),
            streaming(people, ann) as refused,
            streaming(people, vera) as other,
        ):
            assert (first.status, refused.status, other.status) == (200, 429, 200)
            assert "You have 10 open dashboards." in refused.text
        async with streaming(people, ann) as again:
            assert again.status == 200

    def test_is_limited_for_all(self) -> None:
        streams = OpenStreams(replace(DASHBOARDS, total=1))
        ann, vera = Actor("ann", "basic"), Actor("vera", "basic")
        assert streams.refusal(ann) == ""
        with streams.opened(ann):
            assert streams.refusal(vera) == "Too many dashboards are open on this server."
        assert streams.refusal(vera) == ""

    async def test_of_a_slow_reader_has_each_preview_once(self, people: WebHarness) -> None:
        environments = [await people.harness.launch(name) for name in ("x", "y")]
        await people.harness.rest()
        async with streaming(people, await session_of(people)) as stream:
            stream.blocked.set()
            for _ in range(500):
                for environment in environments:
                    control_of(people).environments.change_feed.changed(environment.id)
                await asyncio.sleep(0.01)
            before = len(stream.events)
            stream.blocked.clear()
            await asyncio.sleep(1.5)

        # What was being sent when the reader stopped, and everything since, each preview once.
        assert before == 0
        assert len(stream.events) == 4

    async def test_is_rendered_once_for_all_with_the_same_rights(
        self, people: WebHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        environment = await people.harness.launch("x")
        await people.harness.rest()
        reads = 0
        queries = control_of(people).environments.queries
        unfiltered = queries.unfiltered

        async def counted(ids: set[str]) -> object:
            nonlocal reads
            reads += 1
            return await unfiltered(ids)

        monkeypatch.setattr(queries, "unfiltered", counted)
        ann = await session_of(people)
        async with streaming(people, ann) as one, streaming(people, ann) as two:
            control_of(people).environments.change_feed.changed(environment.id)
            await asyncio.sleep(1)

            assert one.events == two.events
            assert len(one.events) == 1
        assert reads == 1

    async def test_ends_when_the_server_stops(self, people: WebHarness) -> None:
        async with streaming(people, await session_of(people)) as stream:
            control_of(people).environments.change_log.close()
            await asyncio.sleep(0.1)

            assert stream.ended


@asynccontextmanager
async def open_streams(web: WebHarness, headers: Mapping[str, str], number: int) -> AsyncIterator[None]:
    """Keep this many streams open within the block."""
    if not number:
        yield
        return
    async with streaming(web, headers), open_streams(web, headers, number - 1):
        yield


class TestActions:
    async def test_redeploy_and_return(self, people: WebHarness) -> None:
        environment = await people.harness.launch("x")
        await people.harness.rest()
        cookie = await session_of(people)
        answer = await people.client.post(
            f"/previews/{environment.id}/redeploy", data={"to": "/?q=x"}, headers={**cookie, **OURS}
        )
        await people.harness.rest()

        assert (answer.status_code, answer.headers["location"]) == (303, "/?q=x")
        assert (await people.harness.the()).desired.generation == 2

    async def test_sleep_and_wake(self, people: WebHarness) -> None:
        environment = await people.harness.launch("x")
        await people.harness.rest()
        headers = {**await session_of(people), **OURS}
        assert "/sleep" in await page(people, headers)
        await people.client.post(f"/previews/{environment.id}/sleep", headers=headers)
        await people.harness.rest(5)
        assert (await people.harness.status()).state is State.ASLEEP
        asleep = await page(people, headers)
        assert "/sleep" not in asleep
        assert "/wake" in asleep
        vera = {**await session_of(people, "vera"), **OURS}
        assert "/wake" in await page(people, vera)
        await people.client.post(f"/previews/{environment.id}/wake", headers=vera)
        await people.harness.rest(5)
        assert (await people.harness.status()).state is State.LIVE

    async def test_remove_and_return_to_our_own_pages_only(self, people: WebHarness) -> None:
        environment = await people.harness.launch("x")
        await people.harness.rest()
        cookie = await session_of(people)
        answer = await people.client.post(
            f"/previews/{environment.id}/remove",
            data={"to": "//evil.test/"},
            headers={**cookie, **OURS},
        )
        await people.harness.rest(5)

        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert not (await people.harness.the()).desired.is_present

    @pytest.mark.attack(
        "A page of another origin, or of a preview, that submits the dashboard's form to remove a preview",
        profile="visitor",
        result="refused, and the preview stays",
    )
    @pytest.mark.parametrize("origin", ["http://evil.test", "http://x.preview.test", "null"])
    async def test_come_from_our_own_pages_only(self, people: WebHarness, origin: str) -> None:
        environment = await people.harness.launch("x")
        await people.harness.rest()
        for credentials in (await session_of(people), basic()):
            for action in ("redeploy", "remove", "sleep", "wake"):
                answer = await people.client.post(
                    f"/previews/{environment.id}/{action}", headers={**credentials, "origin": origin}
                )
                assert answer.status_code == 403
        now = await people.harness.the()

        assert now.desired.is_present
        assert now.desired.generation == 1

    @pytest.mark.parametrize("action", ["redeploy", "remove"])
    async def test_show_a_refusal_as_a_page(self, people: WebHarness, action: str) -> None:
        environment = await people.harness.launch("x")
        await people.harness.rest()
        cookie = await session_of(people, "vera")
        answer = await people.client.post(
            f"/previews/{environment.id}/{action}", headers={**cookie, **OURS, "accept": "text/html"}
        )

        assert answer.status_code == 403
        assert "lacks the permission" in html.unescape(answer.text)
        assert "<header>" in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
