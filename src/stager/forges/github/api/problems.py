"""Converts failed calls of GitHub's API to Stager's errors.

Pure. Messages contain no credentials: only GitHub's own sentence and the call's method and path are quoted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

import aiohttp
from gidgethub import HTTPException

from stager.domain.errors import Refused, Retry, StagerError
from stager.forges.github.webhooks.wire import Unreadable

UNREACHABLE = "forge-unreachable"
FAILING = "forge-failing"
RATE_LIMIT = "forge-rate-limit"
UNREADABLE = "forge-answer-unreadable"
TRANSIENT = frozenset({UNREACHABLE, FAILING, UNREADABLE})
"""Reasons after which the same call may succeed a moment later. Whether the failed call had an effect is
unknown."""

TRANSPORT = (aiohttp.ClientError, OSError, TimeoutError)
DECODING = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What gidgethub raises for unexpected responses: a proxy's page, or a status unknown to Python."""

DEFAULT_WAIT = 60.0
LONGEST_WAIT = 3600.0
"""Seconds. GitHub's limits are per hour; its documentation says one minute where a response says nothing."""

Hint = Callable[[int, str], str]

_LIMIT_WORDS = re.compile("rate limit|abuse detection", re.IGNORECASE)
_LONGEST_SENTENCE = 300
_REASONS = {401: "forge-credentials-wrong", 403: "forge-forbidden", 404: "forge-not-found"}


def error_of(error: Exception, call: str, hint: Hint) -> StagerError:
    """Stager's error for a failed call.

    Args:
        error: an `HTTPException`, or one of `TRANSPORT` or `DECODING`.
        call: method and path.
        hint: returns a hint for GitHub's status and the permission that GitHub reports as missing.
    """
    if isinstance(error, HTTPException):
        return _of_response(error, call, hint)
    if isinstance(error, TRANSPORT):
        kind = type(error).__name__
        return Retry(f"GitHub can't be reached for {call} ({kind}).", reason=UNREACHABLE)
    return unreadable(error, call)


def unreadable(error: Exception, call: str) -> Retry:
    """The error for a response that can't be parsed."""
    where = f" ({error})" if isinstance(error, Unreadable) else ""
    return Retry(f"GitHub's response to {call} can't be parsed{where}.", reason=UNREADABLE)


def rate_limited(seconds: float) -> Retry:
    """The error for a rate limit."""
    return Retry(
        f"GitHub's rate limit is reached; the next request is allowed in {seconds:.0f} s.",
        reason=RATE_LIMIT,
        detail=f"retry after {seconds:.0f} s",
    )


def seconds_to_wait(error: Exception) -> float | None:
    """Seconds to wait if a rate limit caused the error, else None."""
    if not isinstance(error, HTTPException) or error.status_code not in {403, 429}:
        return None
    wait = number(error.headers.get("retry-after"))
    if wait is None and error.headers.get("x-ratelimit-remaining") == "0":
        reset = number(error.headers.get("x-ratelimit-reset"))
        wait = None if reset is None else seconds_until(reset, error.headers)
    if wait is None and (error.status_code == 429 or _LIMIT_WORDS.search(str(error))):
        wait = DEFAULT_WAIT
    return None if wait is None else _bounded(wait)


def seconds_until(reset: float, headers: Mapping[str, str]) -> float:
    """Seconds until a reset, by GitHub's clock if the response has a date, else by the local clock. At least
    1, at most `LONGEST_WAIT`.

    Args:
        reset: seconds since 1970.
        headers: of the response.
    """
    try:
        now = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError):
        now = time.time()
    return _bounded(reset - now)


def number(text: str | None) -> float | None:
    """A header's value as a number of at most 15 digits; None otherwise."""
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None


def _of_response(error: HTTPException, call: str, hint: Hint) -> StagerError:
    wait = seconds_to_wait(error)
    if wait is not None:
        return rate_limited(wait)
    status = int(error.status_code)
    message = f"GitHub answers {status} to {call}: {str(error)[:_LONGEST_SENTENCE].rstrip('.')}."
    if not 400 <= status < 500 or status in {408, 409}:
        return Retry(message, reason=FAILING)
    reason = _REASONS.get(status, "forge-refused")
    permission = error.headers.get("x-accepted-github-permissions", "")
    return Refused(message, hint=hint(status, permission), reason=reason, status=status)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 1.0), LONGEST_WAIT)
