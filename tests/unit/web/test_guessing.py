"""Guessing passwords, wherever there is one: also many at once, and from many addresses of one network."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import httpx
import pytest

from stager.auth.basic import BasicAuthentication
from stager.control.identity.login_flows import MAX_PENDING_PER_ADDRESS
from stager.control.identity.throttle import LIMIT
from stager.domain.identity.access_policy import Privacy
from stager.domain.identity.actor import Actor
from stager.domain.source import Access
from stager.ports.handlers import Credentials
from stager.testing.fakes.login import FakeAccounts
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import WebHarness, basic, web
from tests.unit.web.test_signing_in import OURS, OWNED, sign_in

API = "/api/v1/environments"
ELSEWHERE = ("cross-site", "same-site")
"""What browsers say of what another page makes them send; a preview's page is of the same site."""


class Slow(BasicAuthentication):
    """Takes its time, as hashes do, and counts its comparisons."""

    compared = 0

    async def authenticate(self, credentials: Credentials) -> Actor | None:
        self.compared += 1
        await asyncio.sleep(0.1)
        return await super().authenticate(credentials)


def only_once(number: int) -> str:
    return "192.0.2.50"


def ports(number: int) -> str:
    return f"192.0.2.50:{1024 + number}"


def mapped(number: int) -> str:
    return ("192.0.2.50", "::ffff:192.0.2.50", f"[::ffff:192.0.2.50]:{number}")[number % 3]


def one_network(number: int) -> str:
    return f"[2001:db8::{number + 1:x}]:{number + 1}"


WRITTEN = [only_once, ports, mapped, one_network]


@pytest.fixture(name="slow")
def slow_strategy() -> Slow:
    return Slow({"ann": "pass"})


@pytest.fixture(name="guarded")
async def guarded_site(slow: Slow) -> AsyncIterator[WebHarness]:
    async with web(authentication=[slow]) as opened:
        yield opened


async def many(
    opened: WebHarness, count: int, written: Callable[[int], str], password: str = "wrong"
) -> Counter[int]:
    async def one(number: int) -> int:
        headers = {**basic(password=password), "x-forwarded-for": written(number)}
        return (await opened.client.get(API, headers=headers)).status_code

    return Counter(await asyncio.gather(*(one(number) for number in range(count))))


@pytest.mark.attack(
    "A hundred wrong passwords at the same time, also from many ports, spellings and addresses of one client",
    profile="visitor",
    result="ten are checked, the others get 429",
)
@pytest.mark.parametrize("written", WRITTEN)
async def test_a_hundred_wrong_passwords_at_once_are_ten_comparisons(
    guarded: WebHarness, slow: Slow, written: Callable[[int], str]
) -> None:
    assert await many(guarded, 100, written) == {401: LIMIT, 429: 100 - LIMIT}
    assert slow.compared == LIMIT
    refused = await guarded.client.get(API, headers={**basic(), "x-forwarded-for": written(0)})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert (await guarded.client.get(API, headers=basic())).status_code == 200, "others aren't held up"


async def test_a_hundred_right_passwords_at_once_all_get_in(guarded: WebHarness) -> None:
    assert await many(guarded, 100, only_once, "pass") == {200: 100}


@pytest.mark.attack(
    "Fifty wrong passwords for a private preview at the same time",
    profile="visitor",
    result="ten are checked, the others get 429",
)
@pytest.mark.parametrize("written", WRITTEN)
async def test_the_password_of_a_preview(written: Callable[[int], str]) -> None:
    private = replace(SHOP, privacy=Privacy(frozenset({"password"}), "open sesame"))
    async with web(applications=[private]) as opened:
        environment = await opened.harness.launch("x")
        await opened.harness.rest()

        async def guess(number: int, password: str) -> int:
            form = {"host": environment.host, "password": password}
            headers = {"x-forwarded-for": written(number)}
            return (await opened.client.post("/preview-access", data=form, headers=headers)).status_code

        answers = Counter(await asyncio.gather(*(guess(n, "wrong") for n in range(50))))
        assert answers == {403: LIMIT, 429: 50 - LIMIT}
        assert await guess(0, "open sesame") == 429
        lines = await opened.harness.running.control_plane.identity.audit.entries(limit=200)
        refused = [line for line in lines if line.result == "refused"]
        assert {(line.actor, line.action, line.app) for line in refused} == {
            ("anonymous (password of the preview)", "see", "shop")
        }
        assert {line.detail.partition(" ")[0] for line in refused} == {"password-wrong", "too-many-tries"}
        assert "sesame" not in repr(lines)


@pytest.mark.parametrize("written", WRITTEN)
async def test_the_form_for_signing_in(
    guarded: WebHarness, slow: Slow, written: Callable[[int], str]
) -> None:
    async def guess(number: int) -> int:
        headers = {**OURS, "x-forwarded-for": written(number)}
        form = {"user": "ann", "password": "wrong"}
        return (await guarded.client.post("/login", data=form, headers=headers)).status_code

    answers = Counter(await asyncio.gather(*(guess(n) for n in range(50))))

    assert (answers, slow.compared) == ({401: LIMIT, 429: 50 - LIMIT}, LIMIT)


@pytest.mark.parametrize("written", WRITTEN)
async def test_made_up_tokens(guarded: WebHarness, written: Callable[[int], str]) -> None:
    async def guess(number: int) -> int:
        headers = {"authorization": f"Bearer stager_{number}", "x-forwarded-for": written(number)}
        return (await guarded.client.get(API, headers=headers)).status_code

    assert Counter(await asyncio.gather(*(guess(n) for n in range(50)))) == {401: LIMIT, 429: 50 - LIMIT}


@pytest.mark.attack(
    "A flood of started command-line sign-ins",
    profile="visitor",
    result="at most fifty are in progress, and no more requests are sent to the provider",
)
@pytest.mark.parametrize("written", WRITTEN)
async def test_codes_for_devices(written: Callable[[int], str], monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = FakeAccounts()
    begin, asked = accounts.begin, 0

    async def slowly() -> object:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.1)
        return await begin()

    monkeypatch.setattr(accounts, "begin", slowly)
    async with web(applications=[OWNED], accounts=accounts) as opened:

        async def one(number: int) -> int:
            headers = {"x-forwarded-for": written(number)}
            return (await opened.client.post("/api/v1/login/device", headers=headers)).status_code

        answers = Counter(await asyncio.gather(*(one(n) for n in range(MAX_PENDING_PER_ADDRESS + 30))))
        assert (answers, asked) == ({200: MAX_PENDING_PER_ADDRESS, 429: 30}, MAX_PENDING_PER_ADDRESS)


class TestPagesOfOthers:
    """A page can have its visitor's browser send a request; that must not lock the visitor out."""

    @pytest.fixture(name="accounts")
    def made_accounts(self) -> FakeAccounts:
        accounts = FakeAccounts()
        accounts.rights["octocat", "acme/shop"] = Access.WRITE
        return accounts

    @pytest.fixture(name="rig")
    async def opened(self, accounts: FakeAccounts) -> AsyncIterator[WebHarness]:
        async with web(applications=[OWNED], accounts=accounts) as opened_site:
            yield opened_site

    async def image(self, rig: WebHarness, headers: dict[str, str]) -> None:
        for _ in range(3 * LIMIT):
            await rig.client.get(f"{API}?github_token=gho_{'x' * 36}", headers=headers)

    @pytest.mark.attack(
        "Repeated requests for an image whose URL has a wrong github_token",
        profile="page in a browser",
        result="the visitor isn't locked out",
    )
    @pytest.mark.parametrize("headers", [{}, *({"sec-fetch-site": value} for value in ELSEWHERE)])
    async def test_by_a_token_in_an_image_s_address(
        self, rig: WebHarness, accounts: FakeAccounts, headers: dict[str, str]
    ) -> None:
        await self.image(rig, headers)
        assert (await rig.client.get(API, headers=basic())).status_code == 200
        await sign_in(rig, accounts)
        await self.image(rig, headers)

        assert (await rig.client.get(API)).status_code == 200
        assert (await rig.client.get(f"{API}?github_token=x")).status_code == 200, "a good session is first"

    async def test_a_session_is_valid_while_its_address_is_throttled(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        await sign_in(rig, accounts)
        cookies = httpx.Cookies(rig.client.cookies)
        rig.client.cookies.clear()
        for _ in range(LIMIT):
            await rig.client.get(API, headers=basic(password="wrong"))
        assert (await rig.client.get(API, headers=basic())).status_code == 429
        rig.client.cookies.update(cookies)

        assert (await rig.client.get(API)).status_code == 200
        assert (await rig.client.get(API, headers=basic(password="wrong"))).status_code == 200

    @pytest.mark.attack(
        "A link with somebody else's valid github_token",
        profile="page in a browser",
        result="the token isn't accepted: 401",
    )
    @pytest.mark.parametrize("where", ELSEWHERE)
    async def test_a_token_that_another_page_gives_isnt_taken(
        self, rig: WebHarness, accounts: FakeAccounts, where: str
    ) -> None:
        address = f"{API}?github_token={accounts.token('octocat')}"
        assert (await rig.client.get(address)).status_code == 200
        assert (await rig.client.get(address, headers={"sec-fetch-site": "none"})).status_code == 200
        assert (await rig.client.get(address, headers={"sec-fetch-site": where})).status_code == 401

    async def test_the_number_of_tokens_sent_to_the_provider_is_limited(
        self, rig: WebHarness, accounts: FakeAccounts
    ) -> None:
        asked = accounts.asked
        answers = [
            (await rig.client.get(f"{API}?github_token=gho_{number:036d}")).status_code
            for number in range(3 * LIMIT)
        ]

        assert Counter(answers) == {401: LIMIT, 429: 2 * LIMIT}
        assert accounts.asked - asked == LIMIT
        assert (await rig.client.get(API, headers=basic())).status_code == 200

    async def test_a_token_is_sent_to_no_provider_where_no_strategy_takes_it(self) -> None:
        seen: list[str] = []

        class Curious(BasicAuthentication):
            async def authenticate(self, credentials: Credentials) -> Actor | None:
                seen.append(credentials.bearer)
                return await super().authenticate(credentials)

        async with web(authentication=[Curious({"ann": "pass"})]) as opened:
            for _ in range(2 * LIMIT):
                assert (await opened.client.get(f"{API}?github_token=x")).status_code == 401
            assert await opened.harness.running.control_plane.identity.audit.entries(limit=9) == [], (
                "it isn't even looked at"
            )
            assert (await opened.client.get(f"{API}?github_token=x", headers=basic())).status_code == 200
        assert set(seen) == {""}
