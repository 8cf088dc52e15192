"""Shapes: strict validators of JSON values, for the fields of verbs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from stager.helper.protocol import refused

Shape = Callable[[object, str], Any]
"""Validates a value and converts it; the string is its path, for errors. Raises `HelperError`."""
INSTALLATION = r"[a-z0-9][a-z0-9-]{0,63}"


def integer(low: int, high: int) -> Shape:
    """An integer from `low` to `high`. `true` isn't one."""

    def read(value: object, where: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise refused(f"{where} must be an integer from {low} to {high}.")
        return value

    return read


def boolean() -> Shape:
    """`true` or `false`."""

    def read(value: object, where: str) -> bool:
        if not isinstance(value, bool):
            raise refused(f"{where} must be true or false.")
        return value

    return read


def text(pattern: str, meaning: str) -> Shape:
    """A string that matches the whole pattern.

    Args:
        pattern: must limit the length. `\\d` and the like match ASCII only.
        meaning: what the string is, for errors: `a network's name`.
    """
    compiled = re.compile(pattern, re.ASCII)

    def read(value: object, where: str) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise refused(f"{where} must be {meaning}.")
        return value

    return read


installation = text(INSTALLATION, "an installation's id")


def one_of(*words: str) -> Shape:
    """One of these strings."""

    def read(value: object, where: str) -> str:
        if not isinstance(value, str) or value not in words:
            raise refused(f"{where} must be one of {', '.join(words)}.")
        return value

    return read


def address() -> Shape:
    """A unicast address, IPv4 or IPv6."""

    def read(value: object, where: str) -> str:
        error = refused(f"{where} must be an address, such as 10.0.0.5 or fd00::5.")
        if not isinstance(value, str) or "%" in value:
            raise error
        try:
            parsed = ip_address(value)
        except ValueError:
            raise error from None
        if parsed.is_unspecified or parsed.is_multicast:
            raise error
        return str(parsed)

    return read


def list_of(shape: Shape, most: int) -> Shape:
    """A list of at most `most` values."""

    def read(value: object, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise refused(f"{where} must be a list of at most {most} values.")
        return tuple(shape(entry, f"{where}[{index}]") for index, entry in enumerate(value))

    return read


@dataclass(frozen=True)
class Fields:
    """An object with exactly these names."""

    shapes: Mapping[str, Shape]

    def __call__(self, value: object, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise refused(f"{where} must be an object.")
        for name in value:
            if name not in self.shapes:
                raise refused(f"{where} has an unknown name; known are {_names(self.shapes)}.")
        for name in self.shapes:
            if name not in value:
                raise refused(f"{where} lacks `{name}`.")
        return {name: shape(value[name], f"{where}.{name}") for name, shape in self.shapes.items()}


def fields(**shapes: Shape) -> Fields:
    """An object with exactly these names."""
    return Fields(shapes)


def _names(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"`{name}`" for name in shapes) or "none"
