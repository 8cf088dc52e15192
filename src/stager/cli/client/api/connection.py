"""HTTP connection to one server. Credentials are sent to that server only; failures become `ClientError`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
UPLOAD_SECONDS = 300.0
"""Seconds for one piece of a stream, and for the response to a streamed body."""
JSON = ("application/json", "application/problem+json")
CODES = {401: Code.NOT_SIGNED_IN, 403: Code.NOT_PERMITTED, 404: Code.NOT_FOUND, 410: Code.NOT_FOUND}
"""Exit codes by status; all others are `FAILED`."""
TRANSIENT = (502, 503, 504)
"""Statuses that are retried, such as while the server restarts."""
UNKNOWN_ROUTE = "http"
"""The reason of a 404 or 405 for a route that the server doesn't have."""


class Connection:
    """A connection to one server.

    Args:
        timeout: seconds until a request times out.
    """

    def __init__(self, endpoint: Endpoint, timeout: float = REQUEST_TIMEOUT) -> None:
        self.endpoint = endpoint
        self.strategy: AuthStrategy | None = None
        url, host = connection_target(endpoint)
        self._client = httpx.Client(
            base_url=url,
            headers={"User-Agent": f"stager/{__version__}", "Accept": "application/json, text/plain", **host},
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
            verify=_tls(endpoint),
            follow_redirects=False,
            trust_env=not endpoint.is_local,  # a proxy can't reach this machine's loopback interface
        )
        _warn_of(endpoint)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def get(self, path: str, **parameters: str | int | bool) -> Any:
        """Send a GET request and return the JSON response. Raises `ClientError`."""
        return self._json("GET", path, params=parameters)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a POST request and return the JSON response. Raises `ClientError`."""
        return self._json("POST", path, json=body)

    def delete(self, path: str) -> Any:
        """Send a DELETE request and return the JSON response. Raises `ClientError`."""
        return self._json("DELETE", path)

    def text(self, path: str, **parameters: str | int | bool) -> str:
        """Send a GET request and return the plain-text response. Raises `ClientError`."""
        response = self.send("GET", path, params=parameters, headers=self.headers())
        self._check(response, "text/plain")
        return response.text

    @contextmanager
    def lines(self, path: str, **parameters: str | int | bool) -> Iterator[Iterator[str]]:
        """Send a GET request and stream the lines of the response. Raises `ClientError`."""
        no_timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        with (
            self._network_errors(),
            self._client.stream(
                "GET", path.lstrip("/"), params=parameters, headers=self.headers(), timeout=no_timeout
            ) as r,
        ):
            if not r.is_success:
                r.read()
            self._check(r, "text/plain")
            yield r.iter_lines()

    def upload(self, path: str, content: Iterable[bytes], **parameters: str) -> Any:
        """Stream a body with a POST request and return the JSON response. Raises `ClientError`."""
        headers = {**self.headers(), "Content-Type": "application/octet-stream"}
        timeout = httpx.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS)
        response = self.send(
            "POST", path, params=parameters, content=content, headers=headers, timeout=timeout
        )
        self._check(response, *JSON)
        return response.json()

    @contextmanager
    def download(self, path: str, content_type: str = "application/x-tar") -> Iterator[Iterator[bytes]]:
        """Send a GET request and stream the file of the response. Raises `ClientError`."""
        timeout = httpx.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS)
        with (
            self._network_errors(),
            self._client.stream("GET", path.lstrip("/"), headers=self.headers(), timeout=timeout) as r,
        ):
            if not r.is_success:
                r.read()
            self._check(r, content_type)
            yield r.iter_bytes()

    @contextmanager
    def socket(self, path: str, query: Sequence[tuple[str, str]]) -> Iterator[ClientConnection]:
        """Open a WebSocket, without a proxy. Raises `ClientError`."""
        # Importing websockets costs 100 ms, and only `stager exec` needs it.
        from websockets.exceptions import InvalidStatus, WebSocketException  # noqa: PLC0415
        from websockets.sync.client import connect  # noqa: PLC0415

        parts = urlsplit(self.endpoint.url)
        url = f"{parts.scheme.replace('http', 'ws')}://{parts.netloc}{parts.path}{path}?{urlencode(query)}"
        try:
            # Given a socket, `connect` follows no redirects.
            opened = connect(
                url,
                sock=self._connect(parts),
                ssl=_tls(self.endpoint) if parts.scheme == "https" else None,
                additional_headers=dict(self.headers()),
                user_agent_header=f"stager/{__version__}",
                open_timeout=REQUEST_TIMEOUT,
            )
        except InvalidStatus as error:
            self._check(_as_http_response(error.response, self.endpoint.url))
            raise self._not_stager(f"status {error.response.status_code}") from error
        except (WebSocketException, OSError, ValueError) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        with opened:
            yield opened

    def _connect(self, parts: SplitResult) -> Socket:
        host = "127.0.0.1" if (parts.hostname or "").endswith(".localhost") else parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        connection = create_connection((host, port), CONNECT_SECONDS)
        connection.settimeout(None)
        return connection

    def headers(self) -> Mapping[str, str]:
        """The headers that authenticate requests."""
        return self.strategy.headers() if self.strategy else {}

    def send(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Send a request without adding credentials. Raises `ClientError` when the server doesn't answer."""
        with self._network_errors():
            return self._client.request(method, path.lstrip("/"), **how)

    def _json(self, method: str, path: str, **how: Any) -> Any:
        response = self.send(method, path, headers=self.headers(), **how)
        self._check(response, *JSON)
        if response.status_code == 204 or not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise self._not_stager("invalid JSON") from error

    @contextmanager
    def _network_errors(self) -> Iterator[None]:
        """Turn network errors into `ClientError`."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise self._unreachable("the request timed out") from error
        except httpx.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ClientError(
                    f"The certificate of {self.endpoint.url} isn't trusted.",
                    hint="Set SSL_CERT_FILE to your authority's certificate. For tests: verify_ssl=false.",
                    code=Code.UNREACHABLE,
                ) from error
            raise self._unreachable(str(error) or type(error).__name__) from error

    def _unreachable(self, why: str) -> ClientError:
        return ClientError(
            f"{self.endpoint.url} doesn't answer: {why}.",
            hint="Check that the server is running and that the endpoint is right: `stager configure`.",
            code=Code.UNREACHABLE,
            is_transient=True,
        )

    def _check(self, response: httpx.Response, *types: str) -> None:
        """Raise `ClientError` unless the response is a success with one of these media types."""
        if response.is_redirect:
            raise self._redirected(response)
        problem = _problem_of(response)
        if not response.is_success:
            raise (
                self._error(response, problem)
                if problem
                else self._not_stager(f"status {response.status_code}")
            )
        given = _type_of(response)
        if response.status_code != httpx.codes.NO_CONTENT and given not in types:
            raise self._not_stager(given or "no content type")

    def _error(self, response: httpx.Response, problem: Mapping[str, Any]) -> ClientError:
        status, reason = response.status_code, str(problem.get("reason", ""))
        if reason == UNKNOWN_ROUTE and status in (404, 405):
            return self._mismatch()
        hint = str(problem.get("detail", ""))
        if status == 401:
            return ClientError(
                f"Not signed in to {self.endpoint.url}.",
                hint=hint or "Run `stager login`, or set STAGER_TOKEN.",
                code=Code.NOT_SIGNED_IN,
                reason=reason,
            )
        return ClientError(
            str(problem.get("title", "")),
            hint=hint,
            code=CODES.get(status, Code.FAILED),
            reason=reason,
            is_transient=status in TRANSIENT,
            lines=tuple(str(line) for line in problem.get("lines", [])),
        )

    def _redirected(self, response: httpx.Response) -> ClientError:
        target = urlsplit(str(response.url.join(response.headers.get("location", ""))))
        target_url = f"{target.scheme}://{target.netloc}"
        return ClientError(
            f"{self.endpoint.url} redirects to {target_url}, and redirects aren't followed.",
            hint=f"If that is your server: stager configure endpoint={target_url}",
            code=Code.UNREACHABLE,
        )

    def _not_stager(self, what: str) -> ClientError:
        return ClientError(
            f"The response of {self.endpoint.url} isn't from Stager: {what}.",
            hint="Check the endpoint, and whether a proxy in front of the server reports an error.",
            code=Code.UNREACHABLE,
        )

    def _mismatch(self) -> ClientError:
        return ClientError(
            f"The server doesn't support this command. The server's version is {self._server_version()}, "
            f"the client's is {__version__}.",
            hint="Install the same version on the client and the server.",
        )

    def _server_version(self) -> str:
        try:
            return str(self.send("GET", "/openapi.json").json()["info"]["version"])
        except (ClientError, ValueError, KeyError, TypeError):
            return "unknown"


def _tls(endpoint: Endpoint) -> SSLContext:
    """The TLS settings for an endpoint. For `http://`, certificate authorities aren't loaded (25 ms)."""
    if endpoint.url.startswith("http://"):
        return SSLContext(PROTOCOL_TLS_CLIENT)
    return httpx.create_ssl_context(verify=endpoint.verify_ssl)


def connection_target(endpoint: Endpoint) -> tuple[str, dict[str, str]]:
    """Return the URL to connect to and the Host header. Subdomains of `localhost` are this machine (RFC 6761,
    6.3); browsers resolve them, Python doesn't."""
    parts = urlsplit(endpoint.url)
    if parts.scheme == "http" and (parts.hostname or "").endswith(".localhost"):
        port = f":{parts.port}" if parts.port else ""
        return f"http://127.0.0.1{port}{parts.path}/", {"Host": parts.netloc}
    return f"{endpoint.url}/", {}


def _as_http_response(response: Response, url: str) -> httpx.Response:
    """The response to a rejected WebSocket handshake, as one of httpx."""
    headers = httpx.Headers(list(response.headers.raw_items()))
    request = httpx.Request("GET", url)
    content = bytes(response.body)
    return httpx.Response(response.status_code, headers=headers, content=content, request=request)


def _warn_of(endpoint: Endpoint) -> None:
    if endpoint.is_local:
        return
    if endpoint.url.startswith("http:"):
        warn(f"{endpoint.url} isn't encrypted: others on the network can read your credentials.")
    elif not endpoint.verify_ssl:
        warn(
            f"the certificate of {endpoint.url} isn't verified: others on the network can read your"
            " credentials."
        )


def _type_of(response: httpx.Response) -> str:
    given: str = response.headers.get("content-type", "")
    return given.partition(";")[0].strip().lower()


def _problem_of(response: httpx.Response) -> Mapping[str, Any] | None:
    """Return the problem document (RFC 9457) of a response; None when it has none."""
    if _type_of(response) != "application/problem+json":
        return None
    try:
        found = response.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) and "title" in found else None
