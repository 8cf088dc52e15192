"""Looks at everything that Stager needs, all at once, and waits for nobody for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from stager.domain.errors import StagerError
from stager.ports.diagnostics import Check, Finding, Verdict

log = structlog.get_logger(__name__)

PATIENCE = 15.0
"""Seconds for one look."""


async def examine(checks: Sequence[Check]) -> list[Finding]:
    """What all of these find, in their order."""
    found = await asyncio.gather(*(_look(check) for check in checks))
    return [finding for findings in found for finding in findings]


async def _look(check: Check) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(PATIENCE):
            return await check.look()
    except StagerError as error:
        return [Finding(check.subject, Verdict.WRONG, error.message, error.hint)]
    except TimeoutError:
        return [Finding(check.subject, Verdict.WRONG, f"It doesn't answer within {PATIENCE:g} s.")]
    except Exception as error:
        log.exception("check_failed", subject=check.subject)
        return [Finding(check.subject, Verdict.WARNING, f"It can't be looked at: {error}")]
