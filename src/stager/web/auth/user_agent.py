"""Short descriptions of User-Agent headers, for the list of sessions."""

from __future__ import annotations

import re

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("HeadlessChrome", "Chrome"),
    ("Safari", "Safari"),
)
"""Tokens before the slash, with the browser. The first match counts, because most browsers also send the
tokens of others."""
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def describe(agent: str) -> str:
    """Return browser and system, such as `Firefox on Linux`; other agents are returned unchanged.

    Args:
        agent: the header `User-Agent`.
    """
    names = set(re.findall(r"([A-Za-z]+)/", agent))
    browser = next((name for sign, name in _BROWSERS if sign in names), "")
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    if not agent.startswith("Mozilla/") or not browser:
        return agent
    return f"{browser} on {system}" if system else browser
