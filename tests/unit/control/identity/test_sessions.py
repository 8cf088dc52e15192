"""Sessions: what begins, renews and ends them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from stager.control.identity.audit import Audit
from stager.control.identity.sessions import BEARER, GRACE, MAX_SESSIONS, Lifetimes, Sessions
from stager.domain.errors import Refused
from stager.domain.identity.access_policy import digest_of
from stager.domain.identity.actor import Actor
from stager.testing import FakeClock, MemoryStore, SequentialIds
from stager.testing.fakes.secret_box import FakeSecretBox

ANN = Actor(
    "ann", "GithubAuthentication", strategy="GithubAuthentication", proof="gho_secret", address="192.0.2.1"
)
BOB = Actor("bob", "GithubAuthentication", strategy="GithubAuthentication")
TIMES = Lifetimes()
SECOND = timedelta(seconds=1)


class Office:
    def __init__(self) -> None:
        self.clock, self.store, self.seal = FakeClock(), MemoryStore(), FakeSecretBox()
        self.audit = Audit(self.store, self.clock)
        self.sessions = Sessions(
            self.store, self.clock, ids=SequentialIds(), seal=self.seal, audit=self.audit, lifetimes=TIMES
        )

    async def begin(self, *, command_line: bool = False) -> str:
        _, secret = await self.sessions.start(ANN, "Browser/1", command_line=command_line)
        return secret

    def wait(self, time: timedelta) -> None:
        self.clock.advance(time.total_seconds())


@pytest.fixture(name="office")
def made_office() -> Office:
    return Office()


async def test_has_the_user_and_the_strategy(office: Office) -> None:
    actor = await office.sessions.actor(await office.begin())

    assert actor is not None
    assert (actor.name, actor.strategy, actor.proof) == ("ann", ANN.strategy, "gho_secret")


async def test_keeps_neither_the_secret_nor_the_proof_in_clear(office: Office) -> None:
    secret = await office.begin()
    [session] = await office.sessions.of(ANN)

    assert session.digest == digest_of(secret)
    assert session.person.proof == office.seal.close("gho_secret") != "gho_secret"


async def test_ends_by_itself_without_use(office: Office) -> None:
    secret = await office.begin()
    office.wait(TIMES.idle - SECOND)
    assert await office.sessions.actor(secret)
    office.wait(SECOND)
    assert await office.sessions.actor(secret) is None
    assert await office.sessions.of(ANN) == []


async def test_is_extended_by_use_up_to_a_limit(office: Office) -> None:
    secret, lasted = await office.begin(), timedelta()
    while await office.sessions.actor(secret) and lasted < 2 * TIMES.longest:
        office.wait(TIMES.idle / 2)
        lasted += TIMES.idle / 2
        renewed = await office.sessions.renew(secret)
        secret = renewed[1] if renewed else secret
    assert lasted == TIMES.longest


@pytest.mark.parametrize("command_line", [False, True])
async def test_lasts_no_longer_than_the_strategy_allows(office: Office, *, command_line: bool) -> None:
    most = 3 * TIMES.idle / 2
    office.sessions = Sessions(
        office.store,
        office.clock,
        ids=SequentialIds(),
        seal=office.seal,
        audit=office.audit,
        lifetimes=replace(TIMES, by_strategy={ANN.strategy: most}),
    )
    secret = await office.begin(command_line=command_line)
    office.wait(most - TIMES.idle / 2 - SECOND)
    _, secret = await office.sessions.renew(secret) or (None, secret)
    office.wait(TIMES.idle / 2)
    assert await office.sessions.actor(secret, bearer=command_line)
    _, secret = await office.sessions.renew(secret) or (None, secret)
    office.wait(SECOND)
    assert await office.sessions.actor(secret, bearer=command_line) is None


async def test_the_secret_is_replaced_and_the_old_one_serves_for_a_moment(office: Office) -> None:
    old = await office.begin()
    assert await office.sessions.renew(old) is None, "it is new still"
    office.wait(TIMES.renew_every)
    renewed = await office.sessions.renew(old)
    assert renewed is not None
    assert renewed[1] != old

    assert await office.sessions.actor(old), "a request that was sent at the same time"
    assert await office.sessions.renew(old) is None, "which makes no second one"
    office.wait(GRACE)
    assert await office.sessions.actor(old) is None
    assert await office.sessions.actor(renewed[1])


async def test_a_command_lines_and_a_browsers_secret_are_two_things(office: Office) -> None:
    browsers, lines = await office.begin(), await office.begin(command_line=True)

    assert lines.startswith(BEARER)
    assert not browsers.startswith(BEARER)
    assert await office.sessions.actor(browsers, bearer=True) is None
    assert await office.sessions.actor(lines) is None
    assert await office.sessions.actor(lines, bearer=True)


async def test_ended_it_is_over_at_once(office: Office) -> None:
    secret = await office.begin()
    [session] = await office.sessions.of(ANN)
    await office.sessions.end(ANN, session.id)

    assert await office.sessions.actor(secret) is None


async def test_users_cant_end_sessions_of_others(office: Office) -> None:
    secret = await office.begin()
    [session] = await office.sessions.of(ANN)
    with pytest.raises(Refused) as refused:
        await office.sessions.end(BOB, session.id)

    assert refused.value.status == 404
    assert await office.sessions.actor(secret)


async def test_ended_it_is_over_in_its_grace_as_well(office: Office) -> None:
    old = await office.begin()
    office.wait(TIMES.renew_every)
    assert await office.sessions.renew(old)
    [session] = await office.sessions.of(ANN)
    await office.sessions.end(ANN, session.id)

    assert await office.sessions.actor(old) is None


async def test_sealed_by_another_key_it_is_rejected(office: Office) -> None:
    secret = await office.begin()

    class Other(FakeSecretBox):
        def open(self, sealed: str) -> str:
            raise Refused("It can't be read.", reason="seal-broken")

    others = Sessions(office.store, office.clock, ids=SequentialIds(), seal=Other(), audit=office.audit)
    assert await others.actor(secret) is None


async def test_the_oldest_ends_at_the_limit_for_a_user(office: Office) -> None:
    first = await office.begin()
    for _ in range(MAX_SESSIONS):
        await office.begin()

    assert await office.sessions.actor(first) is None
    assert len(await office.sessions.of(ANN)) == MAX_SESSIONS


async def test_ended_ones_are_deleted_at_the_next_sign_in(office: Office) -> None:
    await office.begin()
    office.wait(TIMES.idle)
    await office.begin()

    assert len(await office.store.read(lambda tx: tx.sessions())) == 1
