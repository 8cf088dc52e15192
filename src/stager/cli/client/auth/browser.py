"""Opens URLs in the user's browser."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Callable

from stager.cli.client.output import has_display, is_interactive, note

START_TIMEOUT = 1.0
"""Seconds in which a browser that can't be opened reports an error."""
IN_TERMINAL = frozenset({"www-browser", "links", "elinks", "lynx", "w3m"})
"""Text browsers that the standard library opens, which use the terminal while they are open."""


def should_open(choice: bool | None) -> bool:
    """Whether to open a browser: as chosen; by default, on a terminal with a display."""
    return is_interactive() and has_display() if choice is None else choice


def open_at(url: str) -> bool:
    """Open a browser at this URL without waiting until it is closed. Returns whether that succeeded."""
    if not url.startswith(("http://", "https://")):
        note(f"{url} isn't a web page.")
        return False
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        opened = False
    else:
        in_terminal = getattr(browser, "basename", "") in IN_TERMINAL
        opened = _attempt(lambda: browser.open(url), timeout=None if in_terminal else START_TIMEOUT)
    if not opened:
        note("No browser could be opened.")
    return opened


def _attempt(attempt: Callable[[], bool], timeout: float | None) -> bool:
    """Run `attempt` in a thread and return its result; true after the timeout, because the commands of some
    browsers run until the browser is closed."""
    results: list[bool] = []

    def run() -> None:
        try:
            results.append(attempt())
        except (webbrowser.Error, OSError):
            results.append(False)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    return results[0] if results else True
