"""Sign-in: creates sessions for people who authenticated at a provider, by credentials, or by device code.

The web layer calls it; sign-ins in progress are in `login_flows`.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stager.control.identity.audit import ANONYMOUS, SIGN_IN, Audit, result_of
from stager.control.identity.authenticator import Authenticator
from stager.control.identity.login_flows import LoginFlows, PendingLogin
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
    """A provider, with the strategy that it belongs to."""

    sign_in: SignIn
    strategy: str


class SigningIn:
    """Signs people in.

    Args:
        strategies: the configured ones; a person's role comes from the strategy of the provider.
    """

    def __init__(
        self,
        strategies: Sequence[AuthenticationStrategy],
        logins: LoginFlows,
        *,
        sessions: Sessions,
        authenticator: Authenticator,
        audit: Audit,
        clock: Clock,
    ) -> None:
        offered = ((strategy, strategy.sign_in()) for strategy in strategies)
        found = (Provider(provider, type(strategy).__name__) for strategy, provider in offered if provider)
        self.providers: Mapping[str, Provider] = {provider.sign_in.name: provider for provider in found}
        self.takes_passwords = any(not strategy.sign_in() for strategy in strategies)
        logins.register({name: provider.sign_in for name, provider in self.providers.items()})
        self.is_possible = bool(strategies)
        self._logins = logins
        self._sessions = sessions
        self._authenticator = authenticator
        self._audit = audit
        self._clock = clock

    # In a browser, at a provider.

    async def redirect_url(self, name: str, browser: str, target: str, address: str) -> str:
        """Start a sign-in in a browser. Returns the provider's URL to redirect the browser to.

        Args:
            browser: the secret in the browser's cookie, which identifies it when it returns.
            target: the path on Stager to redirect the browser to at the end.
            address: the browser's address.

        Raises:
            Refused: the provider isn't configured or can't be used.
        """
        provider = self._provider(name).sign_in
        login = self._logins.begin(name, provider.redirect_path, address, browser=browser, target=target)
        return await provider.address(login.request)

    async def complete(
        self, state: str, code: str, browser: str, address: str, name: str = ""
    ) -> PendingLogin:
        """Handle the redirect from a provider with an authorization code.

        Args:
            browser: the secret in the browser's cookie; a new one if it had none.
            name: the provider that the path belongs to; empty for any.

        Raises:
            Refused: the state is unknown or belongs to another browser; the provider rejected the code.
        """
        login = self._logins.returned(await self._expected(state, browser, name, address), browser)
        try:
            identity = await self._provider(login.provider).sign_in.exchange(code, login.request)
        except StagerError as error:
            self._logins.remove(state)
            await self._record_failure(error, "", address)
            raise
        login = replace(login, identity=identity)
        if login.is_for_command_line:
            self._logins.save(login)
        else:
            self._logins.remove(state)
        return login

    async def fail(self, state: str, browser: str, address: str, error: str) -> None:
        """Handle the redirect from a provider with an error.

        Args:
            error: the error code (RFC 6749, 4.1.2.1).

        Raises:
            Refused: always. The sign-in ends if the browser is the expected one.
        """
        await self._expected(state, browser, "", address)
        self._logins.remove(state)
        is_denied = error == "access_denied"
        refused = Refused(
            "The sign-in was cancelled at the provider." if is_denied else "The provider reported an error.",
            hint="" if is_denied else f"Its error code is {error[:60]!r}.",
            reason="sign-in-denied" if is_denied else "sign-in-failed",
            status=403,
        )
        await self._record_failure(refused, "", address)
        raise refused

    async def _expected(self, state: str, browser: str, name: str, address: str) -> PendingLogin:
        """Return the sign-in whose redirect is expected from this browser."""
        login = self._logins.find(state)
        if login is not None and _is_expected(login, browser, name):
            return login
        error = Refused(
            "Unknown or expired OAuth state.",
            hint="Start the sign-in again in the same browser.",
            reason="sign-in-state-unknown",
            status=403,
        )
        await self._record_failure(error, "", address)
        raise error

    async def start_session(self, login: PendingLogin, address: str, agent: str) -> tuple[Session, str]:
        """Start the session of a completed sign-in in the browser. Returns it with its secret."""
        return await self._sessions.start(self._actor(login.provider, login.identity, address), agent)

    async def authorize(self, state: str, browser: str, address: str) -> PendingLogin:
        """Authorize the command line that started the sign-in to collect a token.

        Raises:
            Refused: 410, another browser signed in, or the sign-in has expired.
        """
        login = self._awaiting_authorization(state, browser)
        actor = self._actor(login.provider, login.identity, login.address)
        # There is no await between the check and this, so two clicks create one session.
        self._logins.save(replace(login, browser=""))
        agent = f"command line, authorized from {address}"
        _, token = await self._sessions.start(actor, agent, command_line=True)
        self._logins.save(replace(login, token=IssuedToken(token, actor.name)))
        return login

    async def deny(self, state: str, browser: str, address: str) -> None:
        """Deny the command line a token. Raises as `authorize` does."""
        login = self._awaiting_authorization(state, browser)
        self._logins.remove(state)
        refused = Refused("The command line wasn't authorized.", reason="sign-in-denied", status=403)
        await self._record_failure(refused, login.identity.name if login.identity else "", address)

    def _awaiting_authorization(self, state: str, browser: str) -> PendingLogin:
        login = self._logins.find(state)
        if (
            login is None
            or login.identity is None
            or login.token is not None
            or not browser
            or not hmac.compare_digest(login.browser, digest_of(browser))
        ):
            raise Refused(
                "The sign-in is unknown or has expired.",
                hint="Start it again in the command line.",
                reason="sign-in-gone",
                status=410,
            )
        return login

    # With credentials.

    async def with_credentials(self, credentials: Credentials, agent: str) -> tuple[Session, str]:
        """Start a session for someone with credentials, such as a name and a password from a form.

        Raises:
            Refused: 401, the credentials are invalid; 429, too many failed attempts from that address.
        """
        try:
            actor = await self._authenticator.authenticate(replace(credentials, session=""))
            _check_can_sign_in(actor)
        except Refused as error:
            if error.status == 403:  # invalid credentials are in the log already
                await self._record_failure(error, "", credentials.address)
            raise
        return await self._sessions.start(actor, agent)

    # Without a browser.

    async def start_device(self, address: str) -> tuple[str, DeviceCode]:
        """Start a device flow. Returns its handle and the code for the user."""
        name, provider = self._device_provider()
        with self._logins.starting_device(address):
            code = await provider.begin()
            return self._logins.add_device(code, name, address), code

    async def poll_device(self, handle: str, address: str, agent: str) -> IssuedToken | Pending:
        """Poll a device flow. The provider is polled only when its interval has passed.

        Raises:
            Refused: 410, the flow has ended; 403, the user denied it.
        """
        device, now = self._logins.device(handle), self._clock.now()
        if now < device.next_at:
            return Pending((device.next_at - now).total_seconds())
        _, provider = self._device_provider()
        self._logins.wait(handle, device.interval)
        try:
            answer = await provider.poll(device.code.secret)
        except Refused as error:
            self._logins.remove_device(handle)
            await self._record_failure(error, "", address)
            raise
        if isinstance(answer, Pending):
            return Pending(self._logins.wait(handle, answer.interval, answer.slower_by))
        self._logins.remove_device(handle)
        actor = self._actor(device.provider, answer, address)
        _, token = await self._sessions.start(actor, agent, command_line=True)
        return IssuedToken(token, actor.name)

    def _device_provider(self) -> tuple[str, DeviceSignIn]:
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
            raise Refused("The sign-in at the provider isn't complete.", reason="sign-in-gone", status=410)
        strategy = self._provider(name).strategy
        return Actor(identity.name, strategy, strategy=strategy, proof=identity.proof, address=address)

    async def _record_failure(self, error: StagerError, name: str, address: str) -> None:
        actor = Actor(name or ANONYMOUS, SIGN_IN, address=address)
        await self._audit.record(actor, SIGN_IN, result=result_of(error), detail=error.reason)


def _unavailable(name: str) -> Refused:
    return Refused(
        f"Signing in with {name} isn't configured.",
        hint="The setting is `authentication_strategy`, for example GithubAuthentication.",
        reason="sign-in-unavailable",
        status=404,
    )


def _is_expected(login: PendingLogin, browser: str, name: str) -> bool:
    """Whether this browser may return with the state: once, and only the browser that started the sign-in, if
    one did."""
    if login.has_returned or name not in ("", login.provider):
        return False
    return login.is_for_command_line or hmac.compare_digest(login.browser, digest_of(browser))


def _check_can_sign_in(actor: Actor) -> None:
    """Raise `Refused` (403) for an actor with a token."""
    if not actor.strategy or actor.apps is not None or actor.role is not None:
        raise Refused("An API token can't be used to sign in.", reason="sign-in-by-token", status=403)
