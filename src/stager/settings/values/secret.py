"""A text that doesn't print itself, so that no log, traceback or `config show` gives it away."""

from __future__ import annotations

import hmac
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

STARS = "**********"


class FromElsewhere(str):
    """A text that a variable or a file holds, for a setting that only refers to it."""

    __slots__ = ()


class Secret:
    """A text that has to be asked for by name. False when it is empty.

    Args:
        kept_elsewhere: whether the configuration only refers to it, as `${TOKEN}` or `file:token`.
    """

    __slots__ = ("_text", "kept_elsewhere")

    def __init__(self, text: str = "", *, kept_elsewhere: bool = False) -> None:
        self._text = text
        self.kept_elsewhere = kept_elsewhere

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return STARS

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same text; the time it takes tells nothing about where they differ."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._text), _bytes(other._text))

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def read(cls, value: object) -> Secret:
        """The secret that a setting gives. Numbers and truth values count as the text they were written as.

        Raises:
            ValueError: it is something else; the message doesn't quote it.
        """
        if isinstance(value, Secret):
            return value
        if isinstance(value, bool):
            return cls(str(value).lower())
        if isinstance(value, str | int | float):
            return cls(str(value), kept_elsewhere=isinstance(value, FromElsewhere))
        raise ValueError("should be text")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        shown = core_schema.plain_serializer_function_ser_schema(lambda secret: STARS if secret else "")
        return core_schema.no_info_plain_validator_function(cls.read, serialization=shown)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"], "format": "password"}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
