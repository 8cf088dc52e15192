"""Formats the output of programs for users."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_CODE = re.compile(r"`([^`\n]+)`")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""Control sequences for colours and cursor movements (ECMA-48, sections 5.3 and 5.4), and window titles."""
_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASS|KEY|CREDENTIAL|DSN", re.IGNORECASE)
_WITH_PASSWORD = re.compile(r"\w://[^/\s]*@")


def with_code(html: str) -> str:
    """The HTML with `<code>` around the text between backticks.

    Args:
        html: already escaped, because the text may come from users.
    """
    return _CODE.sub(r"<code>\1</code>", html)


def as_on_screen(line: str) -> str:
    """The line as a terminal finally shows it: without colours, and without the text that a carriage return
    overwrote."""
    return _ESCAPES.sub("", line).rstrip("\r").rpartition("\r")[2].rstrip()


def lines_on_screen(text: str) -> list[str]:
    """The lines of a text, each as a terminal finally shows it."""
    return [as_on_screen(line) for line in text.rstrip("\n").split("\n")] if text else []


def binary_size(count: int) -> str:
    """Format a number of bytes, such as `512 MiB`."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} B"


MASK = "***"
SHORTEST_MASKED = 4
"""Characters of a secret, or of a line of one, that is masked. A shorter one would mask parts of words."""


def masking(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces these secrets, and each of their lines, with `MASK`."""
    lines = {line.strip() for value in secrets for line in value.splitlines()}
    hidden = sorted((line for line in lines if len(line) >= SHORTEST_MASKED), key=len, reverse=True)
    if not hidden:
        return str
    pattern = re.compile("|".join(map(re.escape, hidden)))
    return lambda text: pattern.sub(MASK, text)


def is_probably_secret(name: str, value: str) -> bool:
    """Whether a variable is a secret by its name, or has a password in a URL."""
    return bool(_SECRET_NAME.search(name) or _WITH_PASSWORD.search(value))
