"""Looks at nginx: whether it would read its files as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from stager.ports.diagnostics import Finding, Verdict
from stager.routers.nginx.commands import Nginx


class NginxCheck:
    """Whether nginx would read its files."""

    subject = "nginx"

    def __init__(self, nginx: Nginx) -> None:
        self._nginx = nginx

    async def look(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.look`. Raises `Fault` or `Retry` when it can't be asked."""
        refusal = await asyncio.to_thread(self._nginx.refuses)
        if refusal:
            hint = "Until that is right, it reads no new vhost; the previews go on."
            return [Finding(self.subject, Verdict.WRONG, f"It refuses its files: {refusal}", hint)]
        return [Finding(self.subject, Verdict.FINE, "It takes its files as they are.")]
