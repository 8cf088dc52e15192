"""Bearer tokens (RFC 6750, section 2.1): API tokens of Stager or tokens of a forge."""

from __future__ import annotations

from collections.abc import Mapping

from stager.cli.client.auth.strategy import AuthStrategy

VARIABLE = "STAGER_TOKEN"
HINT = f"Set {VARIABLE}, or pipe the token into `stager login --stdin`."
SECRET_NAME = "token"  # noqa: S105


class Token(AuthStrategy):
    """Sends a token: the one in `STAGER_TOKEN`, or the one that `stager login` has stored."""

    _token = ""

    def headers(self) -> Mapping[str, str]:
        known = self._token or self.account.variable(VARIABLE) or self.account.secret(SECRET_NAME)
        self._token = known or self._prompt()
        return {"Authorization": f"Bearer {self._token}"}

    def sign_in(self, secret: str = "") -> None:
        self._token = secret or self._prompt()

    def accepted(self) -> None:
        self.account.save_secret(SECRET_NAME, self._token)

    def sign_out(self) -> bool:
        return self.account.delete_secret(SECRET_NAME)

    def _prompt(self) -> str:
        return self.account.ask("Token", hidden=True, hint=HINT).strip()
