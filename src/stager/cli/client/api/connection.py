"""One server, asked over HTTP: credentials go there and nowhere else, and whatever it answers becomes an
ending."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from socket import create_connection
from socket import socket as Socket  # noqa: N812 (a type; `socket` is the method that gives one)
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlencode, urlsplit

import httpx

from stager.cli.client.api.errors import ClientError, Code
from stager.cli.client.auth.strategy import AuthStrategy
from stager.cli.client.output import warn
from stager.cli.client.settings import REQUEST_TIMEOUT, Endpoint
from stager.version import __version__

if TYPE_CHECKING:
    from websockets.http11 import Response
    from websockets.sync.client import ClientConnection

CONNECT_SECONDS = 10.0
JSON = ("application/json", "application/problem+json")
CODES = {401: Code.NOT_SIGNED_IN, 403: Code.NOT_PERMITTED, 404: Code.NOT_FOUND, 410: Code.NOT_FOUND}
"""The exit code of each status that isn't just a failure."""
PASSING = (502, 503, 504)
"""Statuses that may be others in a moment, such as while the server restarts."""
UNKNOWN_CALL = "http"
"""The reason of a 404 or 405 for a call that a server hasn't got."""


class Connection:
    """Asks one server.

    Args:
        timeout: seconds until a request times out.
    """

    def __init__(self, endpoint: Endpoint, timeout: float = REQUEST_TIMEOUT) -> None:
        self.endpoint = endpoint
        self.strategy: AuthStrategy | None = None
        url, host = dialled(endpoint)
        self._client = httpx.Client(
            base_url=url,
            headers={"User-Agent": f"stager/{__version__}", "Accept": "application/json, text/plain", **host},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            verify=_tls(endpoint),
            follow_redirects=False,
            trust_env=not endpoint.is_local,  # a company's proxy doesn't know our loopback interface
        )
        _warn_of(endpoint)

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, **parameters: str | int | bool) -> Any:
        """What the API answers in JSON. Raises `ClientError`."""
        return self._json("GET", path, params=parameters)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Likewise, for what changes something."""
        return self._json("POST", path, json=body)

    def delete(self, path: str) -> Any:
        """Likewise, for what removes something."""
        return self._json("DELETE", path)

    def text(self, path: str, **parameters: str | int | bool) -> str:
        """What the API answers in plain text. Raises `ClientError`."""
        response = self.send("GET", path, params=parameters, headers=self.headers())
        self._check(response, "text/plain")
        return response.text

    @contextmanager
    def lines(self, path: str, **parameters: str | int | bool) -> Iterator[Iterator[str]]:
        """The lines that the API answers, as they come. Raises `ClientError`."""
        patient = httpx.Timeout(None, connect=CONNECT_SECONDS)
        with (
            self._told(),
            self._client.stream(
                "GET", path.lstrip("/"), params=parameters, headers=self.headers(), timeout=patient
            ) as r,
        ):
            if not r.is_success:
                r.read()
            self._check(r, "text/plain")
            yield r.iter_lines()

    @contextmanager
    def socket(self, path: str, query: Sequence[tuple[str, str]]) -> Iterator[ClientConnection]:
        """A WebSocket there. It is dialled directly, whatever proxies there are. Raises `ClientError`."""
        # Costs 100 ms, which only a few commands pay.
        from websockets.exceptions import InvalidStatus, WebSocketException  # noqa: PLC0415
        from websockets.sync.client import connect  # noqa: PLC0415

        parts = urlsplit(self.endpoint.url)
        url = f"{parts.scheme.replace('http', 'ws')}://{parts.netloc}{parts.path}{path}?{urlencode(query)}"
        try:
            # With a socket of ours it follows no redirection.
            opened = connect(
                url,
                sock=self._dial(parts),
                ssl=_tls(self.endpoint) if parts.scheme == "https" else None,
                additional_headers=dict(self.headers()),
                user_agent_header=f"stager/{__version__}",
                open_timeout=REQUEST_TIMEOUT,
            )
        except InvalidStatus as error:
            self._check(_as_answer(error.response, self.endpoint.url))
            raise self._stranger(f"a {error.response.status_code}") from error
        except (WebSocketException, OSError, ValueError) as error:
            raise self._silent(str(error) or type(error).__name__) from error
        with opened:
            yield opened

    def _dial(self, parts: SplitResult) -> Socket:
        host = "127.0.0.1" if (parts.hostname or "").endswith(".localhost") else parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        dialled = create_connection((host, port), CONNECT_SECONDS)
        dialled.settimeout(None)
        return dialled

    def headers(self) -> Mapping[str, str]:
        """By which the server knows who asks."""
        return self.strategy.headers() if self.strategy else {}

    def send(self, method: str, path: str, **how: Any) -> httpx.Response:
        """One request, with no credentials but those in `how`. Raises `ClientError` when nothing answers."""
        with self._told():
            return self._client.request(method, path.lstrip("/"), **how)

    def _json(self, method: str, path: str, **how: Any) -> Any:
        response = self.send(method, path, headers=self.headers(), **how)
        self._check(response, *JSON)
        if response.status_code == 204 or not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise self._stranger("JSON that can't be read") from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns what happens on the network into an ending."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise self._silent("it takes too long") from error
        except httpx.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ClientError(
                    f"The certificate of {self.endpoint.url} isn't one that this machine trusts.",
                    hint="Name your own authority in SSL_CERT_FILE; verify_ssl=false is for tests alone.",
                    code=Code.UNREACHABLE,
                ) from error
            raise self._silent(str(error) or type(error).__name__) from error

    def _silent(self, why: str) -> ClientError:
        return ClientError(
            f"{self.endpoint.url} doesn't answer: {why}.",
            hint="Does Stager run there, and is this its address? `stager configure` shows it.",
            code=Code.UNREACHABLE,
            passes=True,
        )

    def _check(self, response: httpx.Response, *types: str) -> None:
        """Raise what isn't a success of one of these types."""
        if response.is_redirect:
            raise self._redirected(response)
        problem = _problem_of(response)
        if not response.is_success:
            raise self._ending(response, problem) if problem else self._stranger(f"a {response.status_code}")
        given = _type_of(response)
        if response.status_code != httpx.codes.NO_CONTENT and given not in types:
            raise self._stranger(given or "nothing")

    def _ending(self, response: httpx.Response, problem: Mapping[str, Any]) -> ClientError:
        status, reason = response.status_code, str(problem.get("reason", ""))
        if reason == UNKNOWN_CALL and status in (404, 405):
            return self._mismatch()
        hint = str(problem.get("detail", ""))
        if status == 401:
            return ClientError(
                f"{self.endpoint.url} doesn't know who asks.",
                hint=hint or "Run `stager login`, or set STAGER_TOKEN.",
                code=Code.NOT_SIGNED_IN,
                reason=reason,
            )
        return ClientError(
            str(problem.get("title", "")),
            hint=hint,
            code=CODES.get(status, Code.FAILED),
            reason=reason,
            passes=status in PASSING,
            lines=tuple(str(line) for line in problem.get("lines", [])),
        )

    def _redirected(self, response: httpx.Response) -> ClientError:
        target = urlsplit(str(response.url.join(response.headers.get("location", ""))))
        place = f"{target.scheme}://{target.netloc}"
        return ClientError(
            f"{self.endpoint.url} sends us on to {place}, which gets no credentials by itself.",
            hint=f"If that is your Stager: stager configure endpoint={place}",
            code=Code.UNREACHABLE,
        )

    def _stranger(self, what: str) -> ClientError:
        return ClientError(
            f"What answers at {self.endpoint.url} isn't Stager, or is a proxy before it: it sent {what}.",
            hint="Does it run, and is this its address?",
            code=Code.UNREACHABLE,
        )

    def _mismatch(self) -> ClientError:
        return ClientError(
            f"This server hasn't got what this command needs. Its version is {self._servers_version()}, "
            f"this client's is {__version__}.",
            hint="Have the same version on both ends.",
        )

    def _servers_version(self) -> str:
        try:
            return str(self.send("GET", "/openapi.json").json()["info"]["version"])
        except (ClientError, ValueError, KeyError, TypeError):
            return "unknown"


def _tls(endpoint: Endpoint) -> SSLContext:
    """The TLS settings for an endpoint. For `http://`, certificate authorities aren't loaded (25 ms)."""
    if endpoint.url.startswith("http://"):
        return SSLContext(PROTOCOL_TLS_CLIENT)
    return httpx.create_ssl_context(verify=endpoint.verify_ssl)


def dialled(endpoint: Endpoint) -> tuple[str, dict[str, str]]:
    """The URL that is dialled, and the Host that is asked for. Names below `localhost` are this machine
    (RFC 6761, 6.3), which browsers know and Python doesn't."""
    parts = urlsplit(endpoint.url)
    if parts.scheme == "http" and (parts.hostname or "").endswith(".localhost"):
        port = f":{parts.port}" if parts.port else ""
        return f"http://127.0.0.1{port}{parts.path}/", {"Host": parts.netloc}
    return f"{endpoint.url}/", {}


def _as_answer(response: Response, url: str) -> httpx.Response:
    """What a server answers in place of opening a WebSocket, as any other answer."""
    headers = httpx.Headers(list(response.headers.raw_items()))
    request = httpx.Request("GET", url)
    content = bytes(response.body)
    return httpx.Response(response.status_code, headers=headers, content=content, request=request)


def _warn_of(endpoint: Endpoint) -> None:
    if endpoint.is_local:
        return
    if endpoint.url.startswith("http:"):
        warn(f"{endpoint.url} isn't encrypted: whoever is on the way reads your credentials.")
    elif not endpoint.verify_ssl:
        warn(f"verify_ssl=false: whoever is on the way can be {endpoint.url}, and reads your credentials.")


def _type_of(response: httpx.Response) -> str:
    given: str = response.headers.get("content-type", "")
    return given.partition(";")[0].strip().lower()


def _problem_of(response: httpx.Response) -> Mapping[str, Any] | None:
    """The problem (RFC 9457) that an answer tells of; None when it isn't one."""
    if _type_of(response) != "application/problem+json":
        return None
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) and "title" in found else None
