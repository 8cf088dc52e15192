"""Runs the checks of `stager doctor`, concurrently and with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from stager.domain.errors import StagerError
from stager.ports.diagnostics import Check, Finding, Verdict

log = structlog.get_logger(__name__)

TIMEOUT = 15.0
"""Seconds for one check."""


async def examine(checks: Sequence[Check]) -> list[Finding]:
    """Run these checks. Returns their findings, in the order of the checks."""
    found = await asyncio.gather(*(_run(check) for check in checks))
    return [finding for findings in found for finding in findings]


async def _run(check: Check) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(TIMEOUT):
            return await check.look()
    except StagerError as error:
        return [Finding(check.subject, Verdict.WRONG, error.message, error.hint)]
    except TimeoutError:
        return [Finding(check.subject, Verdict.WRONG, f"The check didn't finish within {TIMEOUT:g} s.")]
    except Exception as error:
        log.exception("check_failed", subject=check.subject)
        return [Finding(check.subject, Verdict.WARNING, f"The check failed: {error}")]
