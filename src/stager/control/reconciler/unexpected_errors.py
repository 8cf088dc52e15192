"""Unexpected errors of actions: bugs of Stager, and failures of its machine.

`doctor` shows them to administrators; `/readyz`, which is public, only shows their number.
"""

from __future__ import annotations

from collections.abc import Sequence

from stager.domain.errors import StagerError
from stager.ports.diagnostics import Finding, Verdict


class UnexpectedErrors:
    """The latest error of each environment, until the environment comes to rest without it. A
    `stager.ports.diagnostics.Check`."""

    subject = "previews"

    def __init__(self) -> None:
        self._by_environment: dict[str, Finding] = {}

    def note(self, environment_id: str, which: str, error: StagerError) -> None:
        """Record an error of this environment.

        Args:
            which: the environment's name for users.
        """
        self._by_environment[environment_id] = Finding(
            self.subject, Verdict.WRONG, f"{which}: {error.message}", error.hint
        )

    def forget(self, environment_id: str) -> None:
        """Remove the error of this environment."""
        self._by_environment.pop(environment_id, None)

    @property
    def notices(self) -> dict[str, str]:
        """The public summary, by part; empty without errors."""
        count = len(self._by_environment)
        if not count:
            return {}
        what = "1 preview fails" if count == 1 else f"{count} previews fail"
        return {self.subject: f"{what} with an internal error; see the server's log."}

    async def look(self) -> Sequence[Finding]:
        """See `Check.look`."""
        fine = Finding(self.subject, Verdict.FINE, "No preview fails with an internal error.")
        return list(self._by_environment.values()) or [fine]
