"""A visitor with a browser of their own: keeps cookies as one does, and goes where it is sent."""

from __future__ import annotations

import base64
import json
import os
import socket
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from tests.integration.stager import StagerUnderTest

HTML = {"Accept": "text/html,*/*"}


class Visitor:
    """One person, or one program.

    Args:
        stager: whose front is asked, whatever the host's name resolves to.
        headers: sent with every request.
    """

    def __init__(self, stager: StagerUnderTest, **headers: str) -> None:
        self.cookies: dict[str, dict[str, str]] = {}
        self._stager = stager
        self._headers = headers

    def url(self, slug: str, path: str = "/") -> str:
        return f"http://{self._stager.host(slug)}{path}"

    def ask(self, url: str, method: str = "GET", **how: Any) -> httpx.Response:
        """One request, to the front; a `Set-Cookie` of the answer is kept for this very host."""
        place = urlsplit(url)
        path = place.path + (f"?{place.query}" if place.query else "")
        headers = {"Host": place.netloc, **self._headers, **how.pop("headers", {})}
        if self.cookies.get(place.netloc):
            kept = "; ".join(f"{name}={value}" for name, value in self.cookies[place.netloc].items())
            headers["Cookie"] = "; ".join(filter(None, [headers.get("Cookie", ""), kept]))
        # A client each, because it would keep cookies of its own, for the wrong host.
        with httpx.Client(timeout=60, trust_env=False) as client:
            answer = client.request(method, self._stager.url + (path or "/"), headers=headers, **how)
        for line in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                self.cookies.setdefault(place.netloc, {})[name] = morsel.value
        return answer

    def browse(self, url: str, method: str = "GET", **how: Any) -> tuple[str, httpx.Response]:
        """What a person sees in the end, and at which URL."""
        answer = self.ask(url, method, headers=HTML, **how)
        for _ in range(8):
            if not answer.has_redirect_location:
                return url, answer
            url = urljoin(url, answer.headers["location"])
            answer = self.ask(url, headers=HTML)
        raise AssertionError(f"sent in circles: {url}")

    def echo(self, slug: str, path: str = "/echo", method: str = "GET", **how: Any) -> dict[str, Any]:
        """What the application received of this request."""
        answer = self.ask(self.url(slug, path), method, **how)
        assert answer.status_code == 200, answer.text
        got: dict[str, Any] = json.loads(answer.text)
        return got

    def websocket(self, slug: str, **headers: str) -> tuple[int, bytes]:
        """The status that a WebSocket gets, and what comes back of a greeting."""
        every = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                 "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), **headers}  # fmt: skip
        lines = [
            f"GET /echo HTTP/1.1\r\nHost: {self._stager.host(slug)}",
            *(f"{k}: {v}" for k, v in every.items()),
        ]
        address = ("127.0.0.1", self._stager.port)
        with socket.create_connection(address, 10) as sock, sock.makefile("rb") as reader:
            sock.sendall("\r\n".join([*lines, "", ""]).encode())
            status = int(reader.readline().split()[1])
            while reader.readline().strip():
                pass
            if status != 101:
                return status, b""
            sock.sendall(b"hello")
            return status, reader.read(5)
