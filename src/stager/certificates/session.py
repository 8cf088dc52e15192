"""A session with an ACME server, over certbot's library `acme`. Blocking: it is called in threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from acme import challenges, errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.interfaces import JSONDeSerializable
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from stager.certificates.storage import CertificateFolder, write_private
from stager.domain.errors import Fault, Retry
from stager.version import __version__

_TIMEOUT = 20
"""Seconds for one request."""
_NONCE_TRIES = 3
_HINTS = {
    "rateLimited": "The issuer limits the number of certificates. `tls.acme.dns` orders one wildcard"
    " certificate instead of one for each preview.",
    "caa": "Add a CAA record that allows this issuer, or remove the one that forbids it.",
    "rejectedIdentifier": "The issuer doesn't issue certificates for this name. Check `domain` and"
    " `preview_domain`.",
    "externalAccountRequired": "This issuer requires an external account, which Stager doesn't support."
    " Choose another `directory`.",
    "invalidContact": "Check `tls.acme.email`.",
    "unsupportedContact": "Check `tls.acme.email`.",
}


@dataclass(frozen=True, slots=True)
class AcmeServer:
    """An ACME server, and who orders there.

    Args:
        directory: the URL of its directory.
        email: for the account; the issuer may send warnings to it.
        ca_file: the certificates that the server's own one is verified with; None: those of the system.
    """

    directory: str
    email: str
    ca_file: Path | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.directory).hostname or self.directory


class AcmeSession:
    """A connection to an ACME server with an account. Creates the account if there is none yet, which accepts
    the server's terms of service.

    Raises:
        Retry: the server doesn't answer. So do all methods.
        Fault: the server refuses the request. So do all methods.
    """

    def __init__(self, server: AcmeServer, folder: CertificateFolder) -> None:
        self._server = server
        self._folder = folder
        self.key = JWKEC.load(new_key(folder.account_key))
        verify = (
            cast("bool", str(server.ca_file)) if server.ca_file else True
        )  # requests takes a path as well
        self._net = _Network(
            self.key,
            alg=ES256,
            verify_ssl=verify,
            user_agent=f"stager/{__version__}",
            timeout=_TIMEOUT,
        )
        with self._errors():
            self._client = ClientV2(ClientV2.get_directory(server.directory, self._net), self._net)
            self._net.account = messages.RegistrationResource(
                uri=folder.account() or self._register(), body=messages.Registration()
            )

    @property
    def host(self) -> str:
        """The host of the server."""
        return self._server.host

    def _register(self) -> str:
        """The URL of the account of this key."""
        new = messages.NewRegistration.from_data(email=self._server.email, terms_of_service_agreed=True)
        try:
            uri = str(self._client.new_account(new).uri)
        except errors.ConflictError as error:  # an earlier process was killed before it saved the URL
            uri = error.location
        meta = self._client.directory.to_partial_json().get("meta")
        self._folder.save_account(uri, (meta.terms_of_service if meta else None) or "")
        return uri

    def place(self, name: str) -> tuple[str, messages.Order]:
        """Place an order. Returns its URL and state, in one request: the library's own method makes more of
        them, in which the URL could be lost."""
        new = messages.NewOrder(identifiers=[messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name)])
        with self._errors():
            response = self._post(self._client.directory["newOrder"], new)
            return response.headers["Location"], messages.Order.from_json(response.json())

    def order(self, uri: str) -> messages.Order | None:
        """The state of an order; None if the server no longer knows it."""
        try:
            with self._errors():
                state: messages.Order = messages.Order.from_json(self._get(uri).json())
                return state
        except Fault:
            return None

    def authorization(self, uri: str) -> messages.Authorization:
        """The state of an authorization."""
        with self._errors():
            state: messages.Authorization = messages.Authorization.from_json(self._get(uri).json())
            return state

    def answer(self, challenge: messages.ChallengeBody) -> None:
        """Have the server validate a challenge whose answer is published."""
        chall = cast("challenges.KeyAuthorizationChallenge", challenge.chall)
        with self._errors():
            self._client.answer_challenge(challenge, chall.response(self.key))

    def finalize(self, uri: str, order: messages.Order, csr: bytes) -> None:
        """Request the certificate of an order that is ready."""
        with self._errors():
            self._client.begin_finalization(messages.OrderResource(uri=uri, body=order, csr_pem=csr))

    def download(self, uri: str) -> bytes:
        """The certificate with its chain, as PEM."""
        with self._errors():
            return self._get(uri).content

    def _get(self, uri: str) -> requests.Response:
        """A POST-as-GET request (RFC 8555, section 6.3)."""
        return self._post(uri, None)

    def _post(self, uri: str, body: JSONDeSerializable | None) -> requests.Response:
        return self._net.post(uri, body, new_nonce_url=self._client.directory["newNonce"])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the library's errors into Stager's."""
        try:
            yield
        except messages.Error as error:
            if error.code == "accountDoesNotExist":
                self._folder.drop_account()
            if error.code == "serverInternal":
                raise _away(self.host, error.detail or "") from error
            raise Fault(
                f"{self.host} refuses: {problem_of(error)}",
                hint=_HINTS.get(error.code or "", ""),
                reason="acme-limit" if error.code == "rateLimited" else "acme-refused",
            ) from error
        except requests.RequestException as error:
            raise _away(self.host, _why(error)) from error
        except (errors.Error, JoseError, ValueError, KeyError) as error:
            raise _away(self.host, f"its answer is invalid ({error})") from error


class _Network(ClientNetwork):
    """Repeats a request with a new nonce more often than the library does: once may be too few while the
    server is restarted or has several machines (RFC 8555, section 6.5)."""

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(_NONCE_TRIES):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


def problem_of(error: messages.Error) -> str:
    """The sentence in a problem document of the server."""
    text = error.detail or error.title or error.description or error.typ
    return text if text.endswith(".") else f"{text}."


def _away(host: str, why: str) -> Retry:
    return Retry(
        f"The ACME server {host} can't be used: {why or 'it reports an internal error'}.",
        hint="Check `tls.acme.directory`, and that this machine may connect to it.",
        reason="acme-away",
    )


def _why(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its own certificate can't be verified"
    if isinstance(error, requests.Timeout):
        return f"it didn't answer within {_TIMEOUT} s"
    if isinstance(error, requests.ConnectionError):
        return "it can't be reached"
    return str(error)


def new_key(path: Path) -> bytes:
    """Create a private key (P-256) in a file, if there is none, and return it as PEM. Raises OSError."""
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_private(path, pem)
    return path.read_bytes()
