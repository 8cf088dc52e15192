"""Says which of the three endings a failed call of GitHub's API is, in words for people.

Pure. Credentials never get in: only GitHub's own sentence and the call's method and path are quoted.
"""

from __future__ import annotations

import re
import time
from email.utils import parsedate_to_datetime

import aiohttp
from gidgethub import HTTPException

from stager.domain.errors import Refused, Retry, StagerError
from stager.forges.github.payloads import Unreadable

UNREACHABLE = "forge-unreachable"
FAILING = "forge-failing"
RATE_LIMIT = "forge-rate-limit"
UNREADABLE = "forge-answer-unreadable"
TRANSIENT = frozenset({UNREACHABLE, FAILING, UNREADABLE})
"""The reasons after which the same call may well succeed a moment later; whether a call that ended so had an
effect isn't known."""

TRANSPORT = (aiohttp.ClientError, OSError, TimeoutError)
DECODING = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What gidgethub raises at answers that it doesn't expect: a proxy's page, or a status unknown to Python."""

DEFAULT_WAIT = 60.0
LONGEST_WAIT = 3600.0
"""Seconds. GitHub counts by the hour, and its documentation says a minute where an answer says nothing."""

_LIMIT_WORDS = re.compile("rate limit|abuse detection", re.IGNORECASE)
_LONGEST_SENTENCE = 300
_REASONS = {401: "forge-credentials-wrong", 403: "forge-forbidden", 404: "forge-not-found"}


def ending(error: Exception, call: str, web_url: str) -> StagerError:
    """What the failure of a call amounts to.

    Args:
        error: an `HTTPException`, or one of `TRANSPORT` or `DECODING`.
        call: method and path.
        web_url: of the GitHub that people see.
    """
    if isinstance(error, HTTPException):
        return _of_answer(error, call, web_url)
    if isinstance(error, TRANSPORT):
        kind = type(error).__name__
        return Retry(f"GitHub can't be reached for {call} ({kind}).", reason=UNREACHABLE)
    return unreadable(error, call)


def unreadable(error: Exception, call: str) -> Retry:
    """The ending of a call whose answer isn't what it should be."""
    where = f" ({error})" if isinstance(error, Unreadable) else ""
    return Retry(f"GitHub's answer to {call} can't be read{where}.", reason=UNREADABLE)


def rate_limited(seconds: float) -> Retry:
    """The ending of a call that GitHub asks to put off."""
    return Retry(
        f"GitHub asks to wait {seconds:.0f} s before the next request.",
        reason=RATE_LIMIT,
        detail=f"retry after {seconds:.0f} s",
    )


def seconds_to_wait(error: Exception) -> float | None:
    """How long GitHub asks to wait, if it is for one of its rate limits that it refused."""
    if not isinstance(error, HTTPException) or error.status_code not in {403, 429}:
        return None
    asked = _number(error.headers.get("retry-after"))
    if asked is None and error.headers.get("x-ratelimit-remaining") == "0":
        asked = _until_reset(error)
    if asked is None and (error.status_code == 429 or _LIMIT_WORDS.search(str(error))):
        asked = DEFAULT_WAIT
    return None if asked is None else min(max(asked, 1.0), LONGEST_WAIT)


def _of_answer(error: HTTPException, call: str, web_url: str) -> StagerError:
    wait = seconds_to_wait(error)
    if wait is not None:
        return rate_limited(wait)
    status = int(error.status_code)
    message = f"GitHub answers {status} to {call}: {str(error)[:_LONGEST_SENTENCE].rstrip('.')}."
    if not 400 <= status < 500 or status in {408, 409}:
        return Retry(message, reason=FAILING)
    reason = _REASONS.get(status, "forge-refused")
    return Refused(message, hint=_hint(status, error, web_url), reason=reason, status=status)


def _hint(status: int, error: HTTPException, web_url: str) -> str:
    accepted = error.headers.get("x-accepted-github-permissions", "")
    if status == 401:
        return f"Put a valid token into `github.outgoing_auth`; they are made at {web_url}/settings/tokens."
    if status == 403 and accepted:
        return f"The token in `github.outgoing_auth` needs the permission {accepted}."
    if status in {403, 404}:
        return "The account in `github.outgoing_auth` may not have access to this repository."
    return ""


def _until_reset(error: HTTPException) -> float | None:
    reset = _number(error.headers.get("x-ratelimit-reset"))
    return None if reset is None else reset - _answered_at(error)


def _answered_at(error: HTTPException) -> float:
    """By GitHub's clock, because the reset is told by it too; by ours where the answer doesn't say."""
    try:
        return parsedate_to_datetime(error.headers.get("date", "")).timestamp()
    except (ValueError, TypeError):
        return time.time()


def _number(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() else None
