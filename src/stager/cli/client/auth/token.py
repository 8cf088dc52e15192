"""Tokens: what `stager token create` or a forge gave (RFC 6750, section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping

from stager.cli.client.auth.strategy import AuthStrategy

VARIABLE = "STAGER_TOKEN"
INSTEAD = f"Set {VARIABLE}, or pipe the token into `stager login --stdin`."
KEPT_AS = "token"


class Token(AuthStrategy):
    """Sends a token: the one in `STAGER_TOKEN`, or that which `stager login` has kept."""

    _token = ""

    def headers(self) -> Mapping[str, str]:
        known = self._token or self.account.variable(VARIABLE) or self.account.secret(KEPT_AS)
        self._token = known or self._asked()
        return {"Authorization": f"Bearer {self._token}"}

    def sign_in(self, secret: str = "") -> None:
        self._token = secret or self._asked()

    def accepted(self) -> None:
        self.account.keep(KEPT_AS, self._token)

    def sign_out(self) -> bool:
        return self.account.forget(KEPT_AS)

    def _asked(self) -> str:
        return self.account.ask("Token", hidden=True, instead=INSTEAD).strip()
