"""The pluggable classes that a configuration may name."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from stager.domain.names import did_you_mean
from stager.ports import plugins
from stager.ports.plugins import KINDS, Plugin, PluginRegistry, discover

Kind = plugins.Kind | Literal["routing_strategy"]
"""The settings that name classes."""

ROUTING: Mapping[str, str] = {
    "EmbeddedRoutingStrategy": "embedded",
    "NginxRoutingStrategy": "nginx",
    "HaproxyRoutingStrategy": "haproxy",
}
"""Routing strategies, each with its short name."""


@functools.cache
def built_in() -> PluginRegistry:
    """The built-in plugins."""
    return discover(installed=False)


@dataclass(frozen=True, slots=True)
class Known:
    """All valid names, by the setting that may contain them."""

    plugins: PluginRegistry = field(default_factory=built_in)
    routing: Mapping[str, str] = field(default_factory=lambda: ROUTING)

    def names(self, kind: Kind) -> Mapping[str, str]:
        """The full names of a kind, each with its short name, which may be empty."""
        if kind == "routing_strategy":
            return self.routing
        return {p.name: p.short_name for p in self.plugins.of_kind(kind)}

    def full_name(self, kind: Kind, name: str) -> str:
        """Return the full name of a class.

        Args:
            name: its full or short name.

        Raises:
            ValueError: there is none of this name and kind.
        """
        names = self.names(kind)
        if name in names:
            return name
        full = next((full for full, short in names.items() if short == name), None)
        return full if full is not None else self._unknown(kind, name)

    def _unknown(self, kind: Kind, name: str) -> str:
        elsewhere = next((p for p in self.plugins if name in (p.name, p.short_name)), None)
        if elsewhere is not None:
            raise ValueError(f'"{name}" belongs under {" or ".join(f"`{k}`" for k in elsewhere.kinds)}')
        names = self.names(kind)
        hint = did_you_mean(name, [*names, *filter(None, names.values())])
        raise ValueError(f"unknown name; {hint or _list(names)}")

    def named_in(self, written: Mapping[str, object]) -> Iterator[Plugin]:
        """The plugins that a configuration names."""
        for kind in KINDS:
            value = written.get(kind)
            listed = value if isinstance(value, list) else [value]
            named = {name for name in listed if isinstance(name, str) and name}
            yield from (p for p in self.plugins.of_kind(kind) if named & {p.name, p.short_name})


def _list(names: Mapping[str, str]) -> str:
    return f"the known names are {', '.join(names)}" if names else "there are none of this kind"
