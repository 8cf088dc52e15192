"""Where a container listens, by what the kernel tells of its network: `/proc/net/tcp` and `/proc/net/tcp6`.

The files of another network namespace are those of any process in it: `/proc/PID/net`, which every user of
the host may read (proc_pid_net(5)). So neither root nor a shell in the image is needed. Where the engine is
elsewhere, or `/proc` is mounted with `hidepid`, `cat` is run in the container, if its image has that.
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
LISTENS = "0A"
"""TCP_LISTEN in the kernel's include/net/tcp_states.h."""
MOST_READ = 1 << 20
"""Bytes of a file that are read. An application may have any number of connections; listening sockets come
before them."""
READ_TIMEOUT = 5.0
"""Seconds for `cat`."""
RESOLVER = IPv4Address("127.0.0.11")
"""Docker's own name server, which listens in every network that was made for containers."""


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
        text = await _inside(docker, container)
    return None if text is None else listeners(text)


def _of_process(pid: int, container: str) -> str | None:
    """The files' text, read on this host; None where that isn't the host of the container's processes."""
    folder = PROC / str(pid)
    try:
        if container not in (folder / "cgroup").read_text():
            return None  # a process of this host that has the number by chance
        return "\n".join(_read(folder / "net" / name) for name in FILES)
    except OSError:
        return None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_READ).decode("ascii", "replace")
    except FileNotFoundError:  # a kernel without IPv6
        return ""


async def _inside(docker: aiodocker.Docker, container: str) -> str | None:
    paths = [f"/proc/net/{name}" for name in FILES]
    try:
        ran = await run_inside(docker, container, ["cat", *paths], READ_TIMEOUT)
    except StagerError:
        return None
    return ran.output if "local_address" in ran.output else None


def listeners(text: str) -> tuple[Listener, ...]:
    """Who listens, by the text of these files (proc_pid_net(5)); in the order of ports."""
    found = {listener for line in text.splitlines() for listener in _listener(line)}
    return tuple(sorted(found, key=lambda one: (one.port, str(one.address))))


def _listener(line: str) -> Iterator[Listener]:
    words = line.split()
    if len(words) < 4 or words[3] != LISTENS:
        return
    digits, _, port = words[1].partition(":")
    # Each group of 32 bits is written as a number of the machine.
    groups = (int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))
    raw = b"".join(group.to_bytes(4, sys.byteorder) for group in groups)
    address = IPv4Address(raw) if len(raw) == 4 else _plain(IPv6Address(raw))
    if address != RESOLVER:
        yield Listener(address, int(port, 16))


def _plain(address: IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that was bound through an IPv6 socket, as such."""
    return address.ipv4_mapped or address
