"""The names of pluggable classes that a configuration may use, and the sections that hold their settings."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from stager.domain.names import did_you_mean
from stager.ports import plugins
from stager.ports.plugins import KINDS, Plugin, Plugins, discover

Kind = plugins.Kind | Literal["routing_strategy"]
"""The settings that name classes."""

ROUTING: Mapping[str, str] = {"EmbeddedRoutingStrategy": "embedded", "NginxRoutingStrategy": "nginx"}
"""What may be said of routing: each name with its short form."""

NOT_YET: Mapping[str, str] = {
    "HaproxyRoutingStrategy": "EmbeddedRoutingStrategy serves previews without HAProxy",
    "haproxy": "EmbeddedRoutingStrategy serves previews without HAProxy",
}
"""The first Stager's names that this version doesn't have, each with what to do instead."""


@functools.cache
def built_in() -> Plugins:
    """What comes with Stager."""
    return discover(installed=False)


@dataclass(frozen=True, slots=True)
class Known:
    """Every name that is known, by the setting that may hold it."""

    plugins: Plugins = field(default_factory=built_in)
    routing: Mapping[str, str] = field(default_factory=lambda: ROUTING)
    not_yet: Mapping[str, str] = field(default_factory=lambda: NOT_YET)

    def names(self, kind: Kind) -> Mapping[str, str]:
        """The full names of a kind, each with its short form; empty where it has none."""
        if kind == "routing_strategy":
            return self.routing
        return {p.name: p.short_name for p in self.plugins.of_kind(kind)}

    def full_name(self, kind: Kind, name: str) -> str:
        """The full name for `name`, which may be a short form.

        Raises:
            ValueError: this version doesn't have it.
        """
        names = self.names(kind)
        if name in names:
            return name
        full = next((full for full, short in names.items() if short == name), None)
        return full if full is not None else self._stranger(kind, name)

    def _stranger(self, kind: Kind, name: str) -> str:
        if name in self.not_yet:
            raise ValueError(f'"{name}" isn\'t available in this version; {self.not_yet[name]}')
        elsewhere = next((p for p in self.plugins if name in (p.name, p.short_name)), None)
        if elsewhere is not None:
            raise ValueError(f'"{name}" belongs under {" or ".join(f"`{k}`" for k in elsewhere.kinds)}')
        names = self.names(kind)
        hint = did_you_mean(name, [*names, *filter(None, names.values())])
        raise ValueError(f"unknown name; {hint or _list(names)}")

    def wanted(self, written: Mapping[str, object]) -> Iterator[Plugin]:
        """The plugins that a configuration names, as far as it can be read."""
        for kind in KINDS:
            value = written.get(kind)
            listed = value if isinstance(value, list) else [value]
            named = {name for name in listed if isinstance(name, str) and name}
            yield from (p for p in self.plugins.of_kind(kind) if named & {p.name, p.short_name})


def _list(names: Mapping[str, str]) -> str:
    return f"known are {', '.join(names)}" if names else "there is none of this kind"
