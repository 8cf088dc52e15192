"""How long GitHub asks to wait, in all the ways in which it may say so."""

from __future__ import annotations

import time
from http import HTTPStatus

import pytest
from gidgethub import BadRequest, GitHubBroken

from stager.forges.github.api.problems import DEFAULT_WAIT, LONGEST_WAIT, seconds_to_wait

MIDNIGHT = 1767225600
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"


def limited(**headers: str) -> BadRequest:
    return BadRequest(
        HTTPStatus.FORBIDDEN, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def exhausted(reset: float, date: str = DATE) -> BadRequest:
    return limited(x_ratelimit_remaining="0", x_ratelimit_reset=f"{reset:.0f}", date=date)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (limited(retry_after="30"), 30),
        (limited(retry_after="0"), 1),
        (limited(retry_after="999999"), LONGEST_WAIT),
        (exhausted(MIDNIGHT + 120), 120),
        (exhausted(MIDNIGHT - 120), 1),
        (exhausted(MIDNIGHT + 10**6), LONGEST_WAIT),
        (BadRequest(HTTPStatus.TOO_MANY_REQUESTS, headers={"retry-after": "soon"}), DEFAULT_WAIT),
        (BadRequest(HTTPStatus.FORBIDDEN, "API rate limit exceeded"), DEFAULT_WAIT),
    ],
)
def test_a_rate_limit_says_how_long(error: BadRequest, seconds: float) -> None:
    assert seconds_to_wait(error) == seconds


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_our_own_clock_counts_where_the_answer_has_no_date(date: str) -> None:
    assert seconds_to_wait(exhausted(time.time() + 120, date)) == pytest.approx(120, abs=5)


@pytest.mark.parametrize(
    "error",
    [
        limited(),
        limited(x_ratelimit_remaining="17", x_ratelimit_reset=str(MIDNIGHT)),
        BadRequest(HTTPStatus.NOT_FOUND, headers={"retry-after": "30"}),
        GitHubBroken(HTTPStatus.SERVICE_UNAVAILABLE),
        TimeoutError(),
    ],
)
def test_anything_else_is_no_rate_limit(error: Exception) -> None:
    assert seconds_to_wait(error) is None
