"""Opens a browser, for whoever has one."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Callable

from stager.cli.client.output import has_display, is_terminal, note

VERDICT = 1.0
"""Seconds in which a browser that can't be opened has said so."""
IN_TERMINAL = frozenset({"www-browser", "links", "elinks", "lynx", "w3m"})
"""Browsers that have the terminal for themselves while they are open; those that the standard library
knows."""


def wants_one(asked_for: bool | None) -> bool:
    """Whether to open a browser: as asked, else where a person sits before a display."""
    return is_terminal() and has_display() if asked_for is None else asked_for


def open_at(url: str) -> bool:
    """Open a browser at this URL, and go on while it is open. Returns whether there is one."""
    if not url.startswith(("http://", "https://")):
        note(f"{url} isn't a web page.")
        return False
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        opened = False
    else:
        in_terminal = getattr(browser, "basename", "") in IN_TERMINAL
        opened = _tried(lambda: browser.open(url), patience=None if in_terminal else VERDICT)
    if not opened:
        note("No browser could be opened here.")
    return opened


def _tried(attempt: Callable[[], bool], patience: float | None) -> bool:
    """What this comes to; true as well when nothing came of it in so many seconds, because some browsers'
    commands run for as long as the browser does."""
    said: list[bool] = []

    def run() -> None:
        try:
            said.append(attempt())
        except (webbrowser.Error, OSError):
            said.append(False)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience)
    return said[0] if said else True
