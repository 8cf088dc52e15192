"""Signing in: from a provider's answer, or from credentials, to a session.

`web` calls it for its pages and for the API; what is under way is in `logins`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stager.control.identity.access import Access
from stager.control.identity.audit import NOBODY, SIGN_IN, Audit, result_of
from stager.control.identity.login_flows import LoginFlows, Pass
from stager.control.identity.sessions import Sessions
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.access_policy import digest_of
from stager.domain.identity.accounts import Session
from stager.domain.identity.actor import Actor
from stager.ports.clock import Clock
from stager.ports.handlers import AuthenticationStrategy, Credentials
from stager.ports.login import DeviceCode, DeviceSignIn, Identity, IssuedToken, Pending, SignIn


@dataclass(frozen=True, slots=True)
class Provider:
    """A place to sign in, and the strategy that it belongs to."""

    where: SignIn
    strategy: str


class SigningIn:
    """Has people sign in.

    Args:
        strategies: those that are on; who signs in gets their role from the one whose provider it was.
    """

    def __init__(
        self,
        strategies: Sequence[AuthenticationStrategy],
        logins: LoginFlows,
        *,
        sessions: Sessions,
        access: Access,
        audit: Audit,
        clock: Clock,
    ) -> None:
        places = ((strategy, strategy.sign_in()) for strategy in strategies)
        found = (Provider(place, type(strategy).__name__) for strategy, place in places if place)
        self.providers: Mapping[str, Provider] = {provider.where.name: provider for provider in found}
        self.takes_passwords = any(not strategy.sign_in() for strategy in strategies)
        logins.offer({name: provider.where for name, provider in self.providers.items()})
        self._logins = logins
        self._sessions = sessions
        self._access = access
        self._audit = audit
        self._clock = clock

    # In a browser, at a provider.

    async def go(self, name: str, browser: str, to: str, address: str) -> str:
        """Where to send a browser that wants to sign in at this provider.

        Args:
            browser: the secret in its cookie, by which it is known when it comes back.
            to: where it goes afterwards, a path of ours.
            address: where it asks from.

        Raises:
            Refused: there is no such provider, or it can't be used.
        """
        where = self._provider(name).where
        begun = self._logins.begin(name, where.redirect_path, address, browser=browser, to=to)
        return await where.address(begun.asked)

    async def come_back(self, state: str, code: str, browser: str, address: str, name: str = "") -> Pass:
        """A provider has sent a browser back. What is to happen now is in what is returned.

        Args:
            browser: the secret in its cookie; a new one where it had none.
            name: of the provider whose path it came by; empty where that may be any.

        Raises:
            Refused: nobody was sent there with this state, or not this browser; the provider says no.
        """
        one = await self._own(state, browser, name, address)
        back = self._logins.came_back(one, browser)
        try:
            identity = await self._provider(one.provider).where.exchange(code, one.asked)
        except StagerError as error:
            self._logins.forget(state)
            await self._failed(error, "", address)
            raise
        back = replace(back, identity=identity)
        if back.is_for_command_line:
            self._logins.keep(back)
        else:
            self._logins.forget(state)
        return back

    async def give_up(self, state: str, browser: str, address: str, error: str) -> None:
        """A provider has sent a browser back without a code.

        Args:
            error: what it says (RFC 6749, 4.1.2.1).

        Raises:
            Refused: always; the sign-in is over if it was this browser's.
        """
        await self._own(state, browser, "", address)
        self._logins.forget(state)
        denied = error == "access_denied"
        refused = Refused(
            "You weren't signed in." if denied else "Signing in has failed.",
            hint="" if denied else f"The provider says {error[:60]!r}.",
            reason="sign-in-denied" if denied else "sign-in-failed",
            status=403,
        )
        await self._failed(refused, "", address)
        raise refused

    async def _own(self, state: str, browser: str, name: str, address: str) -> Pass:
        """The one that is expected, from this browser if one began it, and only once."""
        one = self._logins.find(state)
        if one is not None and _may_come_back(one, browser, name):
            return one
        error = Refused(
            "Nobody was sent to sign in from here with this state, or it is too long ago.",
            hint="Begin again, in the same browser.",
            reason="sign-in-state-unknown",
            status=403,
        )
        await self._failed(error, "", address)
        raise error

    async def enter(self, one: Pass, address: str, agent: str) -> tuple[Session, str]:
        """The session of whoever came back, in their browser."""
        return await self._sessions.begin(self._actor(one.provider, one.identity, address), agent)

    async def agree(self, state: str, browser: str, address: str) -> Pass:
        """Whoever came back lets the command line that began have its token.

        Raises:
            Refused: it wasn't this browser that came back; it is too late.
        """
        one = self._awaited(state, browser)
        actor = self._actor(one.provider, one.identity, one.address)
        # Nothing is awaited between the look and this, so that two clicks make one session.
        self._logins.keep(replace(one, browser=""))
        agent = f"command line, agreed to from {address}"
        _, token = await self._sessions.begin(actor, agent, command_line=True)
        self._logins.keep(replace(one, collected=IssuedToken(token, actor.name)))
        return one

    async def disagree(self, state: str, browser: str, address: str) -> None:
        """It wasn't theirs. Raises as `agree` does."""
        one = self._awaited(state, browser)
        self._logins.forget(state)
        refused = Refused("It was refused.", reason="sign-in-denied", status=403)
        await self._failed(refused, one.identity.name if one.identity else "", address)

    def _awaited(self, state: str, browser: str) -> Pass:
        one = self._logins.find(state)
        if (
            one is None
            or one.identity is None
            or one.collected is not None
            or not browser
            or not hmac.compare_digest(one.browser, digest_of(browser))
        ):
            raise Refused(
                "There is nothing to agree to here, or not any more.",
                hint="Begin again in the command line.",
                reason="sign-in-gone",
                status=410,
            )
        return one

    # With credentials.

    async def with_credentials(self, credentials: Credentials, agent: str) -> tuple[Session, str]:
        """The session of somebody with credentials, such as a name and a password typed into a form.

        Raises:
            Refused: 401, these are nobody's; 429, too many wrong ones came from there.
        """
        try:
            actor = await self._access.actor(replace(credentials, session=""))
            _check_can_sign_in(actor)
        except Refused as error:
            if error.status == 403:  # wrong ones are in the log already
                await self._failed(error, "", credentials.address)
            raise
        return await self._sessions.begin(actor, agent)

    # Without a browser.

    async def begin_device(self, address: str) -> tuple[str, DeviceCode]:
        """A device flow, and the handle by which it is asked for."""
        name, where = self._with_device()
        with self._logins.room_for_device(address):
            code = await where.begin()
            return self._logins.keep_device(code, name, address), code

    async def poll_device(self, handle: str, address: str, agent: str) -> IssuedToken | Pending:
        """How it went. Asked too early, the provider isn't asked.

        Raises:
            Refused: 410, it is over; 403, somebody said no.
        """
        device, now = self._logins.device(handle), self._clock.now()
        if now < device.next_at:
            return Pending((device.next_at - now).total_seconds())
        _, where = self._with_device()
        self._logins.wait(handle, device.interval)
        try:
            answer = await where.poll(device.code.secret)
        except Refused as error:
            self._logins.forget_device(handle)
            await self._failed(error, "", address)
            raise
        if isinstance(answer, Pending):
            return Pending(self._logins.wait(handle, answer.interval, answer.slower_by))
        self._logins.forget_device(handle)
        actor = self._actor(device.provider, answer, address)
        _, token = await self._sessions.begin(actor, agent, command_line=True)
        return IssuedToken(token, actor.name)

    def _with_device(self) -> tuple[str, DeviceSignIn]:
        accounts = self._logins.accounts
        if accounts is None or accounts.name not in self.providers:
            raise _unavailable("GitHub")
        return accounts.name, accounts

    def _provider(self, name: str) -> Provider:
        provider = self.providers.get(name)
        if provider is None:
            raise _unavailable(name[:40])
        return provider

    def _actor(self, name: str, identity: Identity | None, address: str) -> Actor:
        if identity is None:
            raise Refused("Nobody has signed in yet.", reason="sign-in-gone", status=410)
        strategy = self._provider(name).strategy
        return Actor(identity.name, strategy, strategy=strategy, proof=identity.proof, address=address)

    async def _failed(self, error: StagerError, name: str, address: str) -> None:
        actor = Actor(name or NOBODY, SIGN_IN, address=address)
        await self._audit.record(actor, SIGN_IN, result=result_of(error), detail=error.reason)


def _unavailable(name: str) -> Refused:
    return Refused(
        f"Nobody can sign in with {name} here.",
        hint="`authentication_strategy` says who is known: GithubAuthentication, for one.",
        reason="sign-in-unavailable",
        status=404,
    )


def _may_come_back(one: Pass, browser: str, name: str) -> bool:
    """Whether this browser may come back with its state: once, and if a browser began, only that one."""
    if one.back or name not in ("", one.provider):
        return False
    return one.is_for_command_line or hmac.compare_digest(one.browser, digest_of(browser))


def _check_can_sign_in(actor: Actor) -> None:
    """Raise `Refused` for who isn't there in person."""
    if not actor.strategy or actor.apps is not None or actor.role is not None:
        raise Refused("A token isn't for signing in.", reason="sign-in-by-token", status=403)
