"""Browsers as people call them. The headers are those that the browsers really send."""

from __future__ import annotations

import pytest

from stager.web.auth.user_agent import describe

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/130.0.0.0 Safari/537.36", "Chrome on Linux"),
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/130.0 Safari/537.36 Edg/130.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:132.0) Gecko/20100101 Firefox/132.0",
            "Firefox on macOS",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
            " Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/130.0.0.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        ("Mozilla/5.0 (Plan 9) Firefox/1.0", "Firefox"),
        ("Mozilla/5.0 (compatible; something else)", "Mozilla/5.0 (compatible; something else)"),
        ("stager/0.1.0", "stager/0.1.0"),
        ("command line, agreed to from 192.0.2.1", "command line, agreed to from 192.0.2.1"),
        ("", ""),
    ],
)
def test_a_browser_describe(agent: str, words: str) -> None:
    assert describe(agent) == words
