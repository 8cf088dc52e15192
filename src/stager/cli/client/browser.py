"""Opens a browser, for whoever has one."""

from __future__ import annotations

import webbrowser

from stager.cli.client.screen import has_display, is_terminal, note


def wants_one(asked_for: bool | None) -> bool:
    """Whether to open a browser: as asked, else where a person sits before a display."""
    return is_terminal() and has_display() if asked_for is None else asked_for


def open_at(url: str) -> bool:
    """Open a browser at this URL. Returns whether there is one."""
    if not url.startswith(("http://", "https://")):
        note(f"{url} isn't a web page.")
        return False
    try:
        opened = webbrowser.open(url)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        note("No browser could be opened here.")
    return opened
