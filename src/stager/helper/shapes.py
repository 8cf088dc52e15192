"""Shapes of verbs' fields. A shape reads one JSON value strictly, or refuses it with a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from stager.helper.protocol import refused

Shape = Callable[[object, str], Any]
"""Reads a value; the text says where it stands. Raises `HelperError`."""


def integer(low: int, high: int) -> Shape:
    """A whole number in this range, ends included. `true` isn't one."""

    def read(value: object, where: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise refused(f"{where} must be a whole number from {low} to {high}.")
        return value

    return read


def boolean() -> Shape:
    """`true` or `false`."""

    def read(value: object, where: str) -> bool:
        if type(value) is not bool:
            raise refused(f"{where} must be true or false.")
        return value

    return read


def text(pattern: str, meaning: str) -> Shape:
    """A text that the whole pattern matches.

    Args:
        pattern: ASCII only is meant by `\\d` and the like; it must bound the length.
        meaning: what the text is, for the sentence: `a network's name`.
    """
    compiled = re.compile(pattern, re.ASCII)

    def read(value: object, where: str) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise refused(f"{where} must be {meaning}.")
        return value

    return read


def one_of(*words: str) -> Shape:
    """One of these words."""

    def read(value: object, where: str) -> str:
        if not isinstance(value, str) or value not in words:
            raise refused(f"{where} must be one of {', '.join(words)}.")
        return value

    return read


def address() -> Shape:
    """An address in its usual notation, IPv4 or IPv6, of one machine."""

    def read(value: object, where: str) -> str:
        wrong = refused(f"{where} must be an address, such as 10.0.0.5 or fd00::5.")
        if not isinstance(value, str) or "%" in value:
            raise wrong
        try:
            parsed = ip_address(value)
        except ValueError:
            raise wrong from None
        if parsed.is_unspecified or parsed.is_multicast:
            raise wrong
        return str(parsed)

    return read


def list_of(shape: Shape, most: int) -> Shape:
    """A list of at most so many."""

    def read(value: object, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise refused(f"{where} must be a list of at most {most}.")
        return tuple(shape(entry, f"{where}[{place}]") for place, entry in enumerate(value))

    return read


@dataclass(frozen=True)
class Fields:
    """An object with exactly these names; it is a shape itself."""

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
