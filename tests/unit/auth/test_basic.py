"""BasicAuthentication lets only the configured users in."""

from __future__ import annotations

import asyncio
import base64
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.auth import basic as basic_module
from stager.auth.basic import BasicAuthentication, HashedUsers, hash_of
from stager.domain.errors import Retry
from stager.domain.identity.actor import Actor
from stager.ports.handlers import BUSY, Credentials

USERS = {"testuser": "testpassword", "anna": "a:b:c", "zoë": "pässwörd", "empty": ""}
STRATEGY = BasicAuthentication(USERS)


def basic(user: str, password: str, *, scheme: str = "Basic") -> Credentials:
    pair = f"{user}:{password}".encode("utf-8", "surrogatepass")
    return Credentials(f"{scheme} {base64.b64encode(pair).decode()}", {})


@pytest.mark.requirement("R47", "R48", "R50", "R57")
@pytest.mark.parametrize(("user", "password"), list(USERS.items()))
async def test_r50_every_listed_user_passes(user: str, password: str) -> None:
    assert await STRATEGY.authenticate(basic(user, password)) == Actor(user, "BasicAuthentication")


@pytest.mark.requirement("R57")
async def test_r57_the_header_of_the_walkthroughs_curl_passes() -> None:
    header = "Basic dGVzdHVzZXI6dGVzdHBhc3N3b3Jk"  # curl --user testuser:testpassword
    assert await STRATEGY.authenticate(Credentials(header, {})) == Actor("testuser", "BasicAuthentication")


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic "])
async def test_the_scheme_is_read_as_http_says(scheme: str) -> None:
    assert await STRATEGY.authenticate(basic("testuser", "testpassword", scheme=scheme)) is not None


@pytest.mark.requirement("R50", "R57")
@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("testuser", "wrong"),
        ("testuser", ""),
        ("testuser", "testpassword "),
        ("testuser", "a:b:c"),
        ("TESTUSER", "testpassword"),
        ("nobody", "testpassword"),
        ("", ""),
        ("anna:a", "b"),
    ],
)
async def test_r50_all_others_are_refused(user: str, password: str) -> None:
    assert await STRATEGY.authenticate(basic(user, password)) is None


async def test_letters_composed_in_another_way_are_the_same() -> None:
    assert await STRATEGY.authenticate(basic("zoe\u0308", "pa\u0308sswo\u0308rd")) is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !",
        "Basic é",
        "Basic \udcff",
        "Basic dGVzdHVzZXI6dGVzdHBhc3N3b3J",
        "Basic dGVz dHVzZXI6dGVzdHBhc3N3b3Jk",
        "Bearer dGVzdHVzZXI6dGVzdHBhc3N3b3Jk",
        "dGVzdHVzZXI6dGVzdHBhc3N3b3Jk",
        "Basic " + base64.b64encode(b"testuser").decode(),
        "Basic " + base64.b64encode(b"testuser:\xff").decode(),
    ],
)
async def test_a_malformed_header_is_rejected(header: str) -> None:
    assert await STRATEGY.authenticate(Credentials(header, {})) is None


async def test_without_users_all_are_refused() -> None:
    strategy = BasicAuthentication({})
    assert await strategy.authenticate(basic("", "")) is None
    assert await strategy.authenticate(basic("testuser", "testpassword")) is None


def test_a_name_with_a_colon_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="colon"):
        BasicAuthentication({"a:b": "c"})


@given(st.text(st.characters(codec=None)))
async def test_no_header_raises(header: str) -> None:
    assert await STRATEGY.authenticate(Credentials(header, {})) is None


@given(st.binary())
async def test_no_credentials_raise(pair: bytes) -> None:
    assert await STRATEGY.authenticate(Credentials("Basic " + base64.b64encode(pair).decode(), {})) is None


class TestHashed:
    HASHED = BasicAuthentication({"ann": hash_of("pässwörd"), "bob": hash_of("a:b"), "plain": "word"})

    @pytest.mark.parametrize(
        ("user", "password"),
        [("ann", "pässwörd"), ("ann", "pa\u0308sswo\u0308rd"), ("bob", "a:b"), ("plain", "word")],
    )
    async def test_pass_with_their_password_again_and_again(self, user: str, password: str) -> None:
        for _ in range(2):
            actor = await self.HASHED.authenticate(basic(user, password))
            assert actor is not None
            assert actor.name == user

    @pytest.mark.parametrize(
        ("user", "password"), [("ann", "a:b"), ("ann", ""), ("bob", "a"), ("nobody", "pässwörd"), ("", "")]
    )
    async def test_all_others_are_refused(self, user: str, password: str) -> None:
        for _ in range(2):
            assert await self.HASHED.authenticate(basic(user, password)) is None

    async def test_the_hash_itself_is_no_password(self) -> None:
        hashed = hash_of("word")
        strategy = BasicAuthentication({"ann": hashed})
        assert await strategy.authenticate(basic("ann", hashed)) is None

    async def test_who_isnt_there_takes_the_same_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Counted, not timed: one comparison with a hash of the same cost for all users."""
        compared = list[str]()
        hashed = HashedUsers({"ann": hash_of("word")})
        verify = hashed._verify

        def counted(given: str, password: str) -> bool:
            compared.append(given.rpartition("$")[0].rpartition("$")[0])
            return verify(given, password)

        monkeypatch.setattr(hashed, "_verify", counted)
        for user in ("ann", "nobody"):
            assert not await hashed.matches(user, "wrong")
        assert compared[0] == compared[1]

    @pytest.mark.attack(
        "A flood of sign-ins with passwords that are stored hashed, from many addresses",
        profile="visitor",
        result="two are checked at a time, fifty wait for at most ten seconds, the others get 503",
    )
    async def test_few_wait_and_not_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(basic_module, "PATIENCE_SECONDS", 0.3)
        hashed, release = HashedUsers({"ann": hash_of("word")}), threading.Event()
        under_way = 0

        def held(given: str, password: str) -> bool:
            nonlocal under_way
            under_way += 1
            release.wait(10)
            return True

        monkeypatch.setattr(hashed, "_verify", held)
        asked = [asyncio.create_task(hashed.matches("ann", "word")) for _ in range(100)]
        done, _ = await asyncio.wait(asked, timeout=0.1)
        assert len(done) == 100 - basic_module.AT_ONCE - basic_module.MOST_WAITING, "no more wait"
        await asyncio.sleep(0.4)
        release.set()
        answers = await asyncio.gather(*asked, return_exceptions=True)

        assert (answers.count(True), under_way) == (basic_module.AT_ONCE,) * 2
        refused = [answer for answer in answers if isinstance(answer, Retry)]
        assert len(refused) == 100 - basic_module.AT_ONCE
        assert {error.reason for error in refused} == {BUSY}
        assert await hashed.matches("ann", "word"), "a later check succeeds"

    def test_a_broken_hash_is_reported(self) -> None:
        with pytest.raises(ValueError, match="The password of ann begins like an Argon2 hash but isn't one"):
            BasicAuthentication({"ann": "$argon2id$v=19$broken"})
