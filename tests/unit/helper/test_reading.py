"""What the helper reads besides: name servers, and the kernel's word of what was blocked."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stager.helper.firewall.rejections import BRIDGES, TARGETS, Blocked, Packet, packets
from stager.helper.firewall.resolvers import MAX_SERVERS, read_resolvers


def test_name_servers_of_the_machine_and_of_docker(tmp_path: Path) -> None:
    conf, real, daemon = tmp_path / "resolv.conf", tmp_path / "real.conf", tmp_path / "daemon.json"
    conf.write_text("# nameserver 1.1.1.1\nnameserver 127.0.0.53\nsearch example.org\nnameserver ::1\n")
    real.write_text("nameserver 10.0.0.2\nnameserver fd00::2%eth0\nnameserver rubbish\nnameserver\n")
    daemon.write_text('{"dns": ["9.9.9.9", "10.0.0.2", "-j ACCEPT"]}')
    assert read_resolvers([conf, real], daemon) == ("9.9.9.9", "10.0.0.2", "fd00::2")
    for broken in ("", "[]", '{"dns": "9.9.9.9"}', '{"dns": null}', "\xff"):
        daemon.write_text(broken)
        assert read_resolvers([conf, real, tmp_path / "none"], daemon) == ("10.0.0.2", "fd00::2")
    conf.write_text("".join(f"nameserver 10.0.0.{n}\n" for n in range(1, 200)))
    assert len(read_resolvers([conf], daemon)) == MAX_SERVERS


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def message(interface: int, packet: bytes) -> bytes:
    body = b"\x02\0\0\0" + attribute(4, struct.pack(">I", interface)) + attribute(9, packet)
    return struct.pack("=IHHII", 16 + len(body), 4 << 8, 0, 0, 0) + body


def v4(address: str, protocol: int, port: int) -> bytes:
    head = bytes([0x46]) + b"\0" * 8 + bytes([protocol]) + b"\0" * 6 + ip_address(address).packed + b"\0" * 4
    return head + struct.pack(">HH", 40000, port)


def v6(address: str, protocol: int, port: int) -> bytes:
    head = bytes([0x60]) + b"\0" * 5 + bytes([protocol]) + b"\0" * 17 + ip_address(address).packed
    return head + struct.pack(">HH", 40000, port)


def test_what_the_kernel_lists_is_read() -> None:
    several = (
        message(7, v4("10.0.0.5", 6, 5432))
        + message(8, v6("fd00::5", 17, 53))
        + message(9, v4("10.1.1.1", 1, 9))
    )
    assert list(packets(several)) == [
        Packet(7, "10.0.0.5", 5432, "tcp"),
        Packet(8, "fd00::5", 53, "udp"),
        Packet(9, "10.1.1.1", 0, "icmp"),
    ]


@given(st.binary(max_size=80), st.integers(0, 40))
def test_rubbish_is_left_out(rubbish: bytes, cut: int) -> None:
    """A preview makes up its packets, and the end of a long one is cut off."""
    list(packets(rubbish))
    whole = message(7, rubbish)
    list(packets(whole[: len(whole) - cut]))
    [*_, last] = [*packets(message(7, v4("10.0.0.5", 6, 80)[: 28 + cut // 8])), None][-2:]
    assert last is None or last.address == "10.0.0.5"


def test_counts_are_bounded_and_the_latest_are_kept() -> None:
    now = [0.0]
    blocked = Blocked(lambda: now[0])
    for port in range(1, 1000):
        blocked.add("pvtab1200000001", Packet(1, "10.0.0.5", port, "tcp"))
    now[0] = 5.5
    blocked.add("pvtab1200000001", Packet(1, "10.0.0.5", 999, "tcp"))
    rows = blocked.rows("ab12")
    assert len(rows) == TARGETS
    assert rows[-1] == {
        "bridge": "pvtab1200000001", "address": "10.0.0.5", "port": 999, "protocol": "tcp",
        "count": 2, "last": 5,
    }  # fmt: skip
    for number in range(BRIDGES + 5):
        blocked.add(f"pvtcd34{number:08x}", Packet(1, "10.0.0.5", 1, "tcp"))
    assert len(blocked.rows()) == BRIDGES
    assert blocked.rows("ab12") == []
