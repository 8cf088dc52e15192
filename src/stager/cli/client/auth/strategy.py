"""How the command line tells a server who asks. Whoever writes a strategy of their own derives from this
class."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from stager.cli.client import output, settings
from stager.cli.client.settings import Endpoint

if TYPE_CHECKING:
    import httpx

    from stager.cli.client.auth.secret_store import SecretStore

    Send = Callable[..., httpx.Response]


class Account:
    """What a strategy works with: one endpoint, its settings, its secrets, and whoever sits there.

    Args:
        send: sends a request without credentials: method, path, and what httpx takes.
    """

    def __init__(self, endpoint: Endpoint, secret_store: SecretStore, send: Send) -> None:
        self.endpoint = endpoint
        self._secret_store = secret_store
        self._send = send
        self._saved = dict(endpoint.more)

    def setting(self, key: str) -> str:
        """The value of one of the strategy's `keys`; empty when there is none."""
        return self._saved.get(key, "")

    def save(self, key: str, value: str) -> None:
        """Write one of them into the client's settings, for endpoints that have a place there."""
        self._saved[key] = value
        known = settings.load()
        if self.endpoint.name in known.endpoints:
            settings.save(known.with_key(self.endpoint.name, key, value))

    def secret(self, name: str) -> str:
        """A secret that was kept; empty when there is none.

        Args:
            name: what it is for, such as a user's name. No other endpoint's secret has it, whatever its name.
        """
        return self._secret_store.get(self._whose(name))

    def keep(self, name: str, secret: str) -> None:
        """Keep a secret, in the system's keyring where there is one."""
        self._secret_store.set(self._whose(name), secret)

    def forget(self, name: str) -> bool:
        """Forget a secret. Returns whether there was one."""
        return self._secret_store.delete(self._whose(name))

    def variable(self, name: str) -> str:
        """The value of an environment variable; empty when it isn't set."""
        return os.environ.get(name, "")

    def ask(self, question: str, *, hidden: bool = False, instead: str = "") -> str:
        """The answer of whoever sits there. Raises `ClientError` where nobody does.

        Args:
            hidden: don't show what is typed.
            instead: what to do where nobody can be asked, in a sentence.
        """
        return output.ask(question, hidden=hidden, instead=instead)

    def say(self, sentence: str) -> None:
        """Tell whoever sits there."""
        output.note(sentence)

    def send(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Ask the server without credentials, as signing in must. The answer may be of any status.

        Args:
            path: such as `/api/v1/login/device`.
            how: what `httpx.Client.request` takes, such as `json=`.

        Raises:
            ClientError: it doesn't answer.
        """
        return self._send(method, path, **how)

    def _whose(self, name: str) -> str:
        return f"{self.endpoint.url} {name}".strip()


class AuthStrategy(ABC):
    """How the command line tells a server who asks."""

    keys: ClassVar[Mapping[str, str]] = {}
    """Settings of its own, each with a sentence: `stager configure KEY=VALUE` takes them."""

    def __init__(self, account: Account) -> None:
        self.account = account

    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """The headers by which the server knows who asks.

        May ask whoever sits there, and sign in, when nothing is known yet.

        Raises:
            ClientError: there is nothing to send.
        """

    def sign_in(self, secret: str = "") -> None:  # noqa: B027 (a strategy may have nothing to do)
        """Forget what was known, and sign in anew.

        Args:
            secret: what was given on standard input; empty: ask.
        """

    def accepted(self) -> None:  # noqa: B027 (as above)
        """The server knows whom it was told, after `sign_in`: now keep it."""

    def sign_out(self) -> bool:
        """Forget what was kept. Returns whether there was anything."""
        return False
