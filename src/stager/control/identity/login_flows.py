"""Sign-ins under way: who was sent to a provider, for whom, and what came of it.

In memory only: a restart forgets them, and whoever was about to sign in begins again.
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

GOOD_FOR = timedelta(minutes=10)
MOST = 2_000
MOST_OF_ONE = 50
"""Sign-ins that may be under way at a time, together and from one address. Beyond the first, the oldest
goes."""

LONGEST_WAIT = 300.0
"""Seconds, whatever a provider asks for."""

CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""A SHA-256 digest (RFC 7636, 4.2)."""
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
"""RFC 7636, 4.1."""
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""For codes that people compare (RFC 8628, 6.1)."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One sign-in under way.

    Args:
        provider: its name.
        challenge: a command line's own; empty for a browser's sign-in to our pages.
        browser: digest of the cookie of the browser that began, or came back; empty before.
        back: whether it came back. A state comes back once.
        to: where that browser goes afterwards.
        address: where it was asked from.
        code: what people compare on both sides.
        identity: who came back; None before.
        collected: what the command line is to get, once somebody has agreed.
    """

    asked: AuthorizationRequest
    provider: str
    until: datetime
    challenge: str = ""
    browser: str = ""
    to: str = "/"
    address: str = ""
    code: str = ""
    back: bool = False
    identity: Identity | None = None
    collected: IssuedToken | None = field(default=None, repr=False)

    @property
    def is_for_command_line(self) -> bool:
        return bool(self.challenge)


@dataclass(frozen=True, slots=True)
class Device:
    """A device flow under way."""

    code: DeviceCode
    provider: str
    until: datetime
    next_at: datetime
    interval: float
    address: str


class LoginFlows:
    """See `stager.ports.login.Logins`, which are its doors for handlers.

    Args:
        home: Stager's own address, such as `https://demo.example.org`, by the configuration or as it was
            learned from somebody known; empty while it isn't known. Never taken from the request.
    """

    def __init__(
        self, accounts: Accounts | None, home: Callable[[], str], now: Callable[[], datetime]
    ) -> None:
        self._accounts = accounts
        self._home = home
        self._now = now
        self._others: Mapping[str, SignIn] = {}
        self._passes: ExpiringMap[str, Pass, datetime] = ExpiringMap(now, MOST)
        self._devices: ExpiringMap[str, Device, datetime] = ExpiringMap(now, MOST)
        self._beginning: Counter[str] = Counter()

    # For handlers and strategies.

    @property
    def accounts(self) -> Accounts | None:
        return self._accounts

    async def start(self, challenge: str, address: str, provider: str = "") -> Started:
        if not CHALLENGE.fullmatch(challenge):
            raise Refused(
                "The parameter `challenge` should be the S256 challenge of a verifier (RFC 7636).",
                hint="A newer command line sends it.",
                reason="challenge-invalid",
            )
        where = self._others.get(provider) if provider else self._accounts
        if where is None:
            raise Refused(
                f"There is no {provider[:40] or 'GitHub'} to sign in with.",
                reason="sign-in-unavailable",
                status=404,
            )
        begun = self.begin(where.name, where.redirect_path, address, challenge=challenge)
        url = await where.address(begun.asked)
        return Started(url, begun.asked.state, begun.code, GOOD_FOR.total_seconds())

    async def collect(self, state: str, verifier: str) -> IssuedToken | None:
        found = self.find(state)
        if found is None or not found.is_for_command_line:
            raise _gone()
        if not VERIFIER.fullmatch(verifier) or not hmac.compare_digest(
            challenge_of(verifier), found.challenge
        ):
            raise Refused("This isn't who began to sign in.", reason="verifier-wrong", status=403)
        if found.collected is not None:
            self.forget(state)
        return found.collected

    # For signing in.

    def offer(self, places: Mapping[str, SignIn]) -> None:
        """Let command lines sign in there, too, each by its name."""
        self._others = places

    def begin(
        self,
        provider: str,
        redirect_path: str,
        address: str,
        *,
        challenge: str = "",
        browser: str = "",
        to: str = "/",
    ) -> Pass:
        """Somebody is sent to a provider.

        Args:
            browser: the secret in the browser's cookie.

        Raises:
            Refused: our own address isn't known yet; too many are under way from this one.
        """
        asked = AuthorizationRequest(
            new_secret(), new_secret(), self._known_home() + redirect_path, new_secret()
        )
        self._make_room(self._passes, address)
        begun = Pass(
            asked,
            provider,
            self._now() + GOOD_FOR,
            challenge=challenge,
            browser=digest_of(browser) if browser else "",
            to=to,
            address=address,
            code=code_for_people(),
        )
        self.keep(begun)
        return begun

    def keep(self, one: Pass) -> None:
        """Remember how it stands."""
        self._passes.put(one.asked.state, one, one.until)

    def find(self, state: str) -> Pass | None:
        """The one of this state, if it is still under way."""
        return self._passes.get(state)

    def forget(self, state: str) -> None:
        """It is over."""
        self._passes.pop(state)

    def came_back(self, one: Pass, browser: str) -> Pass:
        """The provider sent a browser back. From now on the state can't come back again."""
        back = replace(one, browser=digest_of(browser), back=True)
        self.keep(back)
        return back

    @contextmanager
    def room_for_device(self, address: str) -> Iterator[None]:
        """What happens inside may begin one device flow, and counts as one from now on: so many at the same
        time ask the provider no more often than they may.

        Raises:
            Refused: 429, too many are under way from this address.
        """
        whose = holder(address)
        self._make_room(self._devices, address, self._beginning[whose])
        self._beginning[whose] += 1
        try:
            yield
        finally:
            self._beginning[whose] -= 1
            self._beginning += Counter()  # without those of whom none is left

    def keep_device(self, code: DeviceCode, provider: str, address: str) -> str:
        """A device flow has begun, for which there was room. Returns the handle by which it is spoken of."""
        now, handle = self._now(), new_secret()
        until, interval = now + timedelta(seconds=code.expires_in), max(code.interval, 1.0)
        first = now + timedelta(seconds=interval)
        self._devices.put(handle, Device(code, provider, until, first, interval, address), until)
        return handle

    def device(self, handle: str) -> Device:
        """The one of this handle. Raises `Refused` (410) when it is over."""
        found = self._devices.get(handle)
        if found is None:
            raise _gone()
        return found

    def wait(self, handle: str, interval: float, slower_by: float = 0.0) -> float:
        """The provider isn't to be asked again before so many seconds are over, nor sooner than it has said
        before, and `slower_by` seconds later than that. Returns how long that is.

        Raises:
            Refused: the flow is over.
        """
        found = self.device(handle)
        slower = min(max(interval, found.interval + slower_by), LONGEST_WAIT)
        following = self._now() + timedelta(seconds=slower)
        self._devices.put(handle, replace(found, interval=slower, next_at=following), found.until)
        return slower

    def forget_device(self, handle: str) -> None:
        """It is over."""
        self._devices.pop(handle)

    def _known_home(self) -> str:
        home = self._home()
        if not home:
            raise Refused(
                "Stager doesn't know its own address yet, so nobody can be sent back to it.",
                hint="Set `domain` in the configuration.",
                reason="domain-unknown",
                status=409,
            )
        return home

    def _make_room(
        self,
        those: ExpiringMap[str, Pass, datetime] | ExpiringMap[str, Device, datetime],
        address: str,
        beginning: int = 0,
    ) -> None:
        """Raises `Refused` (429) when too many are under way from this address."""
        whose = holder(address)
        if beginning + sum(holder(one.address) == whose for _, one in those.items()) >= MOST_OF_ONE:
            raise Refused("Too many sign-ins are under way.", reason="too-many-sign-ins", status=429)


def code_for_people() -> str:
    """`BCDF-GHJK`: short enough to compare, and nothing by which anybody gets in."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def _gone() -> Refused:
    return Refused(
        "There is no such sign-in, or not any more.",
        hint="Begin again: one takes ten minutes at most, and gives its token once.",
        reason="sign-in-gone",
        status=410,
    )
