"""The settings in force, each with where it comes from. Secrets, and what is read from variables and files,
are masked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stager.settings.loading import document
from stager.settings.loading.document import Data
from stager.settings.loading.lines import lines_of
from stager.settings.loading.loader import Loaded
from stager.settings.loading.problems import Trail, path_of
from stager.settings.values.secret import STARS

DEFAULT = "default"
REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*)|^(file:\S+)", re.ASCII | re.MULTILINE)
CREDENTIALS = re.compile(r"(?<=//)[^/@\s]+(?=@)")
"""Credentials in a URL (RFC 3986, section 3.2.1)."""
FREE_FORM = frozenset({"container_create_params", "environment", "env"})
"""Sections whose values the application reads, so that they may be secrets: only their names are shown."""


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """A setting.

    Args:
        path: such as `images.shop.port`.
        value: as text; masked if it is a secret.
        origin: such as `line 7`, `line 7, ${TOKEN}`, or `default`.
        line: in the configuration file; 0 if it isn't there.
    """

    path: str
    value: str
    origin: str
    line: int = 0


def settings_in_force(loaded: Loaded) -> list[SettingInForce]:
    """Return all settings in force, including defaults, in the order of the reference page."""
    lines = lines_of(loaded.text)
    written = document.read(loaded.text, "") if loaded.text else None
    in_force: Data = loaded.settings.model_dump(mode="json", exclude_none=True)
    return [_setting(trail, value, lines, written) for trail, value in _leaves(in_force, ())]


def _setting(trail: Trail, value: str, lines: Mapping[str, int], written: Data) -> SettingInForce:
    path = path_of(trail)
    references = [_name(match) for match in REFERENCE.finditer(_written_at(written, trail))]
    line = lines.get(path, 0)
    if references or FREE_FORM.intersection(map(str, trail[:-1])):
        value = STARS
    origin = ", ".join([f"line {line}" if line else DEFAULT, *references])
    return SettingInForce(path, CREDENTIALS.sub(STARS, value), origin, line)


def _name(match: re.Match[str]) -> str:
    return f"${{{match[1]}}}" if match[1] else match[2]


def _leaves(value: Data, trail: Trail) -> Iterator[tuple[Trail, str]]:
    """The settings without settings below them. A list of plain values is one setting."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, (*trail, key))
    elif isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        for i, below in enumerate(value):
            yield from _leaves(below, (*trail, i))
    elif isinstance(value, list):
        yield trail, ", ".join(map(str, value))
    else:
        yield trail, _text(value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value in ({}, None) else str(value)


def _written_at(written: Data, trail: Trail) -> str:
    """The text in the file at this place, with those of a list; empty if the file doesn't have it."""
    for key in trail:
        if isinstance(written, dict):
            written = written.get(str(key))
        elif isinstance(written, list) and isinstance(key, int) and key < len(written):
            written = written[key]
        else:
            return ""
    return "\n".join(map(str, written)) if isinstance(written, list) else str(written or "")
