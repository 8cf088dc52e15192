"""Who reads the figures of a real Stager: not those who come through the front without credentials, however
they ask. On the control socket no credentials are wanted."""

from __future__ import annotations

import socket

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.stager import PASSWORD, PATIENCE, USER, StagerUnderTest, basic

REQUESTS = {
    "plain": "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    "HTTP/1.0": "GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n",
    "HTTP/1.0, kept": "GET /metrics HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n",
    "no Host": "GET /metrics HTTP/1.0\r\n\r\n",
    "whole address": "GET http://{host}/metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    "forwarding headers are hop-by-hop": (
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\n"
        "Connection: close, X-Forwarded-For, X-Forwarded-Proto, X-Real-IP, Forwarded\r\n"
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n\r\n"
    ),
    "empty ones": (
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        "X-Forwarded-For:\r\nX-Forwarded-Proto:\r\nX-Real-IP:\r\nForwarded:\r\n\r\n"
    ),
    "unknown ones": (
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        "X-Forwarded-For: , ,\r\nX-Forwarded-Proto: gopher, \r\nForwarded: =;,\r\n\r\n"
    ),
    "an invented loopback address": (
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
    ),
    "long ones": (
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        "X-Forwarded-For: " + "192.0.2.1, " * 400 + "192.0.2.1\r\n\r\n"
    ),
    "a websocket's": (
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ),
    "HEAD": "HEAD /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
    "with a body": (
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 41\r\n\r\n"
        "GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"
    ),
}


def answer_of(connection: socket.socket, text: str) -> str:
    """All that comes back until the other side hangs up, or is silent for a second after something came."""
    connection.settimeout(PATIENCE)
    connection.sendall(text.encode())
    answer = b""
    try:
        while piece := connection.recv(1 << 16):
            answer += piece
            connection.settimeout(1.0)
    except TimeoutError:
        pass
    return answer.decode()


def asked(stager: StagerUnderTest, text: str) -> str:
    """What the front answers, asked from this machine."""
    host = f"localhost:{stager.port}"
    with socket.create_connection(("127.0.0.1", stager.port)) as connection:
        return answer_of(connection, text.replace("{host}", host))


@pytest.mark.parametrize("trusted", [["127.0.0.0/8", "::1"], []], ids=["proxies", "none"])
def test_the_front_requires_credentials_for_them(make_stager: MakeStager, trusted: list[str]) -> None:
    stager = make_stager(trusted_proxies=trusted)
    found = {name: asked(stager, text) for name, text in REQUESTS.items()}
    assert not [name for name, answer in found.items() if "stager_" in answer or " 200 " in answer[:20]], (
        found
    )
    for name in ("plain", "HTTP/1.0", "whole address", "forwarding headers are hop-by-hop", "empty ones"):
        assert " 401 " in found[name][:20], (name, found[name])

    known = f"Connection: close\r\nAuthorization: {basic(USER, PASSWORD)}\r\n"
    assert "stager_" in asked(stager, REQUESTS["plain"].replace("Connection: close\r\n", known))
    with socket.socket(socket.AF_UNIX) as ours:
        ours.connect(str(stager.state / "control.sock"))
        assert "stager_" in answer_of(ours, REQUESTS["plain"].replace("{host}", "stager"))
