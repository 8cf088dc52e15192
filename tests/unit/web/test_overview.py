"""The dashboard's filters, orders, numbers, figures and machine panel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

import httpx
import pytest

from stager.control.environments.consumption import Figures
from stager.control.identity.authorizer import Roles
from stager.domain.errors import Fault, Retry
from stager.domain.identity.access_policy import Privacy
from stager.domain.identity.roles import Role
from stager.domain.status import State
from stager.testing.fakes.builder import Result
from stager.web.pages.overview.figures import in_words
from stager.web.pages.overview.selection import PAGE_SIZE, Group, Selection, Sort, groups_of
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import HOST, WebHarness, app_of, web
from tests.unit.web.test_dashboard import BLOG, BUILT, FIRST, PEOPLE, SECOND, Stream, session_of, streaming

ROLES = Roles({"basic:ann": Role.ADMINISTRATOR, "basic:vera": Role.VIEWER, "basic:eve": Role.NONE})


async def get(web: WebHarness, path: str, headers: Mapping[str, str]) -> str:
    answer = await web.client.get(path, headers=dict(headers))
    assert answer.status_code == 200
    return answer.text


def names_in(text: str) -> list[str]:
    """The names of the previews in a page's list, in its order."""
    return [part.split('"', 1)[0] for part in text.split('data-name="')[1:]]


def last_data(stream: Stream, kind: str) -> str:
    blocks = [block for block in stream.text.split("\n\n") if block.startswith(f"event: {kind}\n")]
    return blocks[-1].split("data: ", 1)[1]


class TestSelection:
    @pytest.mark.parametrize(
        "url",
        [
            "/",
            "/?q=a%20%26b",
            "/?show=failed&sort=memory",
            "/?q=x&show=mine&sort=visit&limit=200",
        ],
    )
    def test_is_its_url(self, url: str) -> None:
        given = dict(part.split("=") for part in url[2:].split("&") if part)
        query = given.get("q", "").replace("%20", " ").replace("%26", "&")
        rest = (given.get(name, "") for name in ("show", "sort", "limit"))
        assert Selection.of(query, *rest).url == url

    @pytest.mark.parametrize("limit", ["", "x", "-1", "²", "99999999", "1.5"])
    def test_ignores_unknown_values(self, limit: str) -> None:
        assert Selection.of(" ", "nonsense", "nonsense", limit) == Selection()

    def test_has_a_largest_limit(self) -> None:
        assert Selection.of("", "", "", "9999").limit == 1_000
        assert Selection().longer().limit == 2 * PAGE_SIZE

    def test_each_state_that_needs_somebody_is_in_a_group(self) -> None:
        assert groups_of(State.LIVE, "") == (Group.LIVE,)
        assert groups_of(State.FAILED_UPDATE, "build-failed") == (Group.LIVE, Group.FAILED)
        assert groups_of(State.REFUSED, "approval") == (Group.APPROVAL,)
        assert groups_of(State.REFUSED, "rules") == ()


class TestList:
    async def test_is_filtered_and_sorted_by_the_url(self) -> None:
        shop = replace(BUILT, owner="acme")
        async with web(users=PEOPLE, roles=ROLES, applications=(shop, BLOG), credentials=True) as opened:
            base = opened.harness.forge.add_repository("acme", "shop")
            await opened.harness.deliver(opened.harness.forge.open(base, "b-works", FIRST, author="Ann"))
            await opened.harness.rest()
            failure = Fault("Building failed at step 2/2.", reason="build-failed")
            opened.harness.builder.default = Result(failure=failure)
            await opened.harness.deliver(opened.harness.forge.open(base, "c-fails", SECOND, author="bob"))
            await opened.harness.launch("a-launched", "blog")
            await opened.harness.rest()
            cookie = await session_of(opened)

            assert names_in(await get(opened, "/?sort=name", cookie)) == ["a-launched", "b-works", "c-fails"]
            assert names_in(await get(opened, "/?sort=state", cookie))[0] == "c-fails"
            assert names_in(await get(opened, "/?show=failed", cookie)) == ["c-fails"]
            assert names_in(await get(opened, "/?show=mine", cookie)) == ["b-works"]
            assert names_in(await get(opened, "/?show=live&q=blog", cookie)) == ["a-launched"]
            empty = await get(opened, "/?show=approval", cookie)
            assert names_in(empty) == []
            assert "No preview here" in empty
            text = await get(opened, "/?show=live", cookie)
            assert 'data-group="live" aria-current="page">Live <span class="count number">2</span>' in text
            assert 'data-group="mine">Mine <span class="count number">1</span>' in text
            assert 'value="/?show=live"' in text

    async def test_shows_what_previews_use_and_sorts_by_it(self) -> None:
        async with web(users=PEOPLE, roles=ROLES) as opened:
            for name, memory in (("small", 10 << 20), ("large", 3 << 30)):
                environment = await opened.harness.launch(name)
                opened.harness.engine.used_memory[environment.id] = memory
            await opened.harness.rest()
            cookie = await session_of(opened)
            await get(opened, "/", cookie)
            await asyncio.sleep(1)
            text = await get(opened, "/?sort=memory", cookie)

            assert names_in(text) == ["large", "small"]
            assert "3.0 GB" in text
            assert "10 MB" in text

    async def test_isnt_held_up_by_an_engine_that_doesnt_answer(self) -> None:
        async with web(users=PEOPLE, roles=ROLES) as opened:
            await opened.harness.launch("x")
            await opened.harness.rest()
            cookie = await session_of(opened)
            opened.harness.engine.leave()
            assert names_in(await get(opened, "/", cookie)) == ["x"]
            await asyncio.sleep(30)
            assert names_in(await get(opened, "/", cookie)) == ["x"]


class TestStream:
    async def test_sends_the_numbers_at_the_filters(self) -> None:
        async with web(users=PEOPLE, roles=ROLES) as opened:
            async with streaming(opened, await session_of(opened, "vera")) as stream:
                await opened.harness.launch("x")
                await opened.harness.rest()
            numbers = json.loads(last_data(stream, "numbers"))
            assert numbers == {"all": 1, "mine": 0, "live": 1, "failed": 0, "asleep": 0, "approval": 0}

            async with streaming(opened, await session_of(opened, "vera")) as stream:
                await opened.harness.stop("x")
                await opened.harness.rest()
            assert json.loads(last_data(stream, "numbers"))["all"] == 0

    async def test_sends_what_previews_use(self) -> None:
        async with web(users=PEOPLE, roles=ROLES) as opened:
            environment = await opened.harness.launch("x")
            opened.harness.engine.used_memory[environment.id] = 50 << 20
            await opened.harness.rest()
            async with streaming(opened, await session_of(opened, "vera")) as stream:
                await asyncio.sleep(25)
                opened.harness.engine.processor_time[environment.id] = 5.0
                await asyncio.sleep(25)
            texts = [block for block in stream.text.split("\n\n") if "figures" in block]

            assert json.loads(texts[0].split("data: ")[1])[environment.id][0] == 50
            assert any(json.loads(text.split("data: ")[1])[environment.id][1] == 50 for text in texts)
            assert all("id: " not in text for text in texts)

    @pytest.mark.attack(
        "The numbers and figures in the dashboard's stream, read by a user without a role",
        profile="visitor",
        result="neither a number nor a figure of a hidden preview is sent",
    )
    async def test_sends_nothing_about_hidden_previews(self) -> None:
        async with web(users=PEOPLE, roles=ROLES) as opened:
            async with streaming(opened, await session_of(opened, "eve")) as stream:
                await opened.harness.launch("secret-branch")
                await opened.harness.rest(60)

            assert "event:" not in stream.text


class TestMachine:
    async def test_is_shown_to_administrators(self) -> None:
        async with web(users=PEOPLE, roles=ROLES) as opened:
            await opened.harness.launch("x")
            await opened.harness.rest()
            text = await get(opened, "/dashboard/machine", await session_of(opened))

            assert "1 running" in text
            assert "<dt>Docker</dt>" in text

    async def test_is_short_for_others(self) -> None:
        async with web(users=PEOPLE, roles=ROLES) as opened:
            await opened.harness.launch("x")
            await opened.harness.rest()
            text = await get(opened, "/", await session_of(opened, "vera"))

            assert "1 running" in text
            assert "<dt>Queue</dt>" in text
            assert "<dt>Docker</dt>" not in text
            assert "/dashboard/machine" not in text
            assert "1 running" not in await get(opened, "/", await session_of(opened, "eve"))

    async def test_says_what_to_do(self) -> None:
        async with web(users=PEOPLE, roles=ROLES) as opened:
            control, cookie = opened.harness.running.control_plane, await session_of(opened)
            await opened.harness.rest()
            control.reconciler.readiness.report("engine", "Docker doesn't answer.")
            text = await get(opened, "/", cookie)

            assert "Docker needs attention" in text, text.split("<summary>")[1][:80]
            assert "systemctl status docker" in text
            assert '<details class="machine" data-url="/dashboard/machine" open>' in text


class TestPublicList:
    @pytest.mark.attack(
        "Stager's start page with `public_list`, read by a stranger",
        profile="visitor",
        result="it names public previews with state and URL, but no private preview",
    )
    async def test_has_public_previews_only(self) -> None:
        secret = replace(BLOG, privacy=Privacy(frozenset({"sign-in"})))
        async with web(users=PEOPLE, roles=ROLES, applications=(SHOP, secret)) as opened:
            await opened.harness.launch("open-branch")
            await opened.harness.launch("secret-branch", "blog")
            await opened.harness.rest()
            transport = httpx.ASGITransport(app_of(opened.harness, public_list=True))
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as stranger:
                text = (await stranger.get("/")).text

            assert 'href="http://open-branch.preview.test"' in text
            assert "live" in text
            assert "secret-branch" not in text
            assert "open-branch" not in (await opened.client.get("/")).text


async def test_a_qr_code_is_an_image_of_its_own() -> None:
    async with web(users=PEOPLE, roles=ROLES, applications=(SHOP,)) as opened:
        environment = await opened.harness.launch("x")
        answer = await opened.client.get(
            f"/previews/{environment.id}/qr.svg", headers=await session_of(opened, "vera")
        )

        assert answer.headers["content-type"] == "image/svg+xml"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "<svg" in answer.text


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (Figures(52 << 20), "52 MB"),
        (Figures(3 << 29, 0.034), "1.5 GB · 3 % CPU"),
        (Figures(2 << 40, 2.0), "2.0 TB · 200 % CPU"),
    ],
)
def test_figures_have_units(figures: Figures, words: str) -> None:
    assert in_words(figures) == words


def test_a_filter_ignores_other_peoples_previews() -> None:
    mine = Selection(group=Group.MINE, sort=Sort.AGE)
    assert mine.has((), "ann", "Ann")
    assert not mine.has((), "bob", "Ann")
    assert not mine.has((), "", "")


async def test_a_stream_survives_a_moment_without_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    async with web(users=PEOPLE, roles=ROLES) as opened:
        control, cookie = opened.harness.running.control_plane, await session_of(opened, "vera")

        async def busy(_: object) -> None:
            raise Retry("Too many credentials are being checked.", reason="busy")

        async with streaming(opened, cookie) as stream:
            with monkeypatch.context() as patch:
                patch.setattr(control.identity.authenticator, "authenticate", busy)
                await opened.harness.launch("x")
                await opened.harness.rest()
                assert stream.kinds == []
            await asyncio.sleep(10)

        assert set(stream.kinds) == {"preview"}
