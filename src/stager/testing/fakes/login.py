"""A fake sign-in provider, at which users confirm at once unless a test says otherwise."""

from __future__ import annotations

from urllib.parse import urlencode

from stager.domain.errors import Refused, Retry
from stager.domain.source import Access
from stager.ports.login import AuthorizationRequest, DeviceCode, Identity, Pending
from stager.testing.fakes.faults import FaultMode


class FakeAccounts:
    """See `stager.ports.login.Accounts`.

    Attributes:
        tokens: logins by token.
        rights: permissions by login and `owner/name`.
        is_ready: whether signing in is possible.
        fault_mode: `FaultMode.NEVER`: it doesn't answer.
        waits: the next results of `poll` before the user confirms.
        agreed: logins by user code; None for a user who declined.
        asked: the number of queries about users and repositories.
        polled: the number of polls.
    """

    name = "github"
    title = "GitHub"
    redirect_path = "/login/github/callback"

    def __init__(self, *, is_ready: bool = True) -> None:
        self.is_ready = is_ready
        self.tokens: dict[str, str] = {}
        self.rights: dict[tuple[str, str], Access] = {}
        self.fault_mode = FaultMode.WELL
        self.agreed: dict[str, str | None] = {}
        self.waits: list[Pending] = []
        self.asked = self.polled = 0
        self._codes: dict[str, tuple[str, str, str]] = {}
        self._devices: dict[str, str] = {}

    def token(self, login: str) -> str:
        """A valid token of this account."""
        token = f"gho_{login.replace('-', '_')}{len(self.tokens):016d}"
        self.tokens[token] = login
        return token

    def agree(self, login: str, address: str) -> str:
        """Sign a user in at this URL. Returns the authorization code."""
        code = f"code-{len(self._codes)}"
        query = dict(pair.split("=", 1) for pair in address.partition("?")[2].split("&"))
        self._codes[code] = (login, query["code_challenge"], query["redirect_uri"])
        return code

    async def address(self, request: AuthorizationRequest) -> str:
        self._check_ready()
        query = {
            "state": request.state,
            "code_challenge": request.challenge,
            "redirect_uri": request.redirect,
        }
        return f"https://forge.test/authorize?{urlencode(query, safe='/:')}"

    async def exchange(self, code: str, request: AuthorizationRequest) -> Identity:
        self._check_ready()
        login, challenge, redirect = self._codes.pop(code, ("", "", ""))
        if not login or (challenge, redirect) != (request.challenge, request.redirect):
            raise Refused("The code isn't known.", reason="sign-in-failed", status=403)
        return Identity(login, self.token(login))

    async def begin(self) -> DeviceCode:
        self._check_ready()
        number = len(self._devices)
        self._devices[f"device-{number}"] = f"CODE-{number:04d}"
        return DeviceCode(f"device-{number}", f"CODE-{number:04d}", "https://forge.test/device", 5.0, 900.0)

    async def poll(self, secret: str) -> Identity | Pending:
        self._check_ready()
        self.polled += 1
        code = self._devices.get(secret, "")
        if code and code not in self.agreed:
            return self.waits.pop(0) if self.waits else Pending(0.0)
        login = self.agreed.pop(code, None)
        self._devices.pop(secret, None)
        if login is None:
            raise Refused("It was refused.", reason="sign-in-denied", status=403)
        return Identity(login, self.token(login))

    async def who(self, proof: str) -> str:
        self._check()
        self.asked += 1
        return self.tokens.get(proof, "")

    async def access(self, proof: str, owner: str, name: str) -> Access:
        self._check()
        self.asked += 1
        return self.rights.get((self.tokens.get(proof, ""), f"{owner}/{name}"), Access.NONE)

    def _check_ready(self) -> None:
        if not self.is_ready:
            raise Refused("Sign-in isn't available yet.", reason="sign-in-unavailable", status=404)
        self._check()

    def _check(self) -> None:
        if self.fault_mode is not FaultMode.WELL:
            raise Retry("The forge doesn't answer.", reason="forge-unreachable")
