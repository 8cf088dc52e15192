"""A connection to one node by SSH, which forwards Docker's socket and the root helper's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from stager.domain.errors import Retry, StagerError

log = structlog.get_logger(__name__)

DOCKER, HELPER = "docker.sock", "helper.sock"
REMOTE = {DOCKER: "/var/run/docker.sock", HELPER: "/run/stager/helper.sock"}
"""The sockets of a node, by their names here."""

CONNECT_TIMEOUT = 5
"""Seconds for the TCP connection and the key exchange."""
ALIVE_INTERVAL, ALIVE_COUNT = 3, 2
"""A node that doesn't answer for their product, in seconds, is away. Swarm needs about 11 s to find that."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 10.0
"""Seconds between two attempts."""
POLL = 0.02
"""Seconds between two looks whether ssh has connected, which it shows by creating its sockets."""


@dataclass(frozen=True, slots=True)
class SshAccess:
    """How nodes are reached.

    Args:
        key: the private key, which may only forward.
        known_hosts: the nodes' host keys by the id of the node: a new address is accepted, another key
            isn't.
        user: the user on each node, who may open the sockets.
        port: of the SSH servers.
    """

    key: Path
    known_hosts: Path
    user: str = "stager-node"
    port: int = 22


def ssh_command(access: SshAccess, node_id: str, address: str, folder: Path) -> list[str]:
    """The command that forwards the node's sockets to this folder. It ignores the user's configuration."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": access.known_hosts,
        "GlobalKnownHostsFile": "none",
        "HostKeyAlias": node_id,
        "HashKnownHosts": "no",
        "ExitOnForwardFailure": "yes",
        "StreamLocalBindUnlink": "yes",
        "StreamLocalBindMask": "0177",
        "ConnectTimeout": CONNECT_TIMEOUT,
        "ServerAliveInterval": ALIVE_INTERVAL,
        "ServerAliveCountMax": ALIVE_COUNT,
        "LogLevel": "ERROR",
    }
    named = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    forwards = [part for name, remote in REMOTE.items() for part in ("-L", f"{folder / name}:{remote}")]
    target = ["-p", str(access.port), "-l", access.user, "--", address]
    return ["ssh", "-F", "none", "-N", "-T", "-i", str(access.key), *named, *forwards, *target]


class Tunnel:
    """Keeps one `ssh` running.

    Args:
        node_id: the node's id in the swarm.
        folder: for its sockets. Only Stager's user may enter it.
        access: see there.
        address: looks up where the node is now. It may raise StagerError.
    """

    def __init__(
        self, node_id: str, folder: Path, access: SshAccess, address: Callable[[], Awaitable[str]]
    ) -> None:
        self._node_id = node_id
        self._folder = folder
        self._access = access
        self._address = address
        self._connected, self._tried = asyncio.Event(), asyncio.Event()
        self._problem = ""
        self._task = asyncio.create_task(self._keep())

    @property
    def is_connected(self) -> bool:
        """Whether ssh runs and forwards."""
        return self._connected.is_set()

    async def socket(self, name: str) -> Path:
        """The path of one of the sockets, as soon as the first attempt to connect is over.

        Raises:
            Retry: `node-away`.
        """
        await self._tried.wait()
        if not self.is_connected:
            raise Retry(
                f"The node {self._node_id} can't be reached over SSH.",
                hint="Check that the node runs, and that `stager node join` was run there.",
                reason="node-away",
                detail=self._problem,
            )
        return self._folder / name

    async def close(self) -> None:
        """End ssh and remove its sockets."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._remove_sockets()

    async def _keep(self) -> None:
        pause = FIRST_BACKOFF
        while True:
            try:
                was_connected = await self._run()
            except (OSError, StagerError) as error:
                was_connected, self._problem = False, str(error)
            self._tried.set()
            pause = FIRST_BACKOFF if was_connected else min(2 * pause, LONGEST_BACKOFF)
            await asyncio.sleep(pause)

    async def _run(self) -> bool:
        """Run ssh until it ends; returns whether it had connected."""
        self._prepare()
        command = ssh_command(self._access, self._node_id, await self._address(), self._folder)
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._pid_file.write_text(str(process.pid))
        watching = asyncio.create_task(self._notice_connection())
        try:
            _, output = await process.communicate()
        finally:
            watching.cancel()
            was_connected = self.is_connected
            self._connected.clear()
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._problem = (
            output.decode(errors="replace").strip()[-300:] or f"ssh ended with {process.returncode}"
        )
        if was_connected:
            log.warning("node_disconnected", node=self._node_id, error=self._problem)
        return was_connected

    async def _notice_connection(self) -> None:
        while not (self._folder / HELPER).exists():  # noqa: ASYNC110 (ssh gives no other sign)
            await asyncio.sleep(POLL)
        self._connected.set()
        self._tried.set()
        log.info("node_connected", node=self._node_id)

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._end_orphan()
        self._remove_sockets()

    @property
    def _pid_file(self) -> Path:
        return self._folder / "ssh.pid"

    def _end_orphan(self) -> None:
        """End the ssh of a Stager that was killed, which would otherwise run forever."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid_file.read_text())
            if str(self._folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)

    def _remove_sockets(self) -> None:
        for name in REMOTE:
            (self._folder / name).unlink(missing_ok=True)
