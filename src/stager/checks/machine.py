"""The disk and the port."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from stager.ports.diagnostics import Finding, Verdict

LITTLE, LEAST = 5 << 30, 1 << 30
"""Bytes free of which more should be, and without which soon nothing works."""
LOOPBACK = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 (nobody listens here)
GIGABYTE = 1 << 30


class Disk:
    """How much is free where Stager writes.

    Args:
        path: a folder of Stager's, or where there will be one.
    """

    subject = "disk"

    def __init__(self, path: Path) -> None:
        self._path = path

    async def look(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.look`."""
        there = next(path for path in (self._path, *self._path.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free
        verdict = Verdict.WRONG if free < LEAST else Verdict.WARNING if free < LITTLE else Verdict.FINE
        hint = "" if verdict is Verdict.FINE else "`docker system df` tells what takes it."
        return [Finding(self.subject, verdict, f"{free / GIGABYTE:.1f} GB are free in {self._path}.", hint)]


class Port:
    """Whether we listen where we should, or could.

    Args:
        is_ours: whether our front runs and should be there.
    """

    subject = "port"

    def __init__(self, host: str, port: int, *, is_ours: bool) -> None:
        self._host, self._port = host, port
        self._is_ours = is_ours

    async def look(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.look`."""
        where = f"{self._host}:{self._port}"
        if not self._port:
            return [Finding(self.subject, Verdict.FINE, "The system chooses the port.")]
        if self._is_ours:
            return [await self._answers(where)]
        return [self._can_be_had(where)]

    async def _answers(self, where: str) -> Finding:
        try:
            host = LOOPBACK.get(self._host, self._host)
            _, writer = await asyncio.open_connection(host, self._port)
        except OSError as error:
            hint = "`stager status` tells whether the front runs; its log is in the `state_dir`."
            return Finding(
                self.subject, Verdict.WRONG, f"Nothing answers at {where}: {error.strerror}.", hint
            )
        writer.close()
        return Finding(self.subject, Verdict.FINE, f"The front answers at {where}.")

    def _can_be_had(self, where: str) -> Finding:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self._host, self._port))
        except PermissionError:
            hint = "Ports below 1024 take root, or `AmbientCapabilities=CAP_NET_BIND_SERVICE` in the unit."
            return Finding(self.subject, Verdict.WRONG, f"{where} may not be listened at.", hint)
        except OSError as error:
            hint = f"`ss -ltnp 'sport = :{self._port}'` tells by whom; or choose another `listen`."
            return Finding(self.subject, Verdict.WRONG, f"{where} can't be had: {error.strerror}.", hint)
        return Finding(self.subject, Verdict.FINE, f"{where} can be had.")
