"""Handlers that failed at their last call, for `doctor` and `/readyz`."""

from __future__ import annotations

from collections.abc import Sequence

from stager.domain.errors import StagerError
from stager.ports.diagnostics import Finding, Verdict


class HandlerFailures:
    """The failure of each handler's last call. A `stager.ports.diagnostics.Check`."""

    subject = "handlers"

    def __init__(self) -> None:
        self._by_handler: dict[str, Finding] = {}

    def add(self, handler: str, error: StagerError) -> None:
        """Record the failure of a handler's last call."""
        self._by_handler[handler] = Finding(self.subject, Verdict.WARNING, error.message, error.hint)

    def clear(self, handler: str) -> None:
        """Forget a handler's failure, after a call that succeeded."""
        self._by_handler.pop(handler, None)

    @property
    def notices(self) -> dict[str, str]:
        """Their number, for `/readyz`, which needs no authentication; empty for none."""
        count = len(self._by_handler)
        if not count:
            return {}
        what = "1 handler" if count == 1 else f"{count} handlers"
        return {self.subject: f"{what} failed at the last call; the log has `handler_failed` with the error."}

    async def look(self) -> Sequence[Finding]:
        """See `Check.look`."""
        fine = Finding(self.subject, Verdict.FINE, "No handler failed at its last call.")
        return list(self._by_handler.values()) or [fine]
