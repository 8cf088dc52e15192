"""Checks free disk space and the listening ports."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from stager.domain.route import reached_at
from stager.ports.diagnostics import Finding, Verdict

WARN_BELOW, FAIL_BELOW = 5 << 30, 1 << 30
"""Free bytes below which there is a warning, and below which Stager is about to fail."""
GIGABYTE = 1 << 30


class DiskCheck:
    """Checks the free space where Stager writes.

    Args:
        path: Stager's folder, which may not exist yet.
    """

    subject = "disk"

    def __init__(self, path: Path) -> None:
        self._path = path

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        existing = next(path for path in (self._path, *self._path.absolute().parents) if path.exists())
        free = shutil.disk_usage(existing).free
        verdict = Verdict.ERROR if free < FAIL_BELOW else Verdict.WARNING if free < WARN_BELOW else Verdict.OK
        hint = "" if verdict is Verdict.OK else "`docker system df` shows what uses the space."
        return [Finding(self.subject, verdict, f"{free / GIGABYTE:.1f} GB are free in {self._path}.", hint)]


class PortCheck:
    """Checks that the front listens on an address, or could.

    Args:
        is_ours: whether the front runs.
    """

    subject = "port"

    def __init__(self, host: str, port: int, *, is_ours: bool) -> None:
        self._host, self._port = host, port
        self._is_ours = is_ours

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`."""
        where = f"{self._host}:{self._port}"
        if not self._port:
            return [Finding(self.subject, Verdict.OK, "The system chooses the port.")]
        if self._is_ours:
            return [await self._answers(where)]
        return [self._is_free(where)]

    async def _answers(self, where: str) -> Finding:
        try:
            _, writer = await asyncio.open_connection(reached_at(self._host), self._port)
        except OSError as error:
            hint = "`stager status` shows whether the front runs; its log is in the `state_dir`."
            return Finding(
                self.subject, Verdict.ERROR, f"Nothing answers at {where}: {error.strerror}.", hint
            )
        writer.close()
        return Finding(self.subject, Verdict.OK, f"The front answers at {where}.")

    def _is_free(self, where: str) -> Finding:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self._host, self._port))
        except PermissionError:
            hint = "Ports below 1024 require root, or `AmbientCapabilities=CAP_NET_BIND_SERVICE` in the unit."
            return Finding(self.subject, Verdict.ERROR, f"Stager isn't permitted to listen on {where}.", hint)
        except OSError as error:
            hint = f"`ss -ltnp 'sport = :{self._port}'` shows the program that uses it; or change `listen`."
            return Finding(
                self.subject, Verdict.ERROR, f"Stager can't listen on {where}: {error.strerror}.", hint
            )
        return Finding(self.subject, Verdict.OK, f"{where} is free.")
