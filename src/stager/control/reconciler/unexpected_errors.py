"""What steps fail at without being told by a driver: errors of Stager's own, and of the machine under it.

`doctor` shows them to administrators; `/readyz`, which anybody may ask, only says how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from stager.domain.errors import StagerError
from stager.ports.diagnostics import Finding, Verdict


class UnexpectedErrors:
    """The newest failure of each environment, until the environment is at rest without it. A
    `stager.ports.diagnostics.Check`."""

    subject = "previews"

    def __init__(self) -> None:
        self._by_environment: dict[str, Finding] = {}

    def note(self, environment_id: str, which: str, error: StagerError) -> None:
        """A step of this environment failed so.

        Args:
            which: the environment, for people.
        """
        self._by_environment[environment_id] = Finding(
            self.subject, Verdict.WRONG, f"{which}: {error.message}", error.hint
        )

    def forget(self, environment_id: str) -> None:
        """It doesn't fail any more."""
        self._by_environment.pop(environment_id, None)

    @property
    def notices(self) -> dict[str, str]:
        """What anybody may know of them, by part; empty when there are none."""
        count = len(self._by_environment)
        if not count:
            return {}
        what = "1 preview fails" if count == 1 else f"{count} previews fail"
        return {self.subject: f"{what} with an error of Stager's own or of its machine; its log tells more."}

    async def look(self) -> Sequence[Finding]:
        """See `Check.look`."""
        fine = Finding(self.subject, Verdict.FINE, "None fails with an error of Stager's own.")
        return list(self._by_environment.values()) or [fine]
