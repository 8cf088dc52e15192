"""Sign-ins in progress, at providers and by device code.

They are in memory only: after a restart, a sign-in has to be started again.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from stager.control.identity.secrets import new_secret
from stager.domain.errors import Refused
from stager.domain.identity.access_policy import digest_of
from stager.domain.identity.client_addresses import holder
from stager.expiring_map import ExpiringMap
from stager.ports.login import (
    Accounts,
    AuthorizationRequest,
    DeviceCode,
    Identity,
    IssuedToken,
    SignIn,
    Started,
    challenge_of,
)

LIFETIME = timedelta(minutes=10)
MAX_PENDING = 2_000
MAX_PENDING_PER_ADDRESS = 50
"""Sign-ins in progress, in total (the oldest is dropped when there are more) and per address."""

MAX_INTERVAL = 300.0
"""Seconds between polls of a provider, which may ask for more."""

CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""A SHA-256 digest (RFC 7636, 4.2)."""
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
"""RFC 7636, 4.1."""
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Letters of codes that people compare (RFC 8628, 6.1)."""


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A sign-in in progress.

    Args:
        request: what the provider is asked.
        provider: the provider's name.
        challenge: of a command line (PKCE); empty for a sign-in in a browser.
        browser: digest of the cookie of the browser that started it or returned from the provider; empty
            before.
        target: the path to redirect the browser to at the end.
        address: from which it was started.
        code: shown in the command line and the browser, for comparison.
        has_returned: whether the browser returned from the provider, which can happen once.
        identity: who signed in at the provider; None before.
        token: for the command line, once the user has authorized it.
    """

    request: AuthorizationRequest
    provider: str
    until: datetime
    challenge: str = ""
    browser: str = ""
    target: str = "/"
    address: str = ""
    code: str = ""
    has_returned: bool = False
    identity: Identity | None = None
    token: IssuedToken | None = field(default=None, repr=False)

    @property
    def is_for_command_line(self) -> bool:
        return bool(self.challenge)


@dataclass(frozen=True, slots=True)
class PendingDevice:
    """A device flow in progress (RFC 8628)."""

    code: DeviceCode
    provider: str
    until: datetime
    next_at: datetime
    interval: float
    address: str


class LoginFlows:
    """Starts and tracks sign-ins. Handlers use it as `stager.ports.login.Logins`.

    Args:
        accounts: the provider of GitHub accounts; None where it isn't configured.
        home: returns Stager's own URL, such as `https://demo.example.org`; empty while it is unknown. It is
            never taken from the request of a sign-in.
    """

    def __init__(
        self, accounts: Accounts | None, home: Callable[[], str], now: Callable[[], datetime]
    ) -> None:
        self._accounts = accounts
        self._home = home
        self._now = now
        self._providers: Mapping[str, SignIn] = {}
        self._logins: ExpiringMap[str, PendingLogin, datetime] = ExpiringMap(now, MAX_PENDING)
        self._devices: ExpiringMap[str, PendingDevice, datetime] = ExpiringMap(now, MAX_PENDING)
        self._starting_devices: Counter[str] = Counter()

    # For handlers and strategies.

    @property
    def accounts(self) -> Accounts | None:
        return self._accounts

    async def start(self, challenge: str, address: str, provider: str = "") -> Started:
        if not CHALLENGE.fullmatch(challenge):
            raise Refused(
                "The parameter `challenge` isn't an S256 code challenge (RFC 7636).",
                hint="Update the command line.",
                reason="challenge-invalid",
            )
        source = self._providers.get(provider) if provider else self._accounts
        if source is None:
            raise Refused(
                f"Signing in with {provider[:40] or 'GitHub'} isn't configured.",
                reason="sign-in-unavailable",
                status=404,
            )
        login = self.begin(source.name, source.redirect_path, address, challenge=challenge)
        url = await source.address(login.request)
        return Started(url, login.request.state, login.code, LIFETIME.total_seconds())

    async def collect(self, state: str, verifier: str) -> IssuedToken | None:
        found = self.find(state)
        if found is None or not found.is_for_command_line:
            raise _gone()
        if not VERIFIER.fullmatch(verifier) or not hmac.compare_digest(
            challenge_of(verifier), found.challenge
        ):
            raise Refused(
                "The code verifier doesn't match the challenge.", reason="verifier-wrong", status=403
            )
        if found.token is not None:
            self.remove(state)
        return found.token

    # For signing in.

    def register(self, providers: Mapping[str, SignIn]) -> None:
        """Set the providers that command lines can sign in with, by name."""
        self._providers = providers

    def begin(
        self,
        provider: str,
        redirect_path: str,
        address: str,
        *,
        challenge: str = "",
        browser: str = "",
        target: str = "/",
    ) -> PendingLogin:
        """Start a sign-in at a provider.

        Args:
            browser: the secret in the browser's cookie.
            target: the path to redirect the browser to at the end.

        Raises:
            Refused: Stager's own URL isn't known yet; too many sign-ins are in progress from this address.
        """
        request = AuthorizationRequest(
            new_secret(), new_secret(), self._known_home() + redirect_path, new_secret()
        )
        self._check_capacity(self._logins, address)
        login = PendingLogin(
            request,
            provider,
            self._now() + LIFETIME,
            challenge=challenge,
            browser=digest_of(browser) if browser else "",
            target=target,
            address=address,
            code=comparison_code(),
        )
        self.save(login)
        return login

    def save(self, login: PendingLogin) -> None:
        """Save the state of a sign-in."""
        self._logins.put(login.request.state, login, login.until)

    def find(self, state: str) -> PendingLogin | None:
        """Return the sign-in with this OAuth state; None when it is unknown or expired."""
        return self._logins.get(state)

    def remove(self, state: str) -> None:
        """Remove a sign-in."""
        self._logins.pop(state)

    def returned(self, login: PendingLogin, browser: str) -> PendingLogin:
        """Record that the provider redirected a browser back, which can happen once for a state."""
        returned = replace(login, browser=digest_of(browser), has_returned=True)
        self.save(returned)
        return returned

    @contextmanager
    def starting_device(self, address: str) -> Iterator[None]:
        """Reserve the start of a device flow in the `with` body, which limits concurrent requests to the
        provider.

        Raises:
            Refused: 429, too many are in progress from this address.
        """
        source = holder(address)
        self._check_capacity(self._devices, address, self._starting_devices[source])
        self._starting_devices[source] += 1
        try:
            yield
        finally:
            self._starting_devices[source] -= 1
            self._starting_devices += Counter()  # drops zero counts

    def add_device(self, code: DeviceCode, provider: str, address: str) -> str:
        """Add a device flow. Returns its handle."""
        now, handle = self._now(), new_secret()
        until, interval = now + timedelta(seconds=code.expires_in), max(code.interval, 1.0)
        first = now + timedelta(seconds=interval)
        device = PendingDevice(code, provider, until, first, interval, address)
        self._devices.put(handle, device, until)
        return handle

    def device(self, handle: str) -> PendingDevice:
        """Return the device flow of this handle. Raises `Refused` (410) when it has ended."""
        found = self._devices.get(handle)
        if found is None:
            raise _gone()
        return found

    def wait(self, handle: str, interval: float, slower_by: float = 0.0) -> float:
        """Delay the next poll of the provider by `interval` seconds, and at least by the previous interval
        plus `slower_by`. Returns the delay in seconds.

        Raises:
            Refused: 410, the flow has ended.
        """
        found = self.device(handle)
        delay = min(max(interval, found.interval + slower_by), MAX_INTERVAL)
        following = self._now() + timedelta(seconds=delay)
        self._devices.put(handle, replace(found, interval=delay, next_at=following), found.until)
        return delay

    def remove_device(self, handle: str) -> None:
        """Remove a device flow."""
        self._devices.pop(handle)

    def _known_home(self) -> str:
        home = self._home()
        if not home:
            raise Refused(
                "Stager's own URL isn't known yet, so a provider can't redirect back to it.",
                hint="Set `domain` in the configuration.",
                reason="domain-unknown",
                status=409,
            )
        return home

    def _check_capacity(
        self,
        pending: ExpiringMap[str, PendingLogin, datetime] | ExpiringMap[str, PendingDevice, datetime],
        address: str,
        starting: int = 0,
    ) -> None:
        """Raise `Refused` (429) when too many sign-ins are in progress from this address."""
        source = holder(address)
        count = starting + sum(holder(one.address) == source for _, one in pending.items())
        if count >= MAX_PENDING_PER_ADDRESS:
            raise Refused(
                "Too many sign-ins are in progress from your address.", reason="too-many-sign-ins", status=429
            )


def comparison_code() -> str:
    """Return a code such as `BCDF-GHJK` for people to compare. It isn't a secret."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def _gone() -> Refused:
    return Refused(
        "The sign-in is unknown or has expired.",
        hint="Start again. A sign-in is valid for ten minutes and returns its token once.",
        reason="sign-in-gone",
        status=410,
    )
