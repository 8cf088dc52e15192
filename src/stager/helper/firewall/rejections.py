"""Rejected packets, as the kernel reports them with NFLOG (nfnetlink_log), counted per bridge.

The group is bound in this process's network namespace, and needs `CAP_NET_ADMIN`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

log = logging.getLogger("stager-helper")

NETLINK_NETFILTER = 12
ULOG = 4 << 8
"""`NFNL_SUBSYS_ULOG`, in a message's type; + 1 is `NFULNL_MSG_CONFIG`. linux/netfilter/nfnetlink_log.h."""
BIND, COPY_PACKET = 1, 2
CFG_CMD, CFG_MODE = 1, 2
INDEV, PAYLOAD = 4, 9
REQUEST_ACK = 1 | 4
ERROR = 2
HEADER = struct.Struct("=IHHII")
"""`struct nlmsghdr`: length, type, flags, sequence, port."""
RANGE = 64
"""Bytes of a packet that are needed: the IP header and the ports."""

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp"}
TARGETS, BRIDGES = 32, 1000
"""Maximum number of targets per bridge, and of bridges; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A rejected packet. The port is 0 if the protocol has none."""

    interface: int
    address: str
    port: int
    protocol: str


class Blocked:
    """Counts of rejected packets. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._bridges: OrderedDict[str, OrderedDict[tuple[str, int, str], tuple[int, float]]] = OrderedDict()

    def add(self, bridge: str, packet: Packet) -> None:
        """Count a packet."""
        target = (packet.address, packet.port, packet.protocol)
        with self._lock:
            counts = self._bridges.setdefault(bridge, OrderedDict())
            counts[target] = (counts.get(target, (0, 0.0))[0] + 1, self._clock())
            counts.move_to_end(target)
            self._bridges.move_to_end(bridge)
            if len(counts) > TARGETS:
                counts.popitem(last=False)
            if len(self._bridges) > BRIDGES:
                self._bridges.popitem(last=False)

    def rows(self, infix: str = "") -> list[dict[str, object]]:
        """Return all counts, or those of bridges whose names have this after the prefix."""
        with self._lock:
            return [
                {
                    "bridge": bridge, "address": address, "port": port, "protocol": protocol,
                    "count": count, "last": int(last),
                }
                for bridge, counts in self._bridges.items()
                if bridge[3:].startswith(infix)
                for (address, port, protocol), (count, last) in counts.items()
            ]  # fmt: skip


class Listener:
    """Receives packets from the kernel in a thread, and counts them."""

    def __init__(self, group: int, blocked: Blocked) -> None:
        self._blocked = blocked
        self._socket = _bound(group)
        self._thread = threading.Thread(target=self._listen, name="nflog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                data = self._socket.recv(1 << 16)
            except OSError as error:
                if self._socket.fileno() < 0:
                    return
                log.info("nflog: %s", error)  # packets were lost; the counts are a lower bound
                continue
            for packet in packets(data):
                with contextlib.suppress(OSError):  # the bridge was removed
                    self._blocked.add(socket.if_indextoname(packet.interface), packet)


def packets(data: bytes) -> Iterator[Packet]:
    """Parse a datagram from the kernel; invalid messages are skipped."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        if kind == ULOG:
            attributes = dict(_attributes(data[offset + HEADER.size + 4 : offset + length]))
            with contextlib.suppress(struct.error, KeyError, ValueError):
                [interface] = struct.unpack(">I", attributes[INDEV])
                yield _packet(interface, attributes[PAYLOAD])
        offset += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x7FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def _packet(interface: int, packet: bytes) -> Packet:
    """Parse an IP header (RFC 791, RFC 8200). Raises struct.error, ValueError."""
    if not packet:
        raise ValueError("empty")
    if packet[0] >> 4 == 4:
        start, [number], address = (packet[0] & 15) * 4, struct.unpack_from(">B", packet, 9), packet[16:20]
    else:
        start, [number], address = 40, struct.unpack_from(">B", packet, 6), packet[24:40]
    port = struct.unpack_from(">H", packet, start + 2)[0] if number in (6, 17) else 0
    return Packet(interface, str(ip_address(address)), port, PROTOCOLS.get(number, str(number)))


def _bound(group: int) -> socket.socket:
    """Return a netlink socket that receives this group's packets. Raises OSError."""
    bound = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    try:
        bound.settimeout(2.0)
        _configure(bound, group, CFG_CMD, struct.pack("=B", BIND))
        _configure(bound, group, CFG_MODE, struct.pack(">IBx", RANGE, COPY_PACKET))
        bound.settimeout(None)
    except OSError:
        bound.close()
        raise
    return bound


def _configure(bound: socket.socket, group: int, kind: int, value: bytes) -> None:
    attribute = struct.pack("=HH", 4 + len(value), kind) + value
    body = struct.pack(">BBH", 0, 0, group) + attribute + b"\0" * (-len(attribute) % 4)
    bound.send(HEADER.pack(HEADER.size + len(body), ULOG | 1, REQUEST_ACK, 0, 0) + body)
    answer = bound.recv(1 << 16)
    _, type_, *_ = HEADER.unpack_from(answer)
    [code] = struct.unpack_from("=i", answer, HEADER.size)
    if type_ == ERROR and code:
        raise OSError(-code, "nfnetlink_log reports an error")
