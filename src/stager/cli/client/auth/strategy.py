"""Base class of the client's authentication strategies. Custom strategies derive from it."""

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
    """What a strategy works with: an endpoint, its settings and secrets, and the terminal.

    Args:
        send: sends a request without credentials; takes a method, a path and the arguments of httpx.
    """

    def __init__(self, endpoint: Endpoint, secret_store: SecretStore, send: Send) -> None:
        self.endpoint = endpoint
        self._secret_store = secret_store
        self._send = send
        self._settings = dict(endpoint.more)

    def setting(self, key: str) -> str:
        """Return the value of one of the strategy's `keys`; empty when it isn't set."""
        return self._settings.get(key, "")

    def save_setting(self, key: str, value: str) -> None:
        """Save the value of one of the strategy's `keys`. It isn't saved for an endpoint without a name."""
        self._settings[key] = value
        known = settings.load()
        if self.endpoint.name in known.endpoints:
            settings.save(known.with_key(self.endpoint.name, key, value))

    def secret(self, name: str) -> str:
        """Return a stored secret; empty when there is none.

        Args:
            name: what it belongs to, such as a user's name. Each endpoint has its own secrets.
        """
        return self._secret_store.get(self._owner(name))

    def save_secret(self, name: str, secret: str) -> None:
        """Store a secret, in the system's keyring where there is one."""
        self._secret_store.set(self._owner(name), secret)

    def delete_secret(self, name: str) -> bool:
        """Delete a stored secret. Returns whether there was one."""
        return self._secret_store.delete(self._owner(name))

    def variable(self, name: str) -> str:
        """Return the value of an environment variable; empty when it isn't set."""
        return os.environ.get(name, "")

    def ask(self, question: str, *, hidden: bool = False, hint: str = "") -> str:
        """Prompt the user and return the answer. Raises `ClientError` without a terminal.

        Args:
            hidden: don't echo what is typed.
            hint: what to do without a terminal, a sentence.
        """
        return output.ask(question, hidden=hidden, hint=hint)

    def say(self, sentence: str) -> None:
        """Write a message to standard error."""
        output.note(sentence)

    def send(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Send a request without credentials. The response may have any status.

        Args:
            path: such as `/api/v1/login/device`.
            how: arguments of `httpx.Client.request`, such as `json=`.

        Raises:
            ClientError: the server doesn't answer.
        """
        return self._send(method, path, **how)

    def _owner(self, name: str) -> str:
        return f"{self.endpoint.url} {name}".strip()


class AuthStrategy(ABC):
    """How the command line authenticates to a server."""

    keys: ClassVar[Mapping[str, str]] = {}
    """The strategy's settings, each with a description. `stager configure KEY=VALUE` accepts them."""

    def __init__(self, account: Account) -> None:
        self.account = account

    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """Return the headers that authenticate a request. May prompt the user and sign in.

        Raises:
            ClientError: there are no credentials.
        """

    def sign_in(self, secret: str = "") -> None:  # noqa: B027 (optional)
        """Discard known credentials and get new ones.

        Args:
            secret: read from standard input; empty: prompt.
        """

    def accepted(self) -> None:  # noqa: B027 (optional)
        """Store the credentials. Called after `sign_in` once the server has accepted them."""

    def sign_out(self) -> bool:
        """Delete stored credentials. Returns whether there were any."""
        return False
