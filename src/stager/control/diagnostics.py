"""What doesn't work: the checks of `stager doctor`, the problems in `/readyz`, and unexpected errors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from stager.domain.errors import StagerError
from stager.ports.diagnostics import Check, Finding, Verdict

log = structlog.get_logger(__name__)

TIMEOUT = 15.0
"""Seconds for one check."""


async def examine(checks: Sequence[Check]) -> list[Finding]:
    """Run these checks concurrently. Returns their findings, in the order of the checks."""
    found = await asyncio.gather(*(_run(check) for check in checks))
    return [finding for findings in found for finding in findings]


async def _run(check: Check) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await check.run()
    except StagerError as error:
        return [Finding(check.subject, Verdict.ERROR, error.message, error.hint)]
    except TimeoutError:
        return [Finding(check.subject, Verdict.ERROR, f"The check didn't finish within {TIMEOUT:g} s.")]
    except Exception as error:
        log.exception("check_failed", subject=check.subject)
        return [Finding(check.subject, Verdict.WARNING, f"The check failed: {error}")]


class Readiness:
    """Which parts don't work, for `/readyz`."""

    def __init__(self) -> None:
        self._problems = {"engine": "Not checked yet."}

    @property
    def problems(self) -> Mapping[str, str]:
        """One sentence for each part that doesn't work."""
        return self._problems

    def report(self, part: str, problem: str) -> None:
        """Replace what is reported for a part.

        Args:
            problem: a sentence; empty if the part works.
        """
        if problem:
            self._problems[part] = problem
        else:
            self._problems.pop(part, None)


class UnexpectedErrors:
    """Unexpected errors of actions: bugs of Stager, and failures of its machine. A
    `stager.ports.diagnostics.Check`, which only administrators see; `/readyz` shows their number.

    The latest error of each environment is kept until the environment comes to rest without it.
    """

    subject = "previews"

    def __init__(self) -> None:
        self._by_environment: dict[str, Finding] = {}

    def note(self, environment_id: str, which: str, error: StagerError) -> None:
        """Record an error of this environment.

        Args:
            which: the environment's name for users.
        """
        self._by_environment[environment_id] = Finding(
            self.subject, Verdict.ERROR, f"{which}: {error.message}", error.hint
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

    async def run(self) -> Sequence[Finding]:
        """See `Check.run`."""
        ok = Finding(self.subject, Verdict.OK, "No preview fails with an internal error.")
        return list(self._by_environment.values()) or [ok]
