"""A listening socket is recognised by its address, in any notation."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from stager.front.process.sockets import Listener, adopt, is_at, listen


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = listen("plain", "127.0.0.1:0")
    yield made
    made.socket.close()


def port_of(listener: Listener) -> int:
    port: int = listener.socket.getsockname()[1]
    return port


def test_an_inherited_one_says_where_it_listens(listener: Listener) -> None:
    with socket.socket(fileno=socket.dup(listener.socket.fileno())) as copy:
        inherited = adopt("plain", copy.detach())
    assert inherited.address == listener.address == f"127.0.0.1:{port_of(listener)}"
    inherited.socket.close()


def test_it_is_found_again_however_its_place_is_written(listener: Listener) -> None:
    port = port_of(listener)
    assert is_at(listener, f"127.0.0.1:{port}")
    assert is_at(listener, "127.0.0.1:0"), "any port was asked for, and this one was given"
    assert is_at(listener, f"localhost:{port}") == (socket.gethostbyname("localhost") == "127.0.0.1")
    assert not is_at(listener, f"127.0.0.1:{port + 1}")
    assert not is_at(listener, f"0.0.0.0:{port}")
    assert not is_at(listener, f":{port}")
