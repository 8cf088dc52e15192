"""The diagnostic of nginx's configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from stager.ports.diagnostics import Finding, Verdict
from stager.routers.nginx.commands import Nginx


class NginxCheck:
    """Checks whether nginx accepts its configuration files."""

    subject = "nginx"

    def __init__(self, nginx: Nginx) -> None:
        self._nginx = nginx

    async def run(self) -> Sequence[Finding]:
        """See `ports.diagnostics.Check.run`. Raises `Fault` or `Retry` if nginx can't be run."""
        error = await asyncio.to_thread(self._nginx.test)
        if error:
            hint = "Until this is fixed, nginx doesn't load new vhosts; existing previews keep working."
            return [Finding(self.subject, Verdict.ERROR, f"nginx rejects its configuration: {error}", hint)]
        return [Finding(self.subject, Verdict.OK, "nginx accepts its configuration.")]
