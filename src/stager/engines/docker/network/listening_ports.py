"""The ports on which a container listens, read from the kernel: `/proc/net/tcp` and `/proc/net/tcp6`.

The files of another network namespace are at `/proc/PID/net` of any process in it, which all users of the
host may read (proc_pid_net(5)), so neither root nor a shell in the image is needed. If the engine runs
elsewhere, or `/proc` is mounted with `hidepid`, `cat` is run in the container, if its image has it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import aiodocker

from stager.domain.errors import StagerError
from stager.engines.docker.client import engine_errors
from stager.engines.docker.exec_in_container import run_inside
from stager.ports.engine import Listener

PROC = Path("/proc")
FILES = ("tcp", "tcp6")
LISTEN_STATE = "0A"
"""TCP_LISTEN in the kernel's include/net/tcp_states.h."""
MAX_READ = 1 << 20
"""Maximum number of bytes read from a file. An application may have many connections; listening sockets are
listed before them."""
READ_TIMEOUT = 5.0
"""Seconds for `cat`."""
RESOLVER = IPv4Address("127.0.0.11")
"""Docker's name server, which listens in the network namespace of each container."""


async def listeners_of(docker: aiodocker.Docker, container: str) -> tuple[Listener, ...] | None:
    """See `ports.engine.Instances.listeners`."""
    with engine_errors():
        try:
            state: dict[str, Any] = (await docker.containers.container(container).show())["State"]
        except aiodocker.DockerError as error:
            if error.status != 404:
                raise
            return None
    if not state["Running"]:
        return None
    text = _of_process(int(state["Pid"]), container)
    if text is None:
        text = await _in_container(docker, container)
    return None if text is None else listeners(text)


def _of_process(pid: int, container: str) -> str | None:
    """Read the files on this host; None if the container's processes run on another host."""
    folder = PROC / str(pid)
    try:
        if container not in (folder / "cgroup").read_text():
            return None  # a process of this host with the same id
        return "\n".join(_read(folder / "net" / name) for name in FILES)
    except OSError:
        return None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_READ).decode("ascii", "replace")
    except FileNotFoundError:  # a kernel without IPv6
        return ""


async def _in_container(docker: aiodocker.Docker, container: str) -> str | None:
    paths = [f"/proc/net/{name}" for name in FILES]
    try:
        ran = await run_inside(docker, container, ["cat", *paths], READ_TIMEOUT)
    except StagerError:
        return None
    return ran.output if "local_address" in ran.output else None


def listeners(text: str) -> tuple[Listener, ...]:
    """Parse the text of these files (proc_pid_net(5)); the result is sorted by port."""
    found = {listener for line in text.splitlines() for listener in _listener(line)}
    return tuple(sorted(found, key=lambda one: (one.port, str(one.address))))


def _listener(line: str) -> Iterator[Listener]:
    words = line.split()
    if len(words) < 4 or words[3] != LISTEN_STATE:
        return
    digits, _, port = words[1].partition(":")
    # Each group of 32 bits is written as a number in host byte order.
    groups = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
    raw = b"".join(group.to_bytes(4, sys.byteorder) for group in groups)
    address = IPv4Address(raw) if len(raw) == 4 else _plain(IPv6Address(raw))
    if address != RESOLVER:
        yield Listener(address, int(port, 16))


def _plain(address: IPv6Address) -> IPv4Address | IPv6Address:
    """Return an IPv4-mapped address as IPv4 address."""
    return address.ipv4_mapped or address
