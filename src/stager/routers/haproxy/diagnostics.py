"""The diagnostic of HAProxy's configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from stager.ports.diagnostics import Finding, Verdict
from stager.routers.haproxy.commands import Haproxy


class HaproxyCheck:
    """Checks whether HAProxy accepts the file that Stager writes.

    Args:
        file: the file.
    """

    subject = "haproxy"

    def __init__(self, haproxy: Haproxy, file: Path) -> None:
        self._haproxy = haproxy
        self._file = file

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`. Raises `Fault` or `Retry` if HAProxy can't be run."""
        if not self._file.exists():
            hint = "Stager writes it when it runs. Until then, HAProxy doesn't forward to it."
            return [Finding(self.subject, Verdict.WARNING, f"{self._file} doesn't exist yet.", hint)]
        error = await asyncio.to_thread(self._haproxy.test, self._file)
        if error:
            hint = "Until this is fixed, HAProxy doesn't load new previews; existing previews keep working."
            return [Finding(self.subject, Verdict.ERROR, f"HAProxy rejects its configuration: {error}", hint)]
        return [Finding(self.subject, Verdict.OK, "HAProxy accepts its configuration.")]
