"""What the kernel's files say, taken apart."""

from __future__ import annotations

import sys

import pytest

from stager.engines.docker.network.listening_ports import listeners

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
LITTLE = pytest.mark.skipif(sys.byteorder != "little", reason="the samples are of a little-endian machine")


@LITTLE
@pytest.mark.parametrize(
    ("local", "shown"),
    [
        ("00000000:1F90", "0.0.0.0:8080"),
        ("0100007F:0BB8", "127.0.0.1:3000"),
        ("0200C80A:0050", "10.200.0.2:80"),
        ("00000000000000000000000000000000:1F90", "[::]:8080"),
        ("00000000000000000000000001000000:1F90", "[::1]:8080"),
        ("0000000000000000FFFF00000100007F:1F90", "127.0.0.1:8080"),
    ],
)
def test_addresses(local: str, shown: str) -> None:
    line = f"   0: {local} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1 0 100 0 0 10 0"
    assert [str(one) for one in listeners(f"{HEADER}\n{line}\n")] == [shown]


@LITTLE
def test_connections_and_dockers_name_server_dont_count() -> None:
    lines = [
        "   0: 0B00007F:A1B2 00000000:0000 0A 00000000:00000000",
        "   1: 0100007F:1F90 0100007F:A000 01 00000000:00000000",
        "   2: 0100007F:1F90 0100007F:A000 06 00000000:00000000",
    ]
    assert listeners("\n".join([HEADER, *lines, HEADER, ""])) == ()


def test_nothing() -> None:
    assert listeners("") == ()
