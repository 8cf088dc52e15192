"""A text that isn't printed, so that logs, tracebacks and `config show` don't reveal it."""

from __future__ import annotations

import hmac
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

STARS = "**********"


class ReferencedText(str):
    """The value of a variable or a file that a setting refers to."""

    __slots__ = ()


class Secret:
    """A text that is only returned by `reveal`. False if it is empty.

    Args:
        is_reference: whether the configuration contains a reference, such as `${TOKEN}` or `file:token`.
    """

    __slots__ = ("_text", "is_reference")

    def __init__(self, text: str = "", *, is_reference: bool = False) -> None:
        self._text = text
        self.is_reference = is_reference

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return STARS

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Compare the texts in constant time."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._text), _bytes(other._text))

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def read(cls, value: object) -> Secret:
        """Convert the value of a setting. Numbers and booleans count as the text they were written as.

        Raises:
            ValueError: it is something else; the message doesn't quote it.
        """
        if isinstance(value, Secret):
            return value
        if isinstance(value, bool):
            return cls(str(value).lower())
        if isinstance(value, str | int | float):
            return cls(str(value), is_reference=isinstance(value, ReferencedText))
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
