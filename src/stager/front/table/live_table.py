"""The live route table: `stager.domain.route.RouteTable` in mutable form, for a lookup on each request, and
the changes that it receives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from stager.domain.identity.access_policy import AccessPolicy, policy_from_wire, policy_to_wire
from stager.domain.route import (
    Endpoint,
    Page,
    PageState,
    RouteTable,
    Target,
    ports_from_wire,
    ports_to_wire,
    target_from_wire,
    target_to_wire,
)

Key = TypeVar("Key", str, int)
Value = TypeVar("Value")


def changes_to_wire(before: RouteTable, after: RouteTable) -> dict[str, Any]:
    """What turns one table into the other, in plain JSON types.

    Returns:
        `upserts` and `deletes` of routes; `ports`, where an empty host removes the port; `policies`, where
        None is the default policy; and `domain` and `home`, both if one of them changed.
    """
    removed_ports = dict.fromkeys(before.ports.keys() - after.ports.keys(), "")
    removed_policies = before.policies.keys() & after.routes.keys() - after.policies.keys()
    wire: dict[str, Any] = {
        "upserts": {h: target_to_wire(t) for h, t in _changed(before.routes, after.routes)},
        "deletes": sorted(before.routes.keys() - after.routes.keys()),
        "ports": ports_to_wire(dict(_changed(before.ports, after.ports)) | removed_ports),
        "policies": {h: policy_to_wire(p) for h, p in _changed(before.policies, after.policies)}
        | dict.fromkeys(sorted(removed_policies)),
    }
    if (before.domain, before.home) != (after.domain, after.home):
        wire["domain"] = after.domain
        wire["home"] = target_to_wire(after.home) if after.home else None
    return wire


def _changed(before: Mapping[Key, Value], after: Mapping[Key, Value]) -> Iterator[tuple[Key, Value]]:
    """The entries of `after` that `before` lacks. Tables share the values that didn't change, and comparing
    those of 10,000 routes by identity takes a tenth of the time."""
    for key, value in after.items():
        known = before.get(key)
        if known is not value and known != value:
            yield key, value


class LiveTable:
    """A route table that is looked up on each request and changed in place."""

    def __init__(self, table: RouteTable | None = None) -> None:
        self.routes: dict[str, Target] = {}
        self.ports: dict[int, str] = {}
        self.policies: dict[str, AccessPolicy] = {}
        self.domain = ""
        self.home: Endpoint | None = None
        self._suffix = ""
        if table is not None:
            self.routes = dict(table.routes)
            self.ports = dict(table.ports)
            self.policies = dict(table.policies)
            self._set_frame(table.domain, table.home)

    def __len__(self) -> int:
        return len(self.routes)

    def find(self, host: str) -> Target | None:
        """Return the target of `host`; None for an unknown host under the domain, or if there is no home."""
        target = self.routes.get(host)
        return self.home if target is None and self.is_home(host) else target

    def is_home(self, host: str) -> bool:
        """Whether `host` is Stager's own: neither a preview's nor under the domain of the previews."""
        return host not in self.routes and not (self._suffix and host.endswith(self._suffix))

    def value(self) -> RouteTable:
        """Return an immutable copy."""
        return RouteTable(dict(self.routes), self.domain, self.home, dict(self.ports), dict(self.policies))

    def change(self, wire: Mapping[str, Any]) -> None:
        """Apply changes in the form of `changes_to_wire`, or none of them.

        Raises:
            KeyError, ValueError, TypeError: they are malformed.
        """
        upserts = {host: _target(target) for host, target in wire.get("upserts", {}).items()}
        deletes = list(wire.get("deletes", ()))
        ports = ports_from_wire(wire.get("ports", {}))
        policies = {
            host: policy_from_wire(policy) if policy else None
            for host, policy in wire.get("policies", {}).items()
        }
        if "domain" in wire:
            home = target_from_wire(wire["home"]) if wire["home"] else None
            if home is not None and not isinstance(home, Endpoint):
                raise ValueError("home should be an endpoint, not a page")
            self._set_frame(str(wire["domain"]), home)
        self.routes.update(upserts)
        for host, policy in policies.items():
            if policy is None:
                self.policies.pop(host, None)
            else:
                self.policies[host] = policy
        for host in deletes:
            self.routes.pop(host, None)
            self.policies.pop(host, None)
        self.ports.update(ports)
        for port in [port for port, host in ports.items() if not host]:
            del self.ports[port]

    def _set_frame(self, domain: str, home: Endpoint | None) -> None:
        self.domain, self.home = domain, home
        self._suffix = "." + domain if domain else ""


def _target(wire: Mapping[str, Any]) -> Target:
    target = target_from_wire(wire)
    if isinstance(target, Page) and target.state not in get_args(PageState):
        raise ValueError(f"there is no page for {target.state!r}")
    return target
