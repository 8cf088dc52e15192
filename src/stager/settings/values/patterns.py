"""Regular expressions of the configuration. They match untrusted text, such as a pull request's title, so
they are matched in linear time: with Python's own engine, one title could block the control plane for
years."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import re2

from stager.settings.loading.refusals import InvalidValue

SYNTAX: Final = "https://github.com/google/re2/wiki/Syntax"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A `TitlePattern` (see `stager.domain.pull_requests.rules`) that RE2 matches, in time linear in the
    text's length (https://github.com/google/re2/wiki/WhyRE2).

    Args:
        text: in RE2's syntax, which has no lookaround and no backreferences.

    Raises:
        InvalidValue: it isn't such an expression, or needs more than RE2's 8 MiB.
    """

    text: str
    _compiled: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", _compiled(self.text))

    def is_in(self, text: str) -> bool:
        """Whether some part of `text` matches."""
        # As bytes: a title may hold a lone surrogate, which JSON allows and UTF-8 doesn't.
        return self._compiled.search(text.encode("utf-8", "replace")) is not None


def pattern(value: str) -> str:
    """Return a regular expression unchanged. Raises `InvalidValue` if RE2 rejects it."""
    Pattern(value)
    return value


def _compiled(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # they would go to stderr
    try:
        return re2.compile(text.encode(), options)
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidValue(
            f"should be a regular expression of RE2, without lookaround and backreferences ({SYNTAX});"
            f" {_message(error)}"
        ) from error


def _message(error: Exception) -> str:
    """RE2's message, which is bytes."""
    message = error.args[0] if isinstance(error, re2.error) and error.args else error
    return message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
