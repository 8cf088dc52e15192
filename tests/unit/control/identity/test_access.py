"""Authentication, permissions, and the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

import pytest

from stager.control.identity.api_tokens import MAX_LIFETIME, MAX_TOKENS, Tokens
from stager.control.identity.audit import Audit
from stager.control.identity.authenticator import Authenticator
from stager.control.identity.authorizer import Authorizer, Roles
from stager.control.identity.refusals import MOST as MOST_LINES
from stager.control.identity.sessions import Sessions
from stager.control.identity.throttle import LIMIT, PER_SECONDS, Throttle
from stager.control.plugins.invoker import Invoker
from stager.domain.application import Applications
from stager.domain.errors import Refused, Retry
from stager.domain.identity.accounts import AuditRecord
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action, Role
from stager.ports.handlers import BUSY, AuthenticationStrategy, Credentials
from stager.testing import MemoryStore, SequentialIds
from stager.testing.fakes.clock import FakeClock
from stager.testing.fakes.secret_box import FakeSecretBox
from tests.unit.control.harness import SHOP

ADDRESS = "192.0.2.7"


class Knows(AuthenticationStrategy):
    """Knows one person by a word, and gives them a role for each application."""

    short_name = "knows"

    def __init__(self, name: str, roles: dict[str, Role] | None = None) -> None:
        self.name = name
        self.roles = roles or {}

    async def authenticate(self, credentials: Credentials) -> Actor | None:
        return Actor(self.name, "test", proof="word") if credentials.authorization == self.name else None

    async def role(self, actor: Actor, application: str, owner: str) -> Role:
        assert actor.proof == "word"
        return self.roles.get(application, Role.NONE)


class Silent(Knows):
    async def role(self, actor: Actor, application: str, owner: str) -> Role:
        raise Retry("Nobody answers.", reason="away")


class Overrun(Knows):
    async def authenticate(self, credentials: Credentials) -> Actor | None:
        raise Retry("Not now.", reason=BUSY)


class Office:
    """Access with all that it needs."""

    def __init__(self, *strategies: AuthenticationStrategy, listed: dict[str, Role] | None = None) -> None:
        self.clock, self.store = FakeClock(), MemoryStore()
        self.audit = Audit(self.store, self.clock)
        self.tokens = Tokens(self.store, self.clock, SequentialIds(), FakeSecretBox(), self.audit)
        self.sessions = Sessions(
            self.store, self.clock, ids=SequentialIds(), seal=FakeSecretBox(), audit=self.audit
        )
        invoker = Invoker()
        self.authenticator = Authenticator(
            strategies,
            invoker,
            sessions=self.sessions,
            tokens=self.tokens,
            throttle=Throttle(self.clock.now),
            audit=self.audit,
        )
        self.authorizer = Authorizer(
            strategies,
            invoker,
            applications=Applications({"shop": replace(SHOP, owner="acme")}),
            roles=Roles(listed or {}),
            audit=self.audit,
        )

    async def actor(self, authorization: str, address: str = ADDRESS) -> Actor:
        return await self.authenticator.authenticate(Credentials(authorization, {}, address))

    async def lines(self) -> list[AuditRecord]:
        return list(reversed(await self.audit.entries(limit=100)))


async def refusal(asked: Awaitable[object]) -> tuple[str, int]:
    with pytest.raises(Refused) as caught:
        await asked
    return caught.value.reason, caught.value.status


ROLES = {"": Role.VIEWER, "shop": Role.DEVELOPER, "blog": Role.VIEWER}


@pytest.fixture
async def office() -> Office:
    return Office(Knows("ann", ROLES))


class TestWho:
    async def test_the_first_strategy_that_identifies_the_user_counts(self) -> None:
        office = Office(Knows("ann"), Knows("bob"))

        actor = await office.actor("bob")
        assert (actor.name, actor.strategy, actor.address) == ("bob", "Knows", ADDRESS)

    @pytest.mark.parametrize("strategies", [[], [Knows("ann")]])
    async def test_all_others_are_refused(self, strategies: list[AuthenticationStrategy]) -> None:
        assert await refusal(Office(*strategies).actor("eve")) == ("unauthorized", 401)

    async def test_guessing_is_slow(self, office: Office) -> None:
        for _ in range(LIMIT):
            assert await refusal(office.actor("eve")) == ("unauthorized", 401)

        assert await refusal(office.actor("ann")) == ("too-many-tries", 429)
        assert (await office.actor("ann", "192.0.2.8")).name == "ann"
        office.clock.advance(PER_SECONDS)
        assert (await office.actor("ann")).name == "ann"

    async def test_who_gives_no_credentials_doesnt_guess(self, office: Office) -> None:
        for _ in range(LIMIT + 1):
            assert await refusal(office.actor("")) == ("unauthorized", 401)

        assert (await office.actor("ann")).name == "ann"

    async def test_who_has_too_much_to_compare_says_so(self) -> None:
        office = Office(Overrun("ann"), Knows("bob"))

        with pytest.raises(Retry) as caught:
            await office.actor("ann")
        assert caught.value.reason == BUSY

    async def test_a_proof_isnt_shown(self, office: Office) -> None:
        assert "word" not in repr(await office.actor("ann"))


class TestWhetherTheyMay:
    @pytest.mark.parametrize(("app", "role"), ROLES.items())
    async def test_by_the_strategy(self, office: Office, app: str, role: Role) -> None:
        assert await office.authorizer.role(await office.actor("ann"), app) is role

    async def test_not_for_what_is_unknown_to_the_strategy(self, office: Office) -> None:
        actor = await office.actor("ann")
        assert await refusal(office.authorizer.check(actor, Action.SEE, "other")) == ("not-permitted", 403)

    async def test_not_while_the_strategy_has_no_answer(self) -> None:
        office = Office(Silent("ann"))
        assert await office.authorizer.role(await office.actor("ann"), "shop") is Role.NONE

    async def test_who_is_listed_has_that_role_whatever_the_case(self) -> None:
        office = Office(Knows("Ann", ROLES), listed={"knows:ann": Role.ADMINISTRATOR})
        actor = await office.actor("Ann")
        for app in ("", "shop", "other"):
            assert await office.authorizer.role(actor, app) is Role.ADMINISTRATOR

    async def test_being_listed_may_mean_less(self) -> None:
        office = Office(Knows("ann", ROLES), listed={"knows:ann": Role.NONE})
        assert await office.authorizer.role(await office.actor("ann"), "shop") is Role.NONE

    async def test_anothers_name_is_rejected(self) -> None:
        office = Office(Knows("ann", ROLES), listed={"github:ann": Role.ADMINISTRATOR, "ann": Role.NONE})
        assert await office.authorizer.role(await office.actor("ann"), "shop") is Role.DEVELOPER

    async def test_a_user_that_no_strategy_knows_has_the_role_that_was_given(self, office: Office) -> None:
        assert await office.authorizer.role(Actor("ann", "comment", role=Role.DEVELOPER)) is Role.DEVELOPER
        assert await office.authorizer.role(Actor("ann", "comment")) is Role.NONE

    async def test_a_strategy_that_is_gone_gives_nothing(self, office: Office) -> None:
        stranger = Actor("ann", "test", role=Role.ADMINISTRATOR, strategy="Removed")
        assert await office.authorizer.role(stranger, "shop") is Role.NONE


class TestWhatIsWrittenDown:
    async def test_what_is_done(self, office: Office) -> None:
        async with office.authorizer.authorized(await office.actor("ann"), Action.LAUNCH, "shop", "master"):
            pass

        [line] = await office.lines()
        assert (line.actor, line.address, line.action, line.app) == ("ann (test)", ADDRESS, "launch", "shop")
        assert (line.subject, line.result, line.detail) == ("master", "done", "")
        assert line.at == office.clock.now()

    async def test_what_isnt_permitted(self, office: Office) -> None:
        actor = await office.actor("ann")
        with pytest.raises(Refused):
            async with office.authorizer.authorized(actor, Action.KILL, "blog", "master"):
                pytest.fail("it was done")

        [line] = await office.lines()
        assert (line.result, line.detail) == ("refused", "not-permitted")

    async def test_what_fails(self, office: Office) -> None:
        with pytest.raises(Retry):
            async with office.authorizer.authorized(
                await office.actor("ann"), Action.KILL, "shop", "x" * 1000
            ):
                raise Retry("Not now.", reason="away")

        [line] = await office.lines()
        assert (line.result, line.detail, len(line.subject)) == ("failed", "away", 300)


class TestWhatIsCounted:
    """Strangers may send any number of requests, and the log mustn't grow by each."""

    async def lines(self, office: Office) -> list[AuditRecord]:
        """As the database has them."""
        return list(reversed(await office.store.read(lambda tx: tx.audit_records(limit=2_000))))

    async def test_wrong_credentials_are_a_line_a_minute_for_each_address(self, office: Office) -> None:
        began = office.clock.now()
        for address in (ADDRESS, "192.0.2.8"):
            for _ in range(LIMIT + 90):
                await refusal(office.actor("eve", address))
        assert await self.lines(office) == []
        office.clock.advance(PER_SECONDS)
        await asyncio.sleep(PER_SECONDS + 1)

        lines = await self.lines(office)
        assert {(line.actor, line.action, line.result, line.at) for line in lines} == {
            ("anonymous (sign-in)", "sign-in", "refused", began)
        }
        assert sorted((line.address, line.detail) for line in lines) == [
            (ADDRESS, f"too-many-tries ({90} times)"),
            (ADDRESS, f"unauthorized ({LIMIT} times)"),
            ("192.0.2.8", f"too-many-tries ({90} times)"),
            ("192.0.2.8", f"unauthorized ({LIMIT} times)"),
        ]
        assert "eve" not in repr(lines), "what was given may be a password"

        await refusal(office.actor("eve"))
        await asyncio.sleep(PER_SECONDS + 1)
        assert [line.detail for line in (await self.lines(office))[4:]] == ["unauthorized"]

    async def test_who_gives_no_credentials_is_no_line(self, office: Office) -> None:
        await refusal(office.actor(""))
        assert await office.lines() == []

    async def test_what_a_role_doesnt_allow(self, office: Office) -> None:
        ann = await office.actor("ann")
        for _ in range(3):
            await refusal(office.authorizer.check(ann, Action.READ_LOGS, "blog"))

        [line] = await office.lines()
        assert (line.actor, line.action, line.app, line.address) == (
            "ann (test)",
            "read-logs",
            "blog",
            ADDRESS,
        )
        assert (line.result, line.detail) == ("refused", "not-permitted (3 times)")

    async def test_the_last_minute_can_be_read(self, office: Office) -> None:
        await refusal(office.actor("eve"))
        [line] = await office.lines()
        assert line.detail == "unauthorized"
        assert await office.lines() == [line], "and once only"

    async def test_many_addresses_fill_neither_memory_nor_disk(self, office: Office) -> None:
        for number in range(MOST_LINES + 500):
            await refusal(office.actor("eve", f"10.0.{number // 250}.{number % 250}"))
        await asyncio.sleep(PER_SECONDS + 1)

        lines = await self.lines(office)
        assert len(lines) == MOST_LINES + 1
        [rest] = [line for line in lines if not line.address]
        assert (rest.actor, rest.detail) == ("many (refused)", "too-many-to-list (500 times)")

    async def test_what_cant_be_written_now_is_written_later(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = office.store.write

        async def busy(work: object) -> None:
            raise Retry("The database is busy.", reason="database-busy")

        monkeypatch.setattr(office.store, "write", busy)
        await refusal(office.actor("eve"))
        await asyncio.sleep(PER_SECONDS + 1)
        await refusal(office.actor("eve"))
        monkeypatch.setattr(office.store, "write", write)
        await asyncio.sleep(PER_SECONDS + 1)

        [line] = await self.lines(office)
        assert line.detail == "unauthorized (2 times)"


DAY = timedelta(days=1)


class TestTokens:
    async def test_give_no_more_access_than_their_scope(self, office: Office) -> None:
        ann = await office.actor("ann")
        _, secret = await office.tokens.create(ann, "CI", Role.VIEWER, ["shop"], DAY)

        bearer = await office.actor(f"Bearer {secret}")
        assert str(bearer) == "ann (test, token CI)"
        assert await office.authorizer.role(bearer, "shop") is Role.VIEWER
        assert await office.authorizer.role(bearer, "blog") is Role.NONE
        assert await office.authorizer.role(bearer) is Role.NONE

    async def test_nor_more_than_their_owner_may_by_now(self) -> None:
        knows = Knows("ann", dict(ROLES))
        office = Office(knows)
        ann = await office.actor("ann")
        _, secret = await office.tokens.create(ann, "CI", Role.ADMINISTRATOR, None, DAY)
        assert await office.authorizer.role(await office.actor(f"Bearer {secret}"), "shop") is Role.DEVELOPER

        knows.roles["shop"] = Role.NONE
        assert await office.authorizer.role(await office.actor(f"Bearer {secret}"), "shop") is Role.NONE

    async def test_are_good_for_a_time(self, office: Office) -> None:
        _, secret = await office.tokens.create(await office.actor("ann"), "CI", Role.VIEWER, None, DAY)
        office.clock.advance(DAY.total_seconds())

        assert await refusal(office.actor(f"Bearer {secret}")) == ("unauthorized", 401)

    async def test_are_kept_as_digests_only(self, office: Office) -> None:
        token, secret = await office.tokens.create(await office.actor("ann"), "CI", Role.VIEWER, None, DAY)
        assert secret not in repr(token)
        assert "word" not in repr(token)
        assert secret.startswith("stager_")
        assert len(secret) > 43

    async def test_are_taken_back_at_once(self, office: Office) -> None:
        ann = await office.actor("ann")
        token, secret = await office.tokens.create(ann, "CI", Role.VIEWER, None, DAY)
        await office.tokens.revoke(ann, token.id)
        await office.tokens.revoke(ann, token.id)

        assert await refusal(office.actor(f"Bearer {secret}")) == ("unauthorized", 401)
        assert await office.tokens.of(ann) == []

    async def test_of_others_are_theirs(self) -> None:
        office = Office(Knows("ann", ROLES), Knows("bob", ROLES))
        ann, bob = await office.actor("ann"), await office.actor("bob")
        token, _ = await office.tokens.create(ann, "CI", Role.VIEWER, None, DAY)

        assert await office.tokens.of(bob) == []
        assert await refusal(office.tokens.revoke(bob, token.id)) == ("token-unknown", 404)
        await office.tokens.revoke(bob, token.id, of_anyone=True)
        assert await office.tokens.of(ann) == []

    async def test_make_no_others(self, office: Office) -> None:
        _, secret = await office.tokens.create(await office.actor("ann"), "CI", Role.VIEWER, None, DAY)
        bearer = await office.actor(f"Bearer {secret}")

        made = office.tokens.create(bearer, "more", Role.VIEWER, None, MAX_LIFETIME)
        assert await refusal(made) == ("token-by-token", 403)

    @pytest.mark.parametrize("time", [timedelta(0), MAX_LIFETIME + DAY])
    async def test_for_no_other_time(self, office: Office, time: timedelta) -> None:
        made = office.tokens.create(await office.actor("ann"), "CI", Role.VIEWER, None, time)
        assert await refusal(made) == ("token-time", 400)

    async def test_there_are_not_too_many(self, office: Office) -> None:
        ann = await office.actor("ann")
        for _ in range(MAX_TOKENS):
            await office.tokens.create(ann, "CI", Role.VIEWER, None, DAY)

        assert await refusal(office.tokens.create(ann, "CI", Role.VIEWER, None, DAY)) == ("token-limit", 409)

    async def test_what_happened_to_them_is_written_down(self, office: Office) -> None:
        ann = await office.actor("ann")
        token, _ = await office.tokens.create(ann, "CI", Role.VIEWER, None, DAY)
        await office.tokens.revoke(ann, token.id)

        assert [(line.action, line.subject) for line in await office.lines()] == [
            ("make-token", token.id),
            ("revoke-token", token.id),
        ]

    async def test_their_last_use_is_known(self, office: Office) -> None:
        ann = await office.actor("ann")
        _, secret = await office.tokens.create(ann, "CI", Role.VIEWER, None, DAY)
        await office.actor(f"Bearer {secret}")
        used = office.clock.now()
        office.clock.advance(30)
        await office.actor(f"Bearer {secret}")

        [token] = await office.tokens.of(ann)
        assert token.used_at == used


async def test_what_ends_by_a_bug_is_written_down_as_well() -> None:
    """It may have been half done by then."""
    audit = Audit(MemoryStore(), FakeClock())
    with pytest.raises(ZeroDivisionError):
        async with audit.recorded(Actor("ann", "test"), "kill", app="shop", subject="e1"):
            1 / 0  # noqa: B018
    [entry] = await audit.entries(limit=10)
    assert (entry.action, entry.subject, entry.result, entry.detail) == (
        "kill",
        "e1",
        "failed",
        "internal-error",
    )
