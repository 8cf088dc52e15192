"""Parses the texts of a Compose file: commands, durations, sizes, numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from stager.project.compose.value import Value

MAX_WORDS = 1000

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s|us|µs|ns))+|0")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
MAX_SECONDS = 24 * 3600.0

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?", re.IGNORECASE)
_UNITS = " kmgtp"
MAX_BYTES = 1 << 50

_OPERATORS = frozenset(";&|<>")
_SPACE = frozenset(" \t\r\n")
_ESCAPES = {"t": "\t", "n": "\n"}


def seconds(value: Value, what: str) -> float | None:
    """Return a duration such as `1m30s` in seconds; None for null. Raises `Refused`."""
    text = value.text(what)
    if value.data is None:
        return None
    if not _DURATION.fullmatch(text):
        raise value.refuse(f"{what} {text[:40]!r} isn't a duration.", "Write it like `30s` or `1m30s`.")
    total = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if total > MAX_SECONDS:
        raise value.refuse(f"{what} is more than 24 hours.")
    return total


def size(value: Value, what: str) -> int | None:
    """Return a size such as `512m` in bytes; None for null. Raises `Refused`."""
    text = value.text(what)
    if value.data is None:
        return None
    found = _SIZE.fullmatch(text)
    number = float(found[1]) * 1024 ** _UNITS.index(found[2].lower() or " ") if found else 0
    if found is None or not 0 <= number <= MAX_BYTES:
        raise value.refuse(f"{what} {text[:40]!r} isn't a size.", "Write it like `512m` or `2g`.")
    return int(number)


def cores(value: Value, what: str) -> float | None:
    """Return a number of cores; None for null or 0, which is no limit. Raises `Refused`."""
    text = value.text(what)
    if value.data is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 10_000:
        raise value.refuse(f"{what} {text[:40]!r} isn't a number of cores.", "Write it like `0.5`.")
    return number or None


def words(value: Value, what: str) -> tuple[str, ...] | None:
    """Return a command split into words; None for null. A list is taken as it is.

    Raises:
        Refused: it isn't a command, or its quoting is invalid.
    """
    if value.data is None:
        return None
    if isinstance(value.data, list):
        found = tuple(item.text(f"A word of {what}") for item in value.data)
    else:
        found = split(value, what)[0]
    if len(found) > MAX_WORDS:
        raise value.refuse(f"{what} has more than {MAX_WORDS} words.")
    return found


def rest_of(value: Value, what: str) -> str:
    """Return the part of a command that Compose leaves out: from its first unquoted shell operator on."""
    return split(value, what)[1] if isinstance(value.data, str) else ""


def split(value: Value, what: str) -> tuple[tuple[str, ...], str]:
    """Split a text into words as Compose does (https://github.com/mattn/go-shellwords): with quotes and
    backslashes, up to the first of the unquoted operators `; & | < >`. Nothing is run by a shell.

    Returns:
        the words, and the rest of the text from that operator on.

    Raises:
        Refused: a quotation mark isn't closed, or there is an unquoted parenthesis.
    """
    text = value.text(what)
    splitter = _Splitter()
    for at, character in enumerate(text):
        if character in _OPERATORS and splitter.is_plain:
            return splitter.end(character), text[at:]
        if character == "(" and splitter.is_plain:
            break
        splitter.add(character)
    else:
        if splitter.is_plain:
            return splitter.end(), ""
    raise value.refuse(
        f"{what} has a quotation mark or a parenthesis that isn't closed.",
        "For a shell's syntax, write a list: [sh, -c, '...'].",
    )


@dataclass(slots=True)
class _Splitter:
    """Splits a text into words.

    Args:
        word: the word so far; None between words.
        quote: the open quotation mark; empty for none.
        is_escaped: whether the last character was a backslash.
    """

    done: list[str] = field(default_factory=list)
    word: str | None = None
    quote: str = ""
    is_escaped: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the next character is neither quoted nor escaped."""
        return not self.quote and not self.is_escaped

    def add(self, character: str) -> None:
        """Add the next character."""
        if self.is_escaped:
            self.word = (self.word or "") + _ESCAPES.get(character, character)
            self.is_escaped = False
        elif character == "\\" and self.quote != "'":
            self.is_escaped = True
        elif character in ("'", '"') and self.quote in ("", character):
            self.quote = "" if self.quote else character
            self.word = self.word or ""
        elif character in _SPACE and not self.quote:
            self._finish()
        else:
            self.word = (self.word or "") + character

    def end(self, operator: str = "") -> tuple[str, ...]:
        """Return the words. A number before `>` belongs to that, and is none of them."""
        if operator == ">" and self.word and self.word[0].isdigit():
            self.word = None
        self._finish()
        return tuple(self.done)

    def _finish(self) -> None:
        if self.word is not None:
            self.done.append(self.word)
        self.word = None
