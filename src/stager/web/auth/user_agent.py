"""What a browser says of itself, in a few words: the account page tells people by it where they are signed
in."""

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
"""What stands before the slash, and the browser; the first one that is there counts, because most of them say
that they are the others, too."""
_SYSTEMS = (
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "a Mac"),
    ("Linux", "Linux"),
)


def in_short(agent: str) -> str:
    """A browser and its system, such as `Firefox on Linux`; whatever else it is, as it is.

    Args:
        agent: the header `User-Agent`.
    """
    names = set(re.findall(r"([A-Za-z]+)/", agent))
    browser = next((name for sign, name in _BROWSERS if sign in names), "")
    system = next((name for sign, name in _SYSTEMS if sign in agent), "")
    if not agent.startswith("Mozilla/") or not browser:
        return agent
    return f"{browser} on {system}" if system else browser
