"""HTTP Basic authentication (RFC 7617), which the server's `BasicAuthentication` accepts."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import ClassVar

from stager.cli.client.auth.strategy import AuthStrategy

HINT = "Set STAGER_TOKEN, or STAGER_USERNAME and STAGER_PASSWORD."


class Basic(AuthStrategy):
    """Sends a user name and a password; prompts for them unless `stager login` has stored them."""

    keys: ClassVar[Mapping[str, str]] = {"username": "The user name for `Basic`."}

    _name = ""
    _password = ""

    def headers(self) -> Mapping[str, str]:
        name = self._known_name()
        password = self._password or self.account.variable("STAGER_PASSWORD") or self.account.secret(name)
        self._password = password or self._ask_password(name)
        pair = f"{name}:{self._password}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}

    def sign_in(self, secret: str = "") -> None:
        if self.account.variable("STAGER_USERNAME"):
            self._name = self.account.variable("STAGER_USERNAME")
        elif not secret:
            self._name = self._ask_name(self.account.setting("username"))
        self._password = secret or self._ask_password(self._known_name())

    def accepted(self) -> None:
        self.account.save_setting("username", self._known_name())
        self.account.save_secret(self._known_name(), self._password)

    def sign_out(self) -> bool:
        return self.account.delete_secret(self.account.setting("username"))

    def _known_name(self) -> str:
        known = self._name or self.account.variable("STAGER_USERNAME") or self.account.setting("username")
        self._name = known or self._ask_name("")
        return self._name

    def _ask_name(self, known: str) -> str:
        question = f"User name [{known}]" if known else "User name"
        name = self.account.ask(question, hint=HINT) or known
        if name != known:
            self.account.save_setting("username", name)
        return name

    def _ask_password(self, name: str) -> str:
        return self.account.ask(f"Password of {name}", hidden=True, hint=HINT)
