"""Positions in the output of containers, and the parsing of Docker's log streams."""

from __future__ import annotations

import struct

import pytest

from stager.engines.docker.log_messages import Frames, Lines
from stager.engines.docker.output import EARLIER, position_of

AT = "2026-12-01T05:00:30.123456789Z"


def framed(text: bytes) -> bytes:
    return struct.pack(">BxxxL", 1, len(text)) + text


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_may_arrive_in_any_parts(size: int) -> None:
    messages = [f"{AT} {word}\n".encode() for word in ("one", "two  ", "ä")]
    stream, parts = b"".join(map(framed, messages)) + framed(b""), Frames()
    found = [each for at in range(0, len(stream), size) for each in parts.feed(stream[at : at + size])]

    assert found == [(AT, b"one\n"), (AT, b"two  \n"), (AT, "ä\n".encode())]


def test_lines_of_a_terminal() -> None:
    parts = Lines()
    assert list(parts.feed(f"{AT} one\r\n{AT} tw".encode())) == [(AT, b"one\r\n")]
    assert list(parts.feed(b"o\r\n" + f"{AT} $ ".encode())) == [(AT, b"two\r\n")]
    assert list(parts.rest()) == [(AT, b"$ ")]


def test_a_position_is_read_as_it_is_written() -> None:
    position = position_of(f"{AT}/12")

    assert position is not None
    assert str(position) == f"{AT}/12"
    assert position.moved(EARLIER) == "2026-12-01T05:01:30.123456789Z"
    assert position.since.endswith(".123456789")


@pytest.mark.parametrize(
    "text",
    ["", AT, f"{AT}/0", f"{AT}/-1", f"{AT}/x", f"{AT}/1/1", "2026-13-01T05:00:30.123456789Z/1",
     "0001-01-01T00:00:00.000000000Z/1", "9999-12-31T23:59:59.000000000Z/1", f"{AT}/{'9' * 10}"],
)  # fmt: skip
def test_what_isnt_a_position(text: str) -> None:
    assert position_of(text) is None
